package clock_test

import (
	"fmt"
	"slices"

	"github.com/ipfs/go-cid"

	"github.com/cairn-p2p/cairn/types"
)

// ledger is a store that checks all it is given: whatever the clock asks to be
// stored must leave a topological log without repetition, and its sinks for
// heads.
type ledger struct {
	topic   types.TopicID
	log     []*types.Event
	heights map[cid.Cid]uint64
	heads   map[cid.Cid]uint64
	linked  map[cid.Cid]bool
	foreign map[cid.Cid]bool // events of other topics that this node has
}

func newLedger(topic types.TopicID) *ledger {
	return &ledger{
		topic:   topic,
		heights: map[cid.Cid]uint64{},
		heads:   map[cid.Cid]uint64{},
		linked:  map[cid.Cid]bool{},
		foreign: map[cid.Cid]bool{},
	}
}

func (l *ledger) commit(b *types.Batch) error {
	if b.Topic != l.topic || b.First != uint64(len(l.log))+1 || len(b.Events) == 0 {
		return fmt.Errorf("batch of %d events from %d on, after %d", len(b.Events), b.First, len(l.log))
	}
	for _, e := range b.Events {
		if e.Witness == nil {
			e.Witness = []byte("signed")
		}
		if err := l.integrate(e); err != nil {
			return err
		}
	}
	if b.Size() > types.MaxBatchSize && len(b.Events) > 1 {
		return fmt.Errorf("batch of %d events and %d bytes", len(b.Events), b.Size())
	}
	for _, id := range b.DropHeads {
		if l.heads[id] == 0 {
			return fmt.Errorf("dropped head %s is none", id)
		}
		delete(l.heads, id)
	}
	if !slices.IsSortedFunc(b.AddHeads, func(x, y types.Head) int { return types.CompareCIDs(x.CID, y.CID) }) {
		return fmt.Errorf("added heads are not sorted")
	}
	for _, h := range b.AddHeads {
		if l.heads[h.CID] != 0 {
			return fmt.Errorf("added head %s is one already", h.CID)
		}
		l.heads[h.CID] = h.Height
	}
	return l.checkHeads()
}

func (l *ledger) integrate(e *types.Event) error {
	if e.Topic != l.topic {
		return fmt.Errorf("event %s of topic %s is stored", e.CID, e.Topic)
	}
	var parents uint64
	for _, p := range e.Links {
		if l.heights[p] == 0 {
			return fmt.Errorf("event %s is stored before its link %s", e.CID, p)
		}
		parents = max(parents, l.heights[p])
		l.linked[p] = true
	}
	if l.heights[e.CID] != 0 {
		return fmt.Errorf("event %s is stored twice", e.CID)
	}
	if e.Height != parents+1 {
		return fmt.Errorf("event %s of height %d is stored above %d", e.CID, e.Height, parents)
	}
	l.log = append(l.log, e)
	l.heights[e.CID] = e.Height
	return nil
}

func (l *ledger) checkHeads() error {
	sinks := map[cid.Cid]uint64{}
	for _, e := range l.log {
		if !l.linked[e.CID] {
			sinks[e.CID] = e.Height
		}
	}
	if len(sinks) != len(l.heads) {
		return fmt.Errorf("%d heads for %d sinks", len(l.heads), len(sinks))
	}
	for id, height := range sinks {
		if l.heads[id] != height {
			return fmt.Errorf("sink %s of height %d is stored as %d", id, height, l.heads[id])
		}
	}
	return nil
}

func (l *ledger) state(self types.Publisher) types.TopicState {
	s := types.TopicState{Events: uint64(len(l.log)), Heads: l.headList()}
	for _, e := range l.log {
		if e.Publisher == self && e.Seq > s.Tip.Seq {
			s.Tip = types.Tip{CID: e.CID, Seq: e.Seq, Height: e.Height}
		}
	}
	return s
}

func (l *ledger) headList() []types.Head {
	heads := []types.Head{}
	for id, height := range l.heads {
		heads = append(heads, types.Head{CID: id, Height: height})
	}
	slices.SortFunc(heads, func(x, y types.Head) int { return types.CompareCIDs(x.CID, y.CID) })
	return heads
}

// known is what a driver reads before it gives events to the clock.
func (l *ledger) known(events []*types.Event) map[cid.Cid]uint64 {
	known := map[cid.Cid]uint64{}
	for _, e := range events {
		for _, id := range append([]cid.Cid{e.CID}, e.Links...) {
			if height, ok := l.heights[id]; ok || l.foreign[id] {
				known[id] = height
			}
		}
	}
	return known
}

// rollBack returns a copy of the ledger as it was after n events.
func (l *ledger) rollBack(n int) *ledger {
	old := newLedger(l.topic)
	old.foreign = l.foreign
	for _, e := range l.log[:n] {
		if err := old.integrate(e); err != nil {
			panic(err) // each prefix of a log is a valid DAG
		}
	}
	for _, e := range old.log {
		if !old.linked[e.CID] {
			old.heads[e.CID] = e.Height
		}
	}
	return old
}
