package node

import (
	"context"
	"fmt"

	"github.com/ipfs/go-cid"

	"github.com/cairn-p2p/cairn/crdt"
	"github.com/cairn-p2p/cairn/types"
)

// Topic joins a topic and returns it: see Join.
func (n *Node) Topic(ctx context.Context, name string) (*Topic, error) { return n.Join(ctx, name) }

// Join begins to replicate a topic, durably, and returns it; a topic that is
// joined already is returned as it is. ref is a name, which gives the open
// topic of that name, or "id:" and a topic's id, which must be held here:
// types.ErrNotFound otherwise. A malformed ref is types.ErrInvalidArgument.
func (n *Node) Join(ctx context.Context, ref string) (*Topic, error) {
	r, err := ParseTopicRef(ref)
	if err != nil {
		return nil, err
	}
	if t := n.topics.get(r.ID); t != nil && t.Joined() && !t.adopted.Load() {
		return t, nil
	}
	g := r.open
	if g == nil {
		t := n.topics.get(r.ID)
		if t == nil {
			return nil, fmt.Errorf("topic %s: %w on this node, and only its genesis would say what to join", ref, types.ErrNotFound)
		}
		g = t.Genesis()
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	return n.join(ctx, g, false)
}

// join makes the store keep a topic and starts to replicate it; adopted marks
// one that nobody here asked for.
func (n *Node) join(ctx context.Context, g *types.Genesis, adopted bool) (*Topic, error) {
	n.topics.joining.Lock()
	defer n.topics.joining.Unlock()
	t := n.topics.get(g.ID())
	known := t != nil
	if !known {
		t = n.newTopic(g)
		t.setAdopted(adopted)
	}
	var mark []byte
	if adopted {
		mark = []byte{1}
	}
	if adopted || t.adopted.Load() {
		if err := n.store.SetMeta(adoptedKey(t.id), mark); err != nil {
			return nil, fmt.Errorf("join %q: %w", g.Name, err)
		}
		t.setAdopted(adopted)
	}
	if t.Joined() {
		n.advertise(t) // the quota for adopted topics may have paused it
		return t, nil
	}
	if err := n.store.JoinTopic(g); err != nil {
		return nil, fmt.Errorf("join %q: %w", g.Name, err)
	}
	info, err := n.store.Topic(t.id)
	if err != nil {
		return nil, fmt.Errorf("join %q: %w", g.Name, err)
	}
	if !known && !n.topics.add(t) {
		return nil, fmt.Errorf("join %q: %w", g.Name, types.ErrClosed)
	}
	t.joined.Store(true)
	n.syncer.Add(t.id, crdt.HeadsHash(info.Heads))
	n.advertise(t)
	n.finder.hurry()
	if err := t.replica.TellSyncer(ctx); err != nil { // of appends that came before Add
		return nil, fmt.Errorf("join %q: %w", g.Name, err)
	}
	return t, nil
}

// adoptedKey is the store's mark of a topic that nobody here joined.
func adoptedKey(id types.TopicID) string { return "adopted/" + id.String() }

// Leave stops replicating a topic, durably. Its events stay and can be read;
// Join takes it up again. A topic not held is types.ErrNotFound.
func (n *Node) Leave(ctx context.Context, ref string) error {
	t, err := n.Find(ref)
	if err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	n.topics.joining.Lock()
	defer n.topics.joining.Unlock()
	if !t.Joined() {
		return nil
	}
	if err := n.store.LeaveTopic(t.id); err != nil {
		return fmt.Errorf("leave %q: %w", t.Name(), err)
	}
	t.joined.Store(false)
	n.syncer.Remove(t.id)
	n.advertise(t)
	return nil
}

// Find returns a topic that is held here, joined or left, by name or by "id:"
// and its id. The error is types.ErrNotFound, or types.ErrInvalidArgument for a
// malformed ref.
func (n *Node) Find(ref string) (*Topic, error) {
	r, err := ParseTopicRef(ref)
	if err != nil {
		return nil, err
	}
	t := n.topics.get(r.ID)
	if t == nil {
		return nil, fmt.Errorf("topic %q: %w on this node", ref, types.ErrNotFound)
	}
	return t, nil
}

// Topics returns the topics that are held here, joined or left, by name.
func (n *Node) Topics() []*Topic {
	topics := n.topics.all()
	sortTopics(topics)
	return topics
}

// Get returns an event that is integrated here, with its topic. It asks nobody
// else; the error is types.ErrNotFound.
func (n *Node) Get(id cid.Cid) (*types.Event, *Topic, error) {
	events, err := n.store.Get([]cid.Cid{id})
	if err != nil {
		return nil, nil, fmt.Errorf("get %s: %w", id, err)
	}
	if events[0] == nil {
		return nil, nil, fmt.Errorf("event %s: %w on this node", id, types.ErrNotFound)
	}
	return events[0], n.topics.get(events[0].Topic), nil
}

// adoptQueue bounds the topics that wait to be adopted; gossip tells of those
// that do not fit again.
const adoptQueue = 64

// adoptTopics takes up topics that gossip told of, when all are replicated.
func (n *Node) adoptTopics(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case a := <-n.topics.adoptions:
			if !n.mayAdopt() {
				continue
			}
			t, err := n.join(ctx, a.genesis, true)
			if err != nil {
				n.cfg.Log.Warn("adopt topic", "topic", a.genesis.Name, "err", err)
				continue
			}
			n.syncer.Sync(t.id, a.from)
		}
	}
}

// adoption is a topic that gossip told of.
type adoption struct {
	genesis *types.Genesis
	from    types.PeerID
}

// mayAdopt reports whether another topic may be kept that nobody here joined.
func (n *Node) mayAdopt() bool {
	if n.cfg.Replicate != All || n.topics.adopted.Load() >= int64(n.cfg.Strangers.Topics) {
		return false
	}
	return n.withinQuota()
}

// withinQuota reports whether strangers' topics may still grow.
func (n *Node) withinQuota() bool {
	size, err := n.store.Usage()
	return err == nil && size < n.cfg.Strangers.Bytes
}
