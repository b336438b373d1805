package crdt

import (
	"context"
	"fmt"
	"iter"

	"github.com/ipfs/go-cid"

	"github.com/cairn-p2p/cairn/types"
)

// Get returns the topic's events, in the order of cids: nil for one that is
// not integrated here, or is of another topic.
func (r *Replica) Get(cids ...cid.Cid) ([]*types.Event, error) {
	events, err := r.cfg.Store.Get(cids)
	if err != nil {
		return nil, fmt.Errorf("get events: %w", err)
	}
	for i, e := range events {
		if e != nil && e.Topic != r.topic() {
			events[i] = nil
		}
	}
	return events, nil
}

// Query yields the selected events in canonical order.
func (r *Replica) Query(q types.Query) iter.Seq2[*types.Event, error] {
	return r.cfg.Store.Query(r.topic(), q)
}

// Log yields the delivery log behind a cursor, up to its end at this moment.
func (r *Replica) Log(after types.Cursor) iter.Seq2[types.Entry, error] {
	return r.cfg.Store.Log(r.topic(), after)
}

// End returns the position after the last event of the delivery log.
func (r *Replica) End() (types.Cursor, error) {
	state, err := r.cfg.Store.Load(r.topic(), r.self())
	return state.End, err
}

// Committed returns a channel that closes after the next commit, or when the
// replica is unloaded or closes.
func (r *Replica) Committed() <-chan struct{} { return r.wake.wait() }

// Delivery is an event with its place in the delivery log.
type Delivery struct {
	*types.Event
	Cursor types.Cursor // the position after the event: resume from it
}

// Subscribe yields every event of the delivery log behind a cursor, each once,
// after its links, and once it is durable; then it waits for more. The zero
// cursor is the log's start. It ends when ctx does, without an error, and with
// one after types.ErrInvalidCursor, types.ErrClosed or a failure of the store.
func (r *Replica) Subscribe(ctx context.Context, after types.Cursor) iter.Seq2[Delivery, error] {
	return func(yield func(Delivery, error) bool) {
		for ctx.Err() == nil {
			committed, closed := r.wake.wait(), r.isClosed() // before reading: no commit is missed
			for entry, err := range r.cfg.Store.Log(r.topic(), after) {
				if err != nil {
					yield(Delivery{}, fmt.Errorf("read delivery log: %w", err))
					return
				}
				e, err := entry.Event()
				if err != nil {
					yield(Delivery{}, fmt.Errorf("%w: entry %d: %w", types.ErrCorrupt, entry.Cursor.Number, err))
					return
				}
				if ctx.Err() != nil || !yield(Delivery{e, entry.Cursor}, nil) {
					return
				}
				after = entry.Cursor
			}
			if closed {
				yield(Delivery{}, types.ErrClosed)
				return
			}
			select {
			case <-committed:
			case <-ctx.Done():
			}
		}
	}
}
