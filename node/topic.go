package node

import (
	"context"
	"fmt"
	"iter"
	"sync/atomic"
	"time"

	"github.com/ipfs/go-cid"

	"github.com/cairn-p2p/cairn/crdt"
	"github.com/cairn-p2p/cairn/syncer"
	"github.com/cairn-p2p/cairn/types"
)

// Topic is a topic that a node holds. Its methods are safe for concurrent use.
type Topic struct {
	node    *Node
	id      types.TopicID
	replica *crdt.Replica
	joined  atomic.Bool
	adopted atomic.Bool  // kept though nobody here joined it
	used    atomic.Int64 // when last, in Unix nanoseconds; 0: not since it was unloaded

	events atomic.Uint64 // length of the delivery log
	heads  atomic.Int64  // their number
}

func (n *Node) newTopic(g *types.Genesis) *Topic {
	t := &Topic{node: n, id: g.ID()}
	t.replica = crdt.New(&n.replicas, g, (*topicObserver)(t))
	return t
}

// stood takes from the store what the metrics say of the topic until its first
// commit.
func (t *Topic) stood(info types.TopicInfo) {
	t.events.Store(info.Events)
	t.heads.Store(int64(len(info.Heads)))
}

// ID returns the topic's id.
func (t *Topic) ID() types.TopicID { return t.id }

// Name returns the topic's name.
func (t *Topic) Name() string { return t.Genesis().Name }

// Genesis returns what the topic begins with.
func (t *Topic) Genesis() *types.Genesis { return t.replica.Genesis() }

// Joined reports whether the topic is replicated here; after leaving it is
// only held.
func (t *Topic) Joined() bool { return t.joined.Load() }

// Append publishes an event and returns it once it is durable here. For the
// errors see AppendBatch.
func (t *Topic) Append(ctx context.Context, payload []byte, tags ...string) (*types.Event, error) {
	events, err := t.AppendBatch(ctx, []crdt.Draft{{Payload: payload, Tags: tags}})
	if err != nil {
		return nil, err
	}
	return events[0], nil
}

// AppendBatch publishes an event for each draft, each behind the one before,
// and returns them once all are durable here. After an error none or a prefix
// of them was appended. Besides the errors of crdt.Replica.Append it fails with
// types.ErrNotFound for a topic that was left.
func (t *Topic) AppendBatch(ctx context.Context, drafts []crdt.Draft) ([]*types.Event, error) {
	if !t.Joined() {
		return nil, fmt.Errorf("append to %q, which was left: %w", t.Name(), types.ErrNotFound)
	}
	t.touch()
	begin := time.Now()
	events, err := t.replica.Append(ctx, drafts...)
	t.node.metrics.appending.Observe(time.Since(begin).Seconds())
	return events, err
}

// Get returns the topic's events, in the order of cids: nil for one that is
// not integrated here.
func (t *Topic) Get(cids ...cid.Cid) ([]*types.Event, error) { return t.replica.Get(cids...) }

// Query yields the selected events in canonical order, as of now. It ends
// after the first error: types.ErrNotFound for an unknown After.
func (t *Topic) Query(q types.Query) iter.Seq2[*types.Event, error] { return t.replica.Query(q) }

// Subscribe yields every event behind a cursor once it is durable here, each
// after its links, and waits for more: see crdt.Replica.Subscribe. The zero
// cursor is the start; End is now.
func (t *Topic) Subscribe(ctx context.Context, after types.Cursor) iter.Seq2[crdt.Delivery, error] {
	return func(yield func(crdt.Delivery, error) bool) {
		sub := t.node.metrics.subscribers.add(t, after.Number)
		defer t.node.metrics.subscribers.remove(sub)
		for d, err := range t.replica.Subscribe(ctx, after) {
			if err == nil {
				sub.at.Store(d.Cursor.Number)
			}
			if !yield(d, err) {
				return
			}
		}
	}
}

// CheckCursor returns types.ErrInvalidCursor if c is no position in the delivery
// log.
func (t *Topic) CheckCursor(c types.Cursor) error {
	for _, err := range t.replica.Log(c) {
		return err // a cursor is checked before anything is yielded
	}
	return nil
}

// End returns the cursor after the last event of the delivery log.
func (t *Topic) End() (types.Cursor, error) { return t.replica.End() }

// State returns the state of the topic's replica.
func (t *Topic) State(ctx context.Context) (crdt.State, error) {
	t.touch()
	return t.replica.State(ctx)
}

// setAdopted marks whether the topic is kept though nobody here joined it.
func (t *Topic) setAdopted(adopted bool) {
	if was := t.adopted.Swap(adopted); was == adopted {
		return
	}
	if adopted {
		t.node.topics.adopted.Add(1)
	} else {
		t.node.topics.adopted.Add(-1)
	}
}

// Heads returns the heads, sorted by the bytes of their CIDs: all of them.
func (t *Topic) Heads(ctx context.Context) ([]types.Head, error) {
	s, err := t.State(ctx)
	return s.Heads, err
}

// touch notes that the topic is used: tend looks after it from now on.
func (t *Topic) touch() {
	if t.used.Swap(time.Now().UnixNano()) == 0 {
		t.node.topics.wake(t)
	}
}

// unloadIdle frees the memory of a topic that was not used for a while: from
// then on it is dormant.
func (t *Topic) unloadIdle(now time.Time) {
	used := t.used.Load()
	if now.UnixNano()-used > int64(t.node.cfg.UnloadAfter) && !t.replica.Halted() && t.replica.Unload() {
		t.node.topics.sleep(t, used)
	}
}

// resume lets appends go on once nobody is left to be asked for the own events
// that a rollback lost: every connected replica has been compared with.
func (t *Topic) resume(ctx context.Context) {
	s, err := t.node.syncer.Status(t.id)
	if err != nil || s.State != syncer.StateSynced {
		return
	}
	if err := t.replica.Resume(ctx); err != nil {
		t.node.cfg.Log.Warn("resume after rollback", "topic", t.Name(), "err", err)
	}
}
