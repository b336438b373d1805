package types

import (
	"crypto/ed25519"
	"encoding/binary"
	"fmt"
	"sync"

	"github.com/hashicorp/golang-lru/v2"
	"github.com/ipfs/go-cid"
)

// The first byte of a witness.
const (
	witnessSingle = 0x01
	witnessBatch  = 0x02
)

// What a signature covers begins with its domain, so that none can stand for
// another.
const (
	domainEvent = "cairn/event/1\x00"
	domainBatch = "cairn/batch/1\x00"
)

// SignEvents sets the witness of each of events, 1 to MaxBatchWitness events
// of key's publisher: one signature of its own for a single event, else one
// over the Merkle root of their CIDs.
func SignEvents(key ed25519.PrivateKey, events []*Event) {
	if len(events) == 1 {
		sig := Sign(key, append([]byte(domainEvent), events[0].CID.KeyString()...))
		events[0].Witness = append([]byte{witnessSingle}, sig...)
		return
	}
	signBatch(key, events)
}

// signBatch sets witnesses of the second type, for any number of events.
func signBatch(key ed25519.PrivateKey, events []*Event) {
	leaves := make([]Hash, len(events))
	for i, e := range events {
		leaves[i] = leafHash(e.CID)
	}
	tree := newMerkleTree(leaves)
	setBatchWitnesses(tree, Sign(key, batchMessage(uint64(len(events)), tree.root())), events)
}

// setBatchWitnesses sets the witness of each leaf of the tree, all in one piece
// of memory.
func setBatchWitnesses(tree merkleTree, signature []byte, events []*Event) {
	n, size := uint64(len(events)), 0
	for i := range n {
		size += witnessOverhead + hashSize*pathLength(n, i)
	}
	all := make([]byte, 0, size)
	for i, e := range events {
		from := len(all)
		all = binary.AppendUvarint(append(all, witnessBatch), n)
		all = binary.AppendUvarint(all, uint64(i))
		all = tree.appendPath(append(all, signature...), i)
		e.Witness = all[from:len(all):len(all)]
	}
}

// BatchPart is the place of an event in the batch that its witness is of.
type BatchPart struct {
	N, Index  uint64 // of so many events, the one of this number, from 0
	Signature [64]byte
}

// PartOfBatch reads a witness of the second type. It reports false for any
// other, and verifies nothing.
func PartOfBatch(witness []byte) (BatchPart, bool) {
	if len(witness) == 0 || witness[0] != witnessBatch {
		return BatchPart{}, false
	}
	w, err := decodeBatchWitness(witness[1:])
	if err != nil {
		return BatchPart{}, false
	}
	return BatchPart{N: w.n, Index: w.index, Signature: [signatureSize]byte(w.signature)}, true
}

// RebuildWitnesses sets the witnesses of events, which are all of a batch in the
// order of their index, from the batch's signature. It verifies nothing: if the
// events are others, or not all, or in another order, the witnesses are bad. The
// error is ErrBadWitness for no event, or more than a batch can have.
func RebuildWitnesses(signature [64]byte, events []*Event) error {
	if len(events) == 0 || len(events) > MaxBatchWitness {
		return fmt.Errorf("%w: a batch of %d events", ErrBadWitness, len(events))
	}
	leaves := make([]Hash, len(events))
	for i, e := range events {
		leaves[i] = leafHash(e.CID)
	}
	setBatchWitnesses(newMerkleTree(leaves), signature[:], events)
	return nil
}

func batchMessage(n uint64, root Hash) []byte {
	return append(binary.AppendUvarint([]byte(domainBatch), n), root[:]...)
}

// batchWitness is the decoded form of a witness of the second type.
type batchWitness struct {
	n, index  uint64
	signature []byte
	path      []byte
}

// decodeBatchWitness reads what follows the type byte.
func decodeBatchWitness(b []byte) (batchWitness, error) {
	var w batchWitness
	var err error
	if w.n, b, err = canonicalUvarint(b); err != nil {
		return w, err
	}
	if w.index, b, err = canonicalUvarint(b); err != nil {
		return w, err
	}
	if w.n > MaxBatchWitness || w.index >= w.n {
		return w, fmt.Errorf("%w: index %d of %d", ErrBadWitness, w.index, w.n)
	}
	if len(b) != signatureSize+hashSize*pathLength(w.n, w.index) {
		return w, fmt.Errorf("%w: %d bytes after index %d of %d", ErrBadWitness, len(b), w.index, w.n)
	}
	w.signature, w.path = b[:signatureSize], b[signatureSize:]
	return w, nil
}

