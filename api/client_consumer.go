package api

import (
	"context"
	"errors"
	"io"
	"iter"
	"sync"
	"time"

	"connectrpc.com/connect"

	cairnv1 "github.com/cairn-p2p/cairn/api/cairn/v1"
)

// CreateConsumer implements ConsumerService.
func (c *Client) CreateConsumer(ctx context.Context, s ConsumerSettings) (*Consumer, error) {
	m, err := c.consumers.CreateConsumer(ctx, &cairnv1.CreateConsumerRequest{Settings: consumerSettingsToProto(s)})
	if err != nil {
		return nil, c.fail(ctx, err)
	}
	return consumerFromProto(m.GetConsumer()), nil
}

// Consumer implements ConsumerService.
func (c *Client) Consumer(ctx context.Context, name string) (*Consumer, error) {
	m, err := c.consumers.GetConsumer(ctx, &cairnv1.GetConsumerRequest{Name: name})
	if err != nil {
		return nil, c.fail(ctx, err)
	}
	return consumerFromProto(m.GetConsumer()), nil
}

// Consumers implements ConsumerService.
func (c *Client) Consumers(ctx context.Context) ([]Consumer, error) {
	m, err := c.consumers.ListConsumers(ctx, &cairnv1.ListConsumersRequest{})
	if err != nil {
		return nil, c.fail(ctx, err)
	}
	return each(m.GetConsumers(), func(m *cairnv1.Consumer) Consumer { return *consumerFromProto(m) }), nil
}

// RemoveConsumer implements ConsumerService.
func (c *Client) RemoveConsumer(ctx context.Context, name string) error {
	_, err := c.consumers.RemoveConsumer(ctx, &cairnv1.RemoveConsumerRequest{Name: name})
	return c.fail(ctx, err)
}

// Next implements ConsumerService. It waits for five minutes at most.
func (c *Client) Next(ctx context.Context, name string, batch int, wait time.Duration) ([]ConsumerDelivery, error) {
	req := &cairnv1.NextDeliveriesRequest{Name: name, Batch: uint64(max(batch, 1)), Wait: durationToProto(wait)}
	m, err := c.consumers.NextDeliveries(ctx, req)
	if err != nil {
		return nil, c.fail(ctx, err)
	}
	return each(m.GetDeliveries(), consumerDeliveryFromProto), nil
}

// Settle implements ConsumerService.
func (c *Client) Settle(ctx context.Context, name string, s Settlement) ([]Settled, error) {
	m, err := c.consumers.Settle(ctx, &cairnv1.SettleRequest{Name: name, Settlement: settlementToProto(s)})
	if err != nil {
		return nil, c.fail(ctx, err)
	}
	return each(m.GetSettled(), settledFromProto), nil
}

// Dead implements ConsumerService.
func (c *Client) Dead(ctx context.Context, name, after string) iter.Seq2[DeadLetter, error] {
	return pages(after, func(after string) ([]DeadLetter, string, error) {
		m, err := c.consumers.ListDead(ctx, &cairnv1.ListDeadRequest{Name: name, After: after})
		return each(m.GetDead(), deadLetterFromProto), m.GetNext(), c.fail(ctx, err)
	})
}

// Suppressed implements ConsumerService.
func (c *Client) Suppressed(ctx context.Context, name, after string) iter.Seq2[SuppressedEvent, error] {
	return pages(after, func(after string) ([]SuppressedEvent, string, error) {
		m, err := c.consumers.ListSuppressed(ctx, &cairnv1.ListSuppressedRequest{Name: name, After: after})
		return each(m.GetSuppressed(), suppressedEventFromProto), m.GetNext(), c.fail(ctx, err)
	})
}

// pages yields the rows of a page, which page returns with where the next one
// begins, and of those that follow.
func pages[T any](after string, page func(after string) ([]T, string, error)) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		for {
			rows, next, err := page(after)
			if err != nil {
				var none T
				yield(none, err)
				return
			}
			for _, row := range rows {
				if !yield(row, nil) {
					return
				}
			}
			if next == "" {
				return
			}
			after = next
		}
	}
}

// Requeue implements ConsumerService.
func (c *Client) Requeue(ctx context.Context, name string, cids []string) (int, error) {
	m, err := c.consumers.Requeue(ctx, &cairnv1.RequeueRequest{Name: name, Cids: cids})
	return countFromProto(m.GetRequeued()), c.fail(ctx, err)
}

