package syncer

import (
	"crypto/sha256"

	"github.com/cairn-p2p/cairn/trie"
	"github.com/cairn-p2p/cairn/types"
)

// topicKey is the key of a topic in the digest.
func topicKey(id types.TopicID) types.Hash { return sha256.Sum256(id.Bytes()) }

// digest is the trie over the topics replicated here. Syncer.mu guards it.
type digest struct {
	trie   trie.Trie
	topics map[types.Hash]*topic // by key
	list   *leafList             // of the current root; nil: not made
}

// leafList is the digest at one moment, in the order of the keys. It is
// immutable.
type leafList struct {
	root   types.Hash
	leaves []leaf
}

func (d *digest) set(t *topic) {
	d.topics[t.key] = t
	d.trie.Set(t.key, t.heads)
	d.list = nil
}

func (d *digest) remove(t *topic) {
	delete(d.topics, t.key)
	d.trie.Delete(t.key)
	d.list = nil
}

func (d *digest) root() types.Hash { return d.trie.Root() }

// snapshot returns the list of the leaves, which all who ask for it before the
// next change share.
func (d *digest) snapshot() *leafList {
	if d.list == nil {
		l := &leafList{root: d.trie.Root(), leaves: make([]leaf, 0, d.trie.Len())}
		for key, heads := range d.trie.All() {
			l.leaves = append(l.leaves, leaf{key: key, heads: heads})
		}
		d.list = l
	}
	return d.list
}
