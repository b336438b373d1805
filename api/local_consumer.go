package api

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"time"

	"github.com/ipfs/go-cid"

	"github.com/cairn-p2p/cairn/delivery"
	"github.com/cairn-p2p/cairn/node"
	"github.com/cairn-p2p/cairn/types"
)

// CreateConsumer implements ConsumerService.
func (l *Local) CreateConsumer(ctx context.Context, s ConsumerSettings) (*Consumer, error) {
	settings, err := s.parse()
	if err != nil {
		return nil, err
	}
	if _, err := l.node.Consumers().Find(s.Name); errors.Is(err, types.ErrNotFound) && settings.From.Cursor != (types.Cursor{}) {
		if err := l.checkCursor(s.Topic, settings.From.Cursor); err != nil { // before the topic is joined
			return nil, err
		}
	}
	c, err := l.node.CreateConsumer(ctx, s.Topic, settings)
	if errors.Is(err, delivery.ErrDiffers) {
		return nil, fmt.Errorf("consumer %q: %w", s.Name, ErrConsumerDiffers)
	}
	if err != nil {
		return nil, err
	}
	return l.listConsumer(c) // one that is there already may have to be reset
}

// Check reports what is wrong with the settings, whatever the node holds. The
// error is types.ErrInvalidArgument or types.ErrInvalidCursor.
func (s ConsumerSettings) Check() error {
	_, err := s.parse()
	return err
}

func (s ConsumerSettings) parse() (delivery.Settings, error) {
	settings := delivery.Settings{
		Name:       s.Name,
		Tags:       s.Tags,
		AckWait:    s.AckWait,
		MaxPending: s.MaxPending,
		MaxDeliver: s.MaxDeliver,
		BackOff:    s.BackOff,
		CausalAcks: s.CausalAcks,
	}
	topic, err := node.ParseTopicRef(s.Topic)
	if err != nil {
		return settings, err
	}
	settings.Topic = topic.ID
	for _, text := range s.Publishers {
		p, err := types.ParsePublisher(text)
		if err != nil {
			return settings, fmt.Errorf("publisher: %w", err)
		}
		settings.Publishers = append(settings.Publishers, p)
	}
	if settings.From, err = parseStart(s.From); err != nil {
		return settings, err
	}
	return settings, settings.Validate()
}

// parseStart is CheckFrom, for "" too, which is FromStart.
func parseStart(from string) (delivery.Start, error) {
	if from != "" {
		if err := CheckFrom(from); err != nil {
			return delivery.Start{}, err
		}
	}
	return delivery.ParseStart(from)
}

// Consumer implements ConsumerService.
func (l *Local) Consumer(_ context.Context, name string) (*Consumer, error) {
	c, err := l.node.Consumers().Find(name)
	if err != nil {
		return nil, err
	}
	return l.describeConsumer(c)
}

// Consumers implements ConsumerService.
func (l *Local) Consumers(context.Context) ([]Consumer, error) {
	rows := []Consumer{}
	for _, c := range l.node.Consumers().List() {
		row, err := l.listConsumer(c)
		switch {
		case errors.Is(err, types.ErrNotFound): // it was removed meanwhile
			continue
		case err != nil:
			return nil, err
		}
		rows = append(rows, *row)
	}
	return rows, nil
}

// listConsumer is describeConsumer that has no numbers of a consumer which fails by
// itself.
func (l *Local) listConsumer(c *delivery.Consumer) (*Consumer, error) {
	row, err := l.describeConsumer(c)
	if errors.Is(err, ErrLogReplaced) || errors.Is(err, types.ErrCorrupt) {
		return l.consumerRow(c)
	}
	return row, err
}

func (l *Local) describeConsumer(c *delivery.Consumer) (*Consumer, error) {
	info, err := c.Info()
	if err != nil {
		return nil, consumerErr(err)
	}
	row, err := l.consumerRow(c)
	if err != nil {
		return nil, err
	}
	row.AckFloor = delivery.Start{Cursor: info.AckFloor}.String()
	row.Pending = info.Pending
	row.Waiting = info.Waiting
	row.Redelivered = info.Redelivered
	row.Dead = countFromProto(info.Dead)
	row.Suppressed = countFromProto(info.Suppressed)
	row.Full = info.Full
	row.Lag = info.Lag
	return row, nil
}

// consumerRow returns what never changes of a consumer.
func (l *Local) consumerRow(c *delivery.Consumer) (*Consumer, error) {
	topic, err := l.topicOf(c)
	if err != nil {
		return nil, err
	}
	s := c.Settings()
	return &Consumer{
		Name:    s.Name,
		Topic:   topic.Name(),
		TopicID: s.Topic.String(),
		Settings: ConsumerSettings{
			Name:       s.Name,
			Topic:      topic.Name(),
			Tags:       list(s.Tags),
			Publishers: each(s.Publishers, types.Publisher.String),
			From:       s.From.String(),
			AckWait:    s.AckWait,
			MaxPending: s.MaxPending,
			MaxDeliver: s.MaxDeliver,
			BackOff:    list(s.BackOff),
			CausalAcks: s.CausalAcks,
		},
	}, nil
}

func (l *Local) topicOf(c *delivery.Consumer) (*node.Topic, error) {
	return l.node.Find("id:" + c.Settings().Topic.String())
}

// RemoveConsumer implements ConsumerService.
func (l *Local) RemoveConsumer(_ context.Context, name string) error {
	return l.node.Consumers().Remove(name)
}

// consumerErr returns the error of an operation on a consumer, whose cursor nobody
// has asked for.
func consumerErr(err error) error {
	if errors.Is(err, types.ErrInvalidCursor) {
		return fmt.Errorf("%w: %w", ErrLogReplaced, err)
	}
	return err
}