// ResetConsumer implements ConsumerService.
func (c *Client) ResetConsumer(ctx context.Context, name, from string) (*Consumer, error) {
	m, err := c.consumers.ResetConsumer(ctx, &cairnv1.ResetConsumerRequest{Name: name, From: from})
	if err != nil {
		return nil, c.fail(ctx, err)
	}
	return consumerFromProto(m.GetConsumer()), nil
}

// ConsumeStream carries the deliveries of any number of consumers, at most 256,
// and what becomes of them. Whoever gives credit must go on receiving, whatever it
// does with what it got: have one goroutine receive and others send. Any method
// but Receive may be called concurrently.
type ConsumeStream struct {
	client *Client
	ctx    context.Context // of the call
	cancel context.CancelFunc
	stream *connect.BidiStreamForClientSimple[cairnv1.ConsumeRequest, cairnv1.ConsumeResponse]

	sending sync.Mutex // held while a request is sent
}

// Consume opens a stream of consumers, which ends with ctx. It has none before
// Credit opens one, and Receive blocks until then. Close it.
func (c *Client) Consume(ctx context.Context) (*ConsumeStream, error) {
	ctx, cancel := context.WithCancel(ctx)
	stream, err := c.consumers.Consume(ctx)
	if err != nil {
		cancel()
		return nil, c.fail(ctx, err)
	}
	return &ConsumeStream{client: c, ctx: ctx, cancel: cancel, stream: stream}, nil
}

// Consumed is one answer on a ConsumeStream: deliveries of a consumer, or what came
// of its tokens, or that it lags, or that nothing more comes.
type Consumed struct {
	Name       string // of the consumer
	Deliveries []ConsumerDelivery
	Settled    []Settled // in the order of the settlements and their tokens
	// Lag is not 0 when the consumer gets nothing, for want of credit or because
	// too much is not settled, while its log grows: Consumer.Lag.
	Lag   uint64
	Ended bool  // nothing more is delivered until it is given credit again
	Err   error // why it ended, as Next would fail; nil after Stop
}

// Credit lets a consumer have n more deliveries, at most 65,536 in all, and opens
// it if it is not open. It does not say whether there is such a consumer: Receive
// does. An error says no more than that the stream has ended.
func (s *ConsumeStream) Credit(name string, n int) error {
	return s.send(&cairnv1.ConsumeRequest{Name: name, Credit: countToProto(n)})
}

// Settle asks for a settlement of a consumer's deliveries. Its outcome is received.
// An error says no more than that the stream has ended.
func (s *ConsumeStream) Settle(name string, settlement Settlement) error {
	return s.send(&cairnv1.ConsumeRequest{Name: name, Settle: settlementToProto(settlement)})
}

// Stop asks for no more deliveries of a consumer. Those under way still come,
// then one with Ended. What is settled meanwhile and later is carried out.
func (s *ConsumeStream) Stop(name string) error {
	return s.send(&cairnv1.ConsumeRequest{Name: name, Close: true})
}

func (s *ConsumeStream) send(m *cairnv1.ConsumeRequest) error {
	s.sending.Lock()
	defer s.sending.Unlock()
	return s.stream.Send(m)
}

// End says that nothing more is asked for. Receive gives what was, and then io.EOF.
func (s *ConsumeStream) End() error {
	s.sending.Lock()
	defer s.sending.Unlock()
	return s.stream.CloseRequest()
}

// Receive blocks for the next answer. After End and all answers it returns io.EOF.
// Its other errors end the stream: those of the node, types.ErrInvalidArgument for
// a request that breaks a rule, and ErrUnreachable.
func (s *ConsumeStream) Receive() (*Consumed, error) {
	m, err := s.stream.Receive()
	if errors.Is(err, io.EOF) {
		return nil, io.EOF
	}
	if err != nil {
		return nil, s.client.fail(s.ctx, err)
	}
	got := &Consumed{
		Name:       m.GetName(),
		Deliveries: each(m.GetDeliveries(), consumerDeliveryFromProto),
		Settled:    each(m.GetSettled(), settledFromProto),
		Lag:        m.GetLagged().GetLag(),
		Ended:      m.GetEnded() != nil,
	}
	if e := m.GetEnded(); e.GetReason() != "" {
		got.Err = &remoteError{text: e.GetMessage(), sentinel: sentinelOf(e.GetReason())}
	}
	return got, nil
}

// Close ends the stream, and a Receive that waits.
func (s *ConsumeStream) Close() {
	s.cancel()
	s.stream.CloseResponse() //nolint:errcheck // nobody wants the rest
}