// canonicalUvarint reads a varint of the shortest form from the front of b.
func canonicalUvarint(b []byte) (uint64, []byte, error) {
	v, k := binary.Uvarint(b)
	if k <= 0 || k > 1 && b[k-1] == 0 {
		return 0, nil, fmt.Errorf("%w: malformed number", ErrBadWitness)
	}
	return v, b[k:], nil
}

// signedRoot is exactly what a verified batch signature proved.
type signedRoot struct {
	publisher Publisher
	n         uint64
	root      Hash
	signature [signatureSize]byte
}

// Verifier checks witnesses and remembers a bounded number of batch roots and
// publishers' keys that it found valid. It is safe for concurrent use.
type Verifier struct {
	roots *lru.Cache[signedRoot, struct{}]
	keys  *lru.Cache[Publisher, publicKey]
	check func(key publicKey, message, signature []byte) bool // publicKey.check; tests count

	mu       sync.Mutex
	checking map[signedRoot]chan struct{} // closed when the root's check has ended
}

// maxKeys bounds the keys that a verifier keeps ready, of about 1.6 KB each.
const maxKeys = 4096

// NewVerifier returns a verifier that remembers up to size batch roots
// (about 250 bytes each), and as many keys, up to 4,096 (about 1.6 KB each).
func NewVerifier(size int) *Verifier {
	roots, err := lru.New[signedRoot, struct{}](size)
	if err != nil {
		panic(err) // only a size that is not positive
	}
	keys, err := lru.New[Publisher, publicKey](min(size, maxKeys))
	if err != nil {
		panic(err)
	}
	return &Verifier{roots: roots, keys: keys, check: publicKey.check, checking: make(map[signedRoot]chan struct{})}
}

// Verify reports whether e's witness proves that e's publisher signed it. The
// error is ErrBadWitness, or ErrInvalidEvent for a publisher whose key no
// witness can prove. It costs one signature check, or for a known batch root
// only hashes; it blocks while another call checks the same root.
func (v *Verifier) Verify(e *Event) error {
	key, err := v.key(e.Publisher)
	if err != nil {
		return err
	}
	if len(e.Witness) == 0 {
		return fmt.Errorf("%w: it is empty", ErrBadWitness)
	}
	switch rest := e.Witness[1:]; e.Witness[0] {
	case witnessSingle:
		return v.verifySingle(key, e.CID, rest)
	case witnessBatch:
		return v.verifyBatch(key, e.Publisher, e.CID, rest)
	}
	return fmt.Errorf("%w: type %d", ErrBadWitness, e.Witness[0])
}

func (v *Verifier) key(p Publisher) (publicKey, error) {
	if key, ok := v.keys.Get(p); ok {
		return key, nil
	}
	key, err := newPublicKey(p)
	if err != nil {
		return key, fmt.Errorf("%w: publisher's %w", ErrInvalidEvent, err)
	}
	v.keys.Add(p, key)
	return key, nil
}

func (v *Verifier) verifySingle(key publicKey, c cid.Cid, sig []byte) error {
	if len(sig) != signatureSize {
		return fmt.Errorf("%w: signature of %d bytes", ErrBadWitness, len(sig))
	}
	if !v.check(key, append([]byte(domainEvent), c.KeyString()...), sig) {
		return fmt.Errorf("%w: signature does not verify", ErrBadWitness)
	}
	return nil
}

func (v *Verifier) verifyBatch(by publicKey, p Publisher, c cid.Cid, b []byte) error {
	w, err := decodeBatchWitness(b)
	if err != nil {
		return err
	}
	root := rootFromPath(w.n, w.index, leafHash(c), w.path)
	signed := signedRoot{publisher: p, n: w.n, root: root, signature: [signatureSize]byte(w.signature)}
	if !v.verifyRoot(by, signed) {
		return fmt.Errorf("%w: batch signature does not verify", ErrBadWitness)
	}
	return nil
}

// verifyRoot checks a batch's signature unless it is remembered. Of calls at one
// time with one root, one checks it, and the others do only if it was not good.
func (v *Verifier) verifyRoot(by publicKey, root signedRoot) bool {
	v.mu.Lock()
	if v.roots.Contains(root) {
		v.mu.Unlock()
		return true
	}
	if done := v.checking[root]; done != nil {
		v.mu.Unlock()
		<-done
		return v.roots.Contains(root) || v.checkRoot(by, root)
	}
	done := make(chan struct{})
	v.checking[root] = done
	v.mu.Unlock()
	good := v.checkRoot(by, root)
	v.mu.Lock()
	defer v.mu.Unlock()
	delete(v.checking, root)
	close(done)
	return good
}

func (v *Verifier) checkRoot(by publicKey, root signedRoot) bool {
	if !v.check(by, batchMessage(root.n, root.root), root.signature[:]) {
		return false
	}
	v.roots.Add(root, struct{}{})
	return true
}
