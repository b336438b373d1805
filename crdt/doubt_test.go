package crdt_test

import (
	"errors"
	"math"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cairn-p2p/cairn/crdt"
	"github.com/cairn-p2p/cairn/types"
)

// lostChain is a chain of this node's own events that the replica never wrote:
// those of before its database was replaced by an older copy.
func lostChain(t *testing.T, w *world, n int) []*types.Event {
	t.Helper()
	return (&author{t: t, topic: w.topic, key: key(1)}).chain(n)
}

// unload waits until the driver has ended, and drops what is in memory.
func unload(t *testing.T, w *world) {
	t.Helper()
	synctest.Wait()
	if !w.Unload() {
		t.Fatal("an idle replica does not unload")
	}
}

// What a replica knows against its own log outlives the clock: an unload or
// anybody's failed commit would else let it use a seq twice.
func TestDoubtOutlivesTheClock(t *testing.T) {
	for name, drop := range map[string]func(t *testing.T, w *world){
		"unload": func(t *testing.T, w *world) {
			for range 70 { // until nothing is pending
				w.Tick()
				mustState(t, w)
			}
			unload(t, w)
		},
		"failed commit": func(t *testing.T, w *world) {
			w.store.inject(func(*types.Batch) (bool, error) { return false, types.ErrDiskFull })
			other := &author{t: t, topic: w.topic, key: key(2)}
			if err := w.Integrate(t.Context(), "p", other.chain(1)); !errors.Is(err, types.ErrDiskFull) {
				t.Fatal(err)
			}
			w.store.inject(nil)
		},
	} {
		t.Run(name+"/rolled back", func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, openTopic(t))
				lost := lostChain(t, w, 8)
				if err := w.Integrate(t.Context(), "p", lost[:5]); err != nil {
					t.Fatal(err)
				}
				w.Receive("p", lost[7:], nil)
				drop(t, w)
				if _, err := w.Append(t.Context(), crdt.Draft{}); !errors.Is(err, types.ErrRolledBack) {
					t.Errorf("append: %v", err)
				}
			})
		})
		t.Run(name+"/forked", func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, openTopic(t))
				mustAppend(t, w, "mine")
				w.Receive("p", lostChain(t, w, 1), nil)
				drop(t, w)
				if _, err := w.Append(t.Context(), crdt.Draft{}); !errors.Is(err, types.ErrForkedKey) {
					t.Errorf("append: %v", err)
				}
			})
		})
	}
}

// Own events that were given up after a rollback are no fork when they come
// after all, not even to a replica that has forgotten that it gave them up.
func TestGivenUpOwnEventsAreNoFork(t *testing.T) {
	disk := newWorld(t, openTopic(t))
	lost := lostChain(t, disk, 4)
	disk.Receive("p", lost[3:], nil)
	mustState(t, disk)
	if err := disk.Resume(t.Context()); err != nil {
		t.Fatal(err)
	}
	if e := mustAppend(t, disk, "after")[0]; e.Seq != 5 {
		t.Fatalf("seq %d", e.Seq)
	}
	disk.Close()
	w := restart(t, disk)
	if err := w.Integrate(t.Context(), "p", lost); err != nil {
		t.Fatal(err)
	}
	if e := mustAppend(t, w, "again")[0]; e.Seq != 6 {
		t.Errorf("seq %d", e.Seq)
	}
	// One that was used here is a fork still.
	forged := &author{t: t, topic: w.topic, key: key(1), seq: 4}
	w.Receive("p", []*types.Event{forged.event("another fifth")}, nil)
	if _, err := w.Append(t.Context(), crdt.Draft{}); !errors.Is(err, types.ErrForkedKey) {
		t.Errorf("append: %v", err)
	}
}

