package crdt

import (
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/ipfs/go-cid"

	"github.com/cairn-p2p/cairn/crdt/clock"
	"github.com/cairn-p2p/cairn/types"
)

// input is one thing that the driver is asked to do.
type input interface {
	// apply gives the input to the driver's clock. An error here means that the
	// store could not be read.
	apply(d *driver) error
	// finish tells whoever waits how it ended: err is nil when everything up to
	// here is durable.
	finish(d *driver, err error)
}

// answer carries the result of an input to the caller that waits for it. It
// has room for it, so that the driver never waits for a caller that left.
type answer chan error

func newAnswer() answer { return make(answer, 1) }

type appendInput struct {
	drafts []Draft
	events []*types.Event
	last   uint64 // the log number of the last of them
	err    error  // the clock's refusal
	answer answer
}

func (in *appendInput) apply(d *driver) error {
	now := hint(d.replica.cfg.Now())
	for _, draft := range in.drafts {
		after, err := d.lookUp(draft.After)
		if errors.Is(err, types.ErrNotFound) {
			in.err = err
			return nil
		}
		if err != nil {
			return err
		}
		e, err := d.clock.Append(now, clock.Draft{Payload: draft.Payload, Tags: draft.Tags, After: after})
		if err != nil {
			in.err = err
			return nil
		}
		in.events = append(in.events, e)
		in.last = d.clock.Events()
	}
	return nil
}

// hint is a time as events have it: one that a clock far off says is brought
// into range, for it may not stop anybody from appending.
func hint(t time.Time) int64 {
	switch {
	case t.Before(time.Unix(0, 0)):
		return 0
	case t.After(time.Unix(0, math.MaxInt64)):
		return math.MaxInt64
	}
	return t.UnixNano()
}

func (in *appendInput) finish(d *driver, err error) {
	if err == nil || len(in.events) == len(in.drafts) && in.last <= d.durable {
		err = in.err // its own batch was committed, whatever came after
	}
	in.answer <- err
}

type receiveInput struct {
	from   types.PeerID
	events []*types.Event
	heads  []cid.Cid
}

func (in *receiveInput) apply(d *driver) error {
	d.from = in.from
	known, err := d.heights(in.events, in.heads)
	if err != nil {
		return err
	}
	for _, r := range d.clock.Receive(clock.Source{Peer: in.from}, in.events, known) {
		d.observeRefused(r.Err)
	}
	d.clock.Hear(in.heads, known)
	return nil
}

func (in *receiveInput) finish(*driver, error) {}

type integrateInput struct {
	from     types.PeerID
	events   []*types.Event
	announce bool // they were handed over to be published: nobody else has them yet
	refused  error
	answer   answer
}

func (in *integrateInput) apply(d *driver) error {
	known, err := d.heights(in.events, nil)
	if err != nil {
		return err
	}
	if in.announce {
		d.announceToo(in.events)
	} else {
		d.backfilled = true
	}
	for _, r := range d.clock.Receive(clock.Source{Peer: in.from, Sync: true}, in.events, known) {
		d.observeRefused(r.Err)
		if !errors.Is(in.refused, types.ErrInvalidEvent) { // the graver verdict, and the one to blame somebody for
			in.refused = fmt.Errorf("integrate %s: %w", r.CID, r.Err)
		}
	}
	return nil
}

func (in *integrateInput) finish(_ *driver, err error) {
	if err == nil {
		err = in.refused
	}
	in.answer <- err
}

type tickInput struct{}

func (tickInput) apply(d *driver) error { d.clock.Tick(); return nil }
func (tickInput) finish(*driver, error) {}

type evictInput int

func (in evictInput) apply(d *driver) error { d.clock.Evict(int(in)); return nil }
func (evictInput) finish(*driver, error)    {}

type inspectInput struct {
	look   func(*driver)
	answer answer
}

func (in *inspectInput) apply(*driver) error { return nil }

func (in *inspectInput) finish(_ *driver, err error) { in.answer <- err }

// lookUp returns the events that a draft names, with their heights.
func (d *driver) lookUp(after []cid.Cid) ([]types.Head, error) {
	if len(after) == 0 {
		return nil, nil
	}
	known, err := d.replica.cfg.Store.Heights(d.replica.topic, after)
	if err != nil {
		return nil, fmt.Errorf("look up named events: %w", err)
	}
	heads := make([]types.Head, 0, len(after))
	for _, id := range after {
		if known[id] == 0 {
			return nil, fmt.Errorf("append after %s: %w", id, types.ErrNotFound)
		}
		heads = append(heads, types.Head{CID: id, Height: known[id]})
	}
	return heads, nil
}
