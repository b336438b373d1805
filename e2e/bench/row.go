package main

import (
	"cmp"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"
)

// row is one measurement. What is zero was not measured.
type row struct {
	name   string
	events int           // done in took
	took   time.Duration // the shorter, the better, unless latency is measured
	// what one event takes, from end to end, where the events come at a pace of
	// their own: goals and limits are about this then
	latency time.Duration
	cpu     time.Duration // user and system time of the whole process meanwhile
	rss     int64         // its peak resident memory meanwhile, bytes
	live    int64         // the most of its heap that a collection found in use meanwhile, bytes

	wire float64 // bytes on the wire for each event that crossed it
	body float64 // bytes of an event's body
	disk float64 // bytes on disk for each event
	// bytes written to disks meanwhile, by all nodes
	written int64
	heads   int // at the end

	limits []limit
	notes  []string // what has no column
	goal   string
	met    bool
}

// limit is what the machine can do, measured around the row.
type limit struct {
	name  string
	value float64 // events a second
}

// wireOverhead is what an event may add to its body on the wire: a single
// signature's witness.
const wireOverhead = 65

func (r *row) rate() float64 { return float64(r.events) / r.took.Seconds() }

// time is what is compared: the latency where that is measured, else how long
// all took.
func (r *row) time() time.Duration { return cmp.Or(r.latency, r.took) }

// pace is what is set beside the limits, in events a second.
func (r *row) pace() float64 {
	if r.latency > 0 {
		return 1 / r.latency.Seconds()
	}
	return r.rate()
}

// atMost sets a goal for the time.
func (r *row) atMost(d time.Duration) {
	r.goal, r.met = fmt.Sprintf("≤ %v", d), r.time() <= d
}

// atLeast sets a goal for the rate.
func (r *row) atLeast(rate float64) {
	r.goal, r.met = fmt.Sprintf("≥ %s/s", thousands(rate)), r.rate() >= rate
}

var columns = []string{
	"bench", "took", "events/s", "wire B/event", "÷ (body+65)", "disk B/event", "written B/event", "heads", "CPU s", "peak MiB", "live heap MiB", "beside the machine's limit", "goal",
}

func (r *row) cells() []string {
	return []string{
		r.name,
		short(r.time()),
		r.rateText(),
		number(r.wire, "%.0f"),
		number(r.wire/(r.body+wireOverhead), "%.2f"),
		number(r.disk, "%.0f"),
		number(r.perEvent(r.written), "%.0f"),
		number(float64(r.heads), "%.0f"),
		number(r.cpu.Seconds(), "%.2f"),
		number(float64(r.rss)/(1<<20), "%.0f"),
		number(float64(r.live)/(1<<20), "%.0f"),
		r.beside(),
		r.verdict(),
	}
}

// perEvent is a part of bytes; 0 for a row without events.
func (r *row) perEvent(bytes int64) float64 {
	if r.events == 0 {
		return 0
	}
	return float64(bytes) / float64(r.events)
}

func (r *row) rateText() string {
	if r.events == 0 {
		return ""
	}
	return thousands(r.rate())
}

func (r *row) beside() string {
	var all []string
	for _, l := range r.limits {
		all = append(all, fmt.Sprintf("%.2f × %s (%s/s)", r.pace()/l.value, l.name, thousands(l.value)))
	}
	return strings.Join(append(all, r.notes...), ", ")
}

func (r *row) verdict() string {
	switch {
	case r.goal == "":
		return ""
	case r.met:
		return r.goal + ": met"
	default:
		return r.goal + ": **missed**"
	}
}

// printTable writes the rows as a table in Markdown.
func printTable(out io.Writer, rows []row) error {
	if len(rows) == 0 {
		return nil
	}
	w := tabwriter.NewWriter(out, 0, 0, 1, ' ', 0)
	line := func(cells []string) { fmt.Fprintf(w, "| %s |\n", strings.Join(cells, "\t| ")) }
	line(columns)
	rule := make([]string, len(columns))
	for i := range rule {
		rule[i] = "---"
	}
	line(rule)
	for _, r := range rows {
		line(r.cells())
	}
	return w.Flush()
}

func number(v float64, format string) string {
	if v == 0 {
		return ""
	}
	return fmt.Sprintf(format, v)
}

// count says how many things of a kind there are.
func count(n int, kind string) string {
	if n == 1 {
		return "1 " + kind
	}
	return fmt.Sprintf("%d %ss", n, kind)
}

// short prints a duration with three digits.
func short(d time.Duration) string {
	switch {
	case d < 10*time.Millisecond:
		return fmt.Sprintf("%.2f ms", d.Seconds()*1e3)
	case d < time.Second:
		return fmt.Sprintf("%.0f ms", d.Seconds()*1e3)
	default:
		return fmt.Sprintf("%.2f s", d.Seconds())
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
