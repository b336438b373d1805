package syncer

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	corepeer "github.com/libp2p/go-libp2p/core/peer"

	"github.com/cairn-p2p/cairn/trie"
	"github.com/cairn-p2p/cairn/types"
)

// The fetch ladder is what a topic's node does when its connected replicas don't
// help: it looks for others and syncs with them. The rungs, in order, are the
// sender and the connected replicas (compare.go), the topic's providers, a
// flood to all connected peers (locate.go), and the archives.

// Rung is one step of a climb that did not help.
type Rung struct {
	Name  string   // "connected peers", "providers", "flood" or "archives"
	Found string   // what the search for peers gave, for people
	Asked []Answer // and what they said
}

func (r Rung) String() string {
	if len(r.Asked) == 0 {
		return r.Name + ": " + r.Found
	}
	return fmt.Sprintf("%s: %s (%s)", r.Name, r.Found, sayings(r.Asked))
}

func rungsText(rungs []Rung) string {
	parts := make([]string, 0, len(rungs))
	for _, r := range rungs {
		parts = append(parts, r.String())
	}
	return strings.Join(parts, "; ")
}

// rungNames lists the rungs as a sentence does.
func rungNames(rungs []Rung) string {
	var names strings.Builder
	for i, r := range rungs {
		switch {
		case i == 0:
		case i == len(rungs)-1:
			names.WriteString(" and ")
		default:
			names.WriteString(", ")
		}
		names.WriteString(r.Name)
	}
	return names.String()
}

// errNotHeld is what a peer says that does not have the topic.
var errNotHeld = errors.New("does not have the topic")

// rungProviders is the name of the rung that a lookup begins with.
const rungProviders = "providers"

// rung is how to find the peers of one step.
type rung struct {
	name string
	find func(context.Context, types.TopicID) ([]corepeer.AddrInfo, error)
}

// rungs returns the steps of a climb beyond the connected peers.
func (s *Syncer) rungs(need need) []rung {
	if s.meet == nil { // a test without a network
		return nil
	}
	var list []rung
	if s.find != nil && need != needFlood {
		list = append(list, rung{rungProviders, s.find.Providers})
	}
	if need == needOne {
		return list
	}
	list = append(list, rung{"flood", s.flood})
	if s.find != nil {
		list = append(list, rung{"archives", func(ctx context.Context, _ types.TopicID) ([]corepeer.AddrInfo, error) {
			return s.find.Archives(ctx)
		}})
	}
	return list
}

// climbed is how a climb ended.
type climbed struct {
	helped bool   // a peer that was not connected before
	report []Rung // what all of them said, unless somebody helped
	failed bool   // the first search could not be made, or not to its end
}

// climb goes up the rungs until try accepts a peer that was not connected
// before.
func (s *Syncer) climb(ctx context.Context, topic types.TopicID, rungs []rung, try func(context.Context, *peer) error) climbed {
	known := make(map[types.PeerID]bool)
	for _, p := range s.peersBut(nil) {
		known[p.id] = true
	}
	known[types.PeerID(s.self().ID)] = true
	var end climbed
	for i, step := range rungs {
		r := Rung{Name: step.name}
		found, err := step.find(ctx, topic)
		end.failed = end.failed || err != nil && i == 0
		rand.Shuffle(len(found), func(i, j int) { found[i], found[j] = found[j], found[i] })
		for _, info := range found {
			id := types.PeerID(info.ID)
			if known[id] || len(r.Asked) >= maxMeet || ctx.Err() != nil {
				continue
			}
			known[id] = true
			err := s.meetAndTry(ctx, info, try)
			if err == nil {
				return climbed{helped: true, failed: end.failed}
			}
			r.Asked = append(r.Asked, Answer{Peer: id, Answer: err.Error()})
		}
		switch {
		case err != nil:
			r.Found = err.Error()
		case len(found) == 0:
			r.Found = "none found"
		case len(r.Asked) == 0:
			r.Found = fmt.Sprintf("%d found, none that was not asked", len(found))
		default:
			r.Found = fmt.Sprintf("%d found", len(found))
		}
		end.report = append(end.report, r)
	}
	return end
}

func (s *Syncer) meetAndTry(ctx context.Context, info corepeer.AddrInfo, try func(context.Context, *peer) error) error {
	dial, cancel := context.WithTimeout(ctx, s.iv.Dial)
	defer cancel()
	if err := s.meet(dial, info); err != nil {
		return err
	}
	s.mu.Lock()
	p := s.peers[types.PeerID(info.ID)]
	s.mu.Unlock()
	if p == nil {
		return errors.New("disconnected")
	}
	return try(ctx, p)
}

