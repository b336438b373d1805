package badger

import (
	"cmp"
	"fmt"
	"iter"
	"slices"

	"github.com/dgraph-io/badger/v4"
	"github.com/ipfs/go-cid"

	"github.com/cairn-p2p/cairn/types"
)

// What an iterator reads before it hands control to its caller: enough to make
// the transaction's cost small, little enough for any consumer's memory.
const (
	chunkEvents = 256
	chunkBytes  = 256 << 10
)

// Heights returns the height of each of cids that is integrated: 0 for one that
// is an event of another topic. Absent ones are left out.
func (s *Store) Heights(topic types.TopicID, cids []cid.Cid) (map[cid.Cid]uint64, error) {
	heights := make(map[cid.Cid]uint64, len(cids))
	err := s.view(func(txn *badger.Txn) error {
		no, err := findTopic(reader(txn), topic)
		if err != nil {
			return err
		}
		return places(txn, cids, func(i int, at place) {
			if at.topic == no {
				heights[cids[i]] = at.height
			} else {
				heights[cids[i]] = 0
			}
		})
	})
	if err != nil {
		return nil, fmt.Errorf("read heights: %w", err)
	}
	return heights, nil
}

// HeightsOf is Heights of the CIDs of events, which are of the topic. An event
// whose seq is greater than any that its publisher has integrated in the topic is
// absent for sure, and is not looked for: so most of what is new costs no look-up.
func (s *Store) HeightsOf(topic types.TopicID, events []*types.Event) (map[cid.Cid]uint64, error) {
	heights := map[cid.Cid]uint64{}
	err := s.view(func(txn *badger.Txn) error {
		no, err := findTopic(reader(txn), topic)
		if err != nil || no == 0 {
			return err
		}
		var cids []cid.Cid
		seqs := map[types.Publisher]uint64{}
		for _, e := range events {
			seq, ok := seqs[e.Publisher]
			if !ok {
				tip, err := readTip(reader(txn), no, e.Publisher)
				if err != nil {
					return err
				}
				seq = tip.Seq
				seqs[e.Publisher] = seq
			}
			if e.Seq <= seq {
				cids = append(cids, e.CID)
			}
		}
		return places(txn, cids, func(i int, at place) { heights[cids[i]] = at.height })
	})
	if err != nil {
		return nil, fmt.Errorf("read heights: %w", err)
	}
	return heights, nil
}

// Get returns the events, whatever their topic, in the order of cids: nil for
// one that is not integrated.
func (s *Store) Get(cids []cid.Cid) ([]*types.Event, error) {
	events := make([]*types.Event, len(cids))
	err := s.view(func(txn *badger.Txn) error {
		type wanted struct {
			index int
			place
		}
		var found []wanted
		if err := places(txn, cids, func(i int, at place) { found = append(found, wanted{i, at}) }); err != nil {
			return err
		}
		slices.SortFunc(found, func(a, b wanted) int {
			return cmp.Or(cmp.Compare(a.topic, b.topic), cmp.Compare(a.number, b.number))
		})
		for _, w := range found {
			e, err := s.records.event(txn, w.topic, w.spot)
			if err != nil {
				return err
			}
			events[w.index] = e
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("get events: %w", err)
	}
	return events, nil
}

// places calls found with the index in cids and the place of each event that is
// integrated. It reads in the order of the keys.
func places(txn *badger.Txn, cids []cid.Cid, found func(i int, at place)) error {
	order := make([]int, len(cids))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(a, b int) int { return types.CompareCIDs(cids[a], cids[b]) })
	for _, i := range order {
		b, err := get(txn, digestKey(kindEvent, types.Digest(cids[i])))
		if err != nil {
			return err
		}
		if b == nil {
			continue
		}
		at, err := decodePlace(b)
		if err != nil {
			return err
		}
		found(i, at)
	}
	return nil
}

// Log yields the delivery log behind a cursor, up to its end at the first step;
// the zero cursor is its start. A cursor that does not fit the log is
// types.ErrInvalidCursor, a topic that is not held types.ErrNotFound.
func (s *Store) Log(topic types.TopicID, after types.Cursor) iter.Seq2[types.Entry, error] {
	return func(yield func(types.Entry, error) bool) {
		var no topicNo
		var end uint64
		err := s.view(func(txn *badger.Txn) error {
			var state logState
			var err error
			if no, state, err = findLog(reader(txn), topic); err != nil {
				return err
			}
			end = state.count
			return s.checkCursor(txn, no, topic, after, end)
		})
		next := after.Number + 1
		for err == nil && next <= end {
			var chunk []types.Entry
			err = s.view(func(txn *badger.Txn) error {
				var err error
				chunk, err = scanLog(txn, no, next, end)
				return err
			})
			if err != nil {
				break
			}
			for _, entry := range chunk {
				if !yield(entry, nil) {
					return
				}
			}
			next += uint64(len(chunk))
		}
		if err != nil {
			yield(types.Entry{}, fmt.Errorf("read log: %w", err))
		}
	}
}

// At returns the CIDs of the events that have these numbers in the topic's
// delivery log; types.ErrNotFound if there is none with one of them.
func (s *Store) At(topic types.TopicID, numbers []uint64) ([]cid.Cid, error) {
	cids := make([]cid.Cid, 0, len(numbers))
	err := s.view(func(txn *badger.Txn) error {
		no, state, err := findLog(reader(txn), topic)
		if err != nil {
			return err
		}
		for _, number := range numbers {
			if number == 0 || number > state.count {
				return fmt.Errorf("%w: event %d of %d", types.ErrNotFound, number, state.count)
			}
			e, err := findRecorded(txn, no, number)
			if err != nil {
				return err
			}
			cids = append(cids, types.SumCID(e.body))
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read log: %w", err)
	}
	return cids, nil
}

// checkCursor compares a cursor with the log of topic, which has end events.
func (s *Store) checkCursor(txn *badger.Txn, no topicNo, topic types.TopicID, c types.Cursor, end uint64) error {
	if c == (types.Cursor{}) {
		return nil
	}
	at := types.StartHash(s.id.log, topic).Cursor(0)
	switch {
	case c.Number > end:
		return fmt.Errorf("%w: it is behind event %d of %d", types.ErrInvalidCursor, c.Number, end)
	case c.Number > 0:
		e, err := findRecorded(txn, no, c.Number)
		if err != nil {
			return err
		}
		at = e.at
	}
	if c != at {
		return fmt.Errorf("%w: the log differs before event %d", types.ErrInvalidCursor, c.Number+1)
	}
	return nil
}

// scanLog reads a chunk of the log: at least event from, at most event to.
func scanLog(txn *badger.Txn, no topicNo, from, to uint64) ([]types.Entry, error) {
	log := newScan(txn, topicKey(kindLog, no, 0), logKey(no, from), false)
	defer log.close()
	var chunk []types.Entry
	size := 0
	for next := from; next <= to && len(chunk) < chunkEvents && size < chunkBytes; log.next() {
		r, err := recordIn(log, no, next)
		if err != nil {
			return nil, err
		}
		if r.last > to { // one commit wrote it, and to is the end of one
			return nil, corrupt("topic %d has a log of %d events, and a record of event %d", no, to, r.last)
		}
		for i := next - r.first(); next <= r.last; i++ {
			entry, err := r.entry(int(i))
			if err != nil {
				return nil, err
			}
			chunk = append(chunk, entry)
			size += len(entry.Body) + len(entry.Witness)
			next++
		}
	}
	return chunk, nil
}
