package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"time"

	"github.com/cairn-p2p/cairn/delivery"
	"github.com/cairn-p2p/cairn/types"
)

// ErrConsumerDiffers: there is a consumer of that name with other settings.
var ErrConsumerDiffers = errors.New("consumer exists with other settings")

// ErrLogReplaced: a consumer stands in a delivery log that is no longer this one, or
// in an older copy of it. It has to be reset.
var ErrLogReplaced = errors.New("the consumer has to be reset")

// ConsumerService is what a node answers about its durable consumers: named
// readers of one topic each, which are given every event that matches at least
// once, after its links, at their own pace and across restarts. Texts are as in
// Service. Methods are safe for concurrent use and end with ctx; a name that no
// consumer has is types.ErrNotFound.
type ConsumerService interface {
	// CreateConsumer makes a consumer, durably, and joins its topic. If it is
	// there with the same settings that is all right, and what it returns is as in
	// Consumers; ErrConsumerDiffers with others. It fails with types.ErrInvalidArgument and ErrInvalidCursor too.
	CreateConsumer(ctx context.Context, s ConsumerSettings) (*Consumer, error)
	// Consumer says where a consumer stands.
	Consumer(ctx context.Context, name string) (*Consumer, error)
	// Consumers returns the node's consumers, by name. Of one that would fail with
	// ErrLogReplaced or types.ErrCorrupt it has neither AckFloor nor numbers.
	Consumers(ctx context.Context) ([]Consumer, error)
	// RemoveConsumer forgets a consumer, durably. The events stay.
	RemoveConsumer(ctx context.Context, name string) error

	// Next hands out up to batch deliveries, at most MaxNext and about a megabyte
	// of payload, once their counts are durable. It returns as soon as there is
	// one, and none without an error when none came in wait. It fails with
	// ErrLogReplaced.
	Next(ctx context.Context, name string, batch int, wait time.Duration) ([]ConsumerDelivery, error)
	// Settle carries out a settlement, durably, and returns what came of each
	// token, in their order: one that is refused keeps back none of the others, a
	// malformed one, types.ErrInvalidArgument, all.
	Settle(ctx context.Context, name string, s Settlement) ([]Settled, error)

	// Dead yields a consumer's dead letters in the order of the log, those behind
	// a cursor of one of them; "" is the beginning.
	Dead(ctx context.Context, name, after string) iter.Seq2[DeadLetter, error]
	// Suppressed yields the events that a local rule keeps from a consumer, as
	// Dead does.
	Suppressed(ctx context.Context, name, after string) iter.Seq2[SuppressedEvent, error]
	// Requeue has dead letters delivered again and returns how many: those with
	// the CIDs, or all without any. A CID that is no dead letter's is
	// types.ErrNotFound, and none is requeued.
	Requeue(ctx context.Context, name string, cids []string) (int, error)
	// ResetConsumer has a consumer begin anew at from, durably: nothing is pending,
	// dead or suppressed, and all earlier tokens are refused.
	ResetConsumer(ctx context.Context, name, from string) (*Consumer, error)
}

// Limits of what is asked of a consumer at once.
const (
	MaxNext   = delivery.MaxBatch // deliveries that Next hands out
	MaxSettle = 1000              // tokens of one Settlement
)

// ConsumerSettings are what a consumer is made of. Zero fields but the first two
// have defaults.
type ConsumerSettings struct {
	Name       string          // 1 to 64 of A-Z a-z 0-9 . _ -, beginning with none of . -
	Topic      string          // as everywhere; its name in what a node returns
	Tags       []string        // only events with any of these
	Publishers []string        // and of any of these
	From       string          // FromStart, which is the default, FromNow or a cursor
	AckWait    time.Duration   // until a delivery that is not settled comes again; 30 s
	MaxPending int             // deliveries that are not settled; 1,024, at most 65,536
	MaxDeliver int             // deliveries of one event until it is a dead letter; 0: no bound
	BackOff    []time.Duration // in place of AckWait, after the first delivery, the second, …; the last repeats
	CausalAcks bool            // an event waits until all before it that match are settled
}

