package main

import (
	"context"
	"encoding/binary"
	"fmt"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/cairn-p2p/cairn/types"
)

// pace is the time between two events of latencies: 100 a second.
const pace = 10 * time.Millisecond

// latencies measures the time from a call of Append on one node until a
// subscriber on another sees the event, both nodes durable. A run's rows are
// its percentiles; the best run is the one with the least median.
func (b *bench) latencies() error {
	const name = "latency, 2 nodes, 100 events/s"
	var best []time.Duration
	r, err := b.row(name, func(ctx context.Context, r *row) error {
		times, err := b.latency(ctx, r, b.scaled(1000))
		if best == nil || err == nil && percentile(times, 50) < percentile(best, 50) {
			best = times
		}
		return err
	})
	if r == nil || err != nil {
		return err
	}
	r.atMost(1500 * time.Microsecond)
	p99 := row{name: name + ", p99", took: percentile(best, 99)}
	r.name += ", p50"
	p99.atMost(5 * time.Millisecond)
	b.rows = append(b.rows, p99)
	return nil
}

func (b *bench) latency(ctx context.Context, r *row, events int) ([]time.Duration, error) {
	members, err := b.cluster(ctx, 2, nil)
	if err != nil {
		return nil, err
	}
	defer closeAll(members) //nolint:errcheck // they were closed, or an error is on its way
	var times []time.Duration
	err = around(ctx, r, []probe{b.exchange()}, func() error {
		err := b.measure(ctx, r, func(ctx context.Context) (err error) {
			times, err = observe(ctx, members[0], members[1], events)
			return err
		})
		if err != nil {
			return err
		}
		return equal(ctx, members, len(members)+events)
	})
	if err != nil {
		return nil, err
	}
	slices.Sort(times)
	if err := r.finish(ctx, members, events); err != nil {
		return nil, err
	}
	r.events, r.took = 1, percentile(times, 50) // the limit is compared with one event's time
	return times, nil
}

// observe appends at the pace on one member and returns how long each event
// took to a subscriber of the other.
func observe(ctx context.Context, from, to member, events int) ([]time.Duration, error) {
	end, err := to.End()
	if err != nil {
		return nil, err
	}
	start := time.Now()
	times := make([]time.Duration, events)
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return see(ctx, to, end, start, times) })
	group.Go(func() error {
		ticker := time.NewTicker(pace)
		defer ticker.Stop()
		for i := range events {
			select {
			case <-ticker.C:
			case <-ctx.Done():
				return ctx.Err()
			}
			p := make([]byte, payloadSize)
			binary.BigEndian.PutUint64(p, uint64(i))
			binary.BigEndian.PutUint64(p[8:], uint64(time.Since(start)))
			if _, err := from.Append(ctx, p); err != nil {
				return err
			}
		}
		return nil
	})
	return times, group.Wait()
}

// see notes for each event the time since the one in its payload.
func see(ctx context.Context, m member, after types.Cursor, start time.Time, times []time.Duration) error {
	seen := 0
	for d, err := range m.Subscribe(ctx, after) {
		if err != nil {
			return err
		}
		now := time.Since(start)
		i := binary.BigEndian.Uint64(d.Payload)
		times[i] = now - time.Duration(binary.BigEndian.Uint64(d.Payload[8:]))
		if seen++; seen == len(times) {
			return nil
		}
	}
	return fmt.Errorf("saw %d of %d events: %w", seen, len(times), ctx.Err())
}

// exchange is two appends with their fsyncs and half a round trip, one after
// the other: nothing durable on both sides is faster.
func (b *bench) exchange() probe {
	return probe{"2 fsyncs + ½ round trip", func(ctx context.Context) (float64, error) {
		took, err := b.fsyncTimes()
		if err != nil {
			return 0, err
		}
		slices.Sort(took)
		trip, err := roundTrip(ctx)
		return 1 / (2*percentile(took, 50) + trip/2).Seconds(), err
	}}
}

// percentile returns the p-th percentile of sorted times.
func percentile(sorted []time.Duration, p int) time.Duration {
	return sorted[min(len(sorted)-1, len(sorted)*p/100)]
}
