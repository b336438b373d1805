package main

import (
	"context"
	"fmt"
	"runtime"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
)

const (
	payloadSize = 256
	topicName   = "bench"
	// side is the number of nodes on each side of a partition.
	side = 3
	// manyTopics is the number of topics of the row that is about topics.
	manyTopics = 1000
	// together is the number of entries of a call in the row that appends so.
	together = 64
	// longLink is the round trip of the join over a long connection.
	longLink = 20 * time.Millisecond
)

// work is one row of the table: the same for every system.
type work struct {
	name  string
	quick bool // part of --quick
	run   func(context.Context, *lab) error
}

// works are all rows. The numbers of events are for all nodes together, but
// for healing, where they are for each side.
func works() []work {
	var all []work
	add := func(quick bool, run func(context.Context, *lab) error, format string, args ...any) {
		all = append(all, work{fmt.Sprintf(format, args...), quick, run})
	}
	for _, writers := range []int{1, 16, 64} {
		add(false, appending(writers, 10_000), "append 10,000, %d writers", writers)
	}
	for _, nodes := range []int{3, 5} {
		add(nodes == 3, converging(nodes, 1000), "converge %d nodes, 1,000", nodes)
		add(false, converging(nodes, 10_000), "converge %d nodes, 10,000", nodes)
	}
	add(true, joining(1000, 1, 0), "join 1,000")
	add(false, joining(10_000, 1, 0), "join 10,000")
	add(false, joining(10_000, together, 0), "join 10,000 appended %d a call", together)
	add(false, joining(1000, 1, longLink), "join 1,000, %v round trip", longLink)
	add(false, joining(10_000, 1, longLink), "join 10,000, %v round trip", longLink)
	add(false, healing(1000), "heal %d+%d nodes, 1,000 a side", side, side)
	add(false, topics(manyTopics), "%d topics, one event each to a second node", manyTopics)
	return all
}

// appending has writers append events in all on one node, one a call.
func appending(writers, events int) func(context.Context, *lab) error {
	return func(ctx context.Context, l *lab) error {
		n, err := l.open(ctx)
		if err != nil {
			return err
		}
		r, err := n.join(ctx, topicName)
		if err != nil {
			return err
		}
		all := []replica{r}
		return l.timed(ctx, events, all, 0, func(ctx context.Context) error {
			return write(ctx, all, 0, events, writers)
		})
	}
}

// converging has all nodes append at once.
func converging(nodes, events int) func(context.Context, *lab) error {
	return func(ctx context.Context, l *lab) error {
		_, all, err := l.cluster(ctx, nodes)
		if err != nil {
			return err
		}
		return l.timed(ctx, events, all, nodes, func(ctx context.Context) error {
			return write(ctx, all, 0, events, l.writers)
		})
	}
}

// joining connects a fresh node to one that holds the topic, appended so many
// a call, over a connection with that round trip.
func joining(events, perCall int, rtt time.Duration) func(context.Context, *lab) error {
	return func(ctx context.Context, l *lab) error {
		server, err := l.open(ctx)
		if err != nil {
			return err
		}
		full, err := server.join(ctx, topicName)
		if err != nil {
			return err
		}
		if err := fill(ctx, full, events, perCall); err != nil {
			return err
		}
		n, err := l.open(ctx)
		if err != nil {
			return err
		}
		r, err := n.join(ctx, topicName)
		if err != nil {
			return err
		}
		addr, err := l.far(server.addr(), rtt)
		if err != nil {
			return err
		}
		err = l.timed(ctx, events, []replica{full, r}, 0, func(ctx context.Context) error {
			return n.connect(ctx, addr)
		})
		if err != nil {
			return err
		}
		// A short cut that the nodes found by themselves would spoil the row.
		near := strings.Split(addr, "/p2p/")[0]
		for _, a := range n.remotes() {
			if !strings.HasPrefix(a, near) {
				return fmt.Errorf("connected to %s, not to %s alone", a, near)
			}
		}
		return nil
	}
}

// healing joins two groups that wrote apart by one connection.
func healing(events int) func(context.Context, *lab) error {
	return func(ctx context.Context, l *lab) error {
		var nodes []node
		var all []replica
		for range 2 {
			group, replicas, err := l.cluster(ctx, side)
			if err != nil {
				return err
			}
			if err := write(ctx, replicas, len(nodes), events, l.writers); err != nil {
				return err
			}
			if err := equal(ctx, replicas, side+events); err != nil {
				return fmt.Errorf("one side: %w", progress(err, replicas, side+events))
			}
			nodes, all = append(nodes, group...), append(all, replicas...)
		}
		return l.timed(ctx, 2*events, all, 2*side, func(ctx context.Context) error {
			return nodes[0].connect(ctx, nodes[side].addr())
		})
	}
}

