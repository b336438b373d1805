package syncer

import (
	"bytes"
	"slices"
	"time"

	"github.com/cairn-p2p/cairn/syncer/pb"
	"github.com/cairn-p2p/cairn/trie"
	"github.com/cairn-p2p/cairn/types"
)

// walk learns which topics the peer holds, and with which heads, as far as this
// node holds them too.
type walk struct {
	s      *Syncer
	c      *client
	peer   *peer
	begun  uint64        // the last change here when it began
	leaves int           // read so far
	same   []sharedTopic // found with the same heads at both; at most maxNoted
}

// sharedTopic is a topic that the peer has with the heads of this node.
type sharedTopic struct {
	id    types.TopicID
	heads types.Hash
}

// begin returns the change that is known of the peer already. While the walk
// lasts none is: if it fails, the next one begins anew.
func (w *walk) begin(st status) change {
	w.s.mu.Lock()
	defer w.s.mu.Unlock()
	seen := w.peer.seen
	if seen != st.last {
		w.peer.seen = change{}
	}
	return seen
}

// finish notes up to which change the peer is known now. What it has that is
// missing here is compared, if that is not due anyway.
func (w *walk) finish(seen change, err error) {
	w.s.mu.Lock()
	defer w.s.mu.Unlock()
	if err != nil || w.peer.ctx.Err() != nil {
		return
	}
	now := time.Now()
	w.peer.seen, w.peer.confirmed = seen, now
	for _, r := range w.peer.replicas {
		if r.held && !r.inSync() {
			w.s.compareAt(r, now)
		}
	}
}

// changes asks what changed since the change that is known, and returns the one
// known then; the zero one if the peer does not know it any more.
func (w *walk) changes(since change) (change, error) {
	if err := w.c.send(since.message()); err != nil {
		return change{}, err
	}
	for listed := 0; ; {
		m, err := w.c.next()
		if err != nil {
			return change{}, err
		}
		a := m.GetChanges()
		if a == nil || !a.GetUnknown() && a.GetChangeNumber() < since.number {
			return change{}, offencef("answer to Changes is of another kind or number")
		}
		if a.GetUnknown() {
			if m.GetMore() || len(a.GetLeaves()) > 0 {
				return change{}, offencef("answer to Changes has leaves of an unknown number")
			}
			return change{}, nil
		}
		leaves, err := parseLeaves(a.GetLeaves(), maxPageLeaves, true)
		if err != nil {
			return change{}, err
		}
		if m.GetMore() && len(leaves) == 0 {
			return change{}, offencef("answer to Changes does not advance")
		}
		if listed += len(leaves); listed > maxChanges {
			return change{}, offencef("more than %d changes", maxChanges)
		}
		if err := w.take(leaves); err != nil {
			return change{}, err
		}
		if !m.GetMore() {
			return change{id: since.id, number: a.GetChangeNumber()}, nil
		}
	}
}

// run compares the digests from their roots down, two levels a round trip, and
// only where both have something.
func (w *walk) run(st status) error {
	w.s.mu.Lock()
	equal := st.root == w.s.digest.root()
	if equal {
		w.equal(trie.Prefix{})
	}
	w.s.mu.Unlock()
	if equal {
		return nil
	}
	level := []trie.Prefix{{}}
	for len(level) > 0 {
		var next []trie.Prefix
		for part := range slices.Chunk(level, requestsAhead*maxSubtrees) {
			below, err := w.round(part)
			if err != nil {
				return err
			}
			next = append(next, below...)
		}
		level = next
	}
	return nil
}

// round asks about some prefixes, in requests one behind the other, and returns
// those to ask about next.
func (w *walk) round(prefixes []trie.Prefix) ([]trie.Prefix, error) {
	var batches [][]subtree
	for part := range slices.Chunk(prefixes, maxSubtrees) {
		asked := w.ask(part)
		batches = append(batches, asked)
		m := new(pb.DigestRequest)
		for i := range asked {
			m.Subtrees = append(m.Subtrees, asked[i].message())
		}
		if err := w.c.send(&pb.Request{Request: &pb.Request_Digest{Digest: m}}); err != nil {
			return nil, err
		}
	}
	var next []trie.Prefix
	for _, asked := range batches {
		below, err := w.answer(asked)
		if err != nil {
			return nil, err
		}
		next = append(next, below...)
	}
	return next, nil
}

// ask returns this node's own hashes below prefixes.
func (w *walk) ask(prefixes []trie.Prefix) []subtree {
	w.s.mu.Lock()
	defer w.s.mu.Unlock()
	asked := make([]subtree, 0, len(prefixes))
	for _, p := range prefixes {
		asked = append(asked, hashesBelow(&w.s.digest.trie, p))
	}
	return asked
}

