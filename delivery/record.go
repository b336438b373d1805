package delivery

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/cairn-p2p/cairn/types"
)

// Keys of the records. A name has no slash.
const (
	settingsPrefix   = "consumer/settings/"
	progressPrefix   = "consumer/progress/"
	deadPrefix       = "consumer/dead/"
	againPrefix      = "consumer/again/"
	suppressedPrefix = "consumer/suppressed/"
	incarnationKey   = "consumer/incarnation" // 8 bytes
)

// below is the prefix of the records of one kind of one consumer.
func below(prefix, name string) string { return prefix + name + "/" }

// numberKey is the key of a consumer's record of one event; keys sort as numbers.
func numberKey(prefix, name string, number uint64) string {
	return fmt.Sprintf("%s%016x", below(prefix, name), number)
}

// numberOf reads the number in a key.
func numberOf(key string) (uint64, error) {
	n, err := strconv.ParseUint(key[max(0, len(key)-16):], 16, 64)
	if err != nil {
		return 0, corrupt("key %q", key)
	}
	return n, nil
}

// recordVersion is the first byte of every record of a consumer, but for
// progress with a time: that has timedVersion.
const (
	recordVersion = 1
	timedVersion  = 2
)

func corrupt(format string, args ...any) error {
	return fmt.Errorf("%w: consumer: %w", types.ErrCorrupt, fmt.Errorf(format, args...))
}

// reader takes a record apart. After the first error it gives zeros.
type reader struct {
	b      []byte
	failed bool
}

func (r *reader) bytes(n uint64) []byte {
	if n > uint64(len(r.b)) {
		r.failed, r.b = true, nil
		return make([]byte, min(n, 32)) // what fields of a fixed size are long
	}
	b := r.b[:n]
	r.b = r.b[n:]
	return b
}

func (r *reader) uvarint() uint64 {
	v, n := binary.Uvarint(r.b)
	r.skip(n)
	return v
}

func (r *reader) varint() int64 {
	v, n := binary.Varint(r.b)
	r.skip(n)
	return v
}

// skip moves over a varint of n bytes.
func (r *reader) skip(n int) {
	if n <= 0 {
		r.failed, r.b = true, nil
		return
	}
	r.b = r.b[n:]
}

func (r *reader) byte() byte        { return r.bytes(1)[0] }
func (r *reader) text() string      { return string(r.sized()) }
func (r *reader) sized() []byte     { return r.bytes(min(r.uvarint(), uint64(len(r.b))+1)) }
func (r *reader) hash() types.Hash  { return types.Hash(r.bytes(32)) }
func (r *reader) cursor() [8]byte   { return [8]byte(r.bytes(8)) }
func (r *reader) rest() []byte      { return r.bytes(uint64(len(r.b))) }
func (r *reader) list(n uint64) int { return int(min(n, uint64(len(r.b)))) } // of elements of a byte or more

func appendSized[T string | []byte](b []byte, s T) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

// canonical checks that b is what its value encodes to, and that it was read to
// its end.
func (r *reader) canonical(what string, b, again []byte) error {
	if r.failed || !bytes.Equal(b, again) {
		return corrupt("%s of %d bytes", what, len(b))
	}
	return nil
}

// encode returns the record of the settings, which are normal.
func (s *Settings) encode() []byte {
	b := []byte{recordVersion}
	b = append(b, s.Topic.Bytes()...)
	b = binary.AppendUvarint(b, uint64(len(s.Tags)))
	for _, tag := range s.Tags {
		b = appendSized(b, tag)
	}
	b = binary.AppendUvarint(b, uint64(len(s.Publishers)))
	for _, p := range s.Publishers {
		b = append(b, p[:]...)
	}
	b = appendSized(b, s.From.String())
	b = binary.AppendUvarint(b, uint64(s.AckWait.Milliseconds()))
	b = binary.AppendUvarint(b, uint64(s.MaxPending))
	b = binary.AppendUvarint(b, uint64(s.MaxDeliver))
	b = binary.AppendUvarint(b, uint64(len(s.BackOff)))
	for _, d := range s.BackOff {
		b = binary.AppendUvarint(b, uint64(d.Milliseconds()))
	}
	if s.CausalAcks {
		return append(b, 1)
	}
	return append(b, 0)
}

