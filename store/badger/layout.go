// Package badger keeps topics in one Badger database: events, their indexes,
// heads and each topic's delivery log. Every commit is atomic and durable when
// it returns; commits of all topics that wait together share one transaction
// and one fsync.
//
// # Layout
//
// A key is a kind byte, then its parts without separators. Numbers are 8 bytes,
// big endian. A topic number T is one length byte and that many bytes, big
// endian, without leading zeros; it is given out when a topic is first joined.
// A digest is the 32 bytes of sha2-256 in a CID. The values' numbers are
// unsigned varints.
//
//	key                        value
//	's' name                   a record of the database: format, log-id, starts, topics, anchor
//	'm' name                   a caller's metadata
//	'g' digest                 T: from a topic's id to its number
//	'e' digest                 T number, log number, height, and ahead: from an event's CID to its place
//	't' T                      joined (0 or 1), the genesis
//	'u' T                      length of the delivery log, its running hash (32 bytes)
//	'h' T digest               height: a head
//	'p' T publisher            seq, height, digest: the publisher's tip
//	'l' T number               the record of the event, or of neighbours of which it is the last: see record.go
//	'c' T height digest        log number, and ahead: canonical order
//	'i' T time height digest   log number, and ahead: time order
//	'a' T len tag height digest  log number, and ahead: a tag's events in canonical order
//
// Ahead is the log number of an event's record less the event's own. It is left
// out where it is 0, as in all of format 1, which had a record for each event.
//
// The kind stands before the topic so that what a start needs of every topic,
// 't', 'u' and 'h', is three sequential scans however many events lie between.
// The event lives in the delivery log: its order is topological, so subscribers
// and bulk sync are one scan, and neighbours that share a signature have it once.
package badger

import (
	"encoding/binary"
	"fmt"
	"math/bits"

	"github.com/cairn-p2p/cairn/types"
)

// The kinds of keys.
const (
	kindSystem    = 's'
	kindMeta      = 'm'
	kindTopicID   = 'g'
	kindEvent     = 'e'
	kindTopic     = 't'
	kindState     = 'u'
	kindHead      = 'h'
	kindTip       = 'p'
	kindLog       = 'l'
	kindCanonical = 'c'
	kindTime      = 'i'
	kindTag       = 'a'
)

const digestSize = len(types.Hash{})

// topicNo stands for a topic in keys.
type topicNo uint64

// topicKey begins a key of kind in topic no, with room for extra more bytes.
func topicKey(kind byte, no topicNo, extra int) []byte {
	k := append(make([]byte, 0, 10+extra), kind)
	return no.append(k)
}

// append appends T: numbers of equal length compare as bytes, and shorter ones
// come first.
func (no topicNo) append(b []byte) []byte {
	n := (bits.Len64(uint64(no)) + 7) / 8
	b = append(b, byte(n))
	for i := n - 1; i >= 0; i-- {
		b = append(b, byte(no>>(8*i)))
	}
	return b
}

// cutTopicNo reads T from the front of a key behind its kind.
func cutTopicNo(b []byte) (topicNo, []byte, error) {
	if len(b) == 0 || b[0] == 0 || b[0] > 8 || len(b) < 1+int(b[0]) || b[1] == 0 {
		return 0, nil, corrupt("topic number in a key: %x", b)
	}
	n := 1 + int(b[0])
	var no topicNo
	for _, c := range b[1:n] {
		no = no<<8 | topicNo(c)
	}
	return no, b[n:], nil
}

func systemKey(name string) []byte { return append([]byte{kindSystem}, name...) }

func metaKey(name string) []byte { return append([]byte{kindMeta}, name...) }

func digestKey(kind byte, d types.Hash) []byte {
	return append(append(make([]byte, 0, 1+digestSize), kind), d[:]...)
}

func headKey(no topicNo, d types.Hash) []byte {
	return append(topicKey(kindHead, no, digestSize), d[:]...)
}

func tipKey(no topicNo, p types.Publisher) []byte {
	return append(topicKey(kindTip, no, len(p)), p[:]...)
}

func logKey(no topicNo, number uint64) []byte {
	return binary.BigEndian.AppendUint64(topicKey(kindLog, no, 8), number)
}

// position is an event's place in canonical order.
type position struct {
	height uint64
	digest types.Hash
}

const positionSize = 8 + digestSize

func (p position) append(b []byte) []byte {
	return append(binary.BigEndian.AppendUint64(b, p.height), p.digest[:]...)
}

// positionIn reads the position that ends a key.
func positionIn(key []byte) (position, error) {
	if len(key) < positionSize {
		return position{}, corrupt("index key: %x", key)
	}
	key = key[len(key)-positionSize:]
	return position{height: binary.BigEndian.Uint64(key), digest: types.Hash(key[8:])}, nil
}

