package main

import (
	"bytes"
	_ "embed"
	"fmt"
	"html/template"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/ipfs/go-cid"

	"github.com/cairn-p2p/cairn/e2e"
	"github.com/cairn-p2p/cairn/graph"
	"github.com/cairn-p2p/cairn/types"
)

// simReport is the page of one run.
type simReport struct {
	Row      simRow
	Table    []cell
	Timeline template.HTML
	DAG      template.HTML
	Drawn    int
	Data     simData
}

// cell is a name and a value of the page's table.
type cell struct{ Name, Value string }

// simData is all that the page shows, for programs.
type simData struct {
	Result  simRow        `json:"result"`
	Faults  []happening   `json:"faults"`
	Samples []lagSample   `json:"samples"`
	DAG     *graph.Layout `json:"dag"` // of the first topic
}

// happening is a fault that began or ended.
type happening struct {
	Seconds float64 `json:"seconds"` // since the start
	What    string  `json:"what"`
}

// lagSample is what each node lacked at a moment.
type lagSample struct {
	Seconds      float64 `json:"seconds"` // since the start
	Acknowledged int     `json:"acknowledged"`
	Lag          []*int  `json:"lag"` // by node; null while it is down
}

//go:embed simreport.html
var simReportText string

var simReportPage = template.Must(template.New("report").Parse(simReportText))

// writeReport writes the report of a run with a trace into a file.
func writeReport(name string, r *e2e.Result) error {
	row := newSimRow(r)
	layout, err := drawn(r.Log)
	if err != nil {
		return fmt.Errorf("draw the DAG: %w", err)
	}
	var svg, page bytes.Buffer
	if err := layout.WriteSVG(&svg); err != nil {
		return fmt.Errorf("draw the DAG: %w", err)
	}
	data := simData{Result: row, Faults: []happening{}, Samples: []lagSample{}, DAG: layout}
	for _, f := range r.Faults {
		data.Faults = append(data.Faults, happening{seconds(f.At), f.What})
	}
	for _, s := range r.Samples {
		data.Samples = append(data.Samples, newLagSample(s))
	}
	report := simReport{
		Row:      row,
		Timeline: timeline(data),
		DAG:      template.HTML(svg.String()), //nolint:gosec // package graph escapes what others wrote
		Drawn:    len(layout.Nodes),
		Data:     data,
	}
	for _, c := range simTable {
		report.Table = append(report.Table, cell{c.name, c.cell(&row)})
	}
	if row.inside() {
		for _, p := range r.List() {
			report.Table = append(report.Table, cell{"PEAK", p.String()})
		}
	}
	if err := simReportPage.Execute(&page, report); err != nil {
		return fmt.Errorf("write report: %w", err)
	}
	if err := os.WriteFile(name, page.Bytes(), 0o644); err != nil {
		return fmt.Errorf("write report: %w", err)
	}
	return nil
}

// checkReport reports why no report can be written into a file: before a long
// run, not after it.
func checkReport(name string) error {
	if info, err := os.Stat(filepath.Dir(name)); err != nil || !info.IsDir() {
		return usagef("--report %s: there is no directory %s", name, filepath.Dir(name))
	}
	if info, err := os.Stat(name); err == nil && info.IsDir() {
		return usagef("--report %s: it is a directory", name)
	}
	return nil
}

// drawn lays out the last events of a log.
func drawn(log []*types.Event) (*graph.Layout, error) {
	sinks := map[cid.Cid]bool{}
	for _, e := range log { // each after its links
		for _, l := range e.Links {
			delete(sinks, l)
		}
		sinks[e.CID] = true
	}
	all := slices.SortedFunc(slices.Values(log), types.CompareEvents)
	all = all[max(0, len(all)-defaultGraph):]
	var events []graph.Event
	for _, e := range all {
		delete(sinks, e.CID)
		g := graph.Event{
			CID: e.CID.String(), Publisher: e.Publisher.String(), Seq: e.Seq, Height: e.Height,
			Time: time.Unix(0, e.Time).UTC(), Payload: bytes.TrimRight(e.Payload, "\x00"),
		}
		for _, l := range e.Links {
			g.Links = append(g.Links, l.String())
		}
		events = append(events, g)
	}
	topic := graph.Topic{Name: "topic 0", Events: uint64(len(log)), OlderHeads: len(sinks)}
	if len(log) > 0 {
		topic.ID = log[0].Topic.String()
	}
	return graph.Lay(topic, events)
}

