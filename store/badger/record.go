package badger

import (
	"bytes"
	"encoding/binary"
	"time"

	"github.com/dgraph-io/badger/v4"
	"github.com/ipfs/go-cid"

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

// Bounds on a run: on its bodies, all of which are read for any of them, and on how
// far apart its times are, which is how far before a time range a record may begin
// that has events in it.
const (
	maxRunBytes = 64 << 10
	maxRunTime  = int64(time.Minute)
)

const cursorHashSize = len(types.Cursor{}.Hash)

// cutRun returns the events at the front that go into one record, and their
// multiproof: nil for one that has a record of its own.
func cutRun(events []*types.Event) (run []*types.Event, proof []byte) {
	proof, n := types.NewMultiproof(events)
	size := 0
	for _, e := range events[:n] {
		size += len(e.Bytes())
	}
	if n == 0 || size > maxRunBytes {
		return events[:1], nil
	}
	if earliest, latest := times(events[:n]); latest-earliest > maxRunTime {
		return events[:1], nil
	}
	return events[:n], proof
}

// times returns the least and greatest time of events.
func times(events []*types.Event) (earliest, latest int64) {
	earliest, latest = events[0].Time, events[0].Time
	for _, e := range events[1:] {
		earliest, latest = min(earliest, e.Time), max(latest, e.Time)
	}
	return earliest, latest
}

// encodeRecord is the record of a run; at are the positions behind its events.
func encodeRecord(run []*types.Event, proof []byte, at []types.Cursor) []byte {
	size := 1 + binary.MaxVarintLen32 + len(proof)
	for _, e := range run {
		size += cursorHashSize + binary.MaxVarintLen32 + e.Size()
	}
	b := make([]byte, 0, size)
	if proof == nil {
		b = append(b, recordPlain)
	} else {
		b = binary.AppendUvarint(append(b, recordRun), uint64(len(run)))
	}
	for i, e := range run {
		b = append(b, at[i].Hash[:]...)
		b = binary.AppendUvarint(b, uint64(len(e.Bytes())))
		b = append(b, e.Bytes()...)
	}
	if proof == nil {
		return append(b, run[0].Witness...)
	}
	return append(b, proof...)
}

// decodeRecord reads the record whose last event is number last. The entries keep b.
func decodeRecord(last uint64, b []byte) ([]types.Entry, error) {
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
	entries := make([]types.Entry, count)
	for i := range entries {
		number := last - count + 1 + uint64(i)
		if len(rest) < cursorHashSize {
			return nil, corrupt("log record %d: %d bytes for event %d", last, len(rest), number)
		}
		at := types.Cursor{Number: number, Hash: [cursorHashSize]byte(rest)}
		size, k := binary.Uvarint(rest[cursorHashSize:])
		rest = rest[cursorHashSize+max(k, 0):]
		if k <= 0 || size > uint64(len(rest)) {
			return nil, corrupt("log record %d: event %d of %d bytes in %d", last, number, size, len(rest))
		}
		entries[i] = types.Entry{Cursor: at, Body: rest[:size:size]}
		rest = rest[size:]
	}
	if b[0] == recordPlain {
		entries[0].Witness = rest
		return entries, nil
	}
	cids := make([]cid.Cid, count)
	for i, e := range entries {
		cids[i] = e.CID()
	}
	witnesses, err := types.OpenMultiproof(rest, cids)
	if err != nil {
		return nil, corrupt("log record %d: %v", last, err)
	}
	for i, w := range witnesses {
		entries[i].Witness = w
	}
	return entries, nil
}

// records reads a topic's log records by event. It keeps the last one, for the
// neighbours that are asked for next.
type records struct {
	txn  *badger.Txn
	no   topicNo
	kept []types.Entry
}

// at returns the entry of an event that must be there.
func (r *records) at(s spot) (types.Entry, error) {
	if e, ok := r.among(s.number); ok {
		return e, nil
	}
	last := s.number + s.ahead
	b, err := get(r.txn, logKey(r.no, last))
	if err != nil {
		return types.Entry{}, err
	}
	if b == nil {
		return types.Entry{}, corrupt("topic %d has no event %d", r.no, s.number)
	}
	return r.keep(s.number, last, b)
}

// find is at for an event whose record is not known: it is the first from there on.
func (r *records) find(number uint64) (types.Entry, error) {
	if e, ok := r.among(number); ok {
		return e, nil
	}
	log := newScan(r.txn, topicKey(kindLog, r.no, 0), logKey(r.no, number), false)
	defer log.close()
	last, b, err := recordIn(log, r.no, number)
	if err != nil {
		return types.Entry{}, err
	}
	return r.keep(number, last, b)
}

func (r *records) among(number uint64) (types.Entry, bool) {
	if len(r.kept) == 0 || number < r.kept[0].Cursor.Number || number > r.kept[len(r.kept)-1].Cursor.Number {
		return types.Entry{}, false
	}
	return r.kept[number-r.kept[0].Cursor.Number], true
}

func (r *records) keep(number, last uint64, b []byte) (types.Entry, error) {
	var err error
	if r.kept, err = decodeRecord(last, b); err != nil {
		return types.Entry{}, err
	}
	e, ok := r.among(number)
	if !ok {
		return types.Entry{}, corrupt("topic %d has no event %d in record %d", r.no, number, last)
	}
	return e, nil
}

// event is at, decoded. The event owns its bytes alone.
func (r *records) event(s spot) (*types.Event, error) {
	entry, err := r.at(s)
	if err != nil {
		return nil, err
	}
	entry.Body, entry.Witness = bytes.Clone(entry.Body), bytes.Clone(entry.Witness)
	return decodeEntry(r.no, entry)
}

func decodeEntry(no topicNo, entry types.Entry) (*types.Event, error) {
	e, err := entry.Event()
	if err != nil {
		return nil, corrupt("event %d of topic %d: %v", entry.Cursor.Number, no, err)
	}
	return e, nil
}

// recordIn reads the record at which a scan of the log stands, which must have an
// event, and the number of its last.
func recordIn(log *scan, no topicNo, number uint64) (last uint64, record []byte, err error) {
	if !log.valid() {
		return 0, nil, corrupt("topic %d has no event %d", no, number)
	}
	key := log.key()
	if len(key) != len(logKey(no, number)) {
		return 0, nil, corrupt("log key: %x", key)
	}
	last = binary.BigEndian.Uint64(key[len(key)-8:])
	if last-number >= types.MultiproofSize {
		return 0, nil, corrupt("topic %d has no event %d", no, number)
	}
	record, err = log.value()
	return last, record, err
}
