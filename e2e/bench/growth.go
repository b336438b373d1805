package main

import (
	"context"
	"fmt"
)

// growth measures the same work at three sizes, each ten times the one before:
// what an event costs should not depend on how many there are.
func (b *bench) growth() error {
	for _, n := range []int{10_000, 100_000, 1_000_000} {
		events := b.scaled(n)
		name := fmt.Sprintf("growth, append, %d events, 64 writers", n)
		if _, err := b.row(name, func(ctx context.Context, r *row) error { return b.append(ctx, r, 1, 64, events) }); err != nil {
			return err
		}
		name = fmt.Sprintf("growth, join, %d events, batch witnesses", n)
		if b.selected.MatchString(name) {
			if err := b.joinRow(name, events, appendedTogether, 0, false); err != nil {
				return err
			}
		}
	}
	for _, n := range []int{1000, 10_000, 100_000} {
		events := b.scaled(n)
		name := fmt.Sprintf("growth, converge, %d events, 3 nodes, 16 writers each", n)
		if _, err := b.row(name, func(ctx context.Context, r *row) error { return b.converge(ctx, r, 3, 16, events) }); err != nil {
			return err
		}
		name = fmt.Sprintf("growth, heal, 3+3 nodes, %d events a side", n/10)
		if _, err := b.row(name, func(ctx context.Context, r *row) error { return b.heal(ctx, r, b.scaled(n/10), nil) }); err != nil {
			return err
		}
	}
	return nil
}
