package crdt

import (
	"sync"

	"github.com/cairn-p2p/cairn/trie"
	"github.com/cairn-p2p/cairn/types"
)

// Standing is where a topic stands in the store, at one moment.
type Standing struct {
	Events    uint64       // length of the delivery log
	End       types.Cursor // the position after its last event
	HeadsHash types.Hash
	Count     int          // of all heads
	Heads     []types.Head // some of them, sorted by the bytes of the CID
}

// Standing returns where the topic stands, with up to limit of its heads. While
// the replica is loaded that costs the same however many heads there are; else
// all are read from the store.
func (r *Replica) Standing(limit int) (Standing, error) {
	if l := r.loaded.Load(); l != nil {
		if s, ok := l.standing.look(limit); ok {
			return s, nil
		}
	}
	state, err := r.cfg.Store.Load(r.topic(), r.self())
	if err != nil {
		return Standing{}, err
	}
	return Standing{
		Events: state.Events, End: state.End, HeadsHash: HeadsHash(state.Heads),
		Count: len(state.Heads), Heads: state.Heads[:min(limit, len(state.Heads))],
	}, nil
}

// HeadsTrie calls look with the trie over the heads in the store: the digests in
// their CIDs, with zero values. look must be quick, must not change the trie, and
// must not keep it. What it costs is as for Standing.
func (r *Replica) HeadsTrie(look func(*trie.Trie)) error {
	if l := r.loaded.Load(); l != nil && l.standing.lookAtHeads(look) {
		return nil
	}
	state, err := r.cfg.Store.Load(r.topic(), r.self())
	if err == nil {
		look(headsTrie(state.Heads))
	}
	return err
}

// Load makes a replica that is dormant be loaded, soon: worth it where a topic
// has many heads that others ask for.
func (r *Replica) Load() {
	if !r.Loaded() {
		r.post(&inspectInput{look: func(*driver) {}, answer: newAnswer()}, 0)
	}
}

// standing is where the topic stands in the store: the driver moves it after
// each commit, and others look at it meanwhile.
type standing struct {
	mu     sync.Mutex
	heads  *trie.Trie // of *head; its root is the heads hash; nil: not loaded
	events uint64
	log    types.RunningHash
}

// head is a leaf of the trie over heads.
type head struct {
	digest types.Hash
	height uint64
}

// Key implements trie.Leaf.
func (h *head) Key() types.Hash { return h.digest }

// Value implements trie.Leaf.
func (h *head) Value() types.Hash { return types.Hash{} }

func (s *standing) load(state types.TopicState) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.heads, s.events, s.log = headsTrie(state.Heads), state.Events, state.Log
}

func (s *standing) unload() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.heads = nil
}

// move takes up a batch that is stored.
func (s *standing) move(b *types.Batch) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, id := range b.DropHeads {
		s.heads.Delete(types.Digest(id))
	}
	for _, h := range b.AddHeads {
		s.heads.Put(&head{types.Digest(h.CID), h.Height})
	}
	for _, e := range b.Events {
		s.log = s.log.Next(e.CID)
	}
	s.events += uint64(len(b.Events))
}

func (s *standing) root() types.Hash {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.heads.Root()
}

func (s *standing) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.heads.Len()
}

// look returns where the topic stands; false if that is not loaded.
func (s *standing) look(limit int) (Standing, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.heads == nil {
		return Standing{}, false
	}
	at := Standing{Events: s.events, End: s.log.Cursor(s.events), HeadsHash: s.heads.Root(), Count: s.heads.Len()}
	if limit = min(limit, at.Count); limit == 0 {
		return at, true
	}
	at.Heads = make([]types.Head, 0, limit)
	for l := range s.heads.Leaves(trie.Prefix{}) {
		h := l.(*head) //nolint:errcheck // all leaves are heads
		if at.Heads = append(at.Heads, types.Head{CID: types.CIDOf(h.digest), Height: h.height}); len(at.Heads) == limit {
			break
		}
	}
	return at, true
}

func (s *standing) lookAtHeads(look func(*trie.Trie)) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.heads == nil {
		return false
	}
	look(s.heads)
	return true
}

// HeadsHash returns the root of the trie over heads, in any order.
func HeadsHash(heads []types.Head) types.Hash { return headsTrie(heads).Root() }

func headsTrie(heads []types.Head) *trie.Trie {
	t := &trie.Trie{}
	for _, h := range heads {
		t.Put(&head{types.Digest(h.CID), h.Height})
	}
	return t
}
