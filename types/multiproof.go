package types

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/bits"

	"github.com/ipfs/go-cid"
)

// MultiproofSize is the most neighbours of a batch whose witnesses a multiproof
// holds: a subtree of the batch's tree, so that they share all of their paths
// above it.
const MultiproofSize = 16

// NewMultiproof returns the witnesses of the first events in one piece, and of how
// many: as many as lie together in a subtree of their batch, 2 to MultiproofSize.
// Their CIDs give what their paths have below the subtree's root, so it takes about
// a twentieth of the witnesses' bytes (RFC 6962, section 2.1, has the tree). It
// returns 0 when the first events are not a whole subtree, or their witnesses are
// not of one tree.
func NewMultiproof(events []*Event) (proof []byte, n int) {
	if len(events) < 2 || len(events[0].Witness) == 0 || events[0].Witness[0] != witnessBatch {
		return nil, 0
	}
	first, err := decodeBatchWitness(events[0].Witness[1:])
	if err != nil || first.index%MultiproofSize != 0 {
		return nil, 0
	}
	n = int(min(MultiproofSize, first.n-first.index))
	if n < 2 || n > len(events) {
		return nil, 0
	}
	cids := make([]cid.Cid, n)
	for i, e := range events[:n] {
		cids[i] = e.CID
	}
	proof = binary.AppendUvarint(make([]byte, 0, len(events[0].Witness)), first.n)
	proof = append(binary.AppendUvarint(proof, first.index), first.signature...)
	proof = append(proof, first.path[hashSize*pathLength(uint64(n), 0):]...)
	witnesses, err := OpenMultiproof(proof, cids)
	if err != nil {
		return nil, 0
	}
	for i, e := range events[:n] {
		if !bytes.Equal(witnesses[i], e.Witness) {
			return nil, 0
		}
	}
	return proof, n
}

// OpenMultiproof returns the witnesses of the events with cids, in their order, all
// in one piece of memory. It verifies nothing: of other events the witnesses are
// bad. The error is ErrBadWitness for a proof that can't be of so many events.
func OpenMultiproof(proof []byte, cids []cid.Cid) ([][]byte, error) {
	n, b, err := canonicalUvarint(proof)
	if err != nil {
		return nil, err
	}
	index, b, err := canonicalUvarint(b)
	if err != nil {
		return nil, err
	}
	count := uint64(len(cids))
	if n > MaxBatchWitness || index%MultiproofSize != 0 || index >= n || count != min(MultiproofSize, n-index) {
		return nil, fmt.Errorf("%w: a proof of %d events from index %d of %d", ErrBadWitness, count, index, n)
	}
	below := bits.Len64(count - 1) // levels of the subtree
	if len(b) != signatureSize+hashSize*(pathLength(n, index)-pathLength(count, 0)) {
		return nil, fmt.Errorf("%w: a proof of %d bytes behind index %d of %d", ErrBadWitness, len(b), index, n)
	}
	signature, above := b[:signatureSize], b[signatureSize:]
	leaves := make([]Hash, count)
	for i, c := range cids {
		leaves[i] = leafHash(c)
	}
	tree := newMerkleTree(leaves)
	witnesses := make([][]byte, count)
	all := make([]byte, 0, len(cids)*(1+2*binary.MaxVarintLen32+signatureSize+hashSize*below+len(above)))
	for i := range witnesses {
		from := len(all)
		all = binary.AppendUvarint(append(all, witnessBatch), n)
		all = binary.AppendUvarint(all, index+uint64(i))
		all = tree.appendPath(append(all, signature...), i)
		all = append(all, above...)
		witnesses[i] = all[from:len(all):len(all)]
	}
	return witnesses, nil
}
