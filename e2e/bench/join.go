package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/cairn-p2p/cairn/crdt"
)

// appendedTogether is the number of events that a batch witness of the server
// in joins covers: what 64 concurrent writers make.
const appendedTogether = 64

// farRoundTrip is that of a join from far away, whose goal is a second more than
// the same from near.
const farRoundTrip = 100 * time.Millisecond

// joins measures a fresh node that joins a topic, until it holds all of it. The
// server's events have batch witnesses, or single ones: those were appended one
// at a time.
func (b *bench) joins() error {
	for _, test := range []struct {
		events, together int
		witness          string
		goal             time.Duration
	}{
		{10_000, appendedTogether, "batch", 200 * time.Millisecond},
		{10_000, 1, "single", 400 * time.Millisecond},
		{100_000, appendedTogether, "batch", 1500 * time.Millisecond},
		{100_000, 1, "single", 3200 * time.Millisecond},
	} {
		events := b.scaled(test.events)
		name := fmt.Sprintf("join, %d events, %s witnesses", events, test.witness)
		if !b.selected.MatchString(name) {
			continue
		}
		if _, err := b.joinRow(name, events, test.together, test.goal, true); err != nil {
			return err
		}
	}
	return nil
}

// joinRow measures joins of a new server; far adds one over a long round trip. A
// goal of 0 is none. The row is that of the near join.
func (b *bench) joinRow(name string, events, together int, goal time.Duration, far bool) (_ *row, err error) {
	ctx, cancel := context.WithTimeout(b.ctx, rowTimeout)
	defer cancel()
	server, err := b.fresh(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, server.node.Close()) }()
	fmt.Fprintf(b.progress, "%s: append the events\n", name)
	if err := fill(ctx, server, events, together); err != nil {
		return nil, fmt.Errorf("%s: fill the server: %w", name, err)
	}
	at := len(b.rows)
	r, err := b.row(name, func(ctx context.Context, r *row) error { return b.join(ctx, r, server, events, together) })
	if err != nil {
		return nil, err
	}
	if goal > 0 {
		r.atMost(goal)
	}
	near := r.took
	if r.wire, err = b.joinWire(server, events); err != nil {
		return nil, fmt.Errorf("%s, tapped: %w", name, err)
	}
	if far {
		r, err = b.row(fmt.Sprintf("%s, %v round trip", name, farRoundTrip), func(ctx context.Context, r *row) error {
			return b.joinFar(ctx, r, server, events)
		})
		if err != nil {
			return nil, err
		}
		if r != nil {
			r.atMost(near + time.Second)
		}
	}
	return &b.rows[at], nil
}

// joinFar joins over a connection that stands already and has a long round trip.
func (b *bench) joinFar(ctx context.Context, r *row, server member, events int) (err error) {
	t := &taps{delay: farRoundTrip / 2}
	defer func() { err = errors.Join(err, t.close()) }()
	m, err := b.bare(ctx)
	if err != nil {
		return err
	}
	defer closeAll([]member{m}) //nolint:errcheck // it was closed, or an error is on its way
	if err := connect(ctx, m, server, t); err != nil {
		return err
	}
	r.events = events
	err = around(ctx, r, []probe{streams(), b.groups(1000)}, func() error {
		return b.measure(ctx, r, func(ctx context.Context) error {
			if m.Topic, err = m.node.Topic(ctx, topicName); err != nil {
				return err
			}
			return await(ctx, []member{m}, events)
		})
	})
	if err != nil {
		return err
	}
	if err := check(ctx, []member{server, m}, events); err != nil {
		return err
	}
	return r.finish(ctx, []member{m}, events)
}

// fill appends events, so many a call.
func fill(ctx context.Context, m member, events, together int) error {
	for done := 0; done < events; {
		drafts := make([]crdt.Draft, min(together, events-done))
		for i := range drafts {
			drafts[i].Payload = payload(0, 0, done+i)
		}
		if _, err := m.AppendBatch(ctx, drafts); err != nil {
			return err
		}
		done += len(drafts)
	}
	return nil
}

func (b *bench) join(ctx context.Context, r *row, server member, events, together int) error {
	m, err := b.fresh(ctx)
	if err != nil {
		return err
	}
	defer closeAll([]member{m}) //nolint:errcheck // it was closed, or an error is on its way
	r.events = events
	probes := []probe{streams(), b.groups(1000)}
	if together == 1 {
		probes = append(probes, verifies().onAllCores())
	}
	err = around(ctx, r, probes, func() error {
		err := b.measure(ctx, r, func(ctx context.Context) error {
			if err := connect(ctx, m, server, nil); err != nil {
				return err
			}
			return await(ctx, []member{m}, events)
		})
		if err != nil {
			return err
		}
		return check(ctx, []member{server, m}, events)
	})
	if err != nil {
		return err
	}
	return r.finish(ctx, []member{m}, events)
}

// joinWire joins once more through a tap and returns the bytes on the wire for
// each event.
func (b *bench) joinWire(server member, events int) (perEvent float64, err error) {
	ctx, cancel := context.WithTimeout(b.ctx, rowTimeout)
	defer cancel()
	t := new(taps)
	defer func() { err = errors.Join(err, t.close()) }()
	m, err := b.fresh(ctx)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, m.node.Close()) }()
	if err := connect(ctx, m, server, t); err != nil {
		return 0, err
	}
	if err := await(ctx, []member{m}, events); err != nil {
		return 0, err
	}
	perEvent = float64(t.bytes()) / float64(events)
	return perEvent, check(ctx, []member{server, m}, events)
}
