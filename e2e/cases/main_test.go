package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cairn-p2p/cairn/e2e"
)

// results are what came of two runs of a case.
func results(lost int) []*e2e.Result {
	return []*e2e.Result{
		{Seed: 1, Events: 600, Converged: 2 * time.Second, Needed: 100, Redundant: 5, Peaks: e2e.Peaks{Streams: 3, Pending: 4 << 10}},
		{Seed: 2, Events: 601, Converged: time.Second, Needed: 100, Lost: lost, Peaks: e2e.Peaks{Streams: 2, Pending: 5 << 10}},
	}
}

// A row has the range of what its runs showed, the greatest of each peak, and
// what all of them lost.
func TestLine(t *testing.T) {
	got := row{c: e2e.Cases()[0], results: results(2)}.line()
	const want = "| `halves` | partition in halves | 6 | 2 | 1 to 2 | 600 to 601 | 2 | 1.00 to 2.00 | 5.0% | " +
		"pending on a node 5 KiB of 64 MiB; streams served by a node 3 of 128; heap of the process 0; disk of all nodes 0 |\n"
	if got != want {
		t.Errorf("%swant\n%s", got, want)
	}
}

// Rows replace those of the same cases between the marks, in the order of the
// cases, and nothing else.
func TestReplace(t *testing.T) {
	cases := e2e.Cases()
	first, second := row{c: cases[0], results: results(0)}, row{c: cases[1], results: results(0)}
	file := filepath.Join(t.TempDir(), "doc.md")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("before\n" + begin + end + "after\n")
	for _, rows := range [][]row{{second}, {{c: cases[0], results: results(9)}}, {first}} {
		if err := replace(file, rows, nil); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if want := "before\n" + begin + "\n" + header + first.line() + second.line() + "\n" + end + "after\n"; string(got) != want {
		t.Errorf("%s\nwant\n%s", got, want)
	}
	write("no marks\n")
	if err := replace(file, []row{first}, nil); err == nil || !strings.Contains(err.Error(), "marks") {
		t.Errorf("a file without marks: %v", err)
	}
}

// A run holds only if nothing is wrong and nothing was lost.
func TestHeld(t *testing.T) {
	for _, r := range []*e2e.Result{{Lost: 1}, {Wrong: []string{"heads differ"}}} {
		if held(r) || !strings.Contains(line(r), "DID NOT HOLD") {
			t.Errorf("it held: %s", line(r))
		}
	}
	if r := (&e2e.Result{}); !held(r) || !strings.HasSuffix(line(r), "held") {
		t.Errorf("it did not hold: %s", line(r))
	}
}

func TestChoose(t *testing.T) {
	if got, err := choose(e2e.Cases(), []string{"crash"}); err != nil || len(got) != 1 || got[0].Name != "crash" {
		t.Errorf("%v, %v", got, err)
	}
	if _, err := choose(e2e.Cases(), []string{"nope"}); err == nil {
		t.Error("a case that is not there was chosen")
	}
}
