package syncer

import (
	"crypto/sha256"
	"iter"

	"github.com/cairn-p2p/cairn/trie"
	"github.com/cairn-p2p/cairn/types"
)

// topicKey is the key of a topic in the digest.
func topicKey(id types.TopicID) types.Hash { return sha256.Sum256(id.Bytes()) }

// fanOut is the number of children of a place in the digest: one for each
// nibble.
const fanOut = 16

// digest is the trie over the topics replicated here, which are its leaves.
// Syncer.mu guards it.
type digest struct{ trie trie.Trie }

var _ trie.Leaf = (*topic)(nil)

// Key implements trie.Leaf.
func (t *topic) Key() types.Hash { return t.key }

// Value implements trie.Leaf.
func (t *topic) Value() types.Hash { return t.heads }

// set takes up a topic's new heads.
func (d *digest) set(t *topic) { d.trie.Put(t) }

// add takes up a topic, and reports false if there is one with its key.
func (d *digest) add(t *topic) bool { return d.trie.Add(t) }

func (d *digest) remove(t *topic) { d.trie.Delete(t.key) }

func (d *digest) len() int { return d.trie.Len() }

// get returns a topic, nil for one that is not replicated here.
func (d *digest) get(id types.TopicID) *topic { return d.find(topicKey(id)) }

// find is get for a key in the digest.
func (d *digest) find(key types.Hash) *topic {
	t, _ := d.trie.Find(key).(*topic)
	return t
}

// under returns the topics whose keys begin with p.
func (d *digest) under(p trie.Prefix) iter.Seq[*topic] {
	return func(yield func(*topic) bool) {
		for l := range d.trie.Leaves(p) {
			if !yield(l.(*topic)) { //nolint:errcheck // all leaves are topics
				return
			}
		}
	}
}

func (d *digest) root() types.Hash { return d.trie.Root() }

// leaf is one topic of a digest.
type leaf struct {
	key   types.Hash
	heads types.Hash // the zero hash in Changes: no longer held
}

// subtree is what lies below a prefix in a digest: the hashes of its children,
// or all of its leaves.
type subtree struct {
	prefix trie.Prefix
	bitmap uint16 // bit i: there is a child i
	hashes [fanOut]types.Hash
	leaves []leaf
}

// child returns the hash of a child, and whether there is one.
func (t *subtree) child(i uint8) (types.Hash, bool) {
	return t.hashes[i], t.bitmap>>i&1 == 1
}

// hashesBelow returns what a Digest request says of a prefix: the hashes below
// it.
func hashesBelow(d *trie.Trie, p trie.Prefix) subtree {
	t := subtree{prefix: p}
	for i := range uint8(fanOut) {
		if h, ok := d.Hash(p.Child(i)); ok {
			t.bitmap |= 1 << i
			t.hashes[i] = h
		}
	}
	return t
}

// listBelow returns what an answer to Digest says of a prefix: its leaves if
// they are few, else the hashes below it.
func listBelow(d *trie.Trie, p trie.Prefix) subtree {
	t := subtree{prefix: p}
	for key, heads := range d.Under(p) {
		if len(t.leaves) == leavesAtOnce {
			return hashesBelow(d, p)
		}
		t.leaves = append(t.leaves, leaf{key: key, heads: heads})
	}
	return t
}

// differing returns what an answer to Digest has for one subtree of the request:
// its children that the asker has and that differ here.
func (d *digest) differing(asked *subtree) []subtree {
	var list []subtree
	for i := range uint8(fanOut) {
		theirs, ok := asked.child(i)
		if !ok {
			continue // no topic that both have
		}
		p := asked.prefix.Child(i)
		if own, held := d.trie.Hash(p); !held || own != theirs {
			list = append(list, listBelow(&d.trie, p))
		}
	}
	return list
}
