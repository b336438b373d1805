package trie

import (
	"iter"

	"github.com/cairn-p2p/cairn/types"
)

// Prefix is the beginning of a key: its first Len nibbles, 0 to 64. What Key has
// behind them does not matter.
type Prefix struct {
	Key types.Hash
	Len uint8
}

// MaxPrefix is the length of a whole key in nibbles.
const MaxPrefix = 2 * len(types.Hash{})

// Child returns the prefix that is longer by one nibble, which is below 16. The
// prefix is shorter than a key.
func (p Prefix) Child(nibble uint8) Prefix {
	b := &p.Key[p.Len/2]
	if p.Len%2 == 0 {
		*b = nibble<<4 | *b&0x0f
	} else {
		*b = *b&0xf0 | nibble
	}
	p.Len++
	return p
}

// Covers reports whether key begins with the prefix.
func (p Prefix) Covers(key types.Hash) bool { return commonNibbles(p.Key, key) >= p.Len }

// Hash returns the root that a trie of the keys below p alone would have; false
// if there are none. Two tries with equal hashes hold the same below p. Like
// Root it stores what it computes.
func (t *Trie) Hash(p Prefix) (types.Hash, bool) {
	n := t.below(p)
	if n == nil {
		return types.Hash{}, false
	}
	return hash(n), true
}

// Under yields the keys that begin with p and their values in the order of the
// keys' bytes. The trie must not change meanwhile.
func (t *Trie) Under(p Prefix) iter.Seq2[types.Hash, types.Hash] {
	return func(yield func(key, value types.Hash) bool) {
		for l := range t.Leaves(p) {
			if !yield(l.Key(), l.Value()) {
				return
			}
		}
	}
}

// Leaves yields the leaves whose keys begin with p in the order of the keys'
// bytes. The trie must not change meanwhile.
func (t *Trie) Leaves(p Prefix) iter.Seq[Leaf] {
	return func(yield func(Leaf) bool) {
		if n := t.below(p); n != nil {
			each(n, yield)
		}
	}
}

// below returns the node for the keys that begin with p; nil if there are none.
func (t *Trie) below(p Prefix) node {
	n := t.root
	for {
		b, ok := n.(*branch)
		if !ok || b.depth >= p.Len {
			break
		}
		i := nibble(p.Key, b.depth)
		if !b.has(i) {
			return nil
		}
		n = *b.child(i)
	}
	if n == nil || !p.Covers(n.Key()) {
		return nil
	}
	return n
}
