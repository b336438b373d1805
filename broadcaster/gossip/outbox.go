package gossip

import (
	"container/heap"
	"sync"
	"time"

	"github.com/ipfs/go-cid"

	"github.com/cairn-p2p/cairn/types"
)

// outbox gathers announcements by topic until they are due. It reads no clock:
// its callers pass the time. It is safe for concurrent use.
//
// Events wait in order. When they are more than the bounds allow, the topic's
// are let go and its heads are announced alone: neighbours then sync.
type outbox struct {
	maxTopic, maxNode int // bytes of events

	mu     sync.Mutex
	bytes  int // of the events of all topics
	topics map[types.TopicID]*outgoing
	queue  outgoingQueue
}

// outgoing is what one topic has to send, or when it last did.
type outgoing struct {
	genesis   *types.Genesis
	events    []*types.Event
	bytes     int // of events
	heads     []cid.Cid
	headsHash types.Hash

	pending   bool      // something waits: events, or else heads
	since     time.Time // when it began to wait
	sent      time.Time // the last message
	sentHeads time.Time // the last message without events
	due       time.Time // when to send, or if nothing waits, to forget the topic
	index     int       // in the queue
}

// draft is the content of one message.
type draft struct {
	genesis   *types.Genesis
	events    []*types.Event
	heads     []cid.Cid
	headsHash types.Hash
}

func newOutbox(maxTopic, maxNode int) *outbox {
	return &outbox{maxTopic: maxTopic, maxNode: maxNode, topics: make(map[types.TopicID]*outgoing)}
}

// put adds an announcement. It returns how many events it let go.
func (b *outbox) put(a types.Announcement, now time.Time) (coalesced int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	o := b.topics[a.Genesis.ID()]
	if o == nil {
		o = &outgoing{genesis: a.Genesis}
		b.topics[a.Genesis.ID()] = o
		heap.Push(&b.queue, o)
	}
	o.heads, o.headsHash = a.Heads[:min(len(a.Heads), maxHeads)], a.HeadsHash
	size := 0
	for _, e := range a.Events {
		size += e.Size()
	}
	if o.bytes+size > b.maxTopic || b.bytes+size > b.maxNode {
		coalesced = len(o.events) + len(a.Events)
		b.letGo(o)
	} else {
		o.events = append(o.events, a.Events...)
		o.bytes += size
		b.bytes += size
	}
	b.wait(o, now)
	return coalesced
}

// retry announces the heads of a topic once more, because a message of it was
// lost on the way out.
func (b *outbox) retry(topic types.TopicID, now time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if o := b.topics[topic]; o != nil && !o.pending {
		o.sentHeads = now // whatever refused the message needs a pause
		b.wait(o, now)
	}
}

// next takes out the message that is due first. Without one it returns nil and
// the time until there is one, 0 if nothing waits.
func (b *outbox) next(now time.Time) (*draft, time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for len(b.queue) > 0 {
		o := b.queue[0]
		if o.due.After(now) {
			return nil, o.due.Sub(now)
		}
		if o.pending {
			return b.take(o, now), 0
		}
		heap.Pop(&b.queue)
		delete(b.topics, o.genesis.ID())
	}
	return nil, 0
}

// take makes a message of o's first events and its heads.
func (b *outbox) take(o *outgoing, now time.Time) *draft {
	d := &draft{genesis: o.genesis, heads: o.heads, headsHash: o.headsHash}
	n, size := 0, 0
	for n < len(o.events) && (n == 0 || size+o.events[n].Size() <= batchBytes) {
		size += o.events[n].Size()
		n++
	}
	d.events = o.events[:n:n]
	o.events = o.events[n:]
	o.bytes -= size
	b.bytes -= size
	o.sent = now
	if n == 0 {
		o.sentHeads = now
	}
	o.pending = false
	if len(o.events) > 0 {
		b.wait(o, now)
		return d
	}
	o.events = nil
	o.due = now.Add(remembered) // until then it paces what follows, and its heads are there for retry
	heap.Fix(&b.queue, o.index)
	return d
}

// wait puts o, which has something to send, where it belongs in the queue.
func (b *outbox) wait(o *outgoing, now time.Time) {
	if !o.pending {
		o.pending, o.since = true, now
	}
	switch {
	case len(o.events) == 0:
		o.due = later(o.since, o.sentHeads.Add(headsPause))
	case o.bytes >= batchBytes:
		o.due = o.since
	default:
		o.due = later(o.since, o.sent.Add(linger))
	}
	heap.Fix(&b.queue, o.index)
}

// letGo drops o's events.
func (b *outbox) letGo(o *outgoing) {
	b.bytes -= o.bytes
	o.events, o.bytes = nil, 0
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// outgoingQueue is a heap by due time.
type outgoingQueue []*outgoing

func (q outgoingQueue) Len() int           { return len(q) }
func (q outgoingQueue) Less(i, j int) bool { return q[i].due.Before(q[j].due) }
func (q outgoingQueue) Swap(i, j int) {
	q[i], q[j] = q[j], q[i]
	q[i].index, q[j].index = i, j
}

// Push implements heap.Interface.
func (q *outgoingQueue) Push(x any) {
	o := x.(*outgoing)
	o.index = len(*q)
	*q = append(*q, o)
}

// Pop implements heap.Interface.
func (q *outgoingQueue) Pop() any {
	last := len(*q) - 1
	o := (*q)[last]
	(*q)[last] = nil
	*q = (*q)[:last]
	return o
}
