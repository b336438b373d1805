package gossip

import (
	"context"
	"crypto/ed25519"
	"fmt"
	"log/slog"
	"time"

	pubsub "github.com/libp2p/go-libp2p-pubsub"

	"github.com/cairn-p2p/cairn/broadcaster/gossip/pb"
	"github.com/cairn-p2p/cairn/types"
)

// sender turns announcements into messages, one at a time, and publishes them.
type sender struct {
	key      ed25519.PrivateKey
	topics   []*pubsub.Topic // by shard
	outbox   *outbox
	wake     chan struct{} // holds one token while the outbox may have news
	log      *slog.Logger
	counters *counters

	number number // of the last message; owned by run
}

// put queues an announcement and returns at once.
func (s *sender) put(a types.Announcement) {
	s.counters.coalescedEvents.Add(uint64(s.outbox.put(a, time.Now())))
	s.rouse()
}

// retry announces a topic's heads again after a pause.
func (s *sender) retry(topic types.TopicID) {
	s.outbox.retry(topic, time.Now())
	s.rouse()
}

func (s *sender) rouse() {
	select {
	case s.wake <- struct{}{}:
	default: // it is awake
	}
}

// run publishes what is due until ctx ends.
func (s *sender) run(ctx context.Context) {
	for ctx.Err() == nil {
		d, wait := s.outbox.next(time.Now())
		if d != nil {
			s.publish(ctx, d)
			continue
		}
		var due <-chan time.Time
		if wait > 0 {
			due = time.After(wait)
		}
		select {
		case <-ctx.Done():
		case <-s.wake:
		case <-due:
		}
	}
}

// publish sends a draft. What gossipsub refuses is announced again as heads.
func (s *sender) publish(ctx context.Context, d *draft) {
	topic := d.genesis.ID()
	data, err := s.seal(d)
	if err == nil {
		err = s.topics[types.Shard(topic, uint64(len(s.topics)))].Publish(ctx, data)
	}
	if err != nil {
		if ctx.Err() == nil {
			s.log.WarnContext(ctx, "announcement not published, its heads will be", "topic", topic, "error", err)
		}
		s.counters.publishFailed.Add(1)
		s.counters.coalescedEvents.Add(uint64(len(d.events)))
		s.outbox.retry(topic, time.Now())
		return
	}
	s.counters.published.Add(1)
	s.counters.publishedEvents.Add(uint64(len(d.events)))
	if len(d.events) == 0 {
		s.counters.headsOnly.Add(1)
	}
}

// seal numbers, signs and encodes a draft.
func (s *sender) seal(d *draft) ([]byte, error) {
	s.number.sequence++
	m := &message{
		topic:     d.genesis.ID(),
		genesis:   d.genesis.Bytes(),
		events:    make([]*pb.Event, len(d.events)),
		number:    s.number,
		headsHash: d.headsHash,
		heads:     d.heads,
	}
	for i, e := range d.events {
		m.events[i] = &pb.Event{Body: e.Bytes(), Witness: e.Witness}
	}
	m.sign(s.key)
	data, err := m.encode()
	if err != nil {
		return nil, fmt.Errorf("encode message: %w", err)
	}
	return data, nil
}
