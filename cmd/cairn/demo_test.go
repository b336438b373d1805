package main

import (
	"bytes"
	"errors"
	"strings"
	"testing"
)

// demoShape repeats demoRow on purpose, as the others in json_test.go do.
type demoShape struct {
	Node      string  `json:"node"`
	Events    uint64  `json:"events"`
	Missed    uint64  `json:"missed"`
	Heads     int     `json:"heads"`
	HeadsHash string  `json:"heads_hash"`
	Seconds   float64 `json:"seconds"`
}

// runDemo carries out a demo that must succeed and returns its stdout.
func runDemo(t *testing.T, args ...string) string {
	t.Helper()
	t.Setenv("TMPDIR", t.TempDir())
	var stdout, stderr bytes.Buffer
	args = append([]string{"dev", "--timeout", "60s"}, args...)
	code := run(args, strings.NewReader(""), &stdout, &stderr, func(string) string { return "" })
	if code != exitOK {
		t.Fatalf("cairn %q: exit code %d: %s", args, code, stderr.String())
	}
	return stdout.String()
}

func TestDemoShape(t *testing.T) {
	const events, nodes = 50, 3
	rows := wantShape[[]demoShape](t, runDemo(t, "--demo", "50", "-o", "json"))
	if len(rows) != nodes {
		t.Fatalf("%d rows", len(rows))
	}
	for i, r := range rows {
		if r.Node != nodeName(i) || r.Events != events || r.HeadsHash != rows[0].HeadsHash || len(r.HeadsHash) != 64 || r.Heads < 1 {
			t.Errorf("row %d: %+v", i, r)
		}
	}
	// 12 of 50 come before the cut and 25 while it lasts: 9, 8 and 8.
	if rows[2].Missed != 17 || rows[1].Missed != 8 || rows[0].Missed != 8 {
		t.Errorf("missed %d, %d and %d; want 8, 8 and 17", rows[0].Missed, rows[1].Missed, rows[2].Missed)
	}
	if rows[2].Seconds <= 0 {
		t.Errorf("equal after %g seconds", rows[2].Seconds)
	}
}

// The smallest demo still cuts the last node off for an event.
func TestSmallestDemo(t *testing.T) {
	rows := strings.Split(strings.TrimSpace(runDemo(t, "--demo", "2", "--nodes", "2", "-o", "ndjson")), "\n")
	if len(rows) != 2 {
		t.Fatalf("rows %q", rows)
	}
	if r := wantShape[demoShape](t, rows[1]); r.Missed != 1 || r.Events != 2 {
		t.Errorf("the last node: %+v", r)
	}
}

func TestVerdict(t *testing.T) {
	good := []demoRow{{Events: 10, HeadsHash: "a"}, {Events: 10, HeadsHash: "a", Missed: 3}}
	for _, test := range []struct {
		name   string
		change func(rows []demoRow)
		want   error
	}{
		{"good", func([]demoRow) {}, nil},
		{"another DAG", func(rows []demoRow) { rows[1].HeadsHash = "b" }, errNotEqual},
		{"too few events", func(rows []demoRow) { rows[0].Events = 9 }, errNotEqual},
		{"too few on all", func(rows []demoRow) { rows[0].Events, rows[1].Events = 9, 9 }, errNotEqual},
		{"no cut", func(rows []demoRow) { rows[1].Missed = 0 }, errNothingMissed},
	} {
		rows := append([]demoRow(nil), good...)
		test.change(rows)
		if err := verdict(rows, 10); !errors.Is(err, test.want) {
			t.Errorf("%s: %v, want %v", test.name, err, test.want)
		}
	}
}
