package badger

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"sync"

	"github.com/dgraph-io/badger/v4"
	"github.com/hashicorp/golang-lru/v2"

	"github.com/cairn-p2p/cairn/types"
)

// The first byte of a record of the delivery log says what follows.
const (
	// recordPlain: 8 bytes of running hash, length of body, body, witness. It is the
	// only one of format 1.
	recordPlain = 0
	// recordRun: the number of events, for each 8 bytes of running hash, length of
	// body and body, then the multiproof of their witnesses.
	recordRun = 1
)

// maxRunBytes bounds the bodies of a run, all of which are read for any of them.
const maxRunBytes = 16 << 10

// run is what goes into one record: one event, or a whole subtree of neighbours in a
// batch with their multiproof.
type run struct {
	events []*types.Event
	proof  []byte // nil: one event
}

// cutRuns cuts events into runs.
func cutRuns(events []*types.Event) []run {
	var runs []run
	for len(events) > 0 {
		r := run{events: events[:1]}
		if n := subtree(events); n > 1 {
			if proof, ok := types.EncodeMultiproof(events[:n]); ok {
				r = run{events[:n], proof}
			}
		}
		runs = append(runs, r)
		events = events[len(r.events):]
	}
	return runs
}

// subtree returns how many events at the front may share a record, going by what the
// first one says of its batch.
func subtree(events []*types.Event) int {
	part, ok := types.PartOfBatch(events[0].Witness)
	n := part.SubtreeSize()
	if !ok || n > len(events) {
		return 0
	}
	size := 0
	for _, e := range events[:n] {
		size += len(e.Bytes())
	}
	if size > maxRunBytes {
		return 0
	}
	return n
}

// encode returns the record; at are the positions behind the events.
func (r run) encode(at []types.Cursor) []byte {
	size := 1 + binary.MaxVarintLen32 + len(r.proof)
	for _, e := range r.events {
		size += len(at[0].Hash) + binary.MaxVarintLen32 + len(e.Bytes())
	}
	tail := r.proof
	if tail == nil {
		tail = r.events[0].Witness
		size += len(tail)
	}
	b := make([]byte, 0, size)
	if r.proof == nil {
		b = append(b, recordPlain)
	} else {
		b = binary.AppendUvarint(append(b, recordRun), uint64(len(r.events)))
	}
	for i, e := range r.events {
		b = append(b, at[i].Hash[:]...)
		b = binary.AppendUvarint(b, uint64(len(e.Bytes())))
		b = append(b, e.Bytes()...)
	}
	return append(b, tail...)
}

// record is a record that was read. It is safe for concurrent use.
type record struct {
	last   uint64 // number of its last event
	events []recorded
	plain  []byte // the witness of a single event
	proof  []byte // of neighbours
	// open returns proof, opened when a witness is first asked for.
	open func() (*types.Multiproof, error)
}

type recorded struct {
	at   types.Cursor
	body []byte // a part of the record's value
}

// decodeRecord reads the record whose last event is number last. It keeps b.
func decodeRecord(last uint64, b []byte) (*record, error) {
	if len(b) == 0 {
		return nil, corrupt("log record %d is empty", last)
	}
	count, rest := uint64(1), b[1:]
	switch b[0] {
	case recordPlain:
	case recordRun:
		n, k := binary.Uvarint(rest)
		if k <= 0 || n < 2 || n > types.MultiproofSize || n > last {
			return nil, corrupt("log record %d: %x of %d bytes", last, b[:min(len(b), 8)], len(b))
		}
		count, rest = n, rest[k:]
	default:
		return nil, corrupt("log record %d of kind %d", last, b[0])
	}
	r := &record{last: last, events: make([]recorded, count)}
	for i := range r.events {
		e := &r.events[i]
		e.at.Number = r.first() + uint64(i)
		if len(rest) < len(e.at.Hash) {
			return nil, corrupt("log record %d: %d bytes for event %d", last, len(rest), e.at.Number)
		}
		rest = rest[copy(e.at.Hash[:], rest):]
		size, k := binary.Uvarint(rest)
		if k <= 0 || size > uint64(len(rest)-k) {
			return nil, corrupt("log record %d: event %d of %d bytes in %d", last, e.at.Number, size, len(rest))
		}
		rest = rest[k:]
		e.body, rest = rest[:size:size], rest[size:]
	}
	if b[0] == recordPlain {
		r.plain = rest
		return r, nil
	}
	r.proof = rest
	r.open = sync.OnceValues(func() (*types.Multiproof, error) {
		digests := make([]types.Hash, len(r.events))
		for i, e := range r.events {
			digests[i] = sha256.Sum256(e.body)
		}
		return types.OpenMultiproof(r.proof, digests)
	})
	return r, nil
}

