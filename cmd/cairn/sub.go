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
	"github.com/cairn-p2p/cairn/node"
	"github.com/cairn-p2p/cairn/types"
)

// Between two attempts to reach the node again.
const (
	retryFirst   = 50 * time.Millisecond
	retryLongest = time.Second
)

// Who acknowledges what 'sub --consumer' prints.
const (
	ackNone = "none" // whoever reads the tokens
	ackAuto = "auto" // sub, once the row is written
)

// subFlags are the flags of sub as they were typed.
type subFlags struct {
	from     string
	count    uint64
	consumer string
	ack      string
	verify   verifyFlags
}

func newSub(a *app) *cobra.Command {
	var f subFlags
	cmd := &cobra.Command{
		Use:   "sub TOPIC",
		Short: "Join a topic and follow its events until interrupted",
		Long: `Join a topic and print its events in the order in which this node got them, each
once and after its links. When the node goes away, sub waits for it and resumes
where it was. Every row has a cursor: --from goes on behind it.

With --consumer it prints what a durable consumer of the topic is given, as
'cairn consumer next' does, and goes on for ever. The node knows where the consumer
stands, so it resumes there. With --ack auto each event is acknowledged once its
row is written; otherwise whoever reads the rows settles their tokens.

With --verify every event is checked here: its encoding, signature, topic and
publisher, and that it comes after its links. With --from start, and no filter, a
link that did not come first ends it with 1; otherwise rows name links that were
not seen as unverified.`,
		Args: cobra.ExactArgs(1),
		RunE: a.verb(func(ctx context.Context, cmd *cobra.Command, args []string) error {
			return a.sub(ctx, cmd, args[0], f)
		}),
	}
	flags := cmd.Flags()
	flags.StringVar(&f.from, "from", api.FromNow, "where to begin: start, now or a `CURSOR`")
	flags.Uint64Var(&f.count, "count", 0, "stop after `N` events (default: never)")
	flags.StringVar(&f.consumer, "consumer", "", "print what the consumer `NAME` is given")
	flags.StringVar(&f.ack, "ack", ackNone, "with --consumer, acknowledge what is printed: `auto` or none")
	f.verify.add(flags)
	return cmd
}

func (a *app) sub(ctx context.Context, cmd *cobra.Command, topic string, f subFlags) error {
	if a.output == formatJSON {
		return usagef("sub never ends, so it prints no JSON document; use -o ndjson")
	}
	verified, err := f.verify.subscription(topic, f.from)
	if err != nil {
		return err
	}
	if f.verify.verify {
		if f.consumer != "" {
			return usagef("--verify makes no sense with --consumer")
		}
		if err := api.CheckFrom(f.from); err != nil {
			return fmt.Errorf("--from: %w", err)
		}
		return a.subVerified(ctx, topic, f.verify, verified, f.count)
	}
	attempt, err := a.subscription(cmd, topic, f)
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	defer stop()
	err = a.resume(ctx, attempt)
	if errors.Is(err, context.Canceled) { // interrupted
		return nil
	}
	return err
}

// subscription checks what was typed and returns what resume attempts.
func (a *app) subscription(cmd *cobra.Command, topic string, f subFlags) (func(context.Context) (bool, error), error) {
	if f.consumer == "" {
		for _, name := range []string{"consumer", "ack"} {
			if cmd.Flags().Changed(name) {
				return nil, usagef("--%s makes no sense without the name of a consumer", name)
			}
		}
		if err := api.CheckFrom(f.from); err != nil {
			return nil, fmt.Errorf("--from: %w", err)
		}
		c, err := a.topicClient(topic)
		if err != nil {
			return nil, err
		}
		return newFollower(a, c, topic, f).subscribe, nil
	}
	if cmd.Flags().Changed("from") {
		return nil, usagef("--from makes no sense with --consumer, which knows where it stands")
	}
	if f.ack != ackAuto && f.ack != ackNone {
		return nil, usagef("--ack %q: want auto or none", f.ack)
	}
	ref, err := node.ParseTopicRef(topic)
	if err != nil {
		return nil, err
	}
	c, err := a.consumerClient(f.consumer)
	if err != nil {
		return nil, err
	}
	return newConsuming(a, c, ref, f).consume, nil
}

// resume attempts something that never ends by itself, and again whenever the node
// goes away, until it has done enough, fails, or ctx ends, whose error it
// returns. attempt reports whether the node answered; before its first answer
// there is no second attempt.
func (a *app) resume(ctx context.Context, attempt func(context.Context) (answered bool, err error)) error {
	connected := false
	for wait := retryFirst; ; wait = min(2*wait, retryLongest) {
		answered, err := attempt(ctx)
		connected = connected || answered
		switch {
		case errors.Is(err, errEnough):
			return nil
		case ctx.Err() != nil:
			return ctx.Err()
		case !connected, !errors.Is(err, api.ErrUnreachable) && !errors.Is(err, types.ErrClosed):
			return err
		}
		if answered {
			wait = retryFirst
			fmt.Fprintf(a.stderr, "cairn: %v; waiting to resume\n", err)
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// errEnough: all that were asked for are printed.
var errEnough = errors.New("enough")

// follower prints a topic's deliveries across restarts of the node.
type follower struct {
	client *api.Client
	topic  string
	from   string // where to resume
	count  uint64 // deliveries to print; 0: no bound

	printer printer[api.Delivery]
	printed uint64
}

func newFollower(a *app, c *api.Client, topic string, f subFlags) *follower {
	return &follower{
		client:  c,
		topic:   topic,
		from:    f.from,
		count:   f.count,
		printer: printer[api.Delivery]{w: a.stdout, format: a.output, table: deliveryTable()},
	}
}

// subscribe prints what one subscription delivers and reports whether the node
// answered it.
func (f *follower) subscribe(ctx context.Context) (answered bool, err error) {
	for d, err := range f.client.Subscribe(ctx, f.topic, f.from) {
		if err != nil {
			return answered, err
		}
		answered = true
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
