package syncer

import (
	"container/heap"
	"time"
)

// need is how far up the ladder a climb goes.
type need int

const (
	needOne need = iota + 1 // the providers: one more replica to sync with
	needAll                 // to the top: something is missing and nobody gives it
)

// ladder is what a topic knows of its climbs. Syncer.mu guards it.
type ladder struct {
	due       time.Time // the next climb
	need      need      // how far it goes; 0: none is due
	index     int       // in the queue, while need is set
	notBefore time.Time // the back-off of climbs to the top
	climbing  need      // how far the one under way goes; 0: none is
	again     need      // asked for meanwhile
	looked    time.Time // when the last climb ended
	fruitless int       // lookups in a row that found no one
	failures  int       // climbs to the top in a row that did not help
	stalled   bool      // the last climb to the top did not
	hinted    time.Time // when gossip first showed something that is not here; zero: nothing
}

// climbs is the queue of climbs to come, the next one first. It is a heap.
type climbs struct {
	queue   []*topic
	running int
}

func (c *climbs) Len() int           { return len(c.queue) }
func (c *climbs) Less(i, j int) bool { return c.queue[i].ladder.due.Before(c.queue[j].ladder.due) }

func (c *climbs) Swap(i, j int) {
	c.queue[i], c.queue[j] = c.queue[j], c.queue[i]
	c.queue[i].ladder.index, c.queue[j].ladder.index = i, j
}

func (c *climbs) Push(x any) {
	t := x.(*topic)
	t.ladder.index = len(c.queue)
	c.queue = append(c.queue, t)
}

func (c *climbs) Pop() any {
	last := c.queue[len(c.queue)-1]
	c.queue = c.queue[:len(c.queue)-1]
	return last
}

// remove takes a topic out of the queue.
func (c *climbs) remove(t *topic) {
	if t.ladder.need != 0 {
		heap.Remove(c, t.ladder.index)
		t.ladder.need = 0
	}
}

// climbAt schedules a climb for when, after the back-off, unless one as high is
// due before. The caller holds s.mu.
func (s *Syncer) climbAt(t *topic, when time.Time, need need) {
	l := &t.ladder
	if t.removed || s.meet == nil || need == needOne && s.find == nil {
		return
	}
	if need == needAll {
		when = later(when, l.notBefore)
	}
	if l.climbing != 0 { // the one under way schedules the next
		if need > l.climbing {
			l.again = need
		}
		return
	}
	switch {
	case l.need == 0:
		l.need, l.due = need, when
		heap.Push(&s.climbs, t)
	case when.Before(l.due):
		l.need, l.due = max(l.need, need), when
		heap.Fix(&s.climbs, l.index)
	case need > l.need: // the other one can wait for it
		l.need, l.due = need, when
		heap.Fix(&s.climbs, l.index)
	}
	s.arm(l.due)
}

// startClimbs starts the climbs that are due, as many as may run at a time, and
// says when the next one is. The caller is the scheduler, and holds s.mu.
func (s *Syncer) startClimbs(now time.Time, sooner func(time.Time)) {
	for s.climbs.Len() > 0 && s.climbs.running < maxClimbs {
		t := s.climbs.queue[0]
		l := &t.ladder
		if l.due.After(now) {
			sooner(l.due)
			return
		}
		wanted := l.need
		s.climbs.remove(t)
		if wanted == needAll && s.needs(t) != needAll { // somebody helped meanwhile
			l.helped(t)
			s.climbAt(t, now.Add(s.lookupGap(t, now)), needOne)
			continue
		}
		l.climbing = wanted
		s.climbs.running++
		s.tasks.Go(func() { s.runClimb(t, wanted) })
	}
}

// needs says how far up the ladder the topic needs to go now. The caller holds
// s.mu.
func (s *Syncer) needs(t *topic) need {
	if t.helpless() {
		return needAll
	}
	l := &t.ladder
	if l.hinted.IsZero() {
		return needOne
	}
	for _, r := range t.replicas {
		if r.held && r.inSync() && r.lastSync.After(l.hinted) {
			l.hinted = time.Time{} // a replica knows nothing of it
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

// lookupGap is the time from one lookup of a topic's providers to the next: with
// few replicas soon, but less and less so if there are no more; else at random,
// since groups of replicas that only relays connect find each other so.
func (s *Syncer) lookupGap(t *topic, now time.Time) time.Duration {
	gap := s.iv.Dormant
	if now.Sub(t.changed) < 2*s.iv.Active {
		gap = s.iv.Active
	}
	if shift := t.ladder.fruitless; t.holders() < fewReplicas && shift < 16 {
		gap = min(gap, s.iv.Lookup<<shift)
	}
	return jitter(gap, 4)
}

// stir brings the next lookup of a topic that was dormant forward, now that it
// changes. The caller holds s.mu.
func (s *Syncer) stir(t *topic, now time.Time) {
	if l := &t.ladder; l.need == needOne && l.due.Sub(now) > 2*s.iv.Active {
		s.climbAt(t, now.Add(jitter(s.iv.Active, 4)), needOne)
	}
}
