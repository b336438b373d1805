package trie

import (
	"crypto/sha256"
	"encoding/binary"
	"testing"

	"github.com/cairn-p2p/cairn/types"
)

// Guards against defect 15 of the peers: fingerprints of sets made with XOR. A
// few hundred elements hold a subset whose XOR is zero, found by elimination in
// no time: with and without it, such a fingerprint is the same. The root is not.
func TestRootIsNoXORFingerprint(t *testing.T) {
	subset := cancelling(t)
	var with, without Trie
	var fingerprint types.Hash
	for _, key := range subset {
		with.Set(key, types.Hash{})
		fingerprint = xor(fingerprint, key)
	}
	base := sha256.Sum256([]byte("in both"))
	with.Set(base, types.Hash{})
	without.Set(base, types.Hash{})
	if fingerprint != (types.Hash{}) || len(subset) == 0 {
		t.Fatalf("%d elements with XOR %x", len(subset), fingerprint)
	}
	if with.Root() == without.Root() {
		t.Error("sets of different elements have equal roots")
	}
}

// cancelling returns distinct hashes whose XOR is zero: by Gaussian elimination
// over 257 of them, which cannot be independent in 256 bits.
func cancelling(t *testing.T) []types.Hash {
	t.Helper()
	type row struct {
		sum   types.Hash
		parts map[uint64]bool // the hashes that it is the XOR of
	}
	pivots := map[int]row{}
	element := func(n uint64) types.Hash { return sha256.Sum256(binary.BigEndian.AppendUint64(nil, n)) }
	for n := range uint64(257) {
		r := row{element(n), map[uint64]bool{n: true}}
		for bit := leading(r.sum); bit < 256; bit = leading(r.sum) {
			p, ok := pivots[bit]
			if !ok {
				pivots[bit] = r
				break
			}
			r.sum = xor(r.sum, p.sum)
			for part := range p.parts {
				if r.parts[part] {
					delete(r.parts, part)
				} else {
					r.parts[part] = true
				}
			}
		}
		if r.sum == (types.Hash{}) {
			var found []types.Hash
			for part := range r.parts {
				found = append(found, element(part))
			}
			return found
		}
	}
	t.Fatal("257 vectors of 256 bits are independent")
	return nil
}

// leading is the place of the first bit that is set; 256 if none is.
func leading(h types.Hash) int {
	for i := range 256 {
		if h[i/8]>>(7-i%8)&1 == 1 {
			return i
		}
	}
	return 256
}

func xor(a, b types.Hash) types.Hash {
	for i := range a {
		a[i] ^= b[i]
	}
	return a
}