func canonicalKey(no topicNo, p position) []byte {
	return p.append(topicKey(kindCanonical, no, positionSize))
}

// timeKey has p after time. Times of valid events are not negative.
func timeKey(no topicNo, time int64, p position) []byte {
	return p.append(binary.BigEndian.AppendUint64(topicKey(kindTime, no, 8+positionSize), uint64(time)))
}

// tagPrefix begins the keys of a tag. Its length stands before it, for a tag
// may contain any byte.
func tagPrefix(no topicNo, tag string) []byte {
	k := append(topicKey(kindTag, no, 1+len(tag)+positionSize), byte(len(tag)))
	return append(k, tag...)
}

func tagKey(no topicNo, tag string, p position) []byte { return p.append(tagPrefix(no, tag)) }

// place is where an event lies: the value behind its CID.
type place struct {
	topic  topicNo
	height uint64
	spot
}

func (p place) encode() []byte { return p.spot.append(uvarints(uint64(p.topic), p.number, p.height)) }

func decodePlace(b []byte) (place, error) {
	n, ahead, err := readAhead(b, 3)
	if err != nil {
		return place{}, err
	}
	if n[0] == 0 {
		return place{}, corrupt("place without a topic: %x", b)
	}
	return place{topic: topicNo(n[0]), height: n[2], spot: spot{number: n[1], ahead: ahead}}, nil
}

// spot is an event's place in the delivery log.
type spot struct {
	number uint64
	ahead  uint64 // the record has the key of so many events later
}

// append appends ahead, unless it is 0.
func (s spot) append(b []byte) []byte {
	if s.ahead == 0 {
		return b
	}
	return binary.AppendUvarint(b, s.ahead)
}

// encode is the value of an index's key.
func (s spot) encode() []byte { return s.append(uvarints(s.number)) }

func decodeSpot(b []byte) (spot, error) {
	n, ahead, err := readAhead(b, 1)
	if err != nil {
		return spot{}, err
	}
	return spot{number: n[0], ahead: ahead}, nil
}

// logState is the end of a topic's delivery log.
type logState struct {
	count uint64
	hash  types.RunningHash
}

func (s logState) encode() []byte { return append(uvarints(s.count), s.hash[:]...) }

func decodeLogState(b []byte) (logState, error) {
	n, k := binary.Uvarint(b)
	if k <= 0 || len(b) != k+len(types.RunningHash{}) {
		return logState{}, corrupt("topic state: %x", b)
	}
	return logState{count: n, hash: types.RunningHash(b[k:])}, nil
}

func encodeTip(t types.Tip) []byte {
	d := types.Digest(t.CID)
	return append(uvarints(t.Seq, t.Height), d[:]...)
}

func decodeTip(b []byte) (types.Tip, error) {
	if len(b) < digestSize {
		return types.Tip{}, corrupt("tip: %x", b)
	}
	at := len(b) - digestSize
	n, err := readUvarints(b[:at], 2)
	if err != nil {
		return types.Tip{}, err
	}
	return types.Tip{Seq: n[0], Height: n[1], CID: types.CIDOf(types.Hash(b[at:]))}, nil
}

func uvarints(numbers ...uint64) []byte {
	b := make([]byte, 0, len(numbers)*binary.MaxVarintLen64)
	for _, n := range numbers {
		b = binary.AppendUvarint(b, n)
	}
	return b
}

// readUvarints reads exactly count numbers that fill b.
func readUvarints(b []byte, count int) ([]uint64, error) {
	numbers, rest, err := cutUvarints(b, count)
	if err == nil && len(rest) != 0 {
		err = corrupt("%d numbers: %x", count, b)
	}
	return numbers, err
}

// readAhead reads count numbers, and ahead where it is behind them.
func readAhead(b []byte, count int) (numbers []uint64, ahead uint64, err error) {
	numbers, rest, err := cutUvarints(b, count)
	if err != nil || len(rest) == 0 {
		return numbers, 0, err
	}
	ahead, k := binary.Uvarint(rest)
	if k != len(rest) || ahead == 0 || ahead >= types.MultiproofSize {
		return nil, 0, corrupt("%d numbers and how far ahead a record is: %x", count, b)
	}
	return numbers, ahead, nil
}

// cutUvarints reads count numbers from the front of b.
func cutUvarints(b []byte, count int) (numbers []uint64, rest []byte, err error) {
	numbers, rest = make([]uint64, count), b
	for i := range numbers {
		n, k := binary.Uvarint(rest)
		if k <= 0 {
			return nil, nil, corrupt("%d numbers: %x", count, b)
		}
		numbers[i], rest = n, rest[k:]
	}
	return numbers, rest, nil
}

// corrupt is the error for bytes that this package never writes.
func corrupt(format string, args ...any) error {
	return fmt.Errorf("%w: %s", types.ErrCorrupt, fmt.Sprintf(format, args...))
}
