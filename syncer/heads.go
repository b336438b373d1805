package syncer

import (
	"fmt"
	"slices"

	"github.com/ipfs/go-cid"

	"github.com/cairn-p2p/cairn/syncer/pb"
	"github.com/cairn-p2p/cairn/trie"
	"github.com/cairn-p2p/cairn/types"
)

// A topic with more heads than an answer to Heads lists has them compared as the
// topics of two nodes are: by the hashes of the trie over them, from the root
// down. Here the asker wants what it has not got, so the answer has also what
// only the server has.

// differingHeads returns what an answer to Digest has for one subtree of a
// request about the heads in d: its children that the asker has not, or other
// ones.
func differingHeads(d *trie.Trie, asked *subtree) []subtree {
	var list []subtree
	for i := range uint8(fanOut) {
		p := asked.prefix.Child(i)
		own, held := d.Hash(p)
		if theirs, ok := asked.child(i); held && (!ok || own != theirs) {
			list = append(list, listBelow(d, p))
		}
	}
	return list
}

// headsWalk looks for those of a peer's heads that are missing here.
type headsWalk struct {
	s     *Syncer
	c     *client
	topic types.TopicID
	claim *headsClaim // what is found goes into it
	next  []trie.Prefix
}

// walkHeads adds to the claim the peer's heads that are missing here, up to
// maxTracked, and notes whether the peer's heads have moved on meanwhile.
func (s *Syncer) walkHeads(c *client, topic types.TopicID, claim *headsClaim) error {
	w := &headsWalk{s: s, c: c, topic: topic, claim: claim, next: []trie.Prefix{{}}}
	for rounds := 0; len(w.next) > 0 && len(claim.missing) < maxTracked; rounds++ {
		if rounds == maxHeadsRounds {
			return fmt.Errorf("heads differ in more places than %d requests find", rounds)
		}
		at := max(len(w.next)-maxSubtrees, 0) // the deepest first, so that they stay few
		asked := slices.Clone(w.next[at:])
		w.next = w.next[:at]
		if err := w.ask(asked); err != nil {
			return err
		}
		if err := w.answer(asked); err != nil {
			return err
		}
	}
	return nil
}

func (w *headsWalk) ask(prefixes []trie.Prefix) error {
	m := &pb.DigestRequest{Topic: w.topic.Bytes()}
	err := w.s.local.HeadsTrie(w.topic, func(t *trie.Trie) {
		for _, p := range prefixes {
			below := hashesBelow(t, p)
			m.Subtrees = append(m.Subtrees, below.message())
		}
	})
	if err != nil {
		return err
	}
	return w.c.send(&pb.Request{Request: &pb.Request_Digest{Digest: m}})
}

// answer reads the answer about prefixes: some of their children, in order.
func (w *headsWalk) answer(prefixes []trie.Prefix) error {
	var expected []trie.Prefix
	for _, p := range prefixes {
		for i := range uint8(fanOut) {
			expected = append(expected, p.Child(i))
		}
	}
	for {
		m, err := w.c.next()
		if err != nil {
			return err
		}
		a := m.GetDigest()
		if a == nil || m.GetMore() && len(a.GetSubtrees()) == 0 {
			return offencef("answer to Digest is of another kind or does not advance")
		}
		root, err := parseHash(a.GetRoot())
		if err != nil {
			return err
		}
		w.claim.moved = w.claim.moved || root != w.claim.hash
		for _, part := range a.GetSubtrees() {
			t, err := parseSubtree(part, true)
			if err != nil {
				return err
			}
			i := slices.IndexFunc(expected, func(p trie.Prefix) bool { return samePrefix(p, t.prefix) })
			if i < 0 {
				return offencef("answer to Digest about what was not asked")
			}
			expected = expected[i+1:]
			if err := w.part(&t); err != nil {
				return err
			}
		}
		if !m.GetMore() {
			return nil
		}
	}
}

// part takes what differs below one prefix.
func (w *headsWalk) part(t *subtree) error {
	if t.bitmap == 0 {
		cids := make([]cid.Cid, len(t.leaves))
		for i, l := range t.leaves {
			cids[i] = types.CIDOf(l.key)
		}
		return w.s.claimed(w.claim, w.topic, cids)
	}
	if int(t.prefix.Len) > trie.MaxPrefix-2 {
		return offencef("digest without the leaves at its end")
	}
	err := w.s.local.HeadsTrie(w.topic, func(own *trie.Trie) {
		below := hashesBelow(own, t.prefix)
		for i := range uint8(fanOut) {
			theirs, ok := t.child(i)
			if same, held := below.child(i); ok && (!held || same != theirs) {
				w.next = append(w.next, t.prefix.Child(i))
			}
		}
	})
	if err == nil && len(w.next) > maxHeadsAhead {
		return offencef("digest of heads that differ in %d places", len(w.next))
	}
	return err
}