// decodeSettings reads the record of the settings of the consumer called name.
func decodeSettings(name string, b []byte) (Settings, error) {
	r := &reader{b: b}
	s := Settings{Name: name}
	bad := func(err error) (Settings, error) { return Settings{}, corrupt("settings of %q: %w", name, err) }
	r.byte()
	topic, err := types.CastCID(r.bytes(types.CIDSize))
	if err != nil {
		return bad(err)
	}
	s.Topic = topic
	for range r.list(r.uvarint()) {
		s.Tags = append(s.Tags, r.text())
	}
	for range r.list(r.uvarint()) {
		s.Publishers = append(s.Publishers, types.Publisher(r.bytes(32)))
	}
	if s.From, err = ParseStart(r.text()); err != nil {
		return bad(err)
	}
	millis := func() time.Duration {
		return time.Duration(min(r.uvarint(), uint64(MaxDelay.Milliseconds()+1))) * time.Millisecond
	}
	s.AckWait = millis()
	s.MaxPending = int(min(r.uvarint(), MaxPendingLimit+1))
	s.MaxDeliver = int(min(r.uvarint(), MaxDeliverLimit+1))
	for range r.list(r.uvarint()) {
		s.BackOff = append(s.BackOff, millis())
	}
	s.CausalAcks = r.byte() == 1
	if err := s.check(); err != nil {
		return bad(err)
	}
	s = s.normal()
	return s, r.canonical("settings", b, s.encode())
}

// progress is what a consumer remembers of where it stands.
type progress struct {
	incarnation      uint64 // of the node, when the consumer began
	epoch            uint64
	at               int64 // when it was written, in Unix milliseconds; 0: not known
	floor, scanned   types.Cursor
	dead, suppressed uint64
	runs             []run
	delivered        []delivered // above the floor, by number
	again            []delivered // of those requeued, by number
}

// deadline is that of d, for who reads the progress at the time now. If the clock
// was set back meanwhile, it is as far ahead as it was when the progress was
// written: else what is pending would not come again for as long as that.
func (p *progress) deadline(d delivered, now int64) int64 {
	return d.deadline - max(0, p.at-now)
}

// run is a number of entries that are not settled, then of such that are
// settled or do not match. The last entries, up to scanned, may stand in none.
type run struct{ unsettled, settled uint64 }

// delivered is an event that was delivered and is not settled.
type delivered struct {
	number   uint64
	attempts uint64
	deadline int64 // of the next delivery, in Unix milliseconds
}

func (p *progress) encode() []byte {
	b := make([]byte, 0, 64+4*len(p.runs)+4*len(p.delivered)+4*len(p.again))
	if p.at == 0 {
		b = append(b, recordVersion)
	} else {
		b = binary.AppendVarint(append(b, timedVersion), p.at)
	}
	b = binary.BigEndian.AppendUint64(b, p.epoch)
	b = binary.AppendUvarint(b, p.floor.Number)
	b = append(b, p.floor.Hash[:]...)
	b = binary.AppendUvarint(b, p.scanned.Number-p.floor.Number)
	b = append(b, p.scanned.Hash[:]...)
	b = binary.AppendUvarint(b, p.dead)
	b = binary.AppendUvarint(b, p.suppressed)
	b = binary.AppendUvarint(b, uint64(len(p.runs)))
	for _, r := range p.runs {
		b = binary.AppendUvarint(b, r.unsettled)
		b = binary.AppendUvarint(b, r.settled)
	}
	last := int64(0)
	list := func(list []delivered, number uint64) {
		b = binary.AppendUvarint(b, uint64(len(list)))
		for _, d := range list {
			b = binary.AppendUvarint(b, d.number-number)
			b = binary.AppendUvarint(b, d.attempts)
			b = binary.AppendVarint(b, d.deadline-last)
			number, last = d.number, d.deadline
		}
	}
	list(p.delivered, p.floor.Number)
	list(p.again, 0)
	if p.incarnation != 0 {
		b = binary.BigEndian.AppendUint64(b, p.incarnation)
	}
	return b
}

