package crdt

import "time"

// Observer is told what a replica does, for metrics. Its methods must not block.
// All but LeftToSync are called by the replica's driver, one at a time.
type Observer interface {
	// Committed says that events became durable.
	Committed(c Commit)
	// Refused says that an event was not taken: an error of
	// types.ErrInvalidEvent, or types.ErrUnlinked.
	Refused(err error)
	// LeftToSync says that so many events from gossip were let go of: a sync
	// brings those that are still missing. It is called concurrently.
	LeftToSync(why Left, events int)
}

// Left is why events from gossip were let go of.
type Left int

const (
	LeftInbox   Left = iota // they did not fit the inbox
	LeftPending             // they waited for their links, and fell out by size or age
	LeftFailed              // the store failed; it may hold some of them after all
)

// Commit is what one flush of a replica made durable. An event counts for the
// input that had it integrated: one from gossip that waited for a link that a
// sync brought counts as synced. What was submitted here counts as appended.
type Commit struct {
	Appended, Gossiped, Synced uint64 // events; their sum is at least 1

	Events uint64        // length of the delivery log after it
	Heads  int           // after it
	Took   time.Duration // of the store's commits
}

// source says what kind of input brought events.
type source int

const (
	byAppend source = iota
	byGossip
	bySync
	sources
)

// tally counts the events that each source had integrated since the last
// flush. It stays zero for a replica without an Observer.
type tally [sources]uint64

// count adds n events of the input in.
func (t *tally) count(in input, n uint64) {
	switch in := in.(type) {
	case *appendInput:
		t[byAppend] += n
	case *receiveInput:
		t[byGossip] += n
	case *integrateInput:
		if in.announce {
			t[byAppend] += n
		} else {
			t[bySync] += n
		}
	}
}

// observeCommit reports a flush whose commits took so long.
func (d *driver) observeCommit(took time.Duration) {
	d.replica.observer.Committed(Commit{
		Appended: d.tally[byAppend],
		Gossiped: d.tally[byGossip],
		Synced:   d.tally[bySync],
		Events:   d.clock.Events(),
		Heads:    d.replica.standing.count(),
		Took:     took,
	})
	d.tally = tally{}
}

// observeRefused reports what the clock refused.
func (d *driver) observeRefused(err error) {
	if o := d.replica.observer; o != nil {
		o.Refused(err)
	}
}

// leave reports events that were let go of.
func (r *Replica) leave(why Left, events int) {
	if r.observer != nil && events > 0 {
		r.observer.LeftToSync(why, events)
	}
}

// leaveFailed reports the events from gossip that a failure of the store takes
// along: those of the inputs, and those that were pending before.
func (d *driver) leaveFailed(inputs []input) {
	events := int(d.replica.waiting.Load())
	for _, in := range inputs {
		if in, ok := in.(*receiveInput); ok {
			events += len(in.events)
		}
	}
	d.replica.leave(LeftFailed, events)
}