// runClimb climbs the ladder for a topic and notes how that ended. A topic that
// is paused takes nothing new, so its climb is put off.
func (s *Syncer) runClimb(t *topic, need need) {
	ctx, cancel := context.WithTimeout(s.ctx, s.iv.Climb)
	defer cancel()
	h, err := s.local.Heads(t.id, 0)
	parked := err == nil && h.Paused
	var end climbed
	if !parked {
		end = s.climb(ctx, t.id, s.rungs(need), func(ctx context.Context, p *peer) error { return s.tryWith(ctx, t, p) })
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.climbs.running--
	s.arm(time.Now()) // others may have waited for the place
	if t.removed {
		return
	}
	if t.ladder.parked = parked; parked {
		need = max(need, t.ladder.again)
		t.ladder.climbing, t.ladder.again = 0, 0
		s.climbAt(t, time.Now().Add(jitter(s.iv.Lookup, 4)), need)
		return
	}
	s.endClimb(t, need, end, time.Now())
	s.notify(t.id)
}

// endClimb notes the end of a climb and schedules the next. The caller holds
// s.mu.
func (s *Syncer) endClimb(t *topic, need need, end climbed, now time.Time) {
	l := &t.ladder
	again := l.again
	l.climbing, l.again, l.looked = 0, 0, at(now)
	if need != needFlood || s.find == nil {
		l.noteSearch(end)
	}
	switch {
	case end.helped:
		l.helped(t)
	case need == needAll && s.needs(t) == needAll:
		l.failures = min(l.failures+1, maxCounted)
		l.stalled = true
		s.noteRungs(t, end, now)
		l.notBefore = at(now.Add(s.backoff(int(l.failures))))
		again = needAll
	case need != needAll && t.blank():
		s.noteRungs(t, end, now)
		if need == needOne {
			again = max(again, needFlood)
		}
	}
	switch again {
	case needAll:
		s.climbAt(t, now, needAll)
		return
	case needFlood: // once the connected peers have had the time to answer
		s.climbAt(t, now.Add(s.iv.Compare), needFlood)
		return
	}
	if l.early { // while this one was under way
		s.lookSoon(t, now, 0)
	}
	s.climbAt(t, now.Add(s.lookupGap(t, now)), needOne)
}

// noteSearch counts what the first search of a climb came to. One that could not
// be made says nothing of who is there.
func (l *ladder) noteSearch(end climbed) {
	if end.failed {
		l.failed = min(l.failed+1, maxCounted)
	} else {
		l.failed = 0
	}
	switch {
	case end.helped:
		l.fruitless = 0
	case !end.failed:
		l.fruitless = min(l.fruitless+1, maxCounted)
	}
}

// noteRungs keeps what was tried in vain, for status, with the lookup before a
// flood. The caller holds s.mu.
func (s *Syncer) noteRungs(t *topic, end climbed, now time.Time) {
	if t.trouble == nil {
		t.trouble = new(trouble)
	}
	report := []Rung{s.connectedRung(t)}
	if len(end.report) > 0 && end.report[0].Name != rungProviders {
		for _, r := range t.trouble.rungs {
			if r.Name == rungProviders {
				report = append(report, r)
			}
		}
	}
	report = append(report, end.report...)
	t.trouble.rungs, t.trouble.climbed = report, now
	s.log.Debug("fetch ladder climbed in vain", "topic", t.id, "rungs", rungsText(report))
}

// helped notes that somebody gave what was missing.
func (l *ladder) helped(t *topic) {
	l.failures, l.notBefore, l.stalled = 0, 0, false
	if t.trouble != nil {
		t.trouble.rungs = nil
	}
}

// connectedRung says what the connected peers said before the climb. The caller
// holds s.mu.
func (s *Syncer) connectedRung(t *topic) Rung {
	r := Rung{Name: "connected peers", Found: fmt.Sprintf("%d of %d have the topic", t.holders(), len(s.peers))}
	for p, replica := range t.replicas {
		if replica.said != "" && len(r.Asked) < maxAsked {
			r.Asked = append(r.Asked, Answer{Peer: p.id, Answer: replica.said})
		}
	}
	return r
}

// errEmpty is what a peer gives that has joined the topic and holds nothing of it.
var errEmpty = errors.New("its copy is empty, too")

// tryWith is syncWith, which fails when nothing came to an empty copy.
func (s *Syncer) tryWith(ctx context.Context, t *topic, p *peer) error {
	if err := s.syncWith(ctx, t, p); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if t.heads == trie.EmptyRoot {
		return errEmpty
	}
	return nil
}

// syncWith compares a topic with a peer, fetches what is missing, and blocks
// until that has ended well or not.
func (s *Syncer) syncWith(ctx context.Context, t *topic, p *peer) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if t.removed || p.ctx.Err() != nil {
		return errors.New("disconnected")
	}
	r := p.replicaOf(t)
	before := r.rounds
	s.compareAt(r, time.Now())
	for r.rounds == before {
		if t.removed || p.replicas[t] != r {
			return errors.New("disconnected")
		}
		changed := s.watch(t.id)
		s.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
		}
		s.mu.Lock()
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("no answer in time: %w", err)
		}
	}
	switch {
	case r.said != "":
		return errors.New(r.said)
	case !r.held:
		return errNotHeld
	}
	return nil
}
