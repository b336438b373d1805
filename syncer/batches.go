package syncer

import (
	"github.com/cairn-p2p/cairn/syncer/pb"
	"github.com/cairn-p2p/cairn/types"
)

// sharing finds the events of one frame that are all of a batch, in the order
// of their index. They need not carry a path of hashes each: the receiver makes
// it anew from their CIDs.
type sharing struct {
	batches map[batchKey]*sharedBatch
	begun   []*sharedBatch // in order
	open    int            // batches that have begun and may yet be whole
}

type batchKey struct {
	n         uint64
	signature [64]byte
}

type sharedBatch struct {
	batchKey
	events []*pb.Event
	broken bool // not in order, or without its first
}

func (b *sharedBatch) whole() bool { return !b.broken && uint64(len(b.events)) == b.n }

// add takes up the frame's next event, and returns how many bytes it will save
// if its batch becomes whole.
func (s *sharing) add(m *pb.Event) (saves int) {
	part, ok := types.PartOfBatch(m.GetWitness())
	if !ok || part.N > maxPageEvents {
		return 0
	}
	key := batchKey{part.N, part.Signature}
	b := s.batches[key]
	if b == nil {
		if s.batches == nil {
			s.batches = make(map[batchKey]*sharedBatch)
		}
		b = &sharedBatch{batchKey: key}
		s.batches[key] = b
		s.begun = append(s.begun, b)
		s.open++
		saves = -len(key.signature)
	}
	if b.broken || b.whole() {
		return 0
	}
	if part.Index != uint64(len(b.events)) {
		b.broken = true
		s.open--
		return 0
	}
	b.events = append(b.events, m)
	if b.whole() {
		s.open--
	}
	return saves + len(m.GetWitness())
}

// share takes the witnesses from the events of whole batches and returns what
// the frame carries in their place. The sharing is then empty.
func (s *sharing) share() [][]byte {
	var signatures [][]byte
	for _, b := range s.begun {
		if !b.whole() {
			continue
		}
		signatures = append(signatures, b.signature[:])
		for _, m := range b.events {
			m.Witness, m.Batch = nil, uint32(len(signatures))
		}
	}
	*s = sharing{}
	return signatures
}

// share is sharing for events that are at hand.
func share(events []*pb.Event) [][]byte {
	var s sharing
	for _, m := range events {
		s.add(m)
	}
	return s.share()
}

// parseEvents decodes the events of a frame with the signatures of its whole
// batches. Witnesses are not verified.
func parseEvents(list []*pb.Event, signatures [][]byte, topic types.TopicID) ([]*types.Event, error) {
	events := make([]*types.Event, 0, len(list))
	batches := make([][]*types.Event, len(signatures))
	for _, m := range list {
		e, err := parseEvent(m, topic)
		if err != nil {
			return nil, err
		}
		events = append(events, e)
		b := m.GetBatch()
		if b == 0 {
			continue
		}
		if uint64(b) > uint64(len(batches)) || len(m.GetWitness()) > 0 {
			return nil, offencef("event of batch %d of %d, with a witness of %d bytes", b, len(batches), len(m.GetWitness()))
		}
		batches[b-1] = append(batches[b-1], e)
	}
	for i, batch := range batches {
		if len(signatures[i]) != len(batchKey{}.signature) {
			return nil, offencef("batch with a signature of %d bytes", len(signatures[i]))
		}
		if err := types.RebuildWitnesses([64]byte(signatures[i]), batch); err != nil {
			return nil, offencef("served as integrated: %v", err)
		}
	}
	return events, nil
}
