package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cairn-p2p/cairn/api"
	"github.com/cairn-p2p/cairn/delivery"
)

// deliverWindow is how many deliveries a client of deliver lets be under way.
const deliverWindow = 4096

// delivers measures durable consumers that one client reads over one stream of the
// API, acknowledging each batch that comes.
func (b *bench) delivers() error {
	events := b.scaled(100_000)
	for _, consumers := range []int{1, 10} {
		r, err := b.row(fmt.Sprintf("deliver, API, %s", count(consumers, "consumer")), func(ctx context.Context, r *row) error {
			return b.deliver(ctx, r, consumers, events/consumers)
		})
		if err != nil {
			return err
		}
		if r != nil && consumers == 1 {
			r.atLeast(50_000)
		}
	}
	return nil
}

// deliver has each consumer read all events of a node: from the opening of the
// stream until the last acknowledgement is durable.
func (b *bench) deliver(ctx context.Context, r *row, consumers, events int) (err error) {
	m, err := b.fresh(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, m.node.Close()) }()
	if err := fill(ctx, m, events, appendedTogether); err != nil {
		return fmt.Errorf("fill the node: %w", err)
	}
	client, stop, err := serveAPI(api.NewLocal(m.node, "bench"))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, stop()) }()
	names := make([]string, consumers)
	for i := range names {
		names[i] = fmt.Sprint("consumer-", i)
		s := api.ConsumerSettings{Name: names[i], Topic: topicName, MaxPending: 2 * deliverWindow}
		if _, err := client.CreateConsumer(ctx, s); err != nil {
			return err
		}
	}
	r.events = consumers * events
	err = around(ctx, r, []probe{canned(), streams()}, func() error {
		return b.measure(ctx, r, func(ctx context.Context) error { return consume(ctx, client, names, events) })
	})
	if err != nil {
		return err
	}
	for _, name := range names {
		c, err := client.Consumer(ctx, name)
		if err != nil {
			return err
		}
		if c.Pending != 0 || c.Lag != 0 || c.Dead != 0 {
			return fmt.Errorf("after all was acknowledged: %+v", c)
		}
	}
	return nil
}

// serveAPI serves a Service on loopback until stop.
func serveAPI(svc api.Service) (_ *api.Client, stop func() error, err error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, nil, err
	}
	client, err := api.NewClient(l.Addr().String())
	if err != nil {
		return nil, nil, errors.Join(err, l.Close())
	}
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- api.Serve(ctx, l, svc, nil) }()
	return client, func() error {
		client.Close()
		cancel()
		return <-served
	}, nil
}

// reader checks what one consumer is given, and gives it credit.
type reader struct {
	seen                    map[string]bool
	events, credit, settled int
}

// take checks a message, and acknowledges and makes up for what came.
func (r *reader) take(stream *api.ConsumeStream, m *api.Consumed) error {
	if m.Ended {
		return fmt.Errorf("%s ended: %w", m.Name, m.Err)
	}
	tokens := make([]string, 0, len(m.Deliveries))
	for _, d := range m.Deliveries {
		if d.Count != 1 || r.seen[d.CID] {
			return fmt.Errorf("%s: %s came twice", m.Name, d.CID)
		}
		for _, link := range d.Links {
			if !r.seen[link] {
				return fmt.Errorf("%s: %s came before its link %s", m.Name, d.CID, link)
			}
		}
		r.seen[d.CID] = true
		tokens = append(tokens, d.Token)
	}
	for _, s := range m.Settled {
		if s.Refused != "" {
			return fmt.Errorf("%s: token refused: %s", m.Name, s.Refused)
		}
	}
	r.settled += len(m.Settled)
	if len(tokens) == 0 {
		return nil
	}
	if err := stream.Settle(m.Name, api.Settlement{Kind: api.Ack, Tokens: tokens}); err != nil {
		return err
	}
	more := min(len(tokens), r.events-r.credit)
	if more == 0 {
		return nil
	}
	r.credit += more
	return stream.Credit(m.Name, more)
}

// consume reads and acknowledges so many events of each consumer, which must come
// once, each after its links.
func consume(ctx context.Context, client *api.Client, names []string, events int) error {
	stream, err := client.Consume(ctx)
	if err != nil {
		return err
	}
	defer stream.Close()
	readers := map[string]*reader{}
	for _, name := range names {
		r := &reader{seen: make(map[string]bool, events), events: events, credit: min(events, deliverWindow)}
		readers[name] = r
		if err := stream.Credit(name, r.credit); err != nil {
			return err
		}
	}
	received := make(chan *api.Consumed, 4*deliverWindow*len(names)) // for all answers that can be under way
	failed := make(chan error, 1)
	var group sync.WaitGroup
	defer group.Wait()
	defer stream.Close()
	group.Go(func() {
		for {
			m, err := stream.Receive()
			if err != nil {
				failed <- err
				return
			}
			received <- m
		}
	})
	for left := len(names) * events; left > 0; {
		select {
		case m := <-received:
			left -= len(m.Settled)
			if err := readers[m.Name].take(stream, m); err != nil {
				return err
			}
		case err := <-failed:
			return err
		}
	}
	return nil
}

// canned is the stream of one consumer behind which there is no node: what is
// handed out lies ready, and nothing is written.
func canned() probe {
	return probe{"the same API without a node", func(ctx context.Context) (float64, error) {
		svc := new(cannedService)
		client, stop, err := serveAPI(svc)
		if err != nil {
			return 0, err
		}
		const events = 20_000
		begun := time.Now()
		err = consume(ctx, client, []string{"canned"}, events)
		return events / time.Since(begun).Seconds(), errors.Join(err, stop())
	}}
}

// cannedService answers what consume asks.
type cannedService struct {
	api.Service
	next atomic.Uint64
}

func (s *cannedService) Next(ctx context.Context, _ string, batch int, _ time.Duration) ([]api.ConsumerDelivery, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	out := make([]api.ConsumerDelivery, batch)
	for i := range out {
		n := s.next.Add(1)
		out[i] = api.ConsumerDelivery{
			Delivery: api.Delivery{
				Event: api.Event{
					CID:       fmt.Sprintf("bafyreihhyyb5esmuvsihbnns66ol543tfbqdh7kzv5k%015d", n),
					Topic:     topicName,
					TopicID:   "bafyreihhyyb5esmuvsihbnns66ol543tfbqdh7kzv5kscrvgf22pqzqugu",
					Publisher: "12D3KooWBA2WBwtcBGSvQPnTumiCSsUkNiLKWivzwtTvsUkP4K7f",
					Seq:       n,
					Height:    n,
					Time:      api.Time{Time: time.Unix(1<<30, 0)},
					Payload:   make([]byte, payloadSize),
				},
				Cursor: "cpY0GqvHluPVHclA",
			},
			Count: 1,
			Token: delivery.Token{Number: n, Attempt: 1}.String(),
		}
		if n > 1 {
			out[i].Links = []string{fmt.Sprintf("bafyreihhyyb5esmuvsihbnns66ol543tfbqdh7kzv5k%015d", n-1)}
		}
	}
	return out, nil
}

func (s *cannedService) Settle(_ context.Context, _ string, settlement api.Settlement) ([]api.Settled, error) {
	settled := make([]api.Settled, len(settlement.Tokens))
	for i, t := range settlement.Tokens {
		settled[i].Token = t
	}
	return settled, nil
}

// Consumer is only asked for when nothing moves.
func (s *cannedService) Consumer(context.Context, string) (*api.Consumer, error) {
	return &api.Consumer{}, nil
}
