package main

import (
	"context"
	"fmt"
	"time"
)

// limits measures what the machine can do, without any node.
func (b *bench) limits() error {
	probes := []probe{b.fsyncs(), signs(), verifies(), streams()}
	for _, size := range []int{1, 16, 64, 256, 1000} {
		probes = append(probes, b.groups(size))
	}
	for _, nodes := range []int{3, 5, 10} {
		probes = append(probes, gossips(nodes, aMessage), gossips(nodes, aFullMessage))
	}
	for _, p := range append(probes, b.exchange(50), b.exchange(99)) {
		_, err := b.row("limit: "+p.name, func(ctx context.Context, r *row) error {
			rate, err := p.measure(ctx)
			if err != nil {
				return fmt.Errorf("limit %s: %w", p.name, err)
			}
			r.events, r.took = 1000, time.Duration(1000/rate*float64(time.Second))
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}
