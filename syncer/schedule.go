package syncer

import (
	"context"
	"math/rand/v2"
	"time"

	"github.com/cairn-p2p/cairn/types"
)

// Everything that happens later has a time in peer.due, peer.exchangeDue or
// peer.offerDue. The scheduler sleeps until the earliest, moves what is due into
// the peers' queues, and sees that lanes work on them. A lane is a goroutine
// with one stream to one peer; it exits when its peer has no work, so that an
// idle peer costs no goroutine.

// forever is a time that the scheduler never waits for.
const forever = 24 * time.Hour

// schedule runs the scheduler until the syncer's context is done.
func (s *Syncer) schedule() {
	timer := time.NewTimer(0)
	defer timer.Stop()
	var ready <-chan struct{}
	if s.find != nil {
		ready = s.find.Ready()
	}
	for {
		select {
		case <-s.ctx.Done():
			return
		case <-timer.C:
		case <-s.wake:
		case <-ready:
			s.lookAnew(time.Now())
		}
		timer.Reset(s.dispatch(time.Now()))
	}
}

// dispatch starts what is due and returns how long to sleep.
func (s *Syncer) dispatch(now time.Time) time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	next := now.Add(forever)
	sooner := func(t time.Time) {
		if t.Before(next) {
			next = t
		}
	}
	for _, p := range s.peers {
		for r, due := range p.due {
			if due.After(now) {
				sooner(due)
				continue
			}
			delete(p.due, r)
			r.queued = true
			p.queue = append(p.queue, r)
		}
		if !p.exchanging {
			sooner(p.exchangeDue)
		}
		if len(p.offers) > 0 && !p.offering {
			sooner(p.offerDue)
		}
		s.startLanes(p, now)
	}
	s.startClimbs(now, sooner)
	// What is due now has no lane free: the lane that ends looks again.
	if !next.After(now) {
		next = now.Add(s.iv.Compare)
	}
	s.armed = next
	return next.Sub(now)
}

// arm makes the scheduler look at t at the latest. The caller holds s.mu.
func (s *Syncer) arm(t time.Time) {
	if !t.Before(s.armed) {
		return
	}
	s.armed = t
	select {
	case s.wake <- struct{}{}:
	default: // it is about to look anyway
	}
}

// compareAt schedules a comparison of r for when, or after its back-off if that
// is later. The caller holds s.mu.
func (s *Syncer) compareAt(r *replica, when time.Time) {
	if when.Before(r.notBefore) {
		when = r.notBefore
	}
	if r.running {
		if r.again.IsZero() || when.Before(r.again) {
			r.again = when
		}
		return
	}
	if due, ok := r.peer.due[r]; r.queued || ok && !when.Before(due) {
		return
	}
	r.peer.due[r] = when
	s.arm(when)
}

// startLanes starts as many lanes as p has work for. The caller is the
// scheduler, and holds s.mu.
func (s *Syncer) startLanes(p *peer, now time.Time) {
	for p.lanes < peerLanes {
		j, ok := p.nextJob(now, s.iv)
		if !ok {
			return
		}
		p.lanes++
		s.tasks.Go(func() { s.lane(p, j) })
	}
}

// lane does j and then p's other jobs, over one stream for as long as they
// succeed.
func (s *Syncer) lane(p *peer, j job) {
	c := &client{s: s, peer: p}
	defer c.close()
	for ok := true; ok; j, ok = s.nextJob(p) {
		switch {
		case j.offer != nil:
			s.runOffer(c, j.offer)
		case j.exchange:
			s.runExchange(c)
		default:
			s.runComparison(c, j.replica)
		}
	}
}

// nextJob takes a lane's next job, or ends the lane.
func (s *Syncer) nextJob(p *peer) (job, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if p.ctx.Err() == nil {
		if j, ok := p.nextJob(time.Now(), s.iv); ok {
			return j, true
		}
	}
	p.lanes--
	s.arm(time.Now()) // to look for what became due meanwhile
	return job{}, false
}

