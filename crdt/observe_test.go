package crdt_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"

	"github.com/cairn-p2p/cairn/crdt"
	"github.com/cairn-p2p/cairn/types"
)

// ledger is an Observer that keeps what it is told. It is read when the
// replica has answered, after which its driver tells nothing more.
type ledger struct {
	commits []crdt.Commit
	refused []error
	left    [3]atomic.Int64 // events, by crdt.Left
}

func (l *ledger) Committed(c crdt.Commit) { l.commits = append(l.commits, c) }
func (l *ledger) Refused(err error)       { l.refused = append(l.refused, err) }

func (l *ledger) LeftToSync(why crdt.Left, events int) { l.left[why].Add(int64(events)) }

// wantLeft holds what was let go of so far to what it should be.
func (l *ledger) wantLeft(t *testing.T, when string, inbox, pending, failed int64) {
	t.Helper()
	got := [3]int64{l.left[crdt.LeftInbox].Load(), l.left[crdt.LeftPending].Load(), l.left[crdt.LeftFailed].Load()}
	if want := [3]int64{inbox, pending, failed}; got != want {
		t.Errorf("%s: told of %d events left to a sync (inbox, pending, failed), want %d", when, got, want)
	}
}

// sum adds up the events of all commits, and returns the last one.
func (l *ledger) sum(t *testing.T) (total, last crdt.Commit) {
	t.Helper()
	for _, c := range l.commits {
		if c.Took <= 0 || c.Appended+c.Gossiped+c.Synced == 0 {
			t.Errorf("told of %+v", c)
		}
		total.Appended += c.Appended
		total.Gossiped += c.Gossiped
		total.Synced += c.Synced
		last = c
	}
	return total, last
}

// TestObserver: every durable event is told of once, with what had it
// integrated, and every refused one with the reason.
func TestObserver(t *testing.T) {
	l := &ledger{}
	w := newObservedWorld(t, openTopic(t), l)
	mustAppend(t, w, "a", "b")
	other := &author{t: t, topic: w.topic, key: key(2)}
	chain := other.chain(6)
	w.Receive("p", chain[:1], nil)
	w.Receive("p", chain[3:4], nil) // waits for the two that come by sync
	if err := w.Integrate(t.Context(), "q", chain[1:3]); err != nil {
		t.Fatal(err)
	}
	w.Receive("p", chain[:1], nil) // known already
	if err := w.Integrate(t.Context(), "q", chain[5:]); !errors.Is(err, types.ErrUnlinked) {
		t.Errorf("integrate without a link: %v", err)
	}
	foreign := &author{t: t, topic: types.CIDOf(types.Hash{1}), key: key(3)}
	w.Receive("p", []*types.Event{foreign.event("x")}, nil)

	s := mustState(t, w)
	total, last := l.sum(t)
	if total.Appended != 2 || total.Gossiped != 1 || total.Synced != 3 || last.Events != s.Events || last.Heads != len(s.Heads) {
		t.Errorf("told of %+v, at last %+v; the replica has %d events and %d heads", total, last, s.Events, len(s.Heads))
	}
	if len(l.refused) != 2 || !errors.Is(l.refused[0], types.ErrUnlinked) || !errors.Is(l.refused[1], types.ErrInvalidEvent) {
		t.Errorf("told of the refusals %v", l.refused)
	}
}

// TestObserverAfterFailedCommit: what failed is not told of, whether or not it
// persisted, and not added to what comes later.
func TestObserverAfterFailedCommit(t *testing.T) {
	l := &ledger{}
	w := newObservedWorld(t, openTopic(t), l)
	w.store.inject(func(*types.Batch) (bool, error) { return true, types.ErrStore })
	if _, err := w.Append(t.Context(), crdt.Draft{}); !errors.Is(err, types.ErrStore) {
		t.Fatalf("append: %v", err)
	}
	w.store.inject(nil)
	mustAppend(t, w, "b")
	mustState(t, w)
	if total, last := l.sum(t); total.Appended != 1 || last.Events != 2 {
		t.Errorf("told of %+v, at last %+v", total, last)
	}
}

// Every event from gossip that is let go of is told of, with the reason.
func TestNothingIsLetGoInSilence(t *testing.T) {
	l := &ledger{}
	w := newObservedWorld(t, openTopic(t), l)
	other := &author{t: t, topic: w.topic, key: key(2)}
	chain := other.chain(5)
	w.Receive("p", chain[2:], nil)
	mustState(t, w)
	l.wantLeft(t, "while they wait", 0, 0, 0)
	w.Evict(1)
	mustState(t, w)
	l.wantLeft(t, "after one was evicted", 0, 1, 0)

	w.store.inject(func(*types.Batch) (bool, error) { return false, types.ErrStore })
	w.Receive("p", chain[:1], nil)
	mustState(t, w)
	l.wantLeft(t, "after a failed commit, with two that waited", 0, 1, 3)
	w.store.inject(nil)

	release := w.store.holdCommits()
	appended := make(chan error)
	go func() {
		_, err := w.Append(context.Background(), crdt.Draft{})
		appended <- err
	}()
	big := []*types.Event{other.event(string(make([]byte, types.MaxPayload)))}
	for l.left[crdt.LeftInbox].Load() == 0 {
		w.Receive("flood", big, nil)
	}
	release()
	if err := <-appended; err != nil {
		t.Fatal(err)
	}
	mustState(t, w)
	l.wantLeft(t, "after a flood", 1, 1, 3)
}

// TestPendingSince: a state says how long something has been pending, and the
// replica how much.
func TestPendingSince(t *testing.T) {
	w := newWorld(t, openTopic(t))
	other := &author{t: t, topic: w.topic, key: key(2)}
	chain := other.chain(4)
	w.Receive("p", chain[2:3], nil)
	first := mustState(t, w)
	w.Receive("p", chain[3:], nil)
	second := mustState(t, w)
	if first.PendingSince.IsZero() || !second.PendingSince.Equal(first.PendingSince) || w.Pending() != 2 {
		t.Errorf("pending since %v, then %v: %d", first.PendingSince, second.PendingSince, w.Pending())
	}
	if err := w.Integrate(t.Context(), "q", chain[:2]); err != nil {
		t.Fatal(err)
	}
	if s := mustState(t, w); !s.PendingSince.IsZero() || w.Pending() != 0 || s.Events != 4 {
		t.Errorf("nothing is pending, since %v: %d", s.PendingSince, w.Pending())
	}
}
