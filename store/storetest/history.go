package storetest

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"

	"pgregory.net/rapid"

	"github.com/cairn-p2p/cairn/types"
)

// testHistory commits, fails, crashes and reads in any order. What was
// acknowledged is there in its order, the heads are the DAG's sinks, and whoever
// reads on from a cursor, now, later or after a restart, gets every event once.
func testHistory(d *disk) {
	outer := d.TB
	defer func() { d.TB = outer }()
	steps := 12
	if raceEnabled {
		steps = 4
	}
	topics := 0 // one for each run: to open a new disk takes longer than a run
	rapid.Check(outer, func(rt *rapid.T) {
		d.TB = property{outer, rt}
		topics++
		rng := rand.New(rand.NewPCG(rapid.Uint64().Draw(rt, "events"), 0))
		h := &history{disk: d, dag: NewDAG(d, rng, fmt.Sprint("topic ", topics), 3)}
		must(d, d.store.JoinTopic(h.dag.Genesis))
		for range rapid.IntRange(1, steps).Draw(rt, "steps") {
			h.step(rt)
			checkTopic(d, h.dag, true)
		}
		for i := range h.readers {
			h.read(i, len(h.dag.Events))
			if n := h.readers[i].read; n != len(h.dag.Events) {
				rt.Fatalf("reader %d has %d events of %d", i, n, len(h.dag.Events))
			}
		}
	})
}

// history is a topic with some that read it.
type history struct {
	*disk
	dag     *DAG
	readers [3]struct {
		at   types.Cursor
		read int // events so far
	}
}

func (h *history) step(rt *rapid.T) {
	switch choice := rapid.IntRange(0, 39).Draw(rt, "step"); {
	case choice == 39:
		h.crash()
	case choice > 36:
		h.reopen()
	case choice > 30 && h.Fault != nil:
		h.fail(rapid.IntRange(0, 30).Draw(rt, "call"), rapid.Bool().Draw(rt, "persisted"))
	case choice > 16:
		i := rapid.IntRange(0, len(h.readers)-1).Draw(rt, "reader")
		h.read(i, rapid.IntRange(0, 20).Draw(rt, "entries"))
	default:
		h.dag.Commit(h.store, rapid.IntRange(1, 10).Draw(rt, "batch"))
	}
}

// fail commits while a call of the store into its database fails, if there are
// so many.
func (h *history) fail(call int, persisted bool) {
	h.Helper()
	b := h.dag.Batch(3)
	fired := h.Fault(call, persisted)
	err := h.store.Commit(b)
	failed := fired()
	if failed != (err != nil) {
		h.Fatalf("a call failed: %v; the commit says %v", failed, err)
	}
	stored := h.stored(h.dag, b)
	if !failed && !stored || failed && stored && !errors.Is(err, types.ErrStore) {
		h.Fatalf("after %v the batch is stored: %v", err, stored)
	}
	if stored {
		h.dag.Add(b)
	}
}

// read lets a reader go on by up to n events.
func (h *history) read(i, n int) {
	h.Helper()
	r := &h.readers[i]
	for entry, err := range h.store.Log(h.dag.Topic(), r.at) {
		must(h, err)
		if n == 0 {
			return
		}
		if e, err := entry.Event(); err != nil || r.read == len(h.dag.Events) || !sameEvent(e, h.dag.Events[r.read]) {
			h.Fatalf("reader %d is given %s as event %d, %v", i, entry.CID(), r.read+1, err)
		}
		r.at, r.read, n = entry.Cursor, r.read+1, n-1
	}
}

// property is one run of a property to those who want a testing.TB.
type property struct {
	testing.TB
	run *rapid.T
}

func (p property) Helper()                           { p.run.Helper() }
func (p property) Error(args ...any)                 { p.run.Error(args...) }
func (p property) Errorf(format string, args ...any) { p.run.Errorf(format, args...) }
func (p property) Fatal(args ...any)                 { p.run.Fatal(args...) }
func (p property) Fatalf(format string, args ...any) { p.run.Fatalf(format, args...) }
