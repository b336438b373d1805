package syncer

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/ipfs/go-cid"

	"github.com/cairn-p2p/cairn/syncer/pb"
	"github.com/cairn-p2p/cairn/types"
)

// errUnproven is an offence: the peer claims heads that it does not serve.
var errUnproven = &offence{reason: "claims heads that it does not serve"}

// fetch fetches what the peer claims and this node misses: as events if this node
// has next to nothing of what lies behind where the last fetch from this peer
// ended; else as ancestors of the claimed heads if much lies there, but not too
// much; else from there, or from where the two logs part, as events or as CIDs
// and then the events that are missing. A nil error means that the claimed heads
// are integrated.
func (s *Syncer) fetch(c *client, r *replica, claim headsClaim) error {
	topic := r.topic.id
	missing, err := s.local.Missing(topic, claim.missing)
	if err != nil || len(missing) == 0 {
		return err // gossip or another peer brought them meanwhile
	}
	own, err := s.local.Heads(topic)
	if err != nil {
		return fmt.Errorf("read own heads: %w", err)
	}
	if own.Paused {
		return errPaused
	}
	start, err := s.positions.of(topic, r.peer.id)
	if err != nil {
		return err
	}
	if start.logID != claim.logID || start.after.Number > claim.end.Number { // of a log that is no more
		start = position{peer: r.peer.id}
	}
	behind := claim.end.Number - start.after.Number
	asCIDs := pullAsCIDs(own.Events, claim.end, start)
	tooMany := claim.events > own.Events+visitBudget
	if asCIDs && behind >= ancestorsFrom && !tooMany {
		closed, err := s.fetchAncestors(c, r, own, claim.events, missing)
		if err != nil {
			s.noteClaims(r, claim.missing, err)
		}
		if err != nil || closed {
			return err
		}
	}
	if asCIDs && start.after.Number == 0 && claim.end.Number > pullPage {
		if start, err = s.commonPrefix(c, topic, own.Events, claim); err != nil {
			return err
		}
		asCIDs = pullAsCIDs(own.Events, claim.end, start)
	}
	for {
		err := s.pull(c, r, start, asCIDs)
		switch {
		case start.after.Number > 0 && isRemote(err, pb.Error_CODE_UNKNOWN_POSITION):
		case err != nil:
			s.noteClaims(r, claim.missing, err)
			return err
		default:
			missing, err := s.local.Missing(topic, claim.missing)
			if err != nil || len(missing) == 0 {
				return err
			}
			if start.after.Number == 0 {
				s.noteClaims(r, missing, errUnproven)
				return errUnproven
			}
		}
		// The position was of a log that is no more, or there is something
		// before it after all.
		s.positions.forget(topic, r.peer.id)
		start, asCIDs = position{peer: r.peer.id}, true
	}
}

// pullAsCIDs reports whether what lies behind start in a peer's log that ends at
// end is pulled as CIDs: this node, which has so many events, may have too many
// of those there.
func pullAsCIDs(own uint64, end types.Cursor, start position) bool {
	spare := own - min(own, start.after.Number)
	return spare*pullPart > end.Number-start.after.Number
}

// pull fetches the peer's delivery log from start to the end that it has now.
func (s *Syncer) pull(c *client, r *replica, start position, asCIDs bool) error {
	line := newPipeline(s, r, !asCIDs)
	p := &puller{s: s, c: c, topic: r.topic.id, at: start, asCIDs: asCIDs, line: line}
	err := s.feed(c, r, line, p.run)
	if err == nil || p.at.after.Number > start.after.Number {
		if saveErr := s.positions.save(r.topic.id); saveErr != nil && err == nil {
			err = saveErr
		}
	}
	return err
}

// feed runs a pipeline that read fills with what the peer sends.
func (s *Syncer) feed(c *client, r *replica, line *pipeline, read func(context.Context) error) error {
	if err := c.open(c.peer.ctx); err != nil {
		return err
	}
	if err := s.begins(r, c.stream); err != nil {
		return err
	}
	defer s.ends(r)
	c.bulk(func(rate int) error { return s.turnOver(r, rate) })
	err := line.run(s.ctx, c, read) // to integrate what came, even if the peer goes
	c.bulk(nil)
	if err != nil {
		c.reset() // answers may be under way
	}
	if line.added > 0 && !isOffence(err) {
		s.progressed(r)
	}
	return err
}

// errPaused: this node takes nothing new in the topic, so nothing is asked for.
var errPaused = errors.New("topic is paused here")

// errGaveWay: the transfer was slow, and another replica waited.
var errGaveWay = errors.New("gave way to another replica")

// errRemoved: the topic is not replicated here any more.
var errRemoved = errors.New("topic was removed")

// begins notes how to end the transfer that is about to begin on st.
func (s *Syncer) begins(r *replica, st stream) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if r.topic.removed {
		return errRemoved
	}
	r.topic.stop = func() { st.Reset() } //nolint:errcheck // nothing left to do
	return nil
}

func (s *Syncer) ends(r *replica) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r.topic.stop = nil
}

// turnOver returns errGaveWay if a transfer from r that makes so many bytes a
// second is to end because another replica waits that may be faster. A peer that
// makes the minimum rate and no more must not keep an idle one from being asked;
// where all are slow, each is asked once.
func (s *Syncer) turnOver(r *replica, rate int) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for w := range r.topic.waiting {
		if w.gaveWay == 0 || w.gaveWay/2 > rate {
			r.gaveWay = max(rate, 1)
			return errGaveWay
		}
	}
	return nil
}

// progressed lets the next attempt come soon, should this one fail: a peer whose
// connection breaks all the time still brings everything.
func (s *Syncer) progressed(r *replica) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r.failures = 0
}

// noteClaims lists heads as missing in the topic's status, with what the peer
// answered.
func (s *Syncer) noteClaims(r *replica, missing []cid.Cid, err error) {
	answer := err.Error()
	if errors.Is(err, errUnproven) {
		answer = "claimed it, but did not serve it"
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	t := r.topic
	if t.trouble == nil {
		t.trouble = new(trouble)
	}
	t.trouble.add(missing, Answer{Peer: r.peer.id, Answer: answer}, time.Now())
}

// add notes one peer's answer for each of missing.
func (t *trouble) add(missing []cid.Cid, a Answer, now time.Time) {
	if t.claims == nil {
		t.claims = make(map[cid.Cid]*claim)
	}
	for _, c := range missing {
		entry := t.claims[c]
		if entry == nil {
			if len(t.claims) >= maxListed {
				return
			}
			entry = &claim{since: now}
			t.claims[c] = entry
		}
		entry.answer(a)
	}
}

func (c *claim) answer(a Answer) {
	for i := range c.asked {
		if c.asked[i].Peer == a.Peer {
			c.asked[i] = a
			return
		}
	}
	if len(c.asked) < maxAsked {
		c.asked = append(c.asked, a)
	}
}

// dropAnswers forgets what a peer said once it claims nothing that is missing:
// a head that nobody claims any more is not missing.
func (t *trouble) dropAnswers(p types.PeerID) {
	for id, entry := range t.claims {
		kept := entry.asked[:0]
		for _, a := range entry.asked {
			if a.Peer != p {
				kept = append(kept, a)
			}
		}
		if entry.asked = kept; len(kept) == 0 {
			delete(t.claims, id)
		}
	}
}
