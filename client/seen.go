package client

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"hash/maphash"
	"io"
	"math"
	"os"

	"github.com/ipfs/go-cid"

	"github.com/cairn-p2p/cairn/types"
)

// The file of a Seen: a head, then a record for each event in the order in which
// they came.
const (
	// seenMagic (13 bytes) begins the head: then the 32 bytes of the digest of
	// what was subscribed to.
	seenMagic = "cairn/seen/1\x00"
	seenHead  = len(seenMagic) + 32
	// seenRecord is 32 bytes of the CID's digest, 32 of the publisher, 8 each of
	// seq, height and the cursor's number, 8 of the cursor's hash, and 4 of CRC-32C
	// of these; numbers big endian. All but digest and CRC is zero in the record of an
	// event that was not seen before the one that links to it, which it is behind.
	seenRecord = 32 + 32 + 8 + 8 + 8 + 8 + 4
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Seen is the set of events that a subscription has delivered, on disk: 100 bytes
// an event there, and as many for each link to one that was not seen, and for each
// of these an index of 21 to 43 bytes in memory, which is made anew when the file is
// opened. It is written without fsync: what a crash takes
// off its end is delivered again. It is for one subscription at a time.
type Seen struct {
	file   *os.File
	temp   bool
	tail   []byte // records that are not written yet
	count  uint64 // of records
	events uint64
	last   types.Cursor
	event  cid.Cid // the last one
	// began is where the last subscription began, nil before the first; it is not in
	// the file.
	began *types.Cursor

	// slots is an open-addressed table of two keys an event, the CID and the
	// publisher with the seq, and of the CID of each link that was not seen: 32 bits of hash, then 32 of record + 1. It is at most
	// three quarters full. The seed is random, so that nobody can choose events
	// that share a slot.
	slots []uint64
	used  int
	seed  maphash.Seed
}

// OpenSeen opens the set in a file, which is made if it is not there, of a
// subscription; an empty path is a file that goes with Close. It is locked:
// types.ErrLocked if it is in use. The file of another subscription is
// types.ErrInvalidArgument.
func OpenSeen(path string, s Subscription) (*Seen, error) {
	seen := &Seen{seed: maphash.MakeSeed(), slots: make([]uint64, 64), temp: path == ""}
	var err error
	if seen.temp {
		seen.file, err = os.CreateTemp("", "cairn-seen-")
	} else {
		seen.file, err = os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	}
	if err != nil {
		return nil, fmt.Errorf("open set of seen events: %w", err)
	}
	if seen.temp {
		err = os.Remove(seen.file.Name()) // it lives until it is closed
	} else {
		err = lock(seen.file)
	}
	if err == nil {
		err = seen.load(s.digest())
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open set of seen events: %w", err), seen.file.Close())
	}
	return seen, nil
}

// load reads the file. It ends at the first record that is not whole.
func (s *Seen) load(about types.Hash) error {
	r := bufio.NewReaderSize(s.file, 1<<20)
	head := make([]byte, seenHead)
	want := append([]byte(seenMagic), about[:]...)
	switch n, err := io.ReadFull(r, head); {
	case err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF):
		return err
	case n < len(want) && bytes.HasPrefix(want, head[:n]): // new, or a crash cut it
		_, err := s.file.WriteAt(want, 0)
		return err
	case string(head[:n]) != string(want):
		return fmt.Errorf("%w: %s is of another subscription", types.ErrInvalidArgument, s.file.Name())
	}
	record := make([]byte, seenRecord)
	for {
		_, err := io.ReadFull(r, record)
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || err == nil && !whole(record) {
			return s.file.Truncate(s.offset(s.count))
		}
		if err != nil {
			return err
		}
		s.note(record)
	}
}

func whole(record []byte) bool {
	n := seenRecord - 4
	return crc32.Checksum(record[:n], castagnoli) == binary.BigEndian.Uint32(record[n:])
}

func (s *Seen) offset(record uint64) int64 { return int64(seenHead) + int64(record)*seenRecord }

// Events is the number of events in the set.
func (s *Seen) Events() uint64 { return s.events }

// Cursor is the position behind the last event; zero: there is none.
func (s *Seen) Cursor() types.Cursor { return s.last }

// begin returns where a subscription goes on; not ok: nothing says so.
func (s *Seen) begin() (at types.Cursor, ok bool) {
	switch {
	case s.events > 0:
		return s.last, true
	case s.began != nil:
		return *s.began, true
	}
	return types.Cursor{}, false
}

// Close writes what is left and gives the file free.
func (s *Seen) Close() error {
	return errors.Join(s.Flush(), s.file.Close())
}

// Flush hands everything to the operating system.
func (s *Seen) Flush() error {
	if len(s.tail) == 0 {
		return nil
	}
	written := s.count - uint64(len(s.tail)/seenRecord)
	if _, err := s.file.WriteAt(s.tail, s.offset(written)); err != nil {
		return fmt.Errorf("write set of seen events: %w", err)
	}
	s.tail = s.tail[:0]
	return nil
}

