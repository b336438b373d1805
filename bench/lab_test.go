package main

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"
)

// Every kind of work, small, ends on both systems with all events everywhere
// and heads equal, which the lab verifies.
func TestWorks(t *testing.T) {
	for _, s := range systems()[:2] {
		for name, run := range map[string]func(context.Context, *lab) error{
			"append":   appending(2, 20),
			"converge": converging(2, 2),
			"join":     joining(20, 1, 0),
			"join far": joining(20, 4, 10*time.Millisecond),
			"heal":     healing(3),
			"topics":   topics(3),
		} {
			t.Run(s.name+"/"+name, func(t *testing.T) {
				l := &lab{system: s, dir: t.TempDir(), writers: 1, setup: time.Minute, limit: time.Minute}
				t.Cleanup(func() {
					if err := l.close(); err != nil {
						t.Error(err)
					}
				})
				if err := run(t.Context(), l); err != nil {
					t.Fatal(err)
				}
				if !l.result.done() || l.result.Took <= 0 || l.result.Events == 0 {
					t.Errorf("result %+v", l.result)
				}
			})
		}
	}
}

// fakeReplica claims events and heads that it may not have.
type fakeReplica struct {
	replica
	claimed, stored int
	head            string
}

func (f fakeReplica) wait(ctx context.Context, events int) error {
	if f.claimed >= events {
		return nil
	}
	<-ctx.Done()
	return ctx.Err()
}
func (f fakeReplica) held(context.Context) (int, error)     { return f.claimed, nil }
func (f fakeReplica) count(context.Context) (int, error)    { return f.stored, nil }
func (f fakeReplica) heads(context.Context) (string, error) { return f.head, nil }

func TestUnfinishedIsNotDone(t *testing.T) {
	good := fakeReplica{claimed: 10, stored: 10, head: "x"}
	for name, test := range map[string]struct {
		other           fakeReplica
		notDone, failed string
	}{
		"finished":         {other: good},
		"events missing":   {other: fakeReplica{claimed: 4, stored: 4, head: "x"}, notDone: "4 to 10 of 10 events"},
		"heads differ":     {other: fakeReplica{claimed: 10, stored: 10, head: "y"}, notDone: "the heads differ"},
		"events not there": {other: fakeReplica{claimed: 10, stored: 9, head: "x"}, failed: "9 events in its store, want 10"},
	} {
		t.Run(name, func(t *testing.T) {
			l := &lab{setup: time.Minute, limit: 20 * time.Millisecond}
			l.attempt(t.Context(), work{run: func(ctx context.Context, l *lab) error {
				return l.timed(ctx, 10, []replica{good, test.other}, 0, func(context.Context) error { return nil })
			}})
			r := l.result
			if (r.NotDone != "") != (test.notDone != "") || !strings.Contains(r.NotDone, test.notDone) {
				t.Errorf("not done %q, want %q", r.NotDone, test.notDone)
			}
			if (r.Failed != "") != (test.failed != "") || !strings.Contains(r.Failed, test.failed) {
				t.Errorf("failed %q, want %q", r.Failed, test.failed)
			}
		})
	}
}

// An error that the limit did not cause is a failure, not an unfinished work.
func TestErrorFails(t *testing.T) {
	l := &lab{setup: time.Minute, limit: time.Minute}
	l.attempt(t.Context(), work{run: func(ctx context.Context, l *lab) error {
		return l.measure(ctx, 1, func(context.Context) error { return errors.New("broken") }, nil)
	}})
	if l.result.Failed != "broken" || l.result.NotDone != "" {
		t.Errorf("result %+v", l.result)
	}
}
