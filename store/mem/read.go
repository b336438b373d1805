package mem

import (
	"bytes"
	"fmt"
	"iter"
	"slices"

	"github.com/ipfs/go-cid"

	"github.com/cairn-p2p/cairn/types"
)

// Heights returns the height of each of cids that is integrated: 0 for one that
// is an event of another topic. Absent ones are left out.
func (s *Store) Heights(id types.TopicID, cids []cid.Cid) (map[cid.Cid]uint64, error) {
	heights := make(map[cid.Cid]uint64, len(cids))
	err := s.read(func(d *disk) error {
		for _, c := range cids {
			if at, ok := d.places[c]; !ok {
				continue
			} else if at.topic == d.topics[id] {
				heights[c] = at.topic.log[at.index].Height
			} else {
				heights[c] = 0
			}
		}
		return nil
	})
	return heights, err
}

// HeightsOf is Heights of the CIDs of events, which are of the topic.
func (s *Store) HeightsOf(id types.TopicID, events []*types.Event) (map[cid.Cid]uint64, error) {
	cids := make([]cid.Cid, len(events))
	for i, e := range events {
		cids[i] = e.CID
	}
	return s.Heights(id, cids)
}

// Get returns the events, whatever their topic, in the order of cids: nil for
// one that is not integrated.
func (s *Store) Get(cids []cid.Cid) ([]*types.Event, error) {
	events := make([]*types.Event, len(cids))
	err := s.read(func(d *disk) error {
		for i, c := range cids {
			if at, ok := d.places[c]; ok {
				events[i] = at.topic.log[at.index]
			}
		}
		return nil
	})
	return events, err
}

// Log yields the delivery log behind a cursor, up to its end at the first step;
// the zero cursor is its start. A cursor that does not fit the log is
// types.ErrInvalidCursor, a topic that is not held types.ErrNotFound.
func (s *Store) Log(id types.TopicID, after types.Cursor) iter.Seq2[types.Entry, error] {
	return func(yield func(types.Entry, error) bool) {
		log, hashes, err := s.snapshot(id)
		if err == nil && after != (types.Cursor{}) {
			n := after.Number
			if n >= uint64(len(hashes)) || hashes[n].Cursor(n) != after {
				err = fmt.Errorf("read log: %w: the log differs before event %d", types.ErrInvalidCursor, n+1)
			}
		}
		if err != nil {
			yield(types.Entry{}, err)
			return
		}
		for n := after.Number; n < uint64(len(log)); n++ {
			if err := s.read(func(*disk) error { return nil }); err != nil {
				yield(types.Entry{}, err)
				return
			}
			entry := types.Entry{
				Cursor:  hashes[n+1].Cursor(n + 1),
				Body:    bytes.Clone(log[n].Bytes()),
				Witness: bytes.Clone(log[n].Witness),
			}
			if !yield(entry, nil) {
				return
			}
		}
	}
}

// snapshot returns a topic's log and running hashes, which only ever grow.
func (s *Store) snapshot(id types.TopicID) (log []*types.Event, hashes []types.RunningHash, err error) {
	err = s.read(func(d *disk) error {
		t, err := d.topic(id)
		if err == nil {
			log, hashes = t.log, t.hashes
		}
		return err
	})
	return log, hashes, err
}

// At returns the CIDs of the events that have these numbers in the topic's
// delivery log; types.ErrNotFound if there is none with one of them.
func (s *Store) At(id types.TopicID, numbers []uint64) ([]cid.Cid, error) {
	log, _, err := s.snapshot(id)
	if err != nil {
		return nil, err
	}
	cids := make([]cid.Cid, 0, len(numbers))
	for _, number := range numbers {
		if number == 0 || number > uint64(len(log)) {
			return nil, fmt.Errorf("read log: %w: event %d of %d", types.ErrNotFound, number, len(log))
		}
		cids = append(cids, log[number-1].CID)
	}
	return cids, nil
}

// Query yields the selected events in canonical order, as of the first step. An
// After that the topic does not hold, and a topic that is not held, are
// types.ErrNotFound.
func (s *Store) Query(id types.TopicID, q types.Query) iter.Seq2[*types.Event, error] {
	return func(yield func(*types.Event, error) bool) {
		events, _, err := s.snapshot(id)
		if err == nil {
			events, err = selectEvents(events, q)
		}
		if err != nil {
			yield(nil, err)
			return
		}
		for _, e := range events {
			if err := s.read(func(*disk) error { return nil }); err != nil {
				yield(nil, err)
				return
			}
			if !yield(e, nil) {
				return
			}
		}
	}
}

// selectEvents returns those of a log that q asks for, in its order.
func selectEvents(log []*types.Event, q types.Query) ([]*types.Event, error) {
	compare := types.CompareEvents
	if q.Reverse {
		compare = func(a, b *types.Event) int { return types.CompareEvents(b, a) }
	}
	var after *types.Event
	if q.After.Defined() {
		i := slices.IndexFunc(log, func(e *types.Event) bool { return e.CID == q.After })
		if i < 0 {
			return nil, fmt.Errorf("query: %w: event %s", types.ErrNotFound, q.After)
		}
		after = log[i]
	}
	var selected []*types.Event
	for _, e := range log {
		if matches(e, q) && (after == nil || compare(e, after) > 0) {
			selected = append(selected, e)
		}
	}
	slices.SortFunc(selected, compare)
	if q.Limit > 0 && len(selected) > q.Limit {
		selected = selected[:q.Limit]
	}
	return selected, nil
}

// matches applies the filters of q to one event.
func matches(e *types.Event, q types.Query) bool {
	switch {
	case e.Time < q.Since, q.Until != 0 && e.Time >= q.Until:
		return false
	case q.Tag != "" && !slices.Contains(e.Tags, q.Tag):
		return false
	}
	return q.Publisher == nil || e.Publisher == *q.Publisher
}