// first is the number of the first event.
func (r *record) first() uint64 { return r.last - uint64(len(r.events)) + 1 }

// has reports whether an event lies in the record.
func (r *record) has(number uint64) bool { return number >= r.first() && number <= r.last }

// entry returns event i with its witness. It shares no memory with its neighbours,
// which it would keep.
func (r *record) entry(i int) (types.Entry, error) {
	e := types.Entry{Cursor: r.events[i].at, Body: r.events[i].body, Witness: r.plain}
	if r.proof == nil {
		return e, nil
	}
	proof, err := r.open()
	if err != nil {
		return e, corrupt("log record %d: %v", r.last, err)
	}
	e.Body, e.Witness = bytes.Clone(e.Body), proof.Witness(i)
	return e, nil
}

// recentRecords bounds the records of neighbours that are kept in memory, each of
// which takes 21 KiB at most. An answer to Ancestors reads a chain event
// by event, and in canonical order as many publishers' events may take turns.
const recentRecords = 128

// records reads events from the log, and the record of neighbours once for all that
// are asked for soon after each other. What a log number stands for never changes.
type records struct {
	recent *lru.Cache[recordID, *record]
}

type recordID struct {
	no   topicNo
	last uint64
}

func newRecords() records {
	recent, err := lru.New[recordID, *record](recentRecords)
	if err != nil {
		panic(err) // only for a size that is not positive
	}
	return records{recent}
}

// event returns the event at s, which must be there.
func (r records) event(txn *badger.Txn, no topicNo, s spot) (*types.Event, error) {
	rec, err := r.read(txn, no, s)
	if err != nil {
		return nil, err
	}
	if !rec.has(s.number) {
		return nil, corrupt("topic %d has no event %d in record %d", no, s.number, rec.last)
	}
	entry, err := rec.entry(int(s.number - rec.first()))
	if err != nil {
		return nil, err
	}
	e, err := entry.Event()
	if err != nil {
		return nil, corrupt("event %d of topic %d: %v", s.number, no, err)
	}
	return e, nil
}

func (r records) read(txn *badger.Txn, no topicNo, s spot) (*record, error) {
	id := recordID{no, s.number + s.ahead}
	if rec, ok := r.recent.Get(id); ok {
		return rec, nil
	}
	b, err := get(txn, logKey(no, id.last))
	if err != nil {
		return nil, err
	}
	if b == nil {
		return nil, corrupt("topic %d has no event %d", no, s.number)
	}
	rec, err := decodeRecord(id.last, b)
	if err == nil && rec.proof != nil {
		r.recent.Add(id, rec)
	}
	return rec, err
}

// findRecorded returns an event of which no more is known than its number.
func findRecorded(txn *badger.Txn, no topicNo, number uint64) (recorded, error) {
	log := newScan(txn, topicKey(kindLog, no, 0), logKey(no, number), false)
	defer log.close()
	r, err := recordIn(log, no, number)
	if err != nil {
		return recorded{}, err
	}
	return r.events[number-r.first()], nil
}

// recordIn reads the record at which a scan of the log stands: it must have the event
// from which on was looked.
func recordIn(log *scan, no topicNo, number uint64) (*record, error) {
	if !log.valid() {
		return nil, corrupt("topic %d has no event %d", no, number)
	}
	key := log.key()
	if len(key) != len(logKey(no, number)) {
		return nil, corrupt("log key: %x", key)
	}
	last := binary.BigEndian.Uint64(key[len(key)-8:])
	b, err := log.value()
	if err != nil {
		return nil, err
	}
	r, err := decodeRecord(last, b)
	if err == nil && !r.has(number) {
		err = corrupt("topic %d has no event %d", no, number)
	}
	return r, err
}
