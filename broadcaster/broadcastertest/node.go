package broadcastertest

import (
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"fmt"
	"slices"
	"sync"
	"testing"

	"github.com/ipfs/go-cid"

	"github.com/cairn-p2p/cairn/broadcaster"
	"github.com/cairn-p2p/cairn/types"
)

// Node is a broadcaster.Local that records what it receives and takes every
// event that it receives for integrated.
type Node struct {
	mu       sync.Mutex
	topics   map[types.TopicID]*types.Genesis
	wantsAll bool
	known    map[cid.Cid]bool
	messages []broadcaster.Message
	changed  chan struct{} // closed at the next message
}

var _ broadcaster.Local = (*Node)(nil)

// NewNode returns a node that replicates the topics of the given geneses.
func NewNode(replicated ...*types.Genesis) *Node {
	n := &Node{
		topics:  make(map[types.TopicID]*types.Genesis),
		known:   make(map[cid.Cid]bool),
		changed: make(chan struct{}),
	}
	for _, g := range replicated {
		n.topics[g.ID()] = g
	}
	return n
}

// NewWantingNode returns a node that replicates nothing and wants everything.
func NewWantingNode() *Node {
	n := NewNode()
	n.wantsAll = true
	return n
}

// Hold makes the node know events as if it had integrated them.
func (n *Node) Hold(events ...*types.Event) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, e := range events {
		n.known[e.CID] = true
	}
}

// Genesis implements broadcaster.Local.
func (n *Node) Genesis(topic types.TopicID) (*types.Genesis, bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	g, ok := n.topics[topic]
	return g, ok
}

// Known implements broadcaster.Local.
func (n *Node) Known(_ types.TopicID, events []*types.Event) []bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	known := make([]bool, len(events))
	for i, e := range events {
		known[i] = n.known[e.CID]
	}
	return known
}

// Wants implements broadcaster.Local.
func (n *Node) Wants(*types.Genesis) bool { return n.wantsAll }

// Receive implements broadcaster.Local.
func (n *Node) Receive(m broadcaster.Message) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, e := range m.Events {
		n.known[e.CID] = true
	}
	n.messages = append(n.messages, m)
	close(n.changed)
	n.changed = make(chan struct{})
}

// Messages returns what the node has received so far.
func (n *Node) Messages() []broadcaster.Message {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Clone(n.messages)
}

// Await blocks until the messages received so far satisfy done, and returns
// them. It fails the test when ctx ends first.
func (n *Node) Await(ctx context.Context, t testing.TB, done func([]broadcaster.Message) bool) []broadcaster.Message {
	t.Helper()
	for {
		n.mu.Lock()
		messages, changed := slices.Clone(n.messages), n.changed
		n.mu.Unlock()
		if done(messages) {
			return messages
		}
		select {
		case <-changed:
		case <-ctx.Done():
			t.Fatalf("gave up waiting with %d messages and %d events received", len(messages), countEvents(messages))
		}
	}
}

// AwaitEvents blocks until the node has received all of events.
func (n *Node) AwaitEvents(ctx context.Context, t testing.TB, events []*types.Event) []broadcaster.Message {
	t.Helper()
	return n.Await(ctx, t, func(messages []broadcaster.Message) bool {
		got := make(map[cid.Cid]bool)
		for _, m := range messages {
			for _, e := range m.Events {
				got[e.CID] = true
			}
		}
		return !slices.ContainsFunc(events, func(e *types.Event) bool { return !got[e.CID] })
	})
}

// AwaitHeads blocks until the node has received heads with the given hash.
func (n *Node) AwaitHeads(ctx context.Context, t testing.TB, hash types.Hash) []broadcaster.Message {
	t.Helper()
	return n.Await(ctx, t, func(messages []broadcaster.Message) bool {
		return slices.ContainsFunc(messages, func(m broadcaster.Message) bool { return m.HeadsHash == hash })
	})
}

func countEvents(messages []broadcaster.Message) int {
	count := 0
	for _, m := range messages {
		count += len(m.Events)
	}
	return count
}

// Key returns the i-th of a fixed series of keys.
func Key(i int) ed25519.PrivateKey {
	seed := sha256.Sum256(fmt.Appendf(nil, "key %d", i))
	return ed25519.NewKeyFromSeed(seed[:])
}

// Topic returns the genesis of an open topic.
func Topic(t testing.TB, name string) *types.Genesis {
	t.Helper()
	g, err := types.NewOpen(name)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// Chain returns n events of key, each with a payload of size bytes and linked
// to the one before, signed on their own or together.
func Chain(t testing.TB, key ed25519.PrivateKey, g *types.Genesis, n, size int, together bool) []*types.Event {
	t.Helper()
	events := make([]*types.Event, n)
	for i := range events {
		body := types.Body{
			Topic:     g.ID(),
			Publisher: types.PublisherOf(key),
			Seq:       uint64(i + 1),
			Height:    uint64(i + 1),
			Payload:   make([]byte, size),
		}
		if i > 0 {
			body.Links = []cid.Cid{events[i-1].CID}
		}
		e, err := types.NewEvent(body)
		if err != nil {
			t.Fatal(err)
		}
		events[i] = e
	}
	if together {
		types.SignEvents(key, events)
		return events
	}
	for i := range events {
		types.SignEvents(key, events[i:i+1])
	}
	return events
}

// Announce returns the announcement of events, whose last is the only head. The
// heads hash is one that no other announcement has; nothing here looks inside.
func Announce(g *types.Genesis, events ...*types.Event) types.Announcement {
	head := events[len(events)-1].CID
	return types.Announcement{Genesis: g, Events: events, Heads: []cid.Cid{head}, HeadsHash: types.Digest(head)}
}

// AnnounceHeads returns the announcement of head alone.
func AnnounceHeads(g *types.Genesis, head *types.Event) types.Announcement {
	a := Announce(g, head)
	a.Events = nil
	return a
}
