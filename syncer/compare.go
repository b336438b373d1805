package syncer

import (
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/ipfs/go-cid"

	"github.com/cairn-p2p/cairn/syncer/pb"
	"github.com/cairn-p2p/cairn/types"
)

// outcome is how a comparison with a replica ended, if not with an error.
type outcome int

const (
	outcomeSettled outcome = iota // all that the peer claims was integrated here
	outcomeFetched                // and now is
	outcomeNotHeld                // the peer does not have the topic
	outcomeBusy                   // the topic is being fetched from another peer
	outcomeAgain                  // something was fetched, and there may be more
	outcomePaused                 // this node takes nothing new
)

// runComparison compares one topic with the peer, fetches what is missing, and
// schedules what follows.
func (s *Syncer) runComparison(c *client, r *replica) {
	o, err := s.compare(c, r)
	if err != nil {
		c.reset()
		s.note(c.peer.id, r.topic.id, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	r.running = false
	if c.peer.replicas[r.topic] != r {
		return // the topic was removed or the peer has gone
	}
	again := r.again
	r.again = time.Time{}
	s.conclude(r, o, err, time.Now())
	if !again.IsZero() {
		s.compareAt(r, again)
	}
	s.notify(r.topic.id)
}

// conclude notes the end of a comparison. The caller holds s.mu.
func (s *Syncer) conclude(r *replica, o outcome, err error, now time.Time) {
	t, hint := r.topic, r.hint
	r.unproven, r.failedHere, r.said = false, false, ""
	if o != outcomeBusy {
		r.rounds++
	}
	switch {
	case err != nil:
		r.unproven = errors.Is(err, errUnproven)
		s.failed(r, now)
		s.compareAt(r, r.notBefore)
		if t.trouble == nil {
			t.trouble = new(trouble)
		}
		r.said = err.Error()
		t.trouble.lastError, t.trouble.failed = r.failure(), r.peer.id
		s.askOthers(t, r, now)
		r.failedHere = isLocal(err)
		if t.helpless() {
			s.climbAt(t, now, needAll)
		} else if !r.failedHere {
			s.climbAt(t, later(now, t.ladder.looked.time().Add(s.iv.Lookup)), needOne)
		}
	case o == outcomeNotHeld:
		r.held = false
		s.failed(r, now)
		if hint {
			s.askOthers(t, r, now)
		}
	case o == outcomeBusy:
		if t.transfer == nil { // it has ended meanwhile
			s.compareAt(r, now)
			return
		}
		if t.waiting == nil {
			t.waiting = make(map[*replica]struct{})
		}
		t.waiting[r] = struct{}{}
		return // the hint, if any, stands
	case o == outcomePaused:
		r.failures = 0
		s.compareAt(r, now.Add(s.iv.Full))
	case o == outcomeAgain:
		r.failures = 0
		if r.gaveWay > 0 { // those that waited come first, whatever asks for this one
			r.notBefore = now.Add(s.iv.Compare)
		}
		s.compareAt(r, now.Add(s.iv.Compare))
		return
	default:
		r.synced(now)
		if hint && o == outcomeSettled { // it has nothing that this node had not
			s.askOthers(t, r, now)
		}
		if hot := now.Sub(t.changed.time()) < s.iv.Hot; hot && r.heads != t.heads && !r.paused {
			s.compareAt(r, now.Add(s.iv.Compare))
		}
	}
	r.hint = false
}

// isLocal reports whether err is a failure of this node, which no other peer
// can help with.
func isLocal(err error) bool {
	return errors.Is(err, types.ErrDiskFull) || errors.Is(err, types.ErrStore) || errors.Is(err, types.ErrClosed)
}

func (s *Syncer) failed(r *replica, now time.Time) {
	r.failures++
	r.notBefore = now.Add(s.backoff(r.failures))
}

// headsClaim is what a peer says of its copy of a topic.
type headsClaim struct {
	headsPage
	missing []cid.Cid // of its heads, those not integrated here; at most maxTracked
}

// compare asks for the peer's heads and fetches until it claims nothing that
// is missing here.
func (s *Syncer) compare(c *client, r *replica) (outcome, error) {
	if err := c.open(c.peer.ctx); err != nil {
		return 0, err
	}
	done := outcomeSettled
	for range maxRounds {
		claim, err := s.askHeads(c, r)
		switch {
		case err != nil:
			return 0, err
		case !claim.held:
			return outcomeNotHeld, nil
		case len(claim.missing) == 0:
			s.settle(r, claim)
			return done, nil
		}
		if !s.acquire(r) {
			return outcomeBusy, nil
		}
		begin := time.Now()
		err = s.fetch(c, r, claim)
		s.release(r)
		switch {
		case errors.Is(err, errGaveWay):
			return outcomeAgain, nil
		case errors.Is(err, errPaused):
			return outcomePaused, nil
		}
		if err != nil {
			s.count.failed.Add(1)
			return 0, err
		}
		s.done(time.Since(begin))
		done = outcomeFetched
	}
	return outcomeAgain, nil
}

// query returns the question where the peer's copy stands.
func (s *Syncer) query(r *replica) headsQuery {
	s.mu.Lock()
	defer s.mu.Unlock()
	own, known := r.topic.heads, r.settled
	q := headsQuery{topic: r.topic.id, own: &own}
	if known != (types.Hash{}) {
		q.known = &known
	}
	return q
}

// askHeads asks where the peer's copy stands and notes the answer.
func (s *Syncer) askHeads(c *client, r *replica) (headsClaim, error) {
	q := s.query(r)
	m := &pb.HeadsRequest{Queries: []*pb.HeadsQuery{q.message()}}
	if err := c.send(&pb.Request{Request: &pb.Request_Heads{Heads: m}}); err != nil {
		return headsClaim{}, err
	}
	claim, err := s.readHeads(c, q)
	if err != nil {
		return claim, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	r.held, r.paused = claim.held, claim.paused
	if claim.held && r.heads != claim.hash {
		r.heads = claim.hash
		s.notify(r.topic.id)
	}
	return claim, nil
}

// readHeads reads the answer about one topic, a page of heads at a time.
func (s *Syncer) readHeads(c *client, q headsQuery) (headsClaim, error) {
	var claim headsClaim
	var last cid.Cid
	for first := true; ; first = false {
		m, err := c.next()
		if err != nil {
			return claim, err
		}
		if m.GetHeads() == nil {
			return claim, offencef("answer to Heads is of another kind")
		}
		p, err := parseHeadsAnswer(m.GetHeads())
		if err != nil {
			return claim, err
		}
		if p.topic != q.topic || p.rest != m.GetMore() {
			return claim, offencef("answer to Heads of another topic or length")
		}
		if first {
			claim.headsPage = p
		} else if len(p.heads) == 0 || p.hash != claim.hash || types.CompareCIDs(last, p.heads[0]) >= 0 {
			return claim, offencef("answer to Heads does not advance")
		}
		if err := s.claimed(&claim, q.topic, p.heads); err != nil {
			return claim, err
		}
		if !p.rest {
			return claim, checkClaim(claim, p, q)
		}
		if len(p.heads) > 0 {
			last = p.heads[len(p.heads)-1]
		}
	}
}

// claimed adds those of heads that are missing here to the claim.
func (s *Syncer) claimed(claim *headsClaim, topic types.TopicID, heads []cid.Cid) error {
	if len(heads) == 0 || len(claim.missing) >= maxTracked {
		return nil
	}
	missing, err := s.local.Missing(topic, heads)
	if err != nil {
		return fmt.Errorf("look for heads: %w", err)
	}
	claim.missing = append(claim.missing, missing[:min(len(missing), maxTracked-len(claim.missing))]...)
	return nil
}

// checkClaim refuses an answer whose last page is p if it has no heads without
// need.
func checkClaim(claim headsClaim, p headsPage, q headsQuery) error {
	if !claim.held || len(claim.heads) > 0 || len(p.heads) > 0 || claim.events == 0 || q.knows(claim.hash) {
		return nil
	}
	return offencef("heads hash without its heads")
}

// settle notes that all that was claimed is integrated here; so is the peer's
// delivery log up to the end that came with it.
func (s *Syncer) settle(r *replica, claim headsClaim) {
	s.mu.Lock()
	r.settled = claim.hash
	if t := r.topic.trouble; t != nil {
		if t.failed == r.peer.id || s.peers[t.failed] == nil {
			t.lastError = ""
		}
		t.dropAnswers(r.peer.id)
	}
	s.mu.Unlock()
	s.shareHeads(r, claim)
	if claim.end.Number > 0 {
		s.positions.note(r.topic.id, position{peer: r.peer.id, logID: claim.logID, after: claim.end})
	}
}

// shareHeads remembers the heads that came with a claim all of which is
// integrated here. They are left out of one that is known; then it is this
// node's own, or was remembered when it became known.
func (s *Syncer) shareHeads(r *replica, claim headsClaim) {
	if heads := claim.heads; len(heads) > 0 {
		s.positions.share(r.topic.id, r.peer.id, heads)
		return
	}
	s.shareOwn(r.topic.id, r.peer.id, claim.hash)
}

// shareOwn remembers this node's own heads as shared with a peer whose heads
// have that hash, unless they have changed meanwhile.
func (s *Syncer) shareOwn(topic types.TopicID, peer types.PeerID, hash types.Hash) {
	own, err := s.local.Heads(topic)
	if err != nil || own.Hash != hash || len(own.Heads) == 0 {
		return // what was shared before still is
	}
	heads := make([]cid.Cid, 0, maxShared)
	for _, h := range own.Heads[:min(len(own.Heads), maxShared)] {
		heads = append(heads, h.CID)
	}
	s.positions.share(topic, peer, heads)
}

// acquire makes r the one that its topic is fetched from, unless there is one.
func (s *Syncer) acquire(r *replica) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if r.topic.transfer != nil {
		return false
	}
	r.topic.transfer = r
	s.notify(r.topic.id)
	return true
}

// release lets those that waited for r compare again.
func (s *Syncer) release(r *replica) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r.topic.transfer = nil
	now := time.Now()
	for w := range r.topic.waiting {
		s.compareAt(w, now)
	}
	r.topic.waiting = nil
	s.notify(r.topic.id)
}

// note counts an offence, or logs any other failure.
func (s *Syncer) note(p types.PeerID, topic types.TopicID, err error) {
	var o *offence
	if !errors.As(err, &o) {
		s.log.Debug("sync stream failed", "peer", p, "topic", topic, "err", err)
		return
	}
	level := slog.LevelDebug // of all but the first: a stranger must not fill the log
	if s.offences.add(p, topic, o.reason, 1, time.Now()) {
		level = slog.LevelWarn
	}
	s.log.Log(s.ctx, level, "peer broke the protocol", "peer", p, "topic", topic, "reason", o.reason)
}
