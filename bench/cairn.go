package main

import (
	"context"

	"github.com/cairn-p2p/cairn/crdt"
	cairnnode "github.com/cairn-p2p/cairn/node"
	"github.com/cairn-p2p/cairn/types"
)

// cairn is the system with its defaults.
func cairn() system {
	return system{
		name:  "Cairn",
		setup: "Badger v4, TCP and Noise, gossipsub, its defaults. An append returns after the fsync of its commit; what is received is fsynced before it counts.",
		open: func(ctx context.Context, dir string) (node, error) {
			n, err := cairnnode.Open(ctx, cairnnode.Config{Dir: dir, Listen: []string{listen}, MinFree: -1})
			if err != nil {
				return nil, err
			}
			return cairnNode{n}, nil
		},
	}
}

type cairnNode struct{ n *cairnnode.Node }

func (c cairnNode) addr() string                                   { return c.n.Addrs()[0] }
func (c cairnNode) connect(ctx context.Context, addr string) error { return c.n.Connect(ctx, addr) }
func (c cairnNode) close() error                                   { return c.n.Close() }

func (c cairnNode) remotes() []string {
	var all []string
	for _, p := range c.n.Peers() {
		all = append(all, p.Addrs...)
	}
	return all
}

func (c cairnNode) join(ctx context.Context, topic string) (replica, error) {
	t, err := c.n.Topic(ctx, topic)
	if err != nil {
		return nil, err
	}
	return cairnReplica{t}, nil
}

type cairnReplica struct{ t *cairnnode.Topic }

func (r cairnReplica) append(ctx context.Context, e entry) error {
	_, err := r.t.Append(ctx, e.payload)
	return err
}

func (r cairnReplica) appendTogether(ctx context.Context, all []entry) error {
	drafts := make([]crdt.Draft, len(all))
	for i, e := range all {
		drafts[i].Payload = e.payload
	}
	_, err := r.t.AppendBatch(ctx, drafts)
	return err
}

// ready has nothing to wait for: what gossip does not reach, syncs find.
func (r cairnReplica) ready(context.Context, int) error { return nil }

func (r cairnReplica) wait(ctx context.Context, events int) error {
	_, err := r.t.Wait(ctx, func(s cairnnode.Status) bool { return s.Events >= uint64(events) })
	return err
}

func (r cairnReplica) held(ctx context.Context) (int, error) {
	s, err := r.t.State(ctx)
	return int(s.Events), err
}

func (r cairnReplica) heads(ctx context.Context) (string, error) {
	s, err := r.t.State(ctx)
	return string(s.HeadsHash[:]), err
}

func (r cairnReplica) count(context.Context) (int, error) {
	n := 0
	for _, err := range r.t.Query(types.Query{}) {
		if err != nil {
			return n, err
		}
		n++
	}
	return n, nil
}
