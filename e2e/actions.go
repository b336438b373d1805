package e2e

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"
)

// action is something that happens at a time.
type action struct {
	at   time.Duration
	name string
	do   func(context.Context) error
}

// schedule makes actions of the faults, in the order of their times; the last
// mends all that is broken by then.
func (r *run) schedule() []action {
	var all []action
	for number, f := range r.s.Faults {
		nodes := r.draw(f)
		name := fmt.Sprintf("%s of %v", f.Kind, nodes)
		if f.Kind == Heal {
			name = "heal"
		}
		if f.Kind == RestoreOld {
			all = append(all, action{f.At - f.Age, fmt.Sprintf("copy of %v", nodes), func(ctx context.Context) error {
				return r.each(nodes, func(h *host) error { return r.backUp(ctx, number, h) })
			}})
		}
		all = append(all, action{f.At, name, func(ctx context.Context) error { return r.begin(ctx, number, f, nodes) }})
		if end := f.At + f.For; f.For > 0 && end < r.s.Duration {
			all = append(all, action{end, "end of " + name, func(ctx context.Context) error { return r.end(ctx, number, f, nodes) }})
		}
	}
	slices.SortStableFunc(all, func(a, b action) int { return cmp.Compare(a.at, b.at) })
	return append(all, action{r.s.Duration, "end of all faults", r.mend})
}

// draw returns the nodes that a fault is about, in order.
func (r *run) draw(f Fault) []int {
	if f.Kind == Heal {
		return nil
	}
	if len(f.Nodes) > 0 {
		return slices.Sorted(slices.Values(f.Nodes))
	}
	pick := f.Pick
	if pick == 0 {
		pick = 1
		if f.Kind == Partition {
			pick = max(r.s.Nodes/2, 1)
		}
	}
	nodes := r.rng.Perm(r.s.Nodes)
	if f.Kind == RestoreOld { // of what is there to be copied
		joins := r.s.joins()
		nodes = slices.DeleteFunc(nodes, func(i int) bool {
			at, late := joins[i]
			return late && at >= f.At-f.Age
		})
	}
	nodes = nodes[:min(pick, len(nodes))]
	slices.Sort(nodes)
	return nodes
}

func (r *run) begin(ctx context.Context, number int, f Fault, nodes []int) error {
	switch f.Kind {
	case Partition, Lose, Delay, Slow, DiskFull, ClockSkew:
		r.set(r.now.with(number, newShape(f, nodes)))
	case Heal:
		r.set(r.now.healed())
	case Byzantine:
		return r.attack(ctx, number, f, nodes)
	case Crash:
		return r.crash(nodes)
	case Leave:
		return r.leave(nodes)
	case Join:
		return r.each(nodes, func(h *host) error { return r.open(ctx, h) })
	case Restart:
		if err := r.leave(nodes); err != nil {
			return err
		}
		return r.each(nodes, func(h *host) error { return r.open(ctx, h) })
	case RestoreOld:
		return r.each(nodes, func(h *host) error { return r.restore(ctx, number, h) })
	}
	return nil
}

func (r *run) end(ctx context.Context, number int, f Fault, nodes []int) error {
	switch f.Kind {
	case Crash, Leave:
		return r.each(nodes, func(h *host) error { return r.open(ctx, h) })
	case Byzantine:
		return r.endAttack(ctx, number)
	default:
		r.set(r.now.without(number))
		return nil
	}
}

// mend undoes all that is in force.
func (r *run) mend(ctx context.Context) error {
	r.set(r.now.mended())
	for _, h := range r.hosts {
		if err := r.open(ctx, h); err != nil {
			return err
		}
	}
	return nil
}

// leave closes nodes, all at once: one that cannot reach others may take a
// while.
func (r *run) leave(nodes []int) error {
	var group errgroup.Group
	for _, i := range nodes {
		group.Go(r.hosts[i].close)
	}
	return group.Wait()
}

func (r *run) set(c conditions) {
	r.now = c
	r.seen.Store(&c)
	r.net.set(c)
}

func (r *run) each(nodes []int, do func(*host) error) error {
	for _, i := range nodes {
		if err := do(r.hosts[i]); err != nil {
			return fmt.Errorf("node %d: %w", i, err)
		}
	}
	return nil
}
