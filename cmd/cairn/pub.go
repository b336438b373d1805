package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/cairn-p2p/cairn/api"
	"github.com/cairn-p2p/cairn/types"
)

func newPub(a *app) *cobra.Command {
	var lines bool
	var signed signedFlags
	var tags []string
	cmd := &cobra.Command{
		Use:   "pub TOPIC [PAYLOAD]",
		Short: "Join a topic, publish to it, and print the CIDs of the events",
		Long: `Join a topic, publish to it, and print the CID of each event once it is durable.

Without PAYLOAD, all of stdin is one payload; with --lines, each of its lines is.
pub stops at the first line that fails and names it. It never retries: lines
whose CID was not printed may or may not have been published.

With --key the events are signed here, with a key of their own, and the node or
broker is not trusted: it may refuse or delay them, and cannot change them. What
was signed is in FILE.state before it is sent, so the next run with the key sends
it again as it was, and nothing is published twice.`,
		Args: cobra.RangeArgs(1, 2),
		RunE: a.verb(func(ctx context.Context, _ *cobra.Command, args []string) error {
			if err := (api.Draft{Tags: tags}).Check(); err != nil {
				return err
			}
			if lines && len(args) == 2 {
				return usagef("--lines reads payloads from stdin, so PAYLOAD makes no sense with it")
			}
			if err := signed.check(args, lines); err != nil {
				return err
			}
			if signed.key != "" {
				return a.pubSigned(ctx, signed, args, tags, lines)
			}
			c, err := a.topicClient(args[0])
			if err != nil {
				return err
			}
			if lines {
				return a.pubLines(ctx, c, args[0], tags)
			}
			payload, err := a.payload(args[1:])
			if err != nil {
				return err
			}
			return a.pub(ctx, c, args[0], api.Draft{Payload: payload, Tags: tags})
		}),
	}
	signed.add(cmd.Flags())
	cmd.Flags().BoolVar(&lines, "lines", false, "publish each line of stdin as an event")
	cmd.Flags().StringArrayVar(&tags, "tag", nil, "tag the events with `T` (may be repeated)")
	return cmd
}

// payload returns the payload in args, or stdin's bytes.
func (a *app) payload(args []string) ([]byte, error) {
	if len(args) > 0 {
		return []byte(args[0]), nil
	}
	if isTerminal(a.stdin) {
		return nil, usagef("no PAYLOAD, and stdin is a terminal")
	}
	payload, err := io.ReadAll(io.LimitReader(a.stdin, types.MaxPayload+1))
	if err != nil {
		return nil, fmt.Errorf("read stdin: %w", err)
	}
	if len(payload) > types.MaxPayload {
		return nil, errPayloadSize
	}
	return payload, nil
}

var errPayloadSize = fmt.Errorf("%w: payload above the limit of %d bytes", types.ErrInvalidArgument, types.MaxPayload)

func (a *app) pub(ctx context.Context, c *api.Client, topic string, d api.Draft) error {
	if err := d.Check(); err != nil {
		return err
	}
	cids, err := c.Publish(ctx, topic, []api.Draft{d})
	if err != nil {
		return err
	}
	return a.printCIDs(cids)
}

// pubLines publishes the lines of stdin, sending ahead of the answers.
func (a *app) pubLines(ctx context.Context, c *api.Client, topic string, tags []string) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	lines := newLineReader(a.stdin, tags)
	go lines.run(ctx) // a read of stdin that never ends outlives it
	err := c.PublishStream(ctx, topic, lines.batches, a.printCIDs)
	if err == nil {
		err = lines.err
	}
	var failed *api.DraftError
	if errors.As(err, &failed) && errors.Is(err, types.ErrClosed) {
		return fmt.Errorf("after %d lines: %w", failed.Index, failed.Err)
	}
	if errors.As(err, &failed) {
		return fmt.Errorf("line %d: %w", failed.Index+1, failed.Err)
	}
	return err
}

// printCIDs prints CIDs, a line each, in one write.
func (a *app) printCIDs(cids []string) error {
	return write(a.stdout, []byte(strings.Join(cids, "\n")+"\n"))
}
