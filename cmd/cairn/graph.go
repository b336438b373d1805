package main

import (
	"bufio"
	"context"
	"io"

	"github.com/spf13/cobra"

	"github.com/cairn-p2p/cairn/api"
	"github.com/cairn-p2p/cairn/graph"
)

// defaultGraph is how many events a picture has unless it is told: as many as
// can be read on one screen.
const defaultGraph = 300

// graphFlags are the flags of topic graph.
type graphFlags struct {
	format string
	last   uint64
}

// drawings are the formats of topic graph.
var drawings = map[string]func(*graph.Layout, io.Writer) error{
	"dot":  (*graph.Layout).WriteDOT,
	"svg":  (*graph.Layout).WriteSVG,
	"json": (*graph.Layout).WriteJSON,
}

func newTopicGraph(a *app) *cobra.Command {
	var f graphFlags
	cmd := &cobra.Command{
		Use:   "graph TOPIC",
		Short: "Draw a topic's DAG",
		Long: `Draw a topic's DAG: height across, a lane for each publisher, heads marked.

Only the last events in canonical order are drawn; what they link to below them is
shown as short stubs. svg is for people ('cairn topic graph t > t.svg', and open it in a
browser: it has tooltips), dot for Graphviz, json for programs.`,
		Args: cobra.ExactArgs(1),
		RunE: a.verb(func(ctx context.Context, _ *cobra.Command, args []string) error {
			return a.graph(ctx, args[0], f)
		}),
	}
	cmd.Flags().StringVar(&f.format, "format", "svg", "what to write: dot, svg or json")
	cmd.Flags().Uint64Var(&f.last, "last", defaultGraph, "draw the last `N` events, at most 2000")
	return cmd
}

func (a *app) graph(ctx context.Context, topic string, f graphFlags) error {
	draw := drawings[f.format]
	switch {
	case draw == nil:
		return usagef("--format %q: want dot, svg or json", f.format)
	case f.last < 1 || f.last > graph.MaxEvents:
		return usagef("--last %d: want 1 to %d", f.last, graph.MaxEvents)
	case a.output != formatTable:
		return usagef("a picture has no rows, so -o %s makes no sense with it; use --format json", a.output)
	}
	c, err := a.topicClient(topic)
	if err != nil {
		return err
	}
	l, err := layOut(ctx, c, topic, f.last)
	if err != nil {
		return err
	}
	w := bufio.NewWriter(a.stdout)
	if err := draw(l, w); err != nil {
		return err
	}
	return wrote(w.Flush())
}

// layOut lays out the last events of a topic. Which of them are heads follows
// from themselves, so that a topic that grows meanwhile cannot contradict it.
func layOut(ctx context.Context, c *api.Client, topic string, last uint64) (*graph.Layout, error) {
	h, err := c.Heads(ctx, topic)
	if err != nil {
		return nil, err
	}
	var events []graph.Event
	older := make(map[string]bool, len(h.Heads))
	for _, id := range h.Heads {
		older[id] = true
	}
	for e, err := range c.Query(ctx, topic, api.Query{Reverse: true, Limit: last}) {
		if err != nil {
			return nil, err
		}
		delete(older, e.CID)
		events = append(events, graph.Event{
			CID:       e.CID,
			Publisher: e.Publisher,
			Seq:       e.Seq,
			Height:    e.Height,
			Time:      e.Time.Time,
			Links:     e.Links,
			Payload:   e.Payload,
		})
	}
	return graph.Lay(graph.Topic{Name: h.Topic, ID: h.TopicID, Events: h.Events, OlderHeads: len(older)}, events)
}
