package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"github.com/cairn-p2p/cairn/node"
	"github.com/cairn-p2p/cairn/types"
)

// slowest is the least that more writers of a topic may reach of what fewer
// did. Anything below 1 is for the machine's noise.
const slowest = 0.9

// appends measures durable appends of one event a call. It fails when 64
// concurrent writers are not faster than one, or more of them on one topic are
// slower than fewer: a peer's topics went from 8,048 to 2,833 events a second.
func (b *bench) appends() error { return b.appendRows(b.append) }

// appendRows measures all rows, and compares them then.
func (b *bench) appendRows(measure func(ctx context.Context, r *row, topics, writers, events int) error) error {
	var slower error
	for _, topics := range []int{1, 1000} {
		rates := map[int]float64{} // by writers
		for _, test := range []struct{ writers, events int }{{1, 3000}, {16, 20_000}, {64, 60_000}, {256, 60_000}} {
			name := fmt.Sprintf("append, %s, %s", count(topics, "topic"), count(test.writers, "writer"))
			r, err := b.row(name, func(ctx context.Context, r *row) error {
				return measure(ctx, r, topics, test.writers, b.scaled(test.events))
			})
			if err != nil {
				return errors.Join(slower, err)
			}
			if r == nil {
				continue
			}
			if topics == 1 {
				setAppendGoal(r, test.writers)
			}
			rates[test.writers] = r.rate()
		}
		slower = errors.Join(slower, checkWriters(topics, rates))
	}
	return slower
}

// checkWriters compares the rates of rows that differ in their writers alone.
func checkWriters(topics int, rates map[int]float64) error {
	var slower error
	writers := slices.Sorted(maps.Keys(rates))
	for i, more := range writers {
		for _, fewer := range writers[:i] {
			least := slowest * rates[fewer]
			switch {
			case fewer == 1 && more == 64:
				least = rates[fewer]
			case topics > 1:
				continue
			}
			if rates[more] <= least {
				slower = errors.Join(slower, fmt.Errorf("%s: %s append %.0f events/s, %d reached %.0f",
					count(topics, "topic"), count(more, "writer"), rates[more], fewer, rates[fewer]))
			}
		}
	}
	return slower
}

func setAppendGoal(r *row, writers int) {
	switch writers {
	case 1:
		r.goal, r.met = "≥ 0.65 × append+fsync", r.rate() >= 0.65*r.limits[0].value
	case 64:
		r.atLeast(50_000)
	}
}

// append has writers share the events, each going from topic to topic, and
// holds a node that opens the same data again to the same state.
func (b *bench) append(ctx context.Context, r *row, topics, writers, events int) error {
	m, err := b.fresh(ctx)
	if err != nil {
		return err
	}
	defer closeAll([]member{m}) //nolint:errcheck // it was closed, or an error is on its way
	all, err := joinMany(ctx, m.node, topics)
	if err != nil {
		return err
	}
	r.events = events
	probes := []probe{b.fsyncs(), b.groups(writers), signs()}
	err = around(ctx, r, probes, func() error {
		return b.measure(ctx, r, func(ctx context.Context) error { return spread(ctx, all, events, writers) })
	})
	if err != nil {
		return err
	}
	before, heads, err := summary(ctx, all, events)
	if err != nil {
		return err
	}
	if r.body, err = bodySize(member{Topic: all[0]}); err != nil {
		return err
	}
	if err := m.node.Close(); err != nil {
		return err
	}
	size, err := diskUsage(m.dir)
	if err != nil {
		return err
	}
	r.disk, r.heads = float64(size)/float64(events), heads
	return b.reopened(ctx, m.dir, topics, events, before)
}

// reopened opens the data in dir and compares it with what was acknowledged.
func (b *bench) reopened(ctx context.Context, dir string, topics, events int, before []types.Hash) error {
	m, err := open(ctx, dir)
	if err != nil {
		return err
	}
	defer m.node.Close() //nolint:errcheck // it was only read
	all, err := joinMany(ctx, m.node, topics)
	if err != nil {
		return err
	}
	after, _, err := summary(ctx, all, events)
	if err != nil {
		return fmt.Errorf("opened again: %w", err)
	}
	for i := range before {
		if before[i] != after[i] {
			return fmt.Errorf("opened again: topic %d has heads hash %x, was %x", i, after[i], before[i])
		}
	}
	return nil
}

func joinMany(ctx context.Context, n *node.Node, topics int) ([]*node.Topic, error) {
	all := make([]*node.Topic, topics)
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(64)
	for i := range all {
		group.Go(func() (err error) {
			all[i], err = n.Topic(ctx, fmt.Sprintf("append %d", i))
			return err
		})
	}
	return all, group.Wait()
}

// spread appends events in all, the next to the next topic.
func spread(ctx context.Context, topics []*node.Topic, events, writers int) error {
	var next atomic.Int64
	group, ctx := errgroup.WithContext(ctx)
	for w := range writers {
		group.Go(func() error {
			for k := int(next.Add(1)) - 1; k < events; k = int(next.Add(1)) - 1 {
				if _, err := topics[k%len(topics)].Append(ctx, payload(0, w, k)); err != nil {
					return err
				}
			}
			return nil
		})
	}
	return group.Wait()
}

// summary returns the heads hash of each topic and the most heads that one has.
// It fails when the topics do not hold so many events in all, or one has several
// heads: appends on one node are chained, and a peer's heads explode with its
// writers.
func summary(ctx context.Context, topics []*node.Topic, events int) (hashes []types.Hash, heads int, err error) {
	total := 0
	for i, t := range topics {
		s, err := t.State(ctx)
		if err != nil {
			return nil, 0, err
		}
		hashes = append(hashes, s.HeadsHash)
		heads = max(heads, len(s.Heads))
		total += int(s.Events)
		if len(s.Heads) > 1 {
			return nil, 0, fmt.Errorf("topic %d has %d heads, and all is one node's", i, len(s.Heads))
		}
	}
	if total != events {
		return nil, 0, fmt.Errorf("%d events, want %d", total, events)
	}
	return hashes, heads, nil
}
