package main

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// converges measures events written on all nodes at once, until every node has
// them all.
func (b *bench) converges() error {
	for _, test := range []struct {
		nodes, writers int
		goal           time.Duration
	}{
		{3, 16, 0},
		{5, 1, 5 * time.Second},
		{5, 16, 0},
		{5, 64, 1200 * time.Millisecond},
		{10, 16, 0},
	} {
		events := b.scaled(10_000)
		name := fmt.Sprintf("converge, %d nodes, %s each", test.nodes, count(test.writers, "writer"))
		r, err := b.row(name, func(ctx context.Context, r *row) error {
			return b.converge(ctx, r, test.nodes, test.writers, events)
		})
		if err != nil {
			return err
		}
		if r == nil {
			continue
		}
		if test.goal != 0 {
			r.atMost(test.goal)
		}
		if r.wire, err = b.convergeWire(test.nodes, test.writers, events); err != nil {
			return fmt.Errorf("%s, tapped: %w", name, err)
		}
	}
	return nil
}

func (b *bench) converge(ctx context.Context, r *row, nodes, writers, events int) error {
	members, err := b.cluster(ctx, nodes, nil)
	if err != nil {
		return err
	}
	defer closeAll(members) //nolint:errcheck // they were closed, or an error is on its way
	r.events = events
	probes := []probe{gossips(nodes, aMessage), gossips(nodes, aFullMessage), b.groups(64).per(nodes), b.fsyncs()}
	err = around(ctx, r, probes, func() error {
		err := b.measure(ctx, r, func(ctx context.Context) error {
			if err := write(ctx, members, events, writers); err != nil {
				return err
			}
			return await(ctx, members, nodes+events)
		})
		if err != nil {
			return err
		}
		return check(ctx, members, nodes+events)
	})
	if err != nil {
		return err
	}
	return r.finish(ctx, members, events)
}

// convergeWire does the same with every connection tapped, not timed. It
// returns the bytes on the wire for each event and node that it had to reach.
func (b *bench) convergeWire(nodes, writers, events int) (perEvent float64, err error) {
	ctx, cancel := context.WithTimeout(b.ctx, rowTimeout)
	defer cancel()
	t := new(taps)
	defer func() { err = errors.Join(err, t.close()) }()
	members, err := b.cluster(ctx, nodes, t)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, closeAll(members)) }()
	before := t.bytes()
	if err := write(ctx, members, events, writers); err != nil {
		return 0, err
	}
	if err := equal(ctx, members, nodes+events); err != nil {
		return 0, err
	}
	return float64(t.bytes()-before) / float64(events*(nodes-1)), nil
}