// MarshalJSON writes durations as people do, and lists that are never null.
func (s ConsumerSettings) MarshalJSON() ([]byte, error) {
	return json.Marshal(struct {
		Name       string   `json:"name"`
		Topic      string   `json:"topic"`
		Tags       []string `json:"tags"`
		Publishers []string `json:"publishers"`
		From       string   `json:"from"`
		AckWait    string   `json:"ack_wait"`
		MaxPending int      `json:"max_pending"`
		MaxDeliver int      `json:"max_deliver"`
		BackOff    []string `json:"backoff"`
		CausalAcks bool     `json:"causal_acks"`
	}{
		s.Name, s.Topic, list(s.Tags), list(s.Publishers), s.From, s.AckWait.String(),
		s.MaxPending, s.MaxDeliver, each(s.BackOff, time.Duration.String), s.CausalAcks,
	})
}

// Consumer is where a consumer stands.
type Consumer struct {
	Name        string `json:"name"`
	Topic       string `json:"topic"`
	AckFloor    string `json:"ack_floor"`   // all up to this cursor is settled; FromStart before the first; empty: it fails
	Pending     int    `json:"pending"`     // delivered and not settled
	Waiting     int    `json:"waiting"`     // held back by CausalAcks
	Redelivered int    `json:"redelivered"` // pending, and delivered more than once
	Dead        int    `json:"dead"`
	Suppressed  int    `json:"suppressed"`
	Lag         uint64 `json:"lag"` // entries of the log not looked at yet, and those that wait for delivery

	Full     bool             `json:"-"` // no more of the log is looked at until something is settled; not over the API
	TopicID  string           `json:"-"`
	Settings ConsumerSettings `json:"-"` // without defaults left out
}

// ConsumerDelivery is an event that a consumer was given.
type ConsumerDelivery struct {
	Delivery        // with the cursor after the event
	Count    int    `json:"delivery_count"` // 1: for the first time
	Token    string `json:"ack_token"`      // settles this delivery; never begins with a dash
}

// What a Settlement does with deliveries.
const (
	Ack      = "ack"      // they are done
	Nak      = "nak"      // deliver them again, after the delay
	Progress = "progress" // they are being worked on: wait as long once more
	Term     = "term"     // never deliver them again; with a reason they are dead letters
)

// Settlement says what becomes of deliveries.
type Settlement struct {
	Kind   string // Ack, Nak, Progress or Term
	Tokens []string
	Delay  time.Duration // of Nak
	Reason string        // of Term, for people; at most delivery.MaxReason bytes
}

// Settled is what came of a token.
type Settled struct {
	Token   string `json:"token"`
	Refused string `json:"refused"` // why it was not carried out: stale, settled or unknown; empty: it was
}

// DeadLetter is an event that is delivered no more.
type DeadLetter struct {
	CID    string `json:"cid"`
	Cursor string `json:"cursor"` // after the event
	Count  int    `json:"delivery_count"`
	Reason string `json:"reason"` // for people
	Time   Time   `json:"time"`
}

// SuppressedEvent is an event that a local rule keeps from a consumer.
type SuppressedEvent struct {
	CID    string `json:"cid"`
	Cursor string `json:"cursor"` // after the event
	Reason string `json:"reason"` // for people
}

// Check reports what is wrong with a settlement, whatever the consumer. The error
// is types.ErrInvalidArgument.
func (s Settlement) Check() error {
	invalid := func(format string, args ...any) error {
		return fmt.Errorf("%w: %s", types.ErrInvalidArgument, fmt.Sprintf(format, args...))
	}
	switch s.Kind {
	case Ack, Nak, Progress, Term:
	default:
		return invalid("settlement %q: want ack, nak, progress or term", s.Kind)
	}
	switch {
	case len(s.Tokens) == 0:
		return invalid("no tokens to settle")
	case len(s.Tokens) > MaxSettle:
		return invalid("%d tokens, limit %d", len(s.Tokens), MaxSettle)
	case s.Delay < 0 || s.Delay > delivery.MaxDelay:
		return invalid("delay %s, want 0 to %s", s.Delay, delivery.MaxDelay)
	case s.Delay > 0 && s.Kind != Nak:
		return invalid("only nak has a delay")
	case s.Reason != "" && s.Kind != Term:
		return invalid("only term has a reason")
	case len(s.Reason) > delivery.MaxReason:
		return invalid("reason of %d bytes, limit %d", len(s.Reason), delivery.MaxReason)
	}
	return nil
}