// Next implements ConsumerService.
func (l *Local) Next(ctx context.Context, name string, batch int, wait time.Duration) ([]ConsumerDelivery, error) {
	c, err := l.node.Consumers().Find(name)
	if err != nil {
		return nil, err
	}
	topic, err := l.topicOf(c)
	if err != nil {
		return nil, err
	}
	if wait < 0 {
		return nil, fmt.Errorf("%w: wait %s is negative", types.ErrInvalidArgument, wait)
	}
	deliveries, err := c.Next(ctx, min(batch, MaxNext), wait)
	rows := eventRows{topic: topic.Name()}
	return each(deliveries, func(d delivery.Delivery) ConsumerDelivery {
		return ConsumerDelivery{
			Delivery: Delivery{Event: rows.row(d.Event), Cursor: d.Cursor.String()},
			Count:    d.Count,
			Token:    d.Token.String(),
		}
	}), consumerErr(err)
}

// Settle implements ConsumerService.
func (l *Local) Settle(ctx context.Context, name string, s Settlement) ([]Settled, error) {
	tokens, err := s.parse()
	if err != nil {
		return nil, err
	}
	c, err := l.node.Consumers().Find(name)
	if err != nil {
		return nil, err
	}
	switch s.Kind {
	case Ack:
		err = c.Ack(ctx, tokens...)
	case Nak:
		err = c.Nak(ctx, s.Delay, tokens...)
	case Progress:
		err = c.Progress(ctx, tokens...)
	case Term:
		err = c.Term(ctx, s.Reason, tokens...)
	}
	refused := map[string]string{}
	if err := refusals(err, refused); err != nil {
		return nil, consumerErr(err)
	}
	return each(s.Tokens, func(token string) Settled { return Settled{token, refused[token]} }), nil
}

// parse checks a settlement and returns its tokens, each once.
func (s Settlement) parse() ([]delivery.Token, error) {
	if err := s.Check(); err != nil {
		return nil, err
	}
	tokens := make([]delivery.Token, 0, len(s.Tokens))
	seen := make(map[string]bool, len(s.Tokens))
	for _, text := range s.Tokens {
		t, err := delivery.ParseToken(text)
		if err != nil {
			return nil, err
		}
		if !seen[text] {
			tokens, seen[text] = append(tokens, t), true
		}
	}
	return tokens, nil
}

// refusals notes which tokens err says are refused, and why, and returns what
// else it is about.
func refusals(err error, refused map[string]string) error {
	var token *delivery.TokenError
	switch joined, ok := err.(interface{ Unwrap() []error }); { //nolint:errorlint // each of the joined is looked at
	case ok:
		var rest []error
		for _, err := range joined.Unwrap() {
			rest = append(rest, refusals(err, refused))
		}
		return errors.Join(rest...)
	case errors.As(err, &token):
		refused[token.Token.String()] = token.Reason
		return nil
	}
	return err
}

// Dead implements ConsumerService.
func (l *Local) Dead(_ context.Context, name, after string) iter.Seq2[DeadLetter, error] {
	return listed(l, name, after, (*delivery.Consumer).Dead, func(d delivery.Dead) DeadLetter {
		return DeadLetter{CID: d.CID.String(), Cursor: d.Cursor.String(), Count: d.Count, Reason: d.Reason, Time: Time{d.Time}}
	})
}

// Suppressed implements ConsumerService.
func (l *Local) Suppressed(_ context.Context, name, after string) iter.Seq2[SuppressedEvent, error] {
	return listed(l, name, after, (*delivery.Consumer).Suppressed, func(s delivery.Suppressed) SuppressedEvent {
		return SuppressedEvent{CID: s.CID.String(), Cursor: s.Cursor.String(), Reason: s.Reason}
	})
}

// listed yields what a consumer lists behind a cursor, as rows.
func listed[A, B any](l *Local, name, after string, of func(*delivery.Consumer, uint64) iter.Seq2[A, error], row func(A) B) iter.Seq2[B, error] {
	return func(yield func(B, error) bool) {
		var none B
		start, err := parseStart(after)
		if err != nil || start.Now {
			yield(none, fmt.Errorf("%w: after %q", types.ErrInvalidCursor, after))
			return
		}
		c, err := l.node.Consumers().Find(name)
		if err != nil {
			yield(none, err)
			return
		}
		for v, err := range of(c, start.Cursor.Number) {
			if err != nil {
				yield(none, consumerErr(err))
				return
			}
			if !yield(row(v), nil) {
				return
			}
		}
	}
}

// Requeue implements ConsumerService.
func (l *Local) Requeue(ctx context.Context, name string, cids []string) (int, error) {
	parsed := make([]cid.Cid, len(cids))
	for i, text := range cids {
		var err error
		if parsed[i], err = types.ParseCID(text); err != nil {
			return 0, err
		}
	}
	c, err := l.node.Consumers().Find(name)
	if err != nil {
		return 0, err
	}
	n, err := c.Requeue(ctx, parsed...)
	return n, consumerErr(err)
}

// ResetConsumer implements ConsumerService.
func (l *Local) ResetConsumer(ctx context.Context, name, from string) (*Consumer, error) {
	if err := CheckFrom(from); err != nil {
		return nil, err
	}
	start, err := parseStart(from)
	if err != nil {
		return nil, err
	}
	c, err := l.node.Consumers().Find(name)
	if err != nil {
		return nil, err
	}
	if err := c.Reset(ctx, start); err != nil {
		return nil, err
	}
	return l.describeConsumer(c)
}