func newLagSample(s e2e.Sample) lagSample {
	l := lagSample{Seconds: seconds(s.At), Acknowledged: s.Acknowledged, Lag: make([]*int, len(s.Events))}
	for i, n := range s.Events {
		if n >= 0 {
			lag := max(0, s.Acknowledged-n) // it may have more: not all that it has is acknowledged yet
			l.Lag[i] = &lag
		}
	}
	return l
}

// Pixels of the timeline.
const (
	timelineWidth, timelineHeight = 1000, 260
	timelineLeft, timelineTop     = 50, 10 // margins
	timelineRight, timelineBottom = 10, 30
)

// timeline draws each node's lag over time, and the faults.
func timeline(d simData) template.HTML {
	end, most := 1e-9, 1
	for _, s := range d.Samples {
		end = max(end, s.Seconds)
		for _, lag := range s.Lag {
			if lag != nil {
				most = max(most, *lag)
			}
		}
	}
	for _, f := range d.Faults {
		end = max(end, f.Seconds)
	}
	const right, bottom = timelineWidth - timelineRight, timelineHeight - timelineBottom
	x := func(seconds float64) float64 { return timelineLeft + seconds/end*(right-timelineLeft) }
	y := func(lag int) float64 { return bottom - float64(lag)/float64(most)*(bottom-timelineTop) }
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" viewBox="0 0 %d %d" role="img">`+"\n", timelineWidth, timelineHeight, timelineWidth, timelineHeight)
	fmt.Fprintf(&b, `<path d="M%d %dV%dH%d" class="axis"/>`+"\n", timelineLeft, timelineTop, bottom, right)
	fmt.Fprintf(&b, `<text x="%d" y="%d" text-anchor="end">%d</text><text x="%d" y="%d" text-anchor="end">0</text>`+"\n", timelineLeft-5, timelineTop+10, most, timelineLeft-5, bottom)
	fmt.Fprintf(&b, `<text x="%d" y="%d">0 s</text><text x="%d" y="%d" text-anchor="end">%s s</text>`+"\n", timelineLeft, bottom+20, right, bottom+20, strconv.FormatFloat(end, 'f', 1, 64))
	for _, f := range d.Faults {
		fmt.Fprintf(&b, `<path d="M%.1f %dV%d" class="fault"><title>%s s: %s</title></path>`+"\n", x(f.Seconds), timelineTop, bottom,
			strconv.FormatFloat(f.Seconds, 'f', 3, 64), template.HTMLEscapeString(f.What))
	}
	for i := range d.Result.Nodes {
		fmt.Fprintf(&b, `<path d="%s" class="lag" style="stroke:hsl(%d 70%% 40%%)"><title>node %d</title></path>`+"\n", lagPath(d.Samples, i, x, y), i*360/d.Result.Nodes, i)
	}
	b.WriteString("</svg>\n")
	return template.HTML(b.String()) //nolint:gosec // numbers, and what is escaped above
}

// lagPath is a node's line, with a gap where it was down.
func lagPath(samples []lagSample, node int, x func(float64) float64, y func(int) float64) string {
	var b strings.Builder
	move := byte('M')
	for _, s := range samples {
		lag := s.Lag[node]
		if lag == nil {
			move = 'M'
			continue
		}
		fmt.Fprintf(&b, "%c%.1f %.1f", move, x(s.Seconds), y(*lag))
		move = 'L'
	}
	return b.String()
}
