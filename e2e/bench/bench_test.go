package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cairn-p2p/cairn/node"
)

// Every suite measures its rows and finds the replicas equal; with few events,
// so the figures say nothing.
func TestSuites(t *testing.T) {
	for name, args := range map[string][]string{
		"append":   {"-select", " 16 writers"},
		"converge": {"-select", "3 nodes"},
		"join":     {"-select", " 200 "},
		"heal":     nil,
		"growth":   {"-select", " 200 events"},
		"latency":  nil,
		"topics":   nil,
		"limits":   {"-select", "fsync|of 3$|stream"},
	} {
		t.Run(name, func(t *testing.T) {
			var out bytes.Buffer
			args := append([]string{"-runs", "1", "-scale", "0.02", "-profile", t.TempDir()}, args...)
			if err := run(t.Context(), append(args, name), &out); err != nil {
				t.Fatal(err)
			}
			if lines := strings.Count(out.String(), "\n"); lines < 3 { // two of them are the table's head
				t.Errorf("printed %d lines:\n%s", lines, &out)
			}
			if text := out.String(); strings.Contains(text, ": met") || strings.Contains(text, "missed") || strings.Contains(text, "0000 events") || !strings.Contains(text, "at -scale 0.02") {
				t.Errorf("a fiftieth has the goals or names of the whole:\n%s", text)
			}
			if rest := regexp.MustCompile(`rest, 2 nodes of 64 topics, .* B/s on the wire both ways, of which sync `); rest.Match(out.Bytes()) != (name == "topics") {
				t.Errorf("want a row at rest among the topics' alone:\n%s", &out)
			}
		})
	}
}

// A suite whose time is up ends with the rows so far, and says so.
func TestSuiteTimeout(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	b := &bench{ctx: ctx, runs: 1, scale: 1, selected: regexp.MustCompile(""), progress: io.Discard}
	var out bytes.Buffer
	err := b.print(&out, b.appendRows(func(ctx context.Context, r *row, _, writers, _ int) error {
		r.events, r.took, r.limits = writers, time.Second, []limit{{"raw", 1}}
		if writers == 64 {
			cancel(errSuiteTimeout)
		}
		return ctx.Err()
	}))
	if !errors.Is(err, errSuiteTimeout) || !strings.Contains(err.Error(), "append, 1 topic, 64 writers") {
		t.Errorf("ended with %v", err)
	}
	if lines := strings.Count(out.String(), "\n"); lines != 4 || strings.Contains(out.String(), "64 writers") {
		t.Errorf("want two rows, got\n%s", &out)
	}
	for suite := range suites {
		b := &bench{ctx: t.Context()}
		defer b.bound(suite)()
		if _, bounded := b.ctx.Deadline(); bounded == (suite == "growth") {
			t.Errorf("%s has an end: %t", suite, bounded)
		}
	}
}

func TestArguments(t *testing.T) {
	for _, args := range [][]string{{}, {"nothing"}, {"-runs", "0", "limits"}, {"-select", "(", "limits"}, {"limits", "append"}} {
		if err := run(t.Context(), args, new(bytes.Buffer)); err == nil {
			t.Errorf("%q was accepted", args)
		}
	}
}

// Guards against defect 13 of the peers: more concurrent writers made a topic
// slower.
func TestCheckWriters(t *testing.T) {
	for _, test := range []struct {
		topics int
		rates  map[int]float64
		ok     bool
	}{
		{1, map[int]float64{1: 4000, 16: 20_000, 64: 50_000}, true},
		{1, map[int]float64{16: 20_000, 64: 19_000}, true}, // noise
		{1, map[int]float64{16: 20_000, 64: 10_000}, false},
		{1, map[int]float64{1: 8048, 16: 6610}, false},
		{1000, map[int]float64{1: 4000, 64: 3000}, false},
		{1000, map[int]float64{1: 4000, 16: 12_000, 64: 10_000}, true},
	} {
		if err := checkWriters(test.topics, test.rates); (err == nil) != test.ok {
			t.Errorf("%d topics, %v: %v", test.topics, test.rates, err)
		}
	}
}

