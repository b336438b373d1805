package syncer

import (
	"container/heap"
	"math/rand/v2"
	"time"

	"github.com/cairn-p2p/cairn/trie"
)

// need is how far up the ladder a climb goes.
type need uint8

const (
	needOne   need = iota + 1 // the providers: one more replica to sync with
	needFlood                 // what is beyond them, for a copy that is still blank after a lookup
	needAll                   // to the top: something is missing and nobody gives it
)

// ladder is what a topic knows of its climbs, in few bytes: each dormant topic
// has one. Syncer.mu guards it.
type ladder struct {
	due       moment // the next climb
	notBefore moment // the back-off of climbs to the top
	looked    moment // when the last climb ended
	hinted    moment // when gossip first showed something that is not here; zero: nothing
	index     int32  // in the queue, while need is set
	need      need   // how far the next climb goes; 0: none is due
	climbing  need   // how far the one under way goes; 0: none is
	again     need   // asked for meanwhile
	stalled   bool   // the last climb to the top did not help
	failures  uint8  // climbs to the top in a row that did not
	fruitless uint8  // lookups in a row that found no one
	failed    uint8  // lookups in a row that could not be made
	hasty     uint8  // lookups in a row that were brought forward
	early     bool   // the next lookup was brought forward
	parked    bool   // the last climb was put off, since the topic was paused
	paced     bool   // the flood has its turn
}

// maxCounted is where the counters of a ladder stop to grow: no interval does
// after so many.
const maxCounted = 64

// moment is a time in Unix nanoseconds, or zero for none.
type moment int64

func at(t time.Time) moment { return moment(t.UnixNano()) }

func (m moment) time() time.Time {
	if m == 0 {
		return time.Time{}
	}
	return time.Unix(0, int64(m))
}

// climbs are the climbs to come. Those to the top, for what is known to be
// missing, never wait for the others.
type climbs struct {
	urgent  climbQueue // needAll
	others  climbQueue
	running int
	anew    time.Time // until when lookAnew has spread lookups
}

func (c *climbs) of(n need) *climbQueue {
	if n == needAll {
		return &c.urgent
	}
	return &c.others
}

// set makes the next climb of a topic one of that height and time.
func (c *climbs) set(t *topic, need need, due time.Time) {
	c.remove(t)
	t.ladder.need, t.ladder.due = need, at(due)
	heap.Push(c.of(need), t)
}

// remove takes a topic out of its queue.
func (c *climbs) remove(t *topic) {
	if t.ladder.need != 0 {
		heap.Remove(c.of(t.ladder.need), int(t.ladder.index))
		t.ladder.need = 0
	}
}

// next takes out a topic whose climb is due at now and may start; nil: there is
// none.
func (c *climbs) next(now time.Time) *topic {
	for _, q := range []struct {
		queue  climbQueue
		places int
	}{{c.urgent, maxClimbs}, {c.others, maxClimbs - climbsKept}} {
		if len(q.queue) > 0 && q.queue[0].ladder.due <= at(now) && c.running < q.places {
			return q.queue[0]
		}
	}
	return nil
}

// climbQueue has the next climb first. It is a heap.
type climbQueue []*topic

func (q climbQueue) Len() int           { return len(q) }
func (q climbQueue) Less(i, j int) bool { return q[i].ladder.due < q[j].ladder.due }

func (q climbQueue) Swap(i, j int) {
	q[i], q[j] = q[j], q[i]
	q[i].ladder.index, q[j].ladder.index = int32(i), int32(j)
}

// Push implements heap.Interface.
func (q *climbQueue) Push(x any) {
	t := x.(*topic)
	t.ladder.index = int32(len(*q))
	*q = append(*q, t)
}

// Pop implements heap.Interface.
func (q *climbQueue) Pop() any {
	last := (*q)[len(*q)-1]
	*q = (*q)[:len(*q)-1]
	return last
}

// climbAt schedules a climb for when, after the back-off, unless one as high is
// due before. One that is lower and due before comes first. The caller holds s.mu.
func (s *Syncer) climbAt(t *topic, when time.Time, need need) {
	l := &t.ladder
	if t.removed || s.meet == nil {
		return
	}
	if need == needOne && s.find == nil { // there is nothing to look up
		if !t.blank() {
			return
		}
		need, when = needFlood, later(when, t.probed.time().Add(s.iv.Compare))
	}
	if need == needAll {
		when = later(when, l.notBefore.time())
	}
	if l.climbing != 0 { // the one under way schedules the next
		if need > l.climbing {
			l.again = max(l.again, need)
		}
		return
	}
	sooner := l.need == 0 || at(when) < l.due
	switch {
	case sooner && need >= l.need:
		if need == needAll {
			l.again = 0
		}
		s.climbs.set(t, need, when)
	case sooner:
		l.again = max(l.again, l.need)
		s.climbs.set(t, need, when)
	case need > l.need:
		l.again = max(l.again, need)
	}
	s.arm(l.due.time())
}

// startClimbs starts the climbs that are due, as many as may run at a time, and
// says when the next one is. The caller is the scheduler, and holds s.mu.
func (s *Syncer) startClimbs(now time.Time, sooner func(time.Time)) {
	for t := s.climbs.next(now); t != nil; t = s.climbs.next(now) {
		s.startClimb(t, now)
	}
	for _, q := range []climbQueue{s.climbs.urgent, s.climbs.others} {
		if len(q) > 0 && q[0].ladder.due > at(now) { // else it waits for a place
			sooner(q[0].ladder.due.time())
		}
	}
}

