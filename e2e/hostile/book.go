package hostile

import (
	"crypto/rand"
	"crypto/sha256"
	"slices"
	"sync"

	"github.com/ipfs/go-cid"

	"github.com/cairn-p2p/cairn/trie"
	"github.com/cairn-p2p/cairn/types"
)

// entry is an event as a peer serves it: under an id, which need not be that of
// the body.
type entry struct {
	id            cid.Cid
	body, witness []byte
}

func entryOf(e *types.Event) entry { return entry{e.CID, e.Bytes(), e.Witness} }

func entriesOf(events []*types.Event) []entry {
	list := make([]entry, len(events))
	for i, e := range events {
		list[i] = entryOf(e)
	}
	return list
}

// book is what a peer pretends to hold of a topic: a log, and heads that need
// not be those of the log.
type book struct {
	genesis *types.Genesis
	logID   types.LogID

	mu     sync.Mutex
	log    []entry
	at     map[cid.Cid]int // in log
	heads  []types.Head    // sorted
	trie   *trie.Trie      // over heads; not changed
	hash   types.Hash      // of heads
	change uint64
}

func newBook(g *types.Genesis) *book {
	b := &book{genesis: g}
	rand.Read(b.logID[:]) //nolint:errcheck // it never fails
	b.write(nil, nil)
	return b
}

// write makes the book say something else.
func (b *book) write(log []entry, heads []types.Head) {
	at := make(map[cid.Cid]int, len(log))
	for i, e := range log {
		at[e.id] = i
	}
	heads = slices.Clone(heads)
	slices.SortFunc(heads, func(x, y types.Head) int { return types.CompareCIDs(x.CID, y.CID) })
	t := headsTrie(heads)
	hash := t.Root()
	b.mu.Lock()
	defer b.mu.Unlock()
	b.log, b.at, b.heads, b.trie, b.hash = log, at, heads, t, hash
	b.change++
}

// page is what a book says at a moment. It is not changed.
type page struct {
	log   []entry
	at    map[cid.Cid]int
	heads []types.Head
	trie  *trie.Trie
	hash  types.Hash
}

func (b *book) page() page {
	b.mu.Lock()
	defer b.mu.Unlock()
	return page{b.log, b.at, b.heads, b.trie, b.hash}
}

// headsTrie returns the trie over heads, with all its hashes: it can be read
// concurrently.
func headsTrie(heads []types.Head) *trie.Trie {
	t := &trie.Trie{}
	for _, h := range heads {
		t.Set(types.Digest(h.CID), types.Hash{})
	}
	t.Root()
	return t
}

func topicKey(id types.TopicID) types.Hash { return sha256.Sum256(id.Bytes()) }

// digest returns the digest over the peer's books that hold something.
func (p *hostilePeer) digest() (t *trie.Trie, change uint64) {
	t = &trie.Trie{}
	for _, b := range p.books {
		b.mu.Lock()
		if len(b.heads) > 0 {
			t.Set(topicKey(b.genesis.ID()), b.hash)
		}
		change += b.change
		b.mu.Unlock()
	}
	return t, change
}

// book returns the book of a topic that has something in it, or nil.
func (p *hostilePeer) book(id cid.Cid) *book {
	for _, b := range p.books {
		if b.genesis.ID() == id {
			return b
		}
	}
	return nil
}