// topics has two nodes share topics, one of them append an event to each, and
// the other receive them. It notes what the idle topics cost.
func topics(number int) func(context.Context, *lab) error {
	return func(ctx context.Context, l *lab) error {
		var nodes []node
		for range 2 {
			n, err := l.open(ctx)
			if err != nil {
				return err
			}
			nodes = append(nodes, n)
		}
		goroutines, heap := runtime.NumGoroutine(), heapInUse()
		start := time.Now()
		replicas := make([][]replica, len(nodes))
		for i, n := range nodes {
			for k := range number {
				r, err := n.join(ctx, fmt.Sprintf("%s %d", topicName, k))
				if err != nil {
					return err
				}
				replicas[i] = append(replicas[i], r)
			}
		}
		took, all := time.Since(start), float64(len(nodes)*number)
		l.note("joining a topic took %.2f ms; an idle one has %.2f goroutines and %.1f KiB of heap",
			took.Seconds()*1e3/all, float64(runtime.NumGoroutine()-goroutines)/all, float64(heapInUse()-heap)/all/1024)
		if err := nodes[0].connect(ctx, nodes[1].addr()); err != nil {
			return err
		}
		for _, r := range replicas[0] {
			if err := r.ready(ctx, 1); err != nil {
				return fmt.Errorf("gossip: %w", err)
			}
		}
		return l.timedTopics(ctx, replicas)
	}
}

// timedTopics measures an event in each topic of the first node, appended by
// the lab's writers, until the second has them all.
func (l *lab) timedTopics(ctx context.Context, replicas [][]replica) error {
	from, to := replicas[0], replicas[1]
	return l.measure(ctx, len(from), func(ctx context.Context) error {
		group, gctx := errgroup.WithContext(ctx)
		group.SetLimit(l.writers)
		for k, r := range from {
			group.Go(func() error { return r.append(gctx, anEntry(0, 0, k)) })
		}
		if err := group.Wait(); err != nil {
			return err
		}
		for k := range to {
			if err := equal(ctx, []replica{from[k], to[k]}, 1); err != nil {
				return fmt.Errorf("%d of %d topics are equal: %w", k, len(to), err)
			}
		}
		return nil
	}, func(ctx context.Context) error {
		for k := range to {
			if err := verify(ctx, []replica{from[k], to[k]}, 1); err != nil {
				return err
			}
		}
		return nil
	})
}

// heapInUse is the live heap in bytes.
func heapInUse() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// write appends events in all, one a call, by so many concurrent writers on
// each replica at once. The replicas are of nodes first, first+1, and so on:
// no two nodes write the same entry.
func write(ctx context.Context, replicas []replica, first, events, writers int) error {
	group, ctx := errgroup.WithContext(ctx)
	for i, r := range replicas {
		n := share(events, len(replicas), i)
		for w := range writers {
			group.Go(func() error {
				for k := range share(n, writers, w) {
					if err := r.append(ctx, anEntry(first+i, w, k)); err != nil {
						return fmt.Errorf("append on node %d: %w", first+i, err)
					}
				}
				return nil
			})
		}
	}
	return group.Wait()
}

// fill appends events, so many a call.
func fill(ctx context.Context, r replica, events, perCall int) error {
	for done := 0; done < events; {
		all := make([]entry, min(perCall, events-done))
		for i := range all {
			all[i] = anEntry(0, 0, done+i)
		}
		var err error
		if perCall == 1 {
			err = r.append(ctx, all[0])
		} else {
			err = r.appendTogether(ctx, all)
		}
		if err != nil {
			return fmt.Errorf("fill the first node, %d of %d: %w", done, events, err)
		}
		done += len(all)
	}
	return nil
}

// share is the i-th of n about equal parts of total.
func share(total, n, i int) int { return (total + n - 1 - i) / n }

// anEntry is unlike all others of its topic.
func anEntry(node, writer, k int) entry {
	key := fmt.Sprintf("%d-%d-%d", node, writer, k)
	p := make([]byte, payloadSize)
	copy(p, key)
	return entry{key, p}
}
