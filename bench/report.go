package main

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"
)

// row is what came of a work on each system, Cairn first.
type row struct {
	work    string
	results []result
}

// printTable writes the rows as a table in Markdown, with the ratios to the
// first system at the end, and the notes under it.
func printTable(out io.Writer, names []string, rows []row) error {
	w := tabwriter.NewWriter(out, 0, 0, 1, ' ', 0)
	line := func(cells []string) { fmt.Fprintf(w, "| %s |\n", strings.Join(cells, "\t| ")) }
	head := append([]string{"work"}, names...)
	for _, n := range names[1:] {
		head = append(head, n+" ÷ "+names[0])
	}
	line(head)
	rule := make([]string, len(head))
	for i := range rule {
		rule[i] = "---"
	}
	line(rule)
	for _, r := range rows {
		cells := []string{r.work}
		for _, res := range r.results {
			cells = append(cells, res.cell())
		}
		for _, res := range r.results[1:] {
			cells = append(cells, ratio(r.results[0], res))
		}
		line(cells)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	return printNotes(out, names, rows)
}

// printNotes writes what does not fit into cells, as a list.
func printNotes(out io.Writer, names []string, rows []row) error {
	for _, r := range rows {
		for i, res := range r.results {
			notes := res.Notes
			if res.NotDone != "" {
				notes = append(notes, fmt.Sprintf("%s: %s", res.cell(), res.reached()))
			}
			if res.Failed != "" {
				notes = append(notes, "FAILED: "+res.Failed)
			}
			for _, n := range notes {
				if _, err := fmt.Fprintf(out, "\n- %s, %s: %s", r.work, names[i], n); err != nil {
					return err
				}
			}
		}
	}
	_, err := fmt.Fprintln(out)
	return err
}

// done reports whether the result has a time to show.
func (r *result) done() bool { return r.Failed == "" && r.NotDone == "" }

// reached says how far a result that was not done got; nothing of one that was.
func (r *result) reached() string {
	if r.NotDone != "" && r.Held != 0 {
		return fmt.Sprintf("%s; the events were there after %s", r.NotDone, short(r.Held))
	}
	return r.NotDone
}

func (r *result) cell() string {
	switch {
	case r.Failed != "":
		return "**failed**"
	case r.NotDone != "":
		return "not done in " + r.Took.Round(time.Second).String()
	default:
		return fmt.Sprintf("%s (%s/s)", short(r.Took), thousands(float64(r.Events)/r.Took.Seconds()))
	}
}

// ratio is how many times as long the other took. What was not done took
// longer than the time it was given.
func ratio(base, other result) string {
	if !base.done() || other.Failed != "" {
		return "–"
	}
	times := other.Took.Seconds() / base.Took.Seconds()
	format := "%.0f ×"
	if times < 10 {
		format = "%.1f ×"
	}
	if other.NotDone != "" {
		format = "> " + format
	}
	return fmt.Sprintf(format, times)
}

// short prints a duration with three digits.
func short(d time.Duration) string {
	switch {
	case d < 10*time.Millisecond:
		return fmt.Sprintf("%.2f ms", d.Seconds()*1e3)
	case d < time.Second:
		return fmt.Sprintf("%.0f ms", d.Seconds()*1e3)
	case d < 10*time.Second:
		return fmt.Sprintf("%.2f s", d.Seconds())
	default:
		return fmt.Sprintf("%.1f s", d.Seconds())
	}
}

// thousands prints a whole number with commas.
func thousands(v float64) string {
	s := fmt.Sprintf("%.0f", v)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}
