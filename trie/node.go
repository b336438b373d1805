package trie

import (
	"crypto/sha256"
	"math/bits"
	"slices"

	"github.com/cairn-p2p/cairn/types"
)

// fanOut is the greatest number of children of a branch: one for each nibble.
// In memory 16 costs least: with more, each update hashes more siblings; with
// fewer, more levels.
const fanOut = 16

// The first byte of what a node's hash covers.
const (
	prefixLeaf   = 0x00
	prefixBranch = 0x01
)

// Leaf is a key and its value, as the trie holds them. The key never changes; the
// value does only just before the leaf is Put again.
type Leaf interface {
	Key() types.Hash
	Value() types.Hash
}

// node is a Leaf, or a *branch, whose key is any below it and whose value is its
// hash.
type node = Leaf

// pair is the leaf of a trie that is given no other.
type pair struct {
	key, value types.Hash
}

func (l *pair) Key() types.Hash { return l.key }

func (l *pair) Value() types.Hash { return l.value }

// hash returns the node's hash. A leaf's is not kept: a branch, which is, has
// few leaves to hash again, and there are more leaves than branches.
func hash(n node) types.Hash {
	if b, ok := n.(*branch); ok {
		return b.Value()
	}
	key, value := n.Key(), n.Value()
	var b [1 + 2*len(types.Hash{})]byte
	b[0] = prefixLeaf
	copy(b[1+copy(b[1:], key[:]):], value[:])
	return sha256.Sum256(b[:])
}

// each yields the leaves at or below the node and reports whether to go on.
func each(n node, yield func(Leaf) bool) bool {
	b, ok := n.(*branch)
	if !ok {
		return yield(n)
	}
	for _, c := range b.children {
		if !each(c, yield) {
			return false
		}
	}
	return true
}

// branch is where keys part: those below it share their first depth nibbles
// and differ in the next. Its sum is the zero hash while it is unknown: no branch
// that anyone can make has it.
type branch struct {
	sum      types.Hash
	children []node // in the order of their nibbles, 2 to fanOut
	bitmap   uint16 // bit i: there is a child for nibble i
	depth    uint8
}

// Value returns the hash, computed if it is unknown.
func (b *branch) Value() types.Hash {
	if b.sum == (types.Hash{}) {
		var buf [4 + fanOut*len(types.Hash{})]byte
		msg := append(buf[:0], prefixBranch, b.depth, byte(b.bitmap>>8), byte(b.bitmap))
		for _, c := range b.children {
			h := hash(c)
			msg = append(msg, h[:]...)
		}
		b.sum = sha256.Sum256(msg)
	}
	return b.sum
}

// Key returns some key below the branch.
func (b *branch) Key() types.Hash { return b.children[0].Key() }

func (b *branch) has(nibble uint8) bool { return b.bitmap>>nibble&1 == 1 }

// rank is the number of children before nibble's.
func (b *branch) rank(nibble uint8) int {
	return bits.OnesCount16(b.bitmap & (1<<nibble - 1))
}

// child returns where the child for nibble is kept, which the branch must have.
func (b *branch) child(nibble uint8) *node { return &b.children[b.rank(nibble)] }

// add gives the branch a child for a nibble that it has none for.
func (b *branch) add(nibble uint8, n node) {
	b.children = slices.Insert(b.children, b.rank(nibble), n)
	b.bitmap |= 1 << nibble
}

// remove takes away the child for nibble, which the branch must have.
func (b *branch) remove(nibble uint8) {
	i := b.rank(nibble)
	b.children = slices.Delete(b.children, i, i+1)
	b.bitmap &^= 1 << nibble
}

// nibble returns the i-th half byte of key, the high half of a byte first.
func nibble(key types.Hash, i uint8) uint8 {
	if i%2 == 0 {
		return key[i/2] >> 4
	}
	return key[i/2] & 0x0f
}

// commonNibbles returns the number of leading nibbles that a and b share.
func commonNibbles(a, b types.Hash) uint8 {
	for i := range a {
		switch x := a[i] ^ b[i]; {
		case x >= 0x10:
			return uint8(2 * i)
		case x != 0:
			return uint8(2*i + 1)
		}
	}
	return uint8(2 * len(a))
}
