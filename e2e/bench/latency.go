package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/cairn-p2p/cairn/types"
)

// pace is the time between two events of latencies: 100 a second.
const pace = 10 * time.Millisecond

// latencies measures the time from a call of Append on one node until a
// subscriber on another sees the event, both nodes durable. The two rows are
// percentiles of one run, the one with the least median; all but the latency and
// its limit is the same in both.
func (b *bench) latencies() error {
	const name = "latency, 2 nodes, 100 events/s"
	events := b.scaled(1000)
	var best []time.Duration
	p50, err := b.row(name, func(ctx context.Context, r *row) error {
		times, err := b.latency(ctx, r, events, nil)
		if err == nil && (best == nil || r.latency < percentile(best, 50)) {
			best = times
		}
		return err
	})
	if p50 == nil || err != nil {
		return err
	}
	if p50.wire, err = b.latencyWire(events); err != nil {
		return fmt.Errorf("%s, tapped: %w", name, err)
	}
	p99 := *p50
	p50.name, p50.limits = name+", p50", p50.limits[:1]
	p50.atMost(1500 * time.Microsecond)
	p99.name, p99.limits, p99.latency = name+", p99", p99.limits[1:], percentile(best, 99)
	p99.atMost(5 * time.Millisecond)
	b.rows = append(b.rows, p99)
	return nil
}

// latency returns how long each event took, sorted; r's is the median, with the
// limits of the median and of the 99th percentile.
func (b *bench) latency(ctx context.Context, r *row, events int, taps *taps) ([]time.Duration, error) {
	members, err := b.cluster(ctx, 2, taps)
	if err != nil {
		return nil, err
	}
	defer closeAll(members) //nolint:errcheck // they were closed, or an error is on its way
	r.events = events
	var times []time.Duration
	err = around(ctx, r, []probe{b.exchange(50), b.exchange(99)}, func() error {
		before := taps.bytes()
		err := b.measure(ctx, r, func(ctx context.Context) (err error) {
			times, err = observe(ctx, members[0], members[1], events)
			return err
		})
		if err != nil {
			return err
		}
		r.wire = float64(taps.bytes()-before) / float64(events)
		return equal(ctx, members, len(members)+events)
	})
	if err != nil {
		return nil, err
	}
	slices.Sort(times)
	r.latency = percentile(times, 50)
	return times, r.finish(ctx, members, events)
}

// latencyWire does the same with every connection tapped, not timed. It returns
// the bytes on the wire for each event.
func (b *bench) latencyWire(events int) (perEvent float64, err error) {
	ctx, cancel := context.WithTimeout(b.ctx, rowTimeout)
	defer cancel()
	t := new(taps)
	var r row
	_, err = b.latency(ctx, &r, events, t)
	return r.wire, errors.Join(err, t.close())
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

// exchange is the p-th percentile of two appends with their fsyncs, one after the
// other, and half a mean round trip: nothing durable on both sides is faster.
func (b *bench) exchange(p int) probe {
	return probe{fmt.Sprintf("2 fsyncs + ½ round trip, p%d", p), func(ctx context.Context) (float64, error) {
		took, err := b.fsyncTimes()
		if err != nil {
			return 0, err
		}
		trip, err := roundTrip(ctx)
		return 1 / (percentile(pairs(took), p) + trip/2).Seconds(), err
	}}
}

// pairs returns what each two times took together that follow each other, sorted.
func pairs(took []time.Duration) []time.Duration {
	var sums []time.Duration
	for pair := range slices.Chunk(took, 2) {
		if len(pair) == 2 {
			sums = append(sums, pair[0]+pair[1])
		}
	}
	slices.Sort(sums)
	return sums
}

// percentile returns the p-th percentile of sorted times.
func percentile(sorted []time.Duration, p int) time.Duration {
	return sorted[min(len(sorted)-1, len(sorted)*p/100)]
}
