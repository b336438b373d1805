package mem

import (
	"context"
	"slices"
	"sync"

	"github.com/cairn-p2p/cairn/broadcaster"
	"github.com/cairn-p2p/cairn/types"
)

// MaxQueue bounds the events that wait to be sent by one member, in bytes: a
// few of a driver's largest batches. What it cannot hold is announced as heads.
const MaxQueue = 4 * types.MaxBatchSize

// Broadcaster is one member of a network. It is safe for concurrent use.
type Broadcaster struct {
	network *Network
	self    types.Publisher
	local   broadcaster.Local
	closed  context.Context
	cancel  context.CancelFunc
	wake    chan struct{} // holds one token while something may wait

	mu      sync.Mutex
	waiting []types.Announcement // at most one of each topic, in order
	bytes   int                  // of the events in waiting

	gate sync.RWMutex // held for reading around every call of local.Receive
	left bool         // guarded by gate
}

func newBroadcaster(n *Network, self types.Publisher, local broadcaster.Local) *Broadcaster {
	b := &Broadcaster{network: n, self: self, local: local, wake: make(chan struct{}, 1)}
	b.closed, b.cancel = context.WithCancel(context.Background())
	return b
}

// Broadcast queues the announcement and returns at once. Announcements of one
// topic that wait are joined to one; when their events are more than MaxQueue,
// they are let go and the heads are announced alone.
func (b *Broadcaster) Broadcast(a types.Announcement) {
	if b.closed.Err() != nil {
		return
	}
	b.put(a)
	select {
	case b.wake <- struct{}{}:
	default: // it is awake
	}
}

func (b *Broadcaster) put(a types.Announcement) {
	b.mu.Lock()
	defer b.mu.Unlock()
	i := slices.IndexFunc(b.waiting, func(w types.Announcement) bool { return w.Genesis.ID() == a.Genesis.ID() })
	if i < 0 {
		i = len(b.waiting)
		b.waiting = append(b.waiting, types.Announcement{Genesis: a.Genesis})
	}
	w := &b.waiting[i]
	w.Heads, w.HeadsHash = a.Heads, a.HeadsHash
	if size := sizeOf(a.Events); b.bytes+size <= MaxQueue {
		w.Events = append(w.Events, a.Events...)
		b.bytes += size
		return
	}
	b.bytes -= sizeOf(w.Events)
	w.Events = nil
}

func sizeOf(events []*types.Event) int {
	size := 0
	for _, e := range events {
		size += e.Size()
	}
	return size
}

// take removes and returns all that waits.
func (b *Broadcaster) take() []types.Announcement {
	b.mu.Lock()
	defer b.mu.Unlock()
	waiting := b.waiting
	b.waiting, b.bytes = nil, 0
	return waiting
}

// Run delivers what is announced, in the caller's goroutine, until ctx ends or
// the broadcaster is closed. It returns nil.
func (b *Broadcaster) Run(ctx context.Context) error {
	for ctx.Err() == nil && b.closed.Err() == nil {
		for _, a := range b.take() {
			b.network.flood(b.self, broadcaster.Message{
				Topic:     a.Genesis.ID(),
				Genesis:   a.Genesis,
				Events:    a.Events,
				Announcer: b.self,
				Heads:     a.Heads,
				HeadsHash: a.HeadsHash,
			})
		}
		select {
		case <-ctx.Done():
		case <-b.closed.Done():
		case <-b.wake:
		}
	}
	return nil
}

// Close leaves the network. When it returns the node receives nothing any more,
// and Run is about to return. It must not be called from within a method of
// Local. Its error is always nil.
func (b *Broadcaster) Close() error {
	b.network.leave(b)
	b.cancel()
	b.gate.Lock()
	defer b.gate.Unlock()
	b.left = true
	return nil
}

// receive hands the node what is new to it in m, or nothing if it neither
// replicates nor wants the topic.
func (b *Broadcaster) receive(m broadcaster.Message) {
	b.gate.RLock()
	defer b.gate.RUnlock()
	if b.left {
		return
	}
	if _, replicated := b.local.Genesis(m.Topic); replicated {
		m.Events = b.unknown(m.Topic, m.Events)
	} else if !b.local.Wants(m.Genesis) {
		return
	} else {
		m.Events = slices.Clone(m.Events)
	}
	m.Heads = slices.Clone(m.Heads)
	b.local.Receive(m)
}

func (b *Broadcaster) unknown(topic types.TopicID, events []*types.Event) []*types.Event {
	var unknown []*types.Event
	for i, known := range b.local.Known(topic, events) {
		if !known {
			unknown = append(unknown, events[i])
		}
	}
	return unknown
}
