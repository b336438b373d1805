package syncer

import (
	"bytes"
	"time"

	"github.com/cairn-p2p/cairn/syncer/pb"
	"github.com/cairn-p2p/cairn/types"
)

// An exchange compares the digests of two nodes: equal roots end it; otherwise
// the peer's list of topics follows, and those that both hold with different
// heads are compared one by one.

// runExchange compares all topics with the peer and schedules the next time.
func (s *Syncer) runExchange(c *client) {
	err := s.exchange(c)
	if err != nil {
		c.reset()
		s.note(c.peer.id, types.TopicID{}, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	p := c.peer
	p.exchanging, p.exchanged = false, true
	now := time.Now()
	if err != nil {
		p.failures++
		p.exchangeDue = now.Add(s.backoff(p.failures))
	} else {
		p.failures = 0
		p.exchangeDue = now.Add(jitter(s.iv.Full, 4))
	}
	s.notifyAll()
}

// exchange asks for the peer's digest and reads it.
func (s *Syncer) exchange(c *client) error {
	begun := time.Now()
	own, known := s.knownRoots(c.peer)
	if known == nil {
		return nil // there is nothing to compare
	}
	if err := c.open(c.peer.ctx); err != nil {
		return err
	}
	if err := c.send(&pb.Request{Request: &pb.Request_Status{Status: &pb.StatusRequest{KnownRoots: known}}}); err != nil {
		return err
	}
	w := walk{s: s, peer: c.peer, begun: begun}
	for {
		m, err := c.next()
		if err != nil {
			return err
		}
		if m.GetStatus() == nil {
			return offencef("answer to Status is of another kind")
		}
		if err := w.frame(m.GetStatus()); err != nil {
			return err
		}
		if !m.GetMore() {
			return w.end(own)
		}
	}
}

// knownRoots returns the own root, and with it the roots with which the peer
// need not send its list; none if this node has no topic.
func (s *Syncer) knownRoots(p *peer) (own types.Hash, known [][]byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.topics) == 0 {
		return own, nil
	}
	own = s.digest.root()
	known = append(known, own[:])
	if p.walkedOwn == own && p.walkedTheirs != own && p.walkedTheirs != (types.Hash{}) {
		known = append(known, bytes.Clone(p.walkedTheirs[:]))
	}
	return own, known
}

// walk reads the frames of a digest.
type walk struct {
	s     *Syncer
	peer  *peer
	begun time.Time

	framed bool
	root   types.Hash
	topics uint64 // that the peer says it has
	listed uint64 // leaves so far
	last   types.Hash
	found  bool // something to compare
}

func (w *walk) frame(m *pb.StatusAnswer) error {
	if !w.framed {
		w.framed = true
		root, err := parseHash(m.GetRoot())
		if err != nil {
			return err
		}
		if m.GetTopics() > maxTopics {
			return offencef("digest of %d topics, limit %d", m.GetTopics(), maxTopics)
		}
		w.root, w.topics = root, m.GetTopics()
	} else if len(m.GetLeaves()) == 0 {
		return offencef("frame of a digest without leaves")
	}
	leaves, err := parseLeaves(m.GetLeaves())
	if err != nil {
		return err
	}
	for _, l := range leaves {
		if w.listed > 0 && bytes.Compare(w.last[:], l.key[:]) >= 0 {
			return offencef("digest is not sorted")
		}
		w.last = l.key
		w.listed++
	}
	if w.listed > w.topics {
		return offencef("digest of more leaves than the %d it announced", w.topics)
	}
	w.take(leaves)
	return nil
}

// take notes what the peer says of topics that both hold.
func (w *walk) take(leaves []leaf) {
	w.s.mu.Lock()
	defer w.s.mu.Unlock()
	now := time.Now()
	for _, l := range leaves {
		t := w.s.digest.topics[l.key]
		if t == nil || w.peer.ctx.Err() != nil {
			continue
		}
		r := w.peer.replicaOf(t)
		r.hold()
		r.heads, r.exchange = l.heads, w.peer.exchange
		if l.heads == t.heads {
			r.settled = l.heads
		}
		if l.heads == r.settled {
			r.lastSync = now
			continue
		}
		w.found = true
		w.s.compareAt(r, now)
	}
}

// end draws the conclusions, own being the root that was compared with.
func (w *walk) end(own types.Hash) error {
	if w.listed != 0 && w.listed != w.topics {
		return offencef("digest of %d leaves after it announced %d", w.listed, w.topics)
	}
	w.s.mu.Lock()
	defer w.s.mu.Unlock()
	p, now := w.peer, time.Now()
	if p.ctx.Err() != nil {
		return nil
	}
	switch {
	case w.root == own:
		w.equal(now)
	case w.listed == 0 && w.topics > 0 && w.root != p.walkedTheirs:
		return offencef("digest without the list asked for")
	case w.listed == 0 && w.topics > 0: // walked before, with the same result
		for _, r := range p.replicas {
			if r.inSync() {
				r.lastSync = now
			}
		}
	default:
		w.dropUnlisted()
		if !w.found {
			p.walkedOwn, p.walkedTheirs = own, w.root
		}
	}
	return nil
}

// equal notes that the peer had the same topics with the same heads as this
// node had when the exchange began.
func (w *walk) equal(now time.Time) {
	for _, t := range w.s.topics {
		r := w.peer.replicaOf(t)
		r.hold()
		if !t.changed.Before(w.begun) { // since then: the comparison will tell
			w.s.compareAt(r, now.Add(w.s.iv.Compare))
			continue
		}
		r.heads, r.settled, r.lastSync = t.heads, t.heads, now
	}
}

// dropUnlisted notes which topics the peer no longer has.
func (w *walk) dropUnlisted() {
	for _, r := range w.peer.replicas {
		if r.exchange != w.peer.exchange {
			r.held = false
		}
	}
}
