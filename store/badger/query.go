package badger

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"fmt"
	"iter"
	"slices"

	"github.com/dgraph-io/badger/v4"
	"github.com/ipfs/go-cid"

	"github.com/cairn-p2p/cairn/types"
)

const (
	// maxCandidates bounds the events of a time range that are sorted in
	// memory, about 4 MB; a wider range is a filter on a scan of the topic.
	maxCandidates = 65536
	// chunkScanned bounds the index entries that are read, and filtered out,
	// in one transaction.
	chunkScanned = 4096
)

// Query yields the selected events in canonical order, as of the first step. An
// After that the topic does not hold, and a topic that is not held, are
// types.ErrNotFound.
func (s *Store) Query(topic types.TopicID, q types.Query) iter.Seq2[*types.Event, error] {
	return func(yield func(*types.Event, error) bool) {
		r := query{Query: q, log: s.records, most: s.opts.hooks.candidates}
		err := s.view(func(txn *badger.Txn) error { return r.plan(txn, topic) })
		for left := q.Limit; err == nil && !r.done; {
			var chunk []*types.Event
			err = s.view(func(txn *badger.Txn) error {
				var err error
				chunk, err = r.step(txn)
				return err
			})
			for _, e := range chunk {
				if !yield(e, nil) {
					return
				}
				if left--; left == 0 {
					return
				}
			}
		}
		if err != nil {
			yield(nil, fmt.Errorf("query: %w", err))
		}
	}
}

// query is a Query under way.
type query struct {
	types.Query
	log  records
	no   topicNo
	end  uint64 // events with greater numbers came after the query began
	done bool
	most int // bound on candidates

	// Either candidates is what is left of a sorted time range, or prefix is
	// the index to scan and from the key to go on at.
	candidates []candidate
	sorted     bool
	prefix     []byte
	from       []byte
}

// candidate is an event by its place in canonical order and in the log.
type candidate struct {
	position
	spot
}

func (p position) compare(o position) int {
	return cmp.Or(cmp.Compare(p.height, o.height), bytes.Compare(p.digest[:], o.digest[:]))
}

// plan chooses the index.
func (r *query) plan(txn *badger.Txn, topic types.TopicID) error {
	no, state, err := findLog(reader(txn), topic)
	if err != nil {
		return err
	}
	r.no, r.end = no, state.count
	var after *position
	if r.After.Defined() {
		if after, err = r.find(txn, r.After); err != nil {
			return err
		}
	}
	if r.Tag == "" && (r.Since > 0 || r.Until != 0) {
		if err := r.gather(txn, after); err != nil || r.sorted {
			return err
		}
	}
	r.prefix = topicKey(kindCanonical, no, 0)
	if r.Tag != "" {
		if len(r.Tag) > types.MaxTagSize {
			r.done = true
			return nil
		}
		r.prefix = tagPrefix(no, r.Tag)
	}
	r.startAt(after)
	return nil
}

// find returns the position of an event of the topic.
func (r *query) find(txn *badger.Txn, c cid.Cid) (*position, error) {
	var pos *position
	err := places(txn, []cid.Cid{c}, func(_ int, at place) {
		if at.topic == r.no {
			pos = &position{height: at.height, digest: types.Digest(c)}
		}
	})
	if err == nil && pos == nil {
		err = fmt.Errorf("%w: event %s", types.ErrNotFound, c)
	}
	return pos, err
}

// startAt puts the scan of prefix behind after, or at its beginning.
func (r *query) startAt(after *position) {
	switch {
	case after != nil:
		r.from = behind(after.append(bytes.Clone(r.prefix)), r.Reverse)
	case r.Reverse:
		r.from = append(bytes.Clone(r.prefix), bytes.Repeat([]byte{0xff}, positionSize)...)
	default:
		r.from = r.prefix
	}
}

// behind returns the key next to key in the direction asked for, among keys of
// its length.
func behind(key []byte, reverse bool) []byte {
	key = bytes.Clone(key)
	for i := len(key) - 1; i >= 0; i-- {
		if reverse {
			if key[i]--; key[i] != 0xff {
				break
			}
		} else if key[i]++; key[i] != 0 {
			break
		}
	}
	return key
}

