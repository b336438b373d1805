package main

import (
	"bufio"
	"context"
	"fmt"
	"iter"
	"time"

	"github.com/spf13/cobra"

	"github.com/cairn-p2p/cairn/api"
	"github.com/cairn-p2p/cairn/types"
)

// queryFlags are the flags of query as they were typed.
type queryFlags struct {
	api.Query
	since, until string
	payload      bool
}

func newQuery(a *app) *cobra.Command {
	var f queryFlags
	cmd := &cobra.Command{
		Use:   "query TOPIC",
		Short: "Print a topic's events in canonical order",
		Long: `Print a topic's events in canonical order: by height, then by the bytes of the CID.

--after pages through the order. What arrives later may sort before it, so only
'cairn sub' misses nothing. --since and --until go by the publishers' clocks; T is
a time as in RFC 3339, or a duration such as 10m: so long ago.`,
		Args: cobra.ExactArgs(1),
		RunE: a.verb(func(ctx context.Context, cmd *cobra.Command, args []string) error {
			return a.query(ctx, cmd, args[0], f)
		}),
	}
	flags := cmd.Flags()
	flags.Uint64Var(&f.Limit, "limit", 0, "at most `N` events (default: all)")
	flags.StringVar(&f.After, "after", "", "only events behind `CID` in the order")
	flags.BoolVar(&f.Reverse, "reverse", false, "in descending order")
	flags.StringVar(&f.since, "since", "", "only events at or after `T`")
	flags.StringVar(&f.until, "until", "", "only events before `T`")
	flags.StringVar(&f.Tag, "tag", "", "only events with tag `T`")
	flags.StringVar(&f.Publisher, "publisher", "", "only events of the publisher with peer id `ID`")
	flags.BoolVar(&f.payload, "payload", false, "print each payload's bytes and a line feed, nothing else")
	return cmd
}

func (a *app) query(ctx context.Context, cmd *cobra.Command, topic string, f queryFlags) error {
	for _, name := range []string{"after", "since", "until", "tag", "publisher"} {
		if flag := cmd.Flag(name); flag.Changed && flag.Value.String() == "" {
			return usagef("--%s is empty", name)
		}
	}
	if f.payload && a.output != formatTable {
		return usagef("--payload prints no rows, so -o %s makes no sense with it", a.output)
	}
	q := f.Query
	var err error
	if q.Since, err = parseTime("since", f.since, time.Now()); err != nil {
		return err
	}
	if q.Until, err = parseTime("until", f.until, time.Now()); err != nil {
		return err
	}
	if err := q.Check(); err != nil {
		return err
	}
	c, err := a.topicClient(topic)
	if err != nil {
		return err
	}
	events := c.Query(ctx, topic, q)
	if f.payload {
		return a.printPayloads(events)
	}
	return printRows(a, events, eventTable(func(e *api.Event) *api.Event { return e }))
}

func (a *app) printPayloads(events iter.Seq2[api.Event, error]) error {
	w := bufio.NewWriter(a.stdout)
	for e, err := range events {
		if err == nil {
			err = write(w, append(e.Payload, '\n'))
		}
		if err != nil {
			w.Flush() //nolint:errcheck // the first error is the one to tell
			return err
		}
	}
	return wrote(w.Flush())
}

// parseTime reads a moment: RFC 3339, or a duration before now. Empty is the
// zero time.
func parseTime(name, s string, now time.Time) (time.Time, error) {
	if s == "" {
		return time.Time{}, nil
	}
	if d, err := time.ParseDuration(s); err == nil {
		return now.Add(-d), nil
	}
	t, err := time.Parse(time.RFC3339Nano, s)
	if err != nil || t.IsZero() { // which stands for no time at all
		return t, usagef("--%s %q: want a time like 2006-01-02T15:04:05Z, or a duration like 10m", name, s)
	}
	return t, nil
}

func newGet(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "get CID",
		Short: "Print an event that the node has",
		Args:  cobra.ExactArgs(1),
		RunE: a.verb(func(ctx context.Context, _ *cobra.Command, args []string) error {
			if err := checkCIDs(args); err != nil {
				return fmt.Errorf("get: %w", err)
			}
			c, err := a.client()
			if err != nil {
				return err
			}
			e, err := c.Event(ctx, args[0])
			if err != nil {
				return err
			}
			return a.printObject(e, eventFields(e))
		}),
	}
}

// checkCIDs reports what was typed in place of a CID.
func checkCIDs(cids []string) error {
	for _, text := range cids {
		if _, err := types.ParseCID(text); err != nil {
			return err
		}
	}
	return nil
}
