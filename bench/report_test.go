package main

import (
	"strings"
	"testing"
	"time"
)

func TestTable(t *testing.T) {
	rows := []row{
		{"append", []result{
			{Events: 1000, Took: 100 * time.Millisecond},
			{Events: 1000, Took: 1250 * time.Millisecond, Notes: []string{"a note"}},
		}},
		{"join", []result{
			{Events: 10_000, Took: 500 * time.Millisecond},
			{Events: 10_000, Took: time.Minute, Held: 20 * time.Second, NotDone: "heads differ"},
		}},
		{"heal", []result{
			{Events: 10, Took: time.Second, NotDone: "3 of 10"},
			{Events: 10, Took: 2 * time.Second},
		}},
		{"topics", []result{
			{Events: 10, Took: time.Second},
			{Events: 10, Took: 2 * time.Second, Failed: "1 of 10"},
		}},
	}
	var out strings.Builder
	if err := printTable(&out, []string{"A", "B"}, rows); err != nil {
		t.Fatal(err)
	}
	const want = `| work   | A                 | B                | B ÷ A |
| ---    | ---               | ---              | --- |
| append | 100 ms (10,000/s) | 1.25 s (800/s)   | 12 × |
| join   | 500 ms (20,000/s) | not done in 1m0s | > 120 × |
| heal   | not done in 1s    | 2.00 s (5/s)     | – |
| topics | 1.00 s (10/s)     | **failed**       | – |

- append, B: a note
- join, B: not done in 1m0s: heads differ; the events were there after 20.0 s
- heal, A: not done in 1s: 3 of 10
- topics, B: FAILED: 1 of 10
`
	if got := out.String(); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

// Of what was not done, no rate is shown.
func TestNotDoneHasNoNumber(t *testing.T) {
	r := result{Events: 10, Took: time.Second, NotDone: "half"}
	if strings.Contains(r.cell(), "/s") {
		t.Errorf("cell %q", r.cell())
	}
}