// answer reads the answer to one request. It has a subtree for each child asked
// about that differs, in order; the others are equal.
func (w *walk) answer(asked []subtree) ([]trie.Prefix, error) {
	var expected []trie.Prefix
	for i := range asked {
		for n := range uint8(fanOut) {
			if _, ok := asked[i].child(n); ok {
				expected = append(expected, asked[i].prefix.Child(n))
			}
		}
	}
	var next []trie.Prefix
	for {
		m, err := w.c.next()
		if err != nil {
			return nil, err
		}
		if m.GetDigest() == nil || m.GetMore() && len(m.GetDigest().GetSubtrees()) == 0 {
			return nil, offencef("answer to Digest is of another kind or does not advance")
		}
		for _, part := range m.GetDigest().GetSubtrees() {
			t, err := parseSubtree(part, false)
			if err != nil {
				return nil, err
			}
			i := slices.IndexFunc(expected, func(p trie.Prefix) bool { return samePrefix(p, t.prefix) })
			if i < 0 {
				return nil, offencef("answer to Digest about what was not asked")
			}
			w.equals(expected[:i])
			expected = expected[i+1:]
			below, err := w.part(&t)
			if err != nil {
				return nil, err
			}
			next = append(next, below...)
		}
		if !m.GetMore() {
			w.equals(expected)
			return next, nil
		}
	}
}

func samePrefix(a, b trie.Prefix) bool {
	return a.Len == b.Len && bytes.Equal(prefixBytes(a), prefixBytes(b))
}

// part takes what differs below one prefix, and returns the prefixes below it
// where both nodes have something else.
func (w *walk) part(t *subtree) ([]trie.Prefix, error) {
	if t.bitmap == 0 {
		w.dropUnlisted(t)
		return nil, w.take(t.leaves)
	}
	w.s.mu.Lock()
	defer w.s.mu.Unlock()
	var next []trie.Prefix
	for i := range uint8(fanOut) {
		p := t.prefix.Child(i)
		own, ok := w.s.digest.trie.Hash(p)
		theirs, held := t.child(i)
		switch {
		case !ok:
		case !held:
			w.drop(p, nil)
		case own == theirs:
			w.equal(p)
		case int(p.Len) > trie.MaxPrefix-2:
			return nil, offencef("digest without the leaves at its end")
		default:
			next = append(next, p)
		}
	}
	return next, nil
}

// take notes what the peer says of topics that both hold.
func (w *walk) take(leaves []leaf) error {
	if w.leaves += len(leaves); w.leaves > maxTopics {
		return offencef("more than %d leaves", maxTopics)
	}
	w.s.mu.Lock()
	defer w.s.mu.Unlock()
	now := time.Now()
	for _, l := range leaves {
		t := w.s.digest.find(l.key)
		if t == nil || w.peer.ctx.Err() != nil {
			continue
		}
		r := w.peer.replicaOf(t)
		if l.heads == (types.Hash{}) {
			r.held = false
			continue
		}
		r.hold()
		r.heads = l.heads
		if l.heads == t.heads {
			r.settled = l.heads
			w.noteSame(t)
		}
		if l.heads == r.settled {
			r.synced(now)
			continue
		}
		w.s.compareAt(r, now)
	}
	return nil
}

func (w *walk) equals(prefixes []trie.Prefix) {
	w.s.mu.Lock()
	defer w.s.mu.Unlock()
	for _, p := range prefixes {
		w.equal(p)
	}
}

// equal notes that the peer has the same topics below p with the same heads as
// this node had when the walk began. The caller holds Syncer.mu.
func (w *walk) equal(p trie.Prefix) {
	if w.peer.ctx.Err() != nil {
		return
	}
	now := time.Now()
	for t := range w.s.digest.under(p) {
		r := w.peer.replicaOf(t)
		r.hold()
		if t.number > w.begun { // changed since then: the comparison will tell
			w.s.compareAt(r, now.Add(w.s.iv.Compare))
			continue
		}
		r.heads, r.settled = t.heads, t.heads
		r.synced(now)
		w.noteSame(t)
	}
}

// noteSame notes that the peer has a topic's heads of now. The caller holds
// Syncer.mu.
func (w *walk) noteSame(t *topic) {
	if len(w.same) < maxNoted {
		w.same = append(w.same, sharedTopic{t.id, t.heads})
	}
}

// share remembers the heads of the topics that were found equal, if they still
// are the own ones.
func (w *walk) share() {
	for _, t := range w.same {
		w.s.shareOwn(t.id, w.peer.id, t.heads)
	}
}

// dropUnlisted notes which topics the peer no longer has.
func (w *walk) dropUnlisted(t *subtree) {
	listed := make(map[types.Hash]bool, len(t.leaves))
	for _, l := range t.leaves {
		listed[l.key] = true
	}
	w.s.mu.Lock()
	defer w.s.mu.Unlock()
	w.drop(t.prefix, listed)
}

// drop notes that of the topics below p the peer has those listed alone. The
// caller holds Syncer.mu.
func (w *walk) drop(p trie.Prefix, listed map[types.Hash]bool) {
	for t := range w.s.digest.under(p) {
		if r := w.peer.replicas[t]; r != nil && !listed[t.key] {
			r.held = false
		}
	}
}
