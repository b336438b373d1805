package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/cairn-p2p/cairn/api"
	"github.com/cairn-p2p/cairn/types"
)

// Between two attempts to reach the node again.
const (
	retryFirst   = 50 * time.Millisecond
	retryLongest = time.Second
)

func newSub(a *app) *cobra.Command {
	var from string
	var count uint64
	var verify verifyFlags
	cmd := &cobra.Command{
		Use:   "sub TOPIC",
		Short: "Join a topic and follow its events until interrupted",
		Long: `Join a topic and print its events in the order in which this node got them, each
once and after its links. When the node goes away, sub waits for it and resumes
where it was. Every row has a cursor: --from goes on behind it.

With --verify every event is checked here: its encoding, signature, topic and
publisher, and that it comes after its links. With --from start, and no filter, a
link that did not come first ends it with 1; otherwise rows name links that were
not seen as unverified.`,
		Args: cobra.ExactArgs(1),
		RunE: a.verb(func(ctx context.Context, _ *cobra.Command, args []string) error {
			if a.output == formatJSON {
				return usagef("sub never ends, so it prints no JSON document; use -o ndjson")
			}
			if err := api.CheckFrom(from); err != nil {
				return fmt.Errorf("--from: %w", err)
			}
			s, err := verify.subscription(args[0], from)
			if err != nil {
				return err
			}
			if verify.verify {
				return a.subVerified(ctx, args[0], verify, s, count)
			}
			return a.sub(ctx, args[0], from, count)
		}),
	}
	verify.add(cmd.Flags())
	cmd.Flags().StringVar(&from, "from", api.FromNow, "where to begin: start, now or a `CURSOR`")
	cmd.Flags().Uint64Var(&count, "count", 0, "stop after `N` events (default: never)")
	return cmd
}

func (a *app) sub(ctx context.Context, topic, from string, count uint64) error {
	c, err := a.topicClient(topic)
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	defer stop()
	f := &follower{app: a, client: c, topic: topic, from: from, count: count}
	err = f.follow(ctx)
	if errors.Is(err, context.Canceled) { // interrupted
		return nil
	}
	return err
}

// follower prints a topic's deliveries across restarts of the node.
type follower struct {
	app    *app
	client *api.Client
	topic  string
	from   string // where to resume
	count  uint64 // deliveries to print; 0: no bound

	printer   printer[api.Delivery]
	printed   uint64
	connected bool // the node has answered, now or before
}

// errEnough: all that were asked for are printed.
var errEnough = errors.New("enough")

// follow prints until it has printed enough, fails, or ctx ends, whose error
// it returns. Before the node's first answer it does not retry.
func (f *follower) follow(ctx context.Context) error {
	f.printer = printer[api.Delivery]{w: f.app.stdout, format: f.app.output, table: deliveryTable()}
	for wait := retryFirst; ; wait = min(2*wait, retryLongest) {
		resumed, err := f.subscribe(ctx)
		switch {
		case errors.Is(err, errEnough):
			return nil
		case ctx.Err() != nil:
			return ctx.Err()
		case !f.connected, !errors.Is(err, api.ErrUnreachable) && !errors.Is(err, types.ErrClosed):
			return err
		}
		if resumed {
			wait = retryFirst
			fmt.Fprintf(f.app.stderr, "cairn: %v; waiting to resume\n", err)
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// subscribe prints what one subscription delivers and reports whether the node
// answered it.
func (f *follower) subscribe(ctx context.Context) (answered bool, err error) {
	for d, err := range f.client.Subscribe(ctx, f.topic, f.from) {
		if err != nil {
			return answered, err
		}
		answered, f.connected = true, true
		if d.CID != "" {
			if err := f.printer.row(d); err != nil {
				return answered, err
			}
			f.printed++
		}
		if d.Cursor != "" {
			f.from = d.Cursor
		}
		if f.count > 0 && f.printed == f.count {
			return answered, errEnough
		}
	}
	return answered, nil
}

func deliveryTable() table[api.Delivery] {
	cursor := column[api.Delivery]{"CURSOR", 15, func(d *api.Delivery) string { return d.Cursor }}
	return append(table[api.Delivery]{cursor}, eventTable(func(d *api.Delivery) *api.Event { return &d.Event })...)
}