// startClimb starts a climb that is due, unless it is not needed any more, or its
// flood must wait for its turn. The caller holds s.mu.
func (s *Syncer) startClimb(t *topic, now time.Time) {
	l := &t.ladder
	need := l.need
	s.climbs.remove(t)
	switch {
	case need == needAll && s.needs(t) != needAll: // somebody helped meanwhile
		l.helped(t)
		s.climbAt(t, now.Add(s.lookupGap(t, now)), needOne)
		return
	case need == needFlood && !t.blank():
		s.climbAt(t, now.Add(s.lookupGap(t, now)), needOne)
		return
	case need == needFlood && !l.paced:
		l.paced = true
		if wait := s.floods.ReserveN(now, 1).DelayFrom(now); wait > 0 {
			s.climbs.set(t, need, now.Add(wait))
			return
		}
	}
	l.paced = false
	if l.early {
		l.early, l.hasty = false, min(l.hasty+1, maxCounted)
	}
	l.climbing = need
	s.climbs.running++
	s.tasks.Go(func() { s.runClimb(t, need) })
}

// needs says how far up the ladder the topic needs to go now. The caller holds
// s.mu.
func (s *Syncer) needs(t *topic) need {
	if t.helpless() {
		return needAll
	}
	l := &t.ladder
	if l.hinted == 0 {
		return needOne
	}
	for _, r := range t.replicas {
		if r.held && r.inSync() && r.lastSync.After(l.hinted.time()) {
			l.hinted = 0 // a replica knows nothing of it
			return needOne
		}
	}
	return needAll
}

// helpless reports whether some connected replica has something that is missing
// here, and none gives it. The caller holds Syncer.mu.
func (t *topic) helpless() bool {
	failing := false
	for _, r := range t.replicas {
		switch {
		case !r.held || r.paused && !r.inSync():
		case r.failedHere:
			return false
		case r.failures > 0 || r.unproven:
			failing = true
		default: // in sync, or about to be
			return false
		}
	}
	return failing
}

// holders counts the connected replicas. The caller holds Syncer.mu.
func (t *topic) holders() int {
	n := 0
	for _, r := range t.replicas {
		if r.held {
			n++
		}
	}
	return n
}

// blank reports whether nothing was ever integrated here, and no replica is
// connected that something could come from. The caller holds Syncer.mu.
func (t *topic) blank() bool {
	if t.heads != trie.EmptyRoot {
		return false
	}
	for _, r := range t.replicas {
		if r.held && r.heads != trie.EmptyRoot {
			return false
		}
	}
	return true
}

// lookupGap is the time from one lookup of a topic's providers to the next: with
// few replicas soon, but less and less so if there are no more, and sooner if
// nobody could be asked; else at random, since groups of replicas that only
// relays connect find each other so.
func (s *Syncer) lookupGap(t *topic, now time.Time) time.Duration {
	gap := s.iv.Dormant
	if now.Sub(t.changed.time()) < 2*s.iv.Active {
		gap = s.iv.Active
	}
	if t.holders() < fewReplicas {
		gap = min(gap, doubled(s.iv.Lookup, t.ladder.fruitless, gap))
		if n := t.ladder.failed; n > 0 {
			gap = min(gap, max(doubled(s.iv.Soon, n-1, s.iv.Lookup), s.spread(s.digest.len())))
		}
	}
	return jitter(gap, 4)
}

// doubled returns d doubled n times, at most limit.
func doubled(d time.Duration, n uint8, limit time.Duration) time.Duration {
	if n >= 16 {
		return limit
	}
	return min(d<<n, limit)
}

// spread is the time over which lookups of n topics at once are spread.
func (s *Syncer) spread(n int) time.Duration { return time.Duration(n) * lookupSpread }

// lookSoon brings the next lookup of a topic with few replicas forward, to some
// seconds from now or at random within spread more: others may be found now.
// The more often that happened lately, the later it is, so that peers that come
// and go cause no storm. The caller holds s.mu.
func (s *Syncer) lookSoon(t *topic, now time.Time, spread time.Duration) {
	if t.holders() >= fewReplicas {
		return
	}
	l := &t.ladder
	if now.Sub(l.looked.time()) > 2*s.iv.Lookup {
		l.hasty = 0
	}
	l.fruitless, l.early = 0, true
	when := now.Add(jitter(min(s.iv.Soon, s.iv.Lookup), 4) + rand.N(spread+1))
	if l.failed == 0 { // a lookup that asked nobody cost nothing
		when = later(when, l.looked.time().Add(doubled(s.iv.Soon, l.hasty, s.iv.Lookup)))
	}
	s.climbAt(t, when, needOne)
}

// lookAnew brings the lookups of all topics with few replicas forward, since
// the finder has somebody to ask again. What it brought forward before comes
// first.
func (s *Syncer) lookAnew(now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if now.Before(s.climbs.anew) {
		return
	}
	spread := s.spread(s.digest.len())
	s.climbs.anew = now.Add(spread)
	for t := range s.digest.under(trie.Prefix{}) {
		s.lookSoon(t, now, spread)
	}
}

// stir brings the next lookup of a topic that was dormant forward, now that it
// changes. The caller holds s.mu.
func (s *Syncer) stir(t *topic, now time.Time) {
	if l := &t.ladder; l.need == needOne && l.due.time().Sub(now) > 2*s.iv.Active {
		s.climbAt(t, now.Add(jitter(s.iv.Active, 4)), needOne)
	}
}
