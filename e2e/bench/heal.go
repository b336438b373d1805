package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
)

const (
	side          = 3 // nodes
	sideWriters   = 4 // on each
	eventsPerSide = 1000
)

// heals measures two groups of nodes that wrote while they were apart, from the
// moment that one link between them is dialled until all are equal.
func (b *bench) heals() error {
	events := b.scaled(eventsPerSide)
	name := fmt.Sprintf("heal, %d+%d nodes, %d events a side", side, side, events)
	r, err := b.row(name, func(ctx context.Context, r *row) error { return b.heal(ctx, r, events, nil) })
	if r == nil || err != nil {
		return err
	}
	r.atMost(500 * time.Millisecond)
	t := new(taps)
	ctx, cancel := context.WithTimeout(b.ctx, rowTimeout)
	defer cancel()
	if err := errors.Join(b.heal(ctx, &row{}, events, t), t.close()); err != nil {
		return fmt.Errorf("%s, tapped: %w", name, err)
	}
	r.wire = float64(t.bytes()) / float64(2*events)
	return nil
}

// heal puts taps, unless nil, on the one link between the groups.
func (b *bench) heal(ctx context.Context, r *row, events int, taps *taps) error {
	left, err := b.apart(ctx, events)
	if err != nil {
		return err
	}
	defer closeAll(left) //nolint:errcheck // they were closed, or an error is on its way
	right, err := b.apart(ctx, events)
	if err != nil {
		return err
	}
	defer closeAll(right) //nolint:errcheck // as above
	all := slices.Concat(left, right)
	r.events = 2 * events
	probes := []probe{streams(), b.groups(64).per(len(all)), gossips(len(all), aFullMessage)}
	err = around(ctx, r, probes, func() error {
		err := b.measure(ctx, r, func(ctx context.Context) error {
			if err := connect(ctx, left[0], right[0], taps); err != nil {
				return err
			}
			return await(ctx, all, 2*(side+events))
		})
		if err != nil {
			return err
		}
		return check(ctx, all, 2*(side+events))
	})
	if err != nil {
		return err
	}
	return r.finish(ctx, all, 2*events)
}

// apart makes one side, equal in itself.
func (b *bench) apart(ctx context.Context, events int) ([]member, error) {
	members, err := b.cluster(ctx, side, nil)
	if err != nil {
		return nil, err
	}
	if err := write(ctx, members, events, sideWriters); err != nil {
		return nil, errors.Join(err, closeAll(members))
	}
	if err := equal(ctx, members, side+events); err != nil {
		return nil, errors.Join(err, closeAll(members))
	}
	return members, nil
}
