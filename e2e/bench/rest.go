package main

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/cairn-p2p/cairn/node"
	"github.com/cairn-p2p/cairn/types"
)

const (
	restTopics = 1000 // of each node; half of them are the other's too
	// restBefore is longer than any comparison that a change may bring about.
	restBefore = 35 * time.Second
	restTime   = time.Minute
)

// restRow measures what two whole nodes send each other when nothing happens:
// their topics are not the same, and those that both have are equal.
func (b *bench) restRow() error {
	n := b.scaled(restTopics)
	name := fmt.Sprintf("rest, 2 nodes of %d topics, half of them shared", n)
	if !b.selected.MatchString(name) {
		return nil
	}
	all, err := dormantGeneses(n + n/2)
	if err != nil {
		return err
	}
	left, shared, right := all[:n/2], all[n/2:n], all[n:]
	_, err = b.rowOnce(name, func(ctx context.Context, r *row) error {
		return b.rest(ctx, r, slices.Concat(left, shared), slices.Concat(shared, right), shared)
	})
	return err
}

func (b *bench) rest(ctx context.Context, r *row, left, right, shared []*types.Genesis) (err error) {
	t := new(taps)
	defer func() { err = errors.Join(err, t.close()) }()
	var nodes []*node.Node
	for _, geneses := range [][]*types.Genesis{left, right} {
		n, err := b.filled(ctx, geneses)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, n.Close()) }()
		nodes = append(nodes, n)
	}
	addr, err := t.via(nodes[0].Addrs()[0])
	if err != nil {
		return err
	}
	if err := nodes[1].Connect(ctx, addr); err != nil {
		return err
	}
	if err := inSync(ctx, nodes, shared); err != nil {
		return err
	}
	if err := pass(ctx, b.scaledTime(restBefore)); err != nil {
		return err
	}
	total := t.bytes()
	sync, err := syncBytes(nodes[0])
	if err != nil {
		return err
	}
	err = b.measure(ctx, r, func(ctx context.Context) error { return pass(ctx, b.scaledTime(restTime)) })
	if err != nil {
		return err
	}
	total = t.bytes() - total
	after, err := syncBytes(nodes[0])
	if err != nil {
		return err
	}
	r.notes = []string{fmt.Sprintf("%.0f B/s on the wire both ways, of which sync %.0f", float64(total)/r.took.Seconds(), (after-sync)/r.took.Seconds())}
	return inSync(ctx, nodes, shared)
}

// filled opens a node with topics of one event each.
func (b *bench) filled(ctx context.Context, geneses []*types.Genesis) (*node.Node, error) {
	dir, err := b.temp()
	if err != nil {
		return nil, err
	}
	key := ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize))
	if err := fillTopics(ctx, dir, key, geneses); err != nil {
		return nil, fmt.Errorf("fill a node with topics: %w", err)
	}
	return node.Open(ctx, topicConfig(dir, node.DHTServer))
}

// inSync waits until the nodes have found each other's copies of the topics
// equal.
func inSync(ctx context.Context, nodes []*node.Node, topics []*types.Genesis) error {
	for i, n := range nodes {
		for _, g := range topics {
			t, err := n.Topic(ctx, g.Name)
			if err != nil {
				return err
			}
			s, err := t.Wait(ctx, func(s node.Status) bool { return s.State == node.Synced && len(s.Peers) == len(nodes)-1 })
			if err != nil {
				return fmt.Errorf("node %d, topic %s: %s: %s: %w", i, g.Name, s.State, s.Reason, err)
			}
		}
	}
	return nil
}

// pass waits for real time to pass.
func pass(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
