package syncer

import (
	"time"

	"github.com/cairn-p2p/cairn/syncer/pb"
	"github.com/cairn-p2p/cairn/types"
)

// An exchange finds the topics that both nodes hold with different heads, which
// are then compared one by one. Status tells whether there is anything to find,
// Changes what is new since the last exchange, and a walk of the digests the
// rest.

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

// exchange compares all topics with the peer.
func (s *Syncer) exchange(c *client) error {
	topics, begun := s.standing()
	if topics == 0 {
		return nil // there is nothing to compare
	}
	if err := c.open(c.peer.ctx); err != nil {
		return err
	}
	st, err := c.status()
	if err != nil {
		return err
	}
	w := &walk{s: s, c: c, peer: c.peer, begun: begun}
	seen := w.begin(st)
	switch {
	case seen.number == st.last.number && seen.id == st.last.id:
	case seen.id == st.last.id && seen.number < st.last.number:
		seen, err = w.changes(seen)
		if err != nil || seen != (change{}) {
			break
		}
		fallthrough // too long ago
	default:
		seen, err = st.last, w.run(st)
	}
	w.finish(seen, err)
	w.share()
	return err
}

// standing returns the number of topics and of their last change.
func (s *Syncer) standing() (topics int, last uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.digest.len(), s.changes.last.number
}

// status asks for the peer's first word.
func (c *client) status() (status, error) {
	if err := c.send(&pb.Request{Request: &pb.Request_Status{Status: &pb.StatusRequest{}}}); err != nil {
		return status{}, err
	}
	m, err := c.next()
	if err != nil {
		return status{}, err
	}
	if m.GetStatus() == nil || m.GetMore() {
		return status{}, offencef("answer to Status is of another kind or length")
	}
	return parseStatus(m.GetStatus())
}
