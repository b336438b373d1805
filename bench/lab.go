package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"
)

// lab is where one row is measured on one system: a process of its own.
type lab struct {
	system  system
	dir     string        // for all data
	writers int           // on each node
	setup   time.Duration // what comes before may take so long
	limit   time.Duration // of what is timed

	nodes  []node
	delays []*delay
	result result
}

// result is what came of a row on a system.
type result struct {
	Events  int
	Took    time.Duration
	Held    time.Duration // until all had all events, where it was noted; the heads may have differed still
	NotDone string        // how far it got; empty when it was done
	Failed  string        // what is wrong, where it should have been right
	Notes   []string      // sentences for people
}

func (l *lab) note(format string, args ...any) {
	l.result.Notes = append(l.result.Notes, fmt.Sprintf(format, args...))
}

// open starts a node on a directory of its own.
func (l *lab) open(ctx context.Context) (node, error) {
	dir, err := os.MkdirTemp(l.dir, "")
	if err != nil {
		return nil, err
	}
	n, err := l.system.open(ctx, dir)
	if err != nil {
		return nil, err
	}
	l.nodes = append(l.nodes, n)
	return n, nil
}

// close ends everything that the lab opened.
func (l *lab) close() error {
	var err error
	for _, n := range l.nodes {
		err = errors.Join(err, n.close())
	}
	for _, d := range l.delays {
		err = errors.Join(err, d.close())
	}
	return err
}

// far returns an address that leads to addr over a connection with that round
// trip; addr itself for 0.
func (l *lab) far(addr string, rtt time.Duration) (string, error) {
	if rtt == 0 {
		return addr, nil
	}
	d := &delay{rtt: rtt}
	l.delays = append(l.delays, d)
	return d.via(addr)
}

// cluster opens n nodes, all connected, and has one after the other append an
// event that all receive: then gossip flows.
func (l *lab) cluster(ctx context.Context, n int) (nodes []node, replicas []replica, err error) {
	for range n {
		m, err := l.open(ctx)
		if err != nil {
			return nil, nil, err
		}
		r, err := m.join(ctx, topicName)
		if err != nil {
			return nil, nil, err
		}
		for _, other := range nodes {
			if err := m.connect(ctx, other.addr()); err != nil {
				return nil, nil, err
			}
		}
		nodes, replicas = append(nodes, m), append(replicas, r)
	}
	for _, r := range replicas {
		if err := r.ready(ctx, n-1); err != nil {
			return nil, nil, fmt.Errorf("gossip: %w", err)
		}
	}
	first := len(l.nodes) // unlike the other side's
	for i, r := range replicas {
		err := r.append(ctx, entry{fmt.Sprintf("first-%d-%d", first, i), make([]byte, payloadSize)})
		if err == nil {
			err = equal(ctx, replicas, i+1)
		}
		if err != nil {
			return nil, nil, fmt.Errorf("first events: %w", progress(err, replicas, i+1))
		}
	}
	return nodes, replicas, nil
}

// timed measures work and then the time until all replicas are equal, with the
// events and so many before them.
func (l *lab) timed(ctx context.Context, events int, all []replica, before int, work func(context.Context) error) error {
	want := before + events
	return l.measure(ctx, events, func(ctx context.Context) error {
		start := time.Now()
		err := work(ctx)
		if err == nil {
			err = hold(ctx, all, want)
		}
		if err != nil {
			return progress(err, all, want)
		}
		l.result.Held = time.Since(start)
		return equal(ctx, all, want)
	}, func(ctx context.Context) error { return verify(ctx, all, want) })
}

// measure times work under the lab's limit and then verifies what it left. A
// work that the limit ended is not done, and that is a result.
func (l *lab) measure(ctx context.Context, events int, work, verify func(context.Context) error) error {
	l.result.Events = events
	limited, cancel := context.WithTimeout(ctx, l.limit)
	defer cancel()
	start := time.Now()
	err := work(limited)
	l.result.Took = time.Since(start)
	if err != nil && limited.Err() != nil && ctx.Err() == nil {
		l.result.NotDone = err.Error()
		return nil
	}
	if err != nil {
		return err
	}
	return verify(ctx)
}

// errHeads is what is left to wait for when all events are everywhere.
var errHeads = errors.New("all events are everywhere, but the heads differ")

// hold returns once all replicas hold want events.
func hold(ctx context.Context, all []replica, want int) error {
	for _, r := range all {
		if err := r.wait(ctx, want); err != nil {
			return err
		}
	}
	return nil
}

// equal returns once all replicas hold want events and have equal heads.
func equal(ctx context.Context, all []replica, want int) error {
	if err := hold(ctx, all, want); err != nil {
		return err
	}
	err := poll(ctx, func() (bool, error) { return sameHeads(ctx, all) })
	if ctx.Err() != nil {
		return errHeads
	}
	return err
}

func sameHeads(ctx context.Context, all []replica) (bool, error) {
	first, err := all[0].heads(ctx)
	for _, r := range all[1:] {
		h, e := r.heads(ctx)
		if err = errors.Join(err, e); err != nil || h != first {
			return false, err
		}
	}
	return true, err
}

// progress says in err, unless it is nil, how far the replicas got.
func progress(err error, all []replica, want int) error {
	if err == nil || errors.Is(err, errHeads) {
		return err
	}
	var counts []int
	for _, r := range all {
		n, heldErr := r.held(context.Background())
		if heldErr != nil {
			return errors.Join(err, heldErr)
		}
		counts = append(counts, n)
	}
	return fmt.Errorf("%d to %d of %d events on each node: %w", slices.Min(counts), slices.Max(counts), want, err)
}

// verify holds each replica to exactly want events in its store, and all to
// equal heads.
func verify(ctx context.Context, all []replica, want int) error {
	for i, r := range all {
		n, err := r.count(ctx)
		if err != nil {
			return err
		}
		if n != want {
			return fmt.Errorf("node %d has %d events in its store, want %d", i, n, want)
		}
	}
	same, err := sameHeads(ctx, all)
	if err == nil && !same {
		err = errors.New("heads were equal and differ now")
	}
	return err
}
