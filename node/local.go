package node

import (
	"context"
	"fmt"
	"iter"

	"github.com/ipfs/go-cid"

	"github.com/cairn-p2p/cairn/broadcaster"
	"github.com/cairn-p2p/cairn/syncer"
	"github.com/cairn-p2p/cairn/trie"
	"github.com/cairn-p2p/cairn/types"
)

// gossipLocal is the node as its broadcaster sees it.
type gossipLocal struct{ n *Node }

func (l gossipLocal) Genesis(topic types.TopicID) (*types.Genesis, bool) {
	t := l.n.joinedTopic(topic)
	if t == nil {
		return nil, false
	}
	return t.Genesis(), true
}

func (l gossipLocal) Known(topic types.TopicID, events []*types.Event) []bool {
	known := make([]bool, len(events))
	heights, err := l.n.store.HeightsOf(topic, events)
	if err != nil {
		return known // what is taken for new is found to be known later
	}
	for i, e := range events {
		known[i] = heights[e.CID] > 0
	}
	return known
}

func (l gossipLocal) Wants(*types.Genesis) bool { return l.n.mayAdopt() }

func (l gossipLocal) Receive(m broadcaster.Message) {
	if t := l.n.joinedTopic(m.Topic); t != nil {
		if t.pausedBy() != nil {
			l.n.metrics.left[leftPaused].Add(uint64(len(m.Events)))
			return
		}
		t.touch()
		t.replica.Receive(m.From, m.Events, m.Heads)
		return
	}
	if m.Genesis == nil || l.n.topics.get(m.Topic) != nil || !l.n.mayAdopt() {
		return
	}
	select {
	case l.n.topics.adoptions <- m:
	default: // the next message of the topic asks again
		l.n.metrics.left[leftAdoption].Add(uint64(len(m.Events)))
	}
}

// joinedTopic returns a topic that is replicated here, or nil.
func (n *Node) joinedTopic(id types.TopicID) *Topic {
	t := n.topics.get(id)
	if t == nil || !t.Joined() {
		return nil
	}
	return t
}

// syncLocal is the node as its syncer sees it.
type syncLocal struct{ n *Node }

func (l syncLocal) topic(id types.TopicID) (*Topic, error) {
	t := l.n.joinedTopic(id)
	if t == nil {
		return nil, fmt.Errorf("topic %s: %w", id, types.ErrNotFound)
	}
	return t, nil
}

func (l syncLocal) LogID() types.LogID { return l.n.store.LogID() }

// manyHeads is the number of heads from which a topic that somebody asks about
// does not stay dormant: to read them all for each question would cost too much.
const manyHeads = 1024

func (l syncLocal) Heads(topic types.TopicID, limit int) (syncer.Heads, error) {
	t, err := l.topic(topic)
	if err != nil {
		return syncer.Heads{}, err
	}
	at, err := t.replica.Standing(limit)
	if err != nil {
		return syncer.Heads{}, err
	}
	if at.Count >= manyHeads {
		t.touch()
		t.replica.Load()
	}
	return syncer.Heads{
		Genesis: t.Genesis(),
		Heads:   at.Heads,
		Count:   at.Count,
		Hash:    at.HeadsHash,
		Events:  at.Events,
		End:     at.End,
		Paused:  t.pausedBy() != nil,
	}, nil
}

func (l syncLocal) HeadsTrie(topic types.TopicID, look func(*trie.Trie)) error {
	t, err := l.topic(topic)
	if err != nil {
		return err
	}
	return t.replica.HeadsTrie(look)
}

func (l syncLocal) Get(topic types.TopicID, cids []cid.Cid) ([]*types.Event, error) {
	t, err := l.topic(topic)
	if err != nil {
		return nil, err
	}
	return t.replica.Get(cids...)
}

func (l syncLocal) Log(topic types.TopicID, after types.Cursor) iter.Seq2[types.Entry, error] {
	t, err := l.topic(topic)
	if err != nil {
		return func(yield func(types.Entry, error) bool) { yield(types.Entry{}, err) }
	}
	return t.replica.Log(after)
}

func (l syncLocal) At(topic types.TopicID, numbers []uint64) ([]cid.Cid, error) {
	if _, err := l.topic(topic); err != nil {
		return nil, err
	}
	return l.n.store.At(topic, numbers)
}

func (l syncLocal) Missing(topic types.TopicID, cids []cid.Cid) ([]cid.Cid, error) {
	heights, err := l.n.store.Heights(topic, cids)
	if err != nil {
		return nil, err
	}
	var missing []cid.Cid
	for _, id := range cids {
		if heights[id] == 0 {
			missing = append(missing, id)
		}
	}
	return missing, nil
}

func (l syncLocal) MissingOf(topic types.TopicID, events []*types.Event) ([]*types.Event, error) {
	heights, err := l.n.store.HeightsOf(topic, events)
	if err != nil {
		return nil, err
	}
	var missing []*types.Event
	for _, e := range events {
		if heights[e.CID] == 0 {
			missing = append(missing, e)
		}
	}
	return missing, nil
}

func (l syncLocal) Verify(ctx context.Context, events []*types.Event) []error {
	errs := l.n.verifier.check(ctx, events)
	for i, e := range events {
		t := l.n.topics.get(e.Topic)
		if errs[i] == nil && (t == nil || !t.Genesis().MayPublish(e.Publisher)) {
			errs[i] = fmt.Errorf("%w: %w", types.ErrInvalidEvent, types.ErrNotWriter)
			l.n.metrics.reject(errs[i])
		}
	}
	return errs
}

func (l syncLocal) Integrate(ctx context.Context, topic types.TopicID, from types.PeerID, events []*types.Event) error {
	t, err := l.topic(topic)
	if err != nil {
		return err
	}
	if err := t.pausedBy(); err != nil {
		return err
	}
	t.touch()
	return t.replica.Integrate(ctx, from, events)
}

func (l syncLocal) Meta(key string) ([]byte, error)        { return l.n.store.Meta(key) }
func (l syncLocal) SetMeta(key string, value []byte) error { return l.n.store.SetMeta(key, value) }
