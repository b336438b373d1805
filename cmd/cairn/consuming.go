package main

import (
	"context"
	"fmt"
	"time"

	"github.com/cairn-p2p/cairn/api"
	"github.com/cairn-p2p/cairn/node"
	"github.com/cairn-p2p/cairn/types"
)

const (
	// consumeWindow bounds the deliveries that are under way, printed and not
	// acknowledged: enough for what a commit takes.
	consumeWindow = 1024
	// consumeDrain bounds how long an interrupted 'sub --consumer' prints and
	// acknowledges what was under way.
	consumeDrain = 2 * time.Second
)

// consuming prints what a consumer is given, across restarts of the node.
type consuming struct {
	app    *app
	client *api.Client
	topic  node.TopicRef
	name   string
	auto   bool   // acknowledge what is printed
	count  uint64 // deliveries to print; 0: no bound

	printer printer[api.ConsumerDelivery]
	printed uint64
}

func newConsuming(a *app, c *api.Client, topic node.TopicRef, f subFlags) *consuming {
	return &consuming{
		app:     a,
		client:  c,
		topic:   topic,
		name:    f.consumer,
		auto:    f.ack == ackAuto,
		count:   f.count,
		printer: printer[api.ConsumerDelivery]{w: a.stdout, format: a.output, table: consumerDeliveryTable()},
	}
}

// consume prints what one stream delivers and reports whether the node answered.
// When ctx ends it prints and acknowledges what is under way.
func (c *consuming) consume(ctx context.Context) (answered bool, err error) {
	if err := c.checkTopic(ctx); err != nil {
		return false, err
	}
	call, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	stream, err := c.client.Consume(call)
	if err != nil {
		return true, err
	}
	defer stream.Close()
	s := &consumeSession{consuming: c, stream: stream}
	// Whatever the printing does, the stream is received from: there is room for
	// the answers to all that is under way.
	received, failed := make(chan *api.Consumed, 2*consumeWindow), make(chan error, 1)
	go func() { failed <- s.receive(call, received) }()
	return true, s.run(ctx, received, failed)
}

// checkTopic demands that the consumer is there and of the topic.
func (c *consuming) checkTopic(ctx context.Context) error {
	info, err := c.client.Consumer(ctx, c.name)
	if err != nil {
		return err
	}
	if info.TopicID != c.topic.ID.String() {
		return fmt.Errorf("%w: consumer %q is of another topic, %q (id:%s)", types.ErrInvalidArgument, c.name, info.Topic, info.TopicID)
	}
	return nil
}

// consumeSession is one stream of a consuming.
type consumeSession struct {
	*consuming
	stream *api.ConsumeStream

	open     int // deliveries that are allowed and not done with; at most consumeWindow
	settling int // tokens whose settlement was not answered
	ended    bool
}

// receive passes on what is received, and says at once when the consumer lags. It
// returns why the stream ended.
func (s *consumeSession) receive(ctx context.Context, to chan<- *api.Consumed) error {
	for {
		m, err := s.stream.Receive()
		if err != nil {
			return err
		}
		if m.Lag > 0 {
			fmt.Fprintf(s.app.stderr, "cairn: consumer %q lags by %d; what it was given is not settled, or not read here\n", s.name, m.Lag)
			continue
		}
		select {
		case to <- m:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// run prints and acknowledges until enough is printed or the stream ends.
func (s *consumeSession) run(ctx context.Context, received <-chan *api.Consumed, failed <-chan error) error {
	s.allow()
	interrupted := ctx.Done()
	var late <-chan time.Time
	for {
		var err error
		select {
		case m := <-received:
			err = s.take(m)
		case err = <-failed:
		case <-late:
			return ctx.Err()
		case <-interrupted:
			interrupted, late = nil, time.After(consumeDrain)
			s.stream.Stop(s.name) //nolint:errcheck // what receives will tell
		}
		switch {
		case err != nil:
			return err
		case s.settling > 0:
		case s.count > 0 && s.printed == s.count:
			return errEnough
		case s.ended:
			return ctx.Err()
		}
	}
}

// allow has more delivered, as far as the window and what is still to print allow.
func (s *consumeSession) allow() {
	n := consumeWindow - s.open
	if s.count > 0 {
		n = min(n, int(min(s.count-s.printed, consumeWindow))-s.open+s.settling)
	}
	if n > 0 {
		s.open += n
		s.stream.Credit(s.name, n) //nolint:errcheck // what receives will tell
	}
}

// take prints deliveries, acknowledges them if that is wanted, and notes what
// became of that.
func (s *consumeSession) take(m *api.Consumed) error {
	if m.Ended {
		s.ended = true
		return m.Err
	}
	var tokens []string
	for _, d := range m.Deliveries {
		if err := s.printer.row(d); err != nil {
			return err
		}
		s.printed++
		tokens = append(tokens, d.Token)
	}
	done := len(m.Settled)
	s.settling -= done
	for _, line := range refusals(m.Settled) {
		fmt.Fprintf(s.app.stderr, "cairn: %s\n", line)
	}
	if s.auto && len(tokens) > 0 {
		s.settling += len(tokens)
		s.stream.Settle(s.name, api.Settlement{Kind: api.Ack, Tokens: tokens}) //nolint:errcheck // as above
	} else {
		done += len(tokens)
	}
	s.open -= done
	s.allow()
	return nil
}
