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
	if l := t.Find(key); l != nil {
		return l.Value(), true
	}
	return types.Hash{}, false
}

// Find returns the leaf of key; nil if the trie does not have the key.
func (t *Trie) Find(key types.Hash) Leaf {
	if l := t.nearest(key); l != nil && l.Key() == key {
		return l
	}
	return nil
}

// Set gives key a value, its first one or another.
func (t *Trie) Set(key, value types.Hash) {
	l, ok := t.Find(key).(*pair)
	switch {
	case !ok:
		t.Put(&pair{key: key, value: value})
	case l.value != value:
		l.value = value
		t.Put(l)
	}
}

// Add adds a leaf, and reports false if the trie has its key already.
func (t *Trie) Add(l Leaf) bool {
	near := t.nearest(l.Key())
	if near != nil && near.Key() == l.Key() {
		return false
	}
	t.addBeside(near, l)
	return true
}

// addBeside adds a leaf whose key the trie does not have; near is nearest to it.
func (t *Trie) addBeside(near, l Leaf) {
	if near == nil {
		t.root = l
	} else {
		t.insert(l, commonNibbles(near.Key(), l.Key()))
	}
	t.len++
}

// Put adds a leaf, or puts it in the place of the one with its key, itself
// perhaps with another value.
func (t *Trie) Put(l Leaf) {
	key := l.Key()
	near := t.nearest(key)
	if near == nil || near.Key() != key {
		t.addBeside(near, l)
		return
	}
	t.replace(l, key)
}

// Delete removes key and reports whether the trie had it.
func (t *Trie) Delete(key types.Hash) bool {
	if t.Find(key) == nil {
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
		if _, isBranch := (*child).(*branch); !isBranch {
			b.remove(i)
			if len(b.children) == 1 { // keys no longer part here
				*at = b.children[0]
			}
			return true
		}
		at = child
	}
}

// EmptyRoot is the root of an empty trie.
var EmptyRoot = types.Hash(sha256.Sum256(nil))

// Root returns the hash of all keys and values: sha2-256 of nothing for an
// empty trie. It hashes each node changed since the last call once, so a batch
// of updates costs least when Root follows the last of them.
func (t *Trie) Root() types.Hash {
	if t.root == nil {
		return EmptyRoot
	}
	return hash(t.root)
}

// All yields the keys and their values in the order of the keys' bytes. The
// trie must not change meanwhile.
func (t *Trie) All() iter.Seq2[types.Hash, types.Hash] {
	return func(yield func(key, value types.Hash) bool) {
		for l := range t.Leaves(Prefix{}) {
			if !yield(l.Key(), l.Value()) {
				return
			}
		}
	}
}

// nearest returns a leaf whose key shares with key a prefix as long as any
// other's; nil in an empty trie.
func (t *Trie) nearest(key types.Hash) Leaf {
	n := t.root
	for {
		b, ok := n.(*branch)
		if !ok {
			return n
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

// replace puts l in the place of the leaf with its key, which the trie has, and
// marks the hashes of the branches above as unknown.
func (t *Trie) replace(l Leaf, key types.Hash) {
	at := &t.root
	for {
		b, ok := (*at).(*branch)
		if !ok {
			*at = l
			return
		}
		b.sum = types.Hash{}
		at = b.child(nibble(key, b.depth))
	}
}

// insert adds l, whose key parts from those held after depth nibbles.
func (t *Trie) insert(l Leaf, depth uint8) {
	key := l.Key()
	at := &t.root
	for {
		b, ok := (*at).(*branch)
		if !ok || b.depth > depth {
			break
		}
		b.sum = types.Hash{}
		i := nibble(key, b.depth)
		if b.depth == depth {
			b.add(i, l)
			return
		}
		at = b.child(i)
	}
	below := *at
	b := &branch{depth: depth, children: make([]node, 0, 2)}
	b.add(nibble(below.Key(), depth), below)
	b.add(nibble(key, depth), l)
	*at = b
}