// gather collects and sorts the events of the time range, unless they are too
// many.
func (r *query) gather(txn *badger.Txn, after *position) error {
	prefix := topicKey(kindTime, r.no, 0)
	from := binary.BigEndian.AppendUint64(bytes.Clone(prefix), uint64(max(r.Since, 0)))
	entries := newScan(txn, prefix, from, false)
	defer entries.close()
	var found []candidate
	for ; entries.valid(); entries.next() {
		key := entries.key()
		if len(key) != len(prefix)+8+positionSize {
			return corrupt("time index key: %x", key)
		}
		t := int64(binary.BigEndian.Uint64(key[len(prefix):]))
		if r.Until != 0 && t >= r.Until {
			break
		}
		c, err := candidateAt(entries)
		if err != nil {
			return err
		}
		if after != nil && !r.isBehind(c.position, *after) {
			continue
		}
		if len(found) == r.most {
			return nil
		}
		found = append(found, c)
	}
	slices.SortFunc(found, func(a, b candidate) int {
		if r.Reverse {
			a, b = b, a
		}
		return a.compare(b.position)
	})
	r.candidates, r.sorted, r.done = found, true, len(found) == 0
	return nil
}

func (r *query) isBehind(p, after position) bool {
	if r.Reverse {
		return p.compare(after) < 0
	}
	return p.compare(after) > 0
}

// candidateAt reads the index entry at which entries stands.
func candidateAt(entries *scan) (candidate, error) {
	pos, err := positionIn(entries.key())
	if err != nil {
		return candidate{}, err
	}
	b, err := entries.value()
	if err != nil {
		return candidate{}, err
	}
	at, err := decodeSpot(b)
	if err != nil {
		return candidate{}, err
	}
	return candidate{position: pos, spot: at}, nil
}

// step reads the next events, perhaps none, and sets done behind the last.
func (r *query) step(txn *badger.Txn) ([]*types.Event, error) {
	if r.sorted {
		return r.stepSorted(txn)
	}
	entries := newScan(txn, r.prefix, r.from, r.Reverse)
	defer entries.close()
	var chunk []*types.Event
	size := 0
	for scanned := 0; ; scanned++ {
		if !entries.valid() {
			r.done = true
			return chunk, nil
		}
		if scanned == chunkScanned || r.full(len(chunk), size) {
			r.from = bytes.Clone(entries.key())
			return chunk, nil
		}
		c, err := candidateAt(entries)
		if err != nil {
			return nil, err
		}
		e, err := r.read(txn, c)
		if err != nil {
			return nil, err
		}
		if e != nil {
			chunk, size = append(chunk, e), size+e.Size()
		}
		entries.next()
	}
}

func (r *query) stepSorted(txn *badger.Txn) ([]*types.Event, error) {
	var chunk []*types.Event
	size, scanned := 0, 0
	for _, c := range r.candidates {
		if scanned == chunkScanned || r.full(len(chunk), size) {
			break
		}
		e, err := r.read(txn, c)
		if err != nil {
			return nil, err
		}
		if e != nil {
			chunk, size = append(chunk, e), size+e.Size()
		}
		scanned++
	}
	r.candidates = r.candidates[scanned:]
	r.done = len(r.candidates) == 0
	return chunk, nil
}

// full reports whether a chunk is large enough.
func (r *query) full(events, size int) bool {
	return events >= chunkEvents || size >= chunkBytes || r.Limit > 0 && events >= r.Limit
}

// read returns the event of c if it is selected, else nil.
func (r *query) read(txn *badger.Txn, c candidate) (*types.Event, error) {
	if c.number > r.end {
		return nil, nil
	}
	e, err := r.log.event(txn, r.no, c.spot)
	if err != nil {
		return nil, err
	}
	if e.Time < r.Since || r.Until != 0 && e.Time >= r.Until || r.Publisher != nil && e.Publisher != *r.Publisher {
		return nil, nil
	}
	return e, nil
}
