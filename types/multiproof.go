package types

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/bits"
)

// MultiproofSize is the most neighbours of a batch whose witnesses a Multiproof
// holds: a subtree of the batch's tree, so that they share all of their paths
// above it.
const MultiproofSize = 16

// Multiproof holds the witnesses of neighbours in a batch: what their paths have
// above the root of their subtree, and the subtree (RFC 6962, section 2.1, has the
// tree).
type Multiproof struct {
	n, index  uint64 // of so many events, from this one on
	signature []byte
	above     []byte
	subtree   merkleTree
}

// SubtreeSize returns how many events there are in the subtree that begins with the
// event of a place: 0 where none begins.
func (p BatchPart) SubtreeSize() int {
	if p.Index%MultiproofSize != 0 || p.Index >= p.N {
		return 0
	}
	return int(min(MultiproofSize, p.N-p.Index))
}

// EncodeMultiproof returns the witnesses of events in one piece, without what
// follows from their CIDs: for OpenMultiproof. It reports false when the events are
// not all of one subtree, in its order, or their witnesses not of one tree.
func EncodeMultiproof(events []*Event) ([]byte, bool) {
	if len(events) == 0 || len(events[0].Witness) == 0 || events[0].Witness[0] != witnessBatch {
		return nil, false
	}
	first, err := decodeBatchWitness(events[0].Witness[1:])
	below := hashSize * bits.Len(uint(len(events)-1)) // the subtree's levels
	if err != nil || len(first.path) < below {
		return nil, false
	}
	proof := binary.AppendUvarint(make([]byte, 0, len(events[0].Witness)), first.n)
	proof = append(binary.AppendUvarint(proof, first.index), first.signature...)
	proof = append(proof, first.path[below:]...)
	digests := make([]Hash, len(events))
	for i, e := range events {
		digests[i] = Digest(e.CID)
	}
	m, err := OpenMultiproof(proof, digests)
	if err != nil {
		return nil, false
	}
	var witness []byte
	for i, e := range events {
		if witness = m.appendWitness(witness[:0], i); !bytes.Equal(witness, e.Witness) {
			return nil, false
		}
	}
	return proof, true
}

// OpenMultiproof returns the proof for the events whose CIDs have digests, in their
// order. It verifies nothing: of other events the witnesses are bad. It keeps proof.
// The error is ErrBadWitness for one that can't be of so many events.
func OpenMultiproof(proof []byte, digests []Hash) (*Multiproof, error) {
	m := &Multiproof{}
	var err error
	b := proof
	if m.n, b, err = canonicalUvarint(b); err != nil {
		return nil, err
	}
	if m.index, b, err = canonicalUvarint(b); err != nil {
		return nil, err
	}
	count := len(digests)
	if count == 0 || m.n > MaxBatchWitness || m.index >= m.n || count != (BatchPart{N: m.n, Index: m.index}).SubtreeSize() {
		return nil, fmt.Errorf("%w: a proof of %d events from index %d of %d", ErrBadWitness, count, m.index, m.n)
	}
	if len(b) != signatureSize+hashSize*(pathLength(m.n, m.index)-bits.Len(uint(count-1))) {
		return nil, fmt.Errorf("%w: a proof of %d bytes behind index %d of %d", ErrBadWitness, len(b), m.index, m.n)
	}
	m.signature, m.above = b[:signatureSize], b[signatureSize:]
	leaves := make([]Hash, count)
	for i, d := range digests {
		leaves[i] = leafHashOf(d)
	}
	m.subtree = newMerkleTree(leaves)
	return m, nil
}

// Witness returns the witness of event i of those that the proof is for.
func (m *Multiproof) Witness(i int) []byte {
	size := witnessOverhead + hashSize*(len(m.subtree)-1) + len(m.above)
	return m.appendWitness(make([]byte, 0, size), i)
}

func (m *Multiproof) appendWitness(b []byte, i int) []byte {
	b = binary.AppendUvarint(append(b, witnessBatch), m.n)
	b = binary.AppendUvarint(b, m.index+uint64(i))
	b = m.subtree.appendPath(append(b, m.signature...), i)
	return append(b, m.above...)
}