// A comparison that fails ends no suite: all rows are measured, and all that are
// too slow are named.
func TestAppendsGoOn(t *testing.T) {
	b := &bench{ctx: t.Context(), runs: 1, scale: 1, selected: regexp.MustCompile(""), progress: io.Discard}
	err := b.appendRows(func(_ context.Context, r *row, _, writers, events int) error {
		r.events, r.limits = events, []limit{{"raw", 1}}
		r.took = time.Duration(events) * time.Duration(writers) * time.Microsecond // the more writers, the slower
		return nil
	})
	if len(b.rows) != 8 || b.rows[0].name != "append, 1 topic, 1 writer" {
		t.Errorf("%d rows, want 8 from that of 1 writer on", len(b.rows))
	}
	for _, want := range []string{"1 topic: 16 writers", "1 topic: 256 writers", "1000 topics: 64 writers"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want %q in %v", want, err)
		}
	}
}

// The other half of defect 13, exploding heads: a topic with several is found
// among others with one.
func TestOneHeadEach(t *testing.T) {
	b := &bench{dir: t.TempDir()}
	var all [][]*node.Topic // of each node
	var members []member
	for range 2 {
		m, err := b.bare(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer m.node.Close() //nolint:errcheck // nothing depends on it
		topics, err := joinMany(t.Context(), m.node, 3)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := topics[1].Append(t.Context(), payload(len(all), 0, 0)); err != nil {
			t.Fatal(err)
		}
		if _, heads, err := summary(t.Context(), topics, 1); err != nil || heads != 1 {
			t.Fatalf("%d heads, %v; want 1", heads, err)
		}
		all, members = append(all, topics), append(members, member{topics[1], m.node, m.dir})
	}
	if err := connect(t.Context(), members[0], members[1], nil); err != nil {
		t.Fatal(err)
	}
	if err := await(t.Context(), members, 2); err != nil {
		t.Fatal(err)
	}
	if _, _, err := summary(t.Context(), all[0], 2); err == nil || !strings.Contains(err.Error(), "topic 1 has 2 heads") {
		t.Errorf("two heads in one of 3 topics: %v", err)
	}
}

func TestRow(t *testing.T) {
	r := row{name: "n", events: 12_000, took: 2 * time.Second, wire: 440, body: 335, limits: []limit{{"raw", 24_000}}}
	r.atMost(time.Second)
	const want = "n|2.00 s|6,000|440|1.10|||||||0.25 × raw (24,000/s)|≤ 1s: **missed**"
	if got := strings.Join(r.cells(), "|"); got != want {
		t.Errorf("cells\n%s\nwant\n%s", got, want)
	}
	r.atLeast(6000)
	if r.verdict() != "≥ 6,000/s: met" {
		t.Errorf("verdict %q", r.verdict())
	}
	paced := row{name: "n", events: 1000, took: 10 * time.Second, latency: 2 * time.Millisecond, written: 5_000_000, limits: []limit{{"raw", 2000}}}
	paced.atMost(time.Millisecond)
	const wantPaced = "n|2.00 ms|100||||5000|||||0.25 × raw (2,000/s)|≤ 1ms: **missed**"
	if got := strings.Join(paced.cells(), "|"); got != wantPaced {
		t.Errorf("cells with a latency\n%s\nwant\n%s", got, wantPaced)
	}
	still := row{name: "n", took: time.Minute, written: 4096, notes: []string{"5 B/s"}}
	if got := strings.Join(still.cells(), "|"); got != "n|60.00 s||||||||||5 B/s|" {
		t.Errorf("cells without events\n%s", got)
	}
	if got := pairs([]time.Duration{3, 4, 1, 2, 9}); !slices.Equal(got, []time.Duration{3, 7}) {
		t.Errorf("pairs %v", got)
	}
	if got := percentile([]time.Duration{1, 2, 3}, 50); got != 2 {
		t.Errorf("median %d", got)
	}
}