// connected says that a peer that speaks the protocol is connected.
func (s *Syncer) connected(id types.PeerID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopped || s.peers[id] != nil {
		return
	}
	ctx, cancel := context.WithCancel(s.ctx)
	now := time.Now()
	s.peers[id] = &peer{
		id:          id,
		ctx:         ctx,
		cancel:      cancel,
		replicas:    make(map[*topic]*replica),
		due:         make(map[*replica]time.Time),
		offers:      make(map[*topic]struct{}),
		exchangeDue: now,
	}
	s.arm(now)
	s.notifyAll()
}

// disconnected says that the peer is gone.
func (s *Syncer) disconnected(id types.PeerID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.peers[id]
	if p == nil {
		return
	}
	p.cancel()
	delete(s.peers, id)
	var lost []*topic
	for _, r := range p.replicas {
		p.forget(r)
		if r.held {
			lost = append(lost, r.topic)
		}
	}
	now := time.Now()
	for _, t := range lost {
		s.lookSoon(t, now, s.spread(len(lost)))
	}
	s.notifyAll()
}

// notifyAll tells every watcher: few topics are watched. The caller holds s.mu.
func (s *Syncer) notifyAll() {
	for id := range s.watchers {
		s.notify(id)
	}
}

// probe asks every connected peer about t, no more often than every
// Intervals.Probe. The caller holds s.mu.
func (s *Syncer) probe(t *topic, now time.Time) {
	if t.probed != 0 && now.Sub(t.probed.time()) < s.iv.Probe {
		return
	}
	t.probed = at(now)
	for _, p := range s.peers {
		s.compareAt(p.replicaOf(t), now)
	}
}

// askOthers schedules a comparison with every replica of t but one, with each no
// more often than every Intervals.Compare, and looks for replicas if there is
// none. The caller holds s.mu.
func (s *Syncer) askOthers(t *topic, but *replica, when time.Time) {
	found := false
	for _, r := range t.replicas {
		if r != but && r.held {
			found = true
			s.compareAt(r, later(when, r.asked.Add(s.iv.Compare)))
		}
	}
	if !found {
		s.probe(t, when)
		s.climbAt(t, when.Add(s.iv.Compare), needAll) // if that finds no one either
	}
}

// learned says that a peer showed by its own request that it has the topic,
// and which heads, if it said so. If that is news, its copy is compared, but no
// more often than every gap: two nodes under load would else ask each other
// without end.
func (s *Syncer) learned(from types.PeerID, id types.TopicID, heads *types.Hash, gap time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p, t := s.peers[from], s.digest.get(id)
	if p == nil || t == nil {
		return
	}
	r := p.replicaOf(t)
	if r.held && (heads == nil || *heads == r.heads) {
		return
	}
	r.hold()
	if heads != nil {
		r.heads = *heads
	}
	now := time.Now()
	if r.heads == t.heads {
		r.settled = r.heads
		r.synced(now)
	}
	if !r.inSync() {
		s.compareAt(r, later(now, r.asked.Add(gap)))
	}
	s.notify(id)
}

func later(a, b time.Time) time.Time {
	if a.Before(b) {
		return b
	}
	return a
}

// backoff is the time to wait after so many failures in a row.
func (s *Syncer) backoff(failures int) time.Duration {
	d := s.iv.BackoffMax
	if shift := failures - 1; shift < 20 && s.iv.BackoffMin<<shift < d {
		d = s.iv.BackoffMin << shift
	}
	return jitter(d, 2)
}

// jitter spreads d by a fraction of 1/part to either side.
func jitter(d time.Duration, part int64) time.Duration {
	spread := int64(d) / part
	if spread <= 0 {
		return d
	}
	return d - time.Duration(spread) + time.Duration(rand.Int64N(2*spread+1))
}
