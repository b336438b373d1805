package main

import (
	"context"
	"fmt"
)

// growthGoal bounds what an event may cost, in time and in live heap, beside one
// in the same work of a tenth of the size. Constant costs only fall; half as much
// again is more than noise.
const growthGoal = 1.5

// growth measures the same work at three sizes, each ten times the one before:
// what an event costs should not depend on how many there are.
func (b *bench) growth() error {
	for _, s := range []series{
		{
			"append, %d events, 64 writers", 10_000,
			func(name string, n int) (*row, error) {
				return b.row(name, func(ctx context.Context, r *row) error { return b.append(ctx, r, 1, 64, n) })
			},
		},
		{
			"join, %d events, batch witnesses", 10_000,
			func(name string, n int) (*row, error) { return b.joinRow(name, n, appendedTogether, 0, false) },
		},
		{
			"join, %d events, single witnesses", 1000,
			func(name string, n int) (*row, error) { return b.joinRow(name, n, 1, 0, false) },
		},
		{
			"converge, %d events, 3 nodes, 16 writers each", 1000,
			func(name string, n int) (*row, error) {
				return b.row(name, func(ctx context.Context, r *row) error { return b.converge(ctx, r, 3, 16, n) })
			},
		},
		{
			"heal, 3+3 nodes, %d events a side", 100,
			func(name string, n int) (*row, error) {
				return b.row(name, func(ctx context.Context, r *row) error { return b.heal(ctx, r, n, nil) })
			},
		},
	} {
		if err := b.grow(s); err != nil {
			return err
		}
	}
	for _, n := range []int{1000, 10_000, 100_000} {
		if err := b.topicsOf(n); err != nil {
			return err
		}
	}
	return nil
}

// series is one work at three sizes, from smallest on. measure returns nil when
// the row was not selected.
type series struct {
	name     string // with the size
	smallest int
	measure  func(name string, n int) (*row, error)
}

func (b *bench) grow(s series) error {
	var before *row
	for n, i := s.smallest, 0; i < 3; n, i = n*10, i+1 {
		r, err := b.measureOne(s, n)
		if err != nil {
			return err
		}
		if r != nil && before != nil {
			r.grewFrom(before)
		}
		if before = nil; r != nil {
			was := *r
			before = &was
		}
	}
	return nil
}

func (b *bench) measureOne(s series, n int) (*row, error) {
	n = b.scaled(n)
	name := fmt.Sprintf("growth, "+s.name, n)
	if !b.selected.MatchString(name) {
		return nil, nil
	}
	return s.measure(name, n)
}

// grewFrom sets the goal of a row beside the one of a tenth of its size.
func (r *row) grewFrom(before *row) {
	perEvent := before.rate() / r.rate()
	heap := float64(r.live) / float64(before.live)
	r.notes = append(r.notes, fmt.Sprintf("%.2f × the time for an event and %.2f × the live heap of a tenth of it", perEvent, heap))
	r.goal, r.met = fmt.Sprintf("≤ %.1f × a tenth's", growthGoal), perEvent <= growthGoal && heap <= growthGoal
}