// decodeProgress reads a record of progress.
func decodeProgress(b []byte) (*progress, error) {
	r := &reader{b: b}
	p := &progress{}
	if r.byte() == timedVersion {
		p.at = r.varint()
	}
	p.epoch = binary.BigEndian.Uint64(r.bytes(8))
	p.floor = types.Cursor{Number: r.uvarint(), Hash: r.cursor()}
	ahead := r.uvarint()
	p.scanned = types.Cursor{Number: p.floor.Number + ahead, Hash: r.cursor()}
	p.dead, p.suppressed = r.uvarint(), r.uvarint()
	sum := uint64(0)
	for range r.list(r.uvarint()) {
		next := run{unsettled: r.uvarint(), settled: r.uvarint()}
		if next.unsettled == 0 || next.settled == 0 || next.unsettled > MaxAhead || next.settled > MaxAhead {
			return nil, corrupt("progress with a run of %d and %d", next.unsettled, next.settled)
		}
		sum += next.unsettled + next.settled
		p.runs = append(p.runs, next)
	}
	if ahead > MaxAhead || sum > ahead {
		return nil, corrupt("progress with %d entries above the floor and %d in runs", ahead, sum)
	}
	last, ordered := int64(0), true
	list := func(number uint64) (list []delivered) {
		for range r.list(r.uvarint()) {
			d := delivered{number: number + r.uvarint(), attempts: r.uvarint(), deadline: last + r.varint()}
			ordered = ordered && d.number > number && d.attempts > 0
			number, last = d.number, d.deadline
			list = append(list, d)
		}
		return list
	}
	p.delivered = list(p.floor.Number)
	p.again = list(0)
	if len(r.b) > 0 {
		p.incarnation = binary.BigEndian.Uint64(r.bytes(8))
	}
	if !ordered {
		return nil, corrupt("progress with deliveries out of order")
	}
	return p, r.canonical("progress", b, p.encode())
}

// progress returns what is to be remembered of w, but for the epoch and the
// counters.
func (w *window) progress() *progress {
	p := &progress{floor: w.floor, scanned: w.scanned()}
	p.delivered = make([]delivered, 0, w.delivered)
	var r run
	for i := range w.entries {
		it := w.entries[i].item
		if it == nil {
			r.settled++
			continue
		}
		if r.settled > 0 {
			p.runs = append(p.runs, r)
			r = run{}
		}
		r.unsettled++
		if it.attempts > 0 {
			p.delivered = append(p.delivered, delivered{it.cursor.Number, it.attempts, it.deadline})
		}
	}
	if r.settled > 0 {
		p.runs = append(p.runs, r)
	}
	for number, it := range w.again {
		if it.count() > 0 {
			p.again = append(p.again, delivered{number, it.attempts, it.deadline})
		}
	}
	slices.SortFunc(p.again, func(a, b delivered) int {
		if a.number < b.number {
			return -1
		}
		return 1
	})
	return p
}

// note is a record of one event: a dead letter, one that was requeued, or one that
// is suppressed. Its number is in its key.
type note struct {
	cursor   types.Cursor
	digest   types.Hash // of the CID
	attempts uint64
	count    uint64 // deliveries since it was requeued
	millis   int64  // when, in Unix milliseconds
	reason   string
}

func (n *note) encode() []byte {
	b := []byte{recordVersion}
	b = append(b, n.cursor.Hash[:]...)
	b = append(b, n.digest[:]...)
	b = binary.AppendUvarint(b, n.attempts)
	b = binary.AppendUvarint(b, n.count)
	b = binary.AppendVarint(b, n.millis)
	return append(b, n.reason...)
}

// decodeNote reads a note.
func decodeNote(record types.Record) (*note, error) {
	number, err := numberOf(record.Key)
	if err != nil {
		return nil, err
	}
	r := &reader{b: record.Value}
	n := &note{}
	r.byte()
	n.cursor = types.Cursor{Number: number, Hash: r.cursor()}
	n.digest = r.hash()
	n.attempts, n.count, n.millis = r.uvarint(), r.uvarint(), r.varint()
	n.reason = string(r.rest())
	return n, r.canonical("note", record.Value, n.encode())
}

// cut shortens a reason to MaxReason bytes of UTF-8.
func cut(reason string) string {
	if len(reason) <= MaxReason {
		return reason
	}
	end := MaxReason
	for end > MaxReason-utf8.UTFMax && !utf8.RuneStart(reason[end]) {
		end--
	}
	return reason[:end]
}