// A replica whose store is an old copy appends nothing before it is told that
// the others were asked, and then above the greatest own seq that they had. It
// does not forget that when it is unloaded.
func TestRestoredReplicaWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		old := newWorld(t, openTopic(t))
		lost := lostChain(t, old, 4)
		if err := old.Integrate(t.Context(), "p", lost[:2]); err != nil {
			t.Fatal(err)
		}
		old.Close()
		w := restartWith(t, old, func(cfg *crdt.Config) { cfg.Restored = true })
		refused := func(when string) {
			t.Helper()
			if _, err := w.Append(t.Context(), crdt.Draft{}); !errors.Is(err, types.ErrRolledBack) {
				t.Errorf("append %s: %v", when, err)
			}
			if s := mustState(t, w); !errors.Is(s.OwnErr, types.ErrRolledBack) || !w.Halted() {
				t.Errorf("%s: halted %v, %v", when, w.Halted(), s.OwnErr)
			}
		}
		refused("at once")
		if err := w.Integrate(t.Context(), "p", lost[2:]); err != nil {
			t.Fatal(err)
		}
		refused("after a sync that may not have been the last")
		unload(t, w)
		refused("after an unload")
		if err := w.Resume(t.Context()); err != nil {
			t.Fatal(err)
		}
		unload(t, w)
		if e := mustAppend(t, w, "mine")[0]; e.Seq != 5 || w.Halted() {
			t.Errorf("seq %d, halted %v", e.Seq, w.Halted())
		}
	})
}

// A clock that is far off changes nothing but the time of events, which stays
// in range.
func TestClockFarOff(t *testing.T) {
	for name, test := range map[string]struct {
		now  time.Time
		want int64
	}{
		"before 1970": {time.Date(1900, 1, 1, 0, 0, 0, 0, time.UTC), 0},
		"years ago":   {time.Unix(5, 6), 5e9 + 6},
		"after 2262":  {time.Date(3000, 1, 1, 0, 0, 0, 0, time.UTC), math.MaxInt64},
	} {
		t.Run(name, func(t *testing.T) {
			old := newWorld(t, openTopic(t))
			old.Close()
			w := restartWith(t, old, func(cfg *crdt.Config) { cfg.Now = func() time.Time { return test.now } })
			if e := mustAppend(t, w, "mine")[0]; e.Time != test.want {
				t.Errorf("time %d, want %d", e.Time, test.want)
			}
		})
	}
}

// A commit fails and persists, and the topic cannot be loaded at first: whoever
// relies on being told is told when it can.
func TestLateReloadTellsWhatPersisted(t *testing.T) {
	w := newWorld(t, openTopic(t))
	mustAppend(t, w, "first")
	committed := w.Committed()
	w.store.inject(func(*types.Batch) (bool, error) { return true, types.ErrStore })
	w.store.failLoads(types.ErrStore)
	if _, err := w.Append(t.Context(), crdt.Draft{}); !errors.Is(err, types.ErrStore) {
		t.Fatalf("append: %v", err)
	}
	w.store.inject(nil)
	w.store.failLoads(nil)
	s := mustState(t, w) // loads the topic, and tells before it answers
	select {
	case <-committed:
	default:
		t.Error("no subscriber was woken")
	}
	if got := w.syncer.last(); s.Events != 2 || got != s.HeadsHash {
		t.Errorf("%d events; the syncer was told %x, the heads hash is %x", s.Events, got, s.HeadsHash)
	}
}

// A commit that fails is nobody's failure but those whose events it held.
func TestStateIsNotFailedByACommit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, openTopic(t))
		release := w.store.holdCommits()
		w.store.inject(func(*types.Batch) (bool, error) { return false, types.ErrDiskFull })
		results := make(chan error, 2)
		append1 := func() {
			_, err := w.Append(t.Context(), crdt.Draft{})
			results <- err
		}
		go append1()
		synctest.Wait()
		go append1()
		synctest.Wait()
		states := make(chan error)
		go func() {
			_, err := w.State(t.Context())
			states <- err
		}()
		synctest.Wait() // it shares a run with the second append
		release()
		if err := <-states; err != nil {
			t.Errorf("state: %v", err)
		}
		for range cap(results) {
			if err := <-results; !errors.Is(err, types.ErrDiskFull) {
				t.Errorf("append: %v", err)
			}
		}
	})
}

// A halted replica goes on asking, even when nothing is pending any more.
func TestHaltedReplicaKeepsAsking(t *testing.T) {
	w := newWorld(t, openTopic(t))
	w.Receive("p", lostChain(t, w, 3)[2:], nil)
	for range 70 {
		w.Tick()
		mustState(t, w)
	}
	for len(w.syncer.asked) > 0 {
		<-w.syncer.asked
	}
	if s := mustState(t, w); s.PendingEvents != 0 {
		t.Fatalf("%d events pending", s.PendingEvents)
	}
	w.Tick()
	mustState(t, w)
	if len(w.syncer.asked) == 0 {
		t.Error("it stopped asking for its own events")
	}
}