// Take takes up an event that was delivered, so that it does not come again, unless
// it is the last one already. Subscribe does it for each that its loop goes on behind.
func (s *Seen) Take(d Delivery) error {
	if d.CID == s.event {
		return nil
	}
	if s.count >= math.MaxUint32-1-types.MaxLinks {
		return fmt.Errorf("%w: the set of seen events is full", types.ErrInvalidArgument)
	}
	s.append(types.Digest(d.CID), d.Publisher, d.Seq, d.Height, d.Cursor)
	for _, l := range d.Unverified { // links to what was not seen
		if told, err := s.linked(l); err != nil {
			return err
		} else if !told {
			s.append(types.Digest(l), types.Publisher{}, 0, 0, types.Cursor{})
		}
	}
	return nil
}

func (s *Seen) append(digest types.Hash, p types.Publisher, seq, height uint64, at types.Cursor) {
	from := len(s.tail)
	b := append(append(s.tail, digest[:]...), p[:]...)
	for _, n := range []uint64{seq, height, at.Number} {
		b = binary.BigEndian.AppendUint64(b, n)
	}
	b = append(b, at.Hash[:]...)
	s.tail = binary.BigEndian.AppendUint32(b, crc32.Checksum(b[from:], castagnoli))
	s.note(s.tail[from:])
}

// note takes up a record, which is the next one.
func (s *Seen) note(record []byte) {
	s.count++
	if 4*(s.used+2) > 3*len(s.slots) {
		s.grow()
	}
	s.put(s.hash(record[:32]), uint32(s.count))
	if recordHeight(record) == 0 { // of a link
		return
	}
	s.put(s.hash(record[32:72]), uint32(s.count))
	s.events++
	s.event = types.CIDOf(types.Hash(record[:32]))
	s.last = types.Cursor{Number: binary.BigEndian.Uint64(record[80:]), Hash: [8]byte(record[88:])}
}

func (s *Seen) hash(key []byte) uint32 { return uint32(maphash.Bytes(s.seed, key)) }

func (s *Seen) put(hash, number uint32) {
	mask := uint32(len(s.slots) - 1)
	i := hash & mask
	for ; s.slots[i] != 0; i = (i + 1) & mask {
	}
	s.slots[i] = uint64(hash)<<32 | uint64(number)
	s.used++
}

func (s *Seen) grow() {
	old := s.slots
	s.slots, s.used = make([]uint64, 2*len(old)), 0
	for _, slot := range old {
		if slot != 0 {
			s.put(uint32(slot>>32), uint32(slot))
		}
	}
}

// find returns the record whose bytes from offset on are key; nil: there is none.
func (s *Seen) find(offset int, key []byte) ([]byte, error) {
	hash, mask := s.hash(key), uint32(len(s.slots)-1)
	for i := hash & mask; s.slots[i] != 0; i = (i + 1) & mask {
		if uint32(s.slots[i]>>32) != hash {
			continue
		}
		record, err := s.record(uint64(uint32(s.slots[i])) - 1)
		if err != nil {
			return nil, err
		}
		if string(record[offset:offset+len(key)]) == string(key) {
			return record, nil
		}
	}
	return nil, nil
}

func (s *Seen) record(number uint64) ([]byte, error) {
	written := s.count - uint64(len(s.tail)/seenRecord)
	if number >= written {
		return s.tail[(number-written)*seenRecord:][:seenRecord], nil
	}
	record := make([]byte, seenRecord)
	if _, err := s.file.ReadAt(record, s.offset(number)); err != nil {
		return nil, fmt.Errorf("read set of seen events: %w", err)
	}
	return record, nil
}

// height returns the height of an event; 0: it is not in the set.
func (s *Seen) height(id cid.Cid) (uint64, error) {
	digest := types.Digest(id)
	record, err := s.find(0, digest[:])
	if record == nil {
		return 0, err
	}
	return recordHeight(record), nil
}

// linked reports whether an event of the set links to one that was not seen before.
func (s *Seen) linked(id cid.Cid) (bool, error) {
	digest := types.Digest(id)
	record, err := s.find(0, digest[:])
	return record != nil && recordHeight(record) == 0, err
}

func recordHeight(record []byte) uint64 { return binary.BigEndian.Uint64(record[72:]) }

// bySeq returns an event of the publisher with the seq; undefined: there is none.
func (s *Seen) bySeq(p types.Publisher, seq uint64) (cid.Cid, error) {
	record, err := s.find(32, binary.BigEndian.AppendUint64(p[:], seq))
	if record == nil {
		return cid.Undef, err
	}
	return types.CIDOf(types.Hash(record[:32])), nil
}
