package trie

import (
	"crypto/sha256"
	"iter"

	"github.com/cairn-p2p/cairn/types"
)

// Trie maps keys to values and hashes them all into one root. The zero Trie is
// empty and ready to use; it must not be copied once used.
//
// It is not safe for concurrent use, not even by readers: Root stores the
// hashes that it computes.
type Trie struct {
	root node // nil when empty
	len  int
}

// Len returns the number of keys.
func (t *Trie) Len() int { return t.len }

// Get returns the value of key, and whether the trie has the key.
func (t *Trie) Get(key types.Hash) (value types.Hash, ok bool) {
	if l := t.nearest(key); l != nil && l.key == key {
		return l.value, true
	}
	return types.Hash{}, false
}

// Set gives key a value, its first one or another.
func (t *Trie) Set(key, value types.Hash) {
	near := t.nearest(key)
	switch {
	case near == nil:
		t.root = &leaf{key: key, value: value}
		t.len = 1
	case near.key != key:
		t.insert(&leaf{key: key, value: value}, commonNibbles(near.key, key))
		t.len++
	case near.value != value:
		near.value, near.sum = value, types.Hash{}
		t.forget(key)
	}
}

// Delete removes key and reports whether the trie had it.
func (t *Trie) Delete(key types.Hash) bool {
	if l := t.nearest(key); l == nil || l.key != key {
		return false
	}
	t.len--
	at := &t.root
	for {
		b, ok := (*at).(*branch)
		if !ok { // the only key
			*at = nil
			return true
		}
		b.sum = types.Hash{}
		i := nibble(key, b.depth)
		child := b.child(i)
		if _, isLeaf := (*child).(*leaf); isLeaf {
			b.remove(i)
			if len(b.children) == 1 { // keys no longer part here
				*at = b.children[0]
			}
			return true
		}
		at = child
	}
}

// Root returns the hash of all keys and values: sha2-256 of nothing for an
// empty trie. It hashes each node changed since the last call once, so a batch
// of updates costs least when Root follows the last of them.
func (t *Trie) Root() types.Hash {
	if t.root == nil {
		return sha256.Sum256(nil)
	}
	return t.root.hash()
}

// All yields the keys and their values in the order of the keys' bytes. The
// trie must not change meanwhile.
func (t *Trie) All() iter.Seq2[types.Hash, types.Hash] {
	return func(yield func(key, value types.Hash) bool) {
		if t.root != nil {
			t.root.each(yield)
		}
	}
}

// nearest returns a leaf whose key shares with key a prefix as long as any
// other's; nil in an empty trie.
func (t *Trie) nearest(key types.Hash) *leaf {
	n := t.root
	for {
		b, ok := n.(*branch)
		if !ok {
			l, _ := n.(*leaf)
			return l
		}
		// Branches skip the nibbles that all keys below share. Past the one
		// where key parts from them every leaf shares as much with key as any
		// other, so there the way down no longer matters.
		n = b.children[0]
		if i := nibble(key, b.depth); b.has(i) {
			n = *b.child(i)
		}
	}
}

// forget marks the hashes of the branches above key, which the trie has, as
// unknown.
func (t *Trie) forget(key types.Hash) {
	for n := t.root; ; {
		b, ok := n.(*branch)
		if !ok {
			return
		}
		b.sum = types.Hash{}
		n = *b.child(nibble(key, b.depth))
	}
}

// insert adds l, whose key parts from those held after depth nibbles.
func (t *Trie) insert(l *leaf, depth uint8) {
	at := &t.root
	for {
		b, ok := (*at).(*branch)
		if !ok || b.depth > depth {
			break
		}
		b.sum = types.Hash{}
		i := nibble(l.key, b.depth)
		if b.depth == depth {
			b.add(i, l)
			return
		}
		at = b.child(i)
	}
	below := *at
	b := &branch{depth: depth, children: make([]node, 0, 2)}
	b.add(nibble(below.anyKey(), depth), below)
	b.add(nibble(l.key, depth), l)
	*at = b
}
