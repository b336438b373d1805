package e2e

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/cairn-p2p/cairn/node"
	"github.com/cairn-p2p/cairn/types"
)

// relay opens one that knows the given nodes.
func relay(t testing.TB, mode node.DHTMode, known ...*node.Node) *node.Node {
	t.Helper()
	cfg := strangers(mode, known...)
	cfg.Role = node.RoleRelay
	return open(t, cfg)
}

// linked reports whether two nodes are connected.
func linked(a, b *node.Node) bool {
	return slices.ContainsFunc(a.Peers(), func(p node.PeerInfo) bool { return p.ID == b.ID() })
}

// Two replicas at the ends of a row of two relays, which must not connect to each
// other, get what the other publishes by gossip alone: nothing can be fetched from
// a relay.
func TestRelaysForwardGossip(t *testing.T) {
	left := relay(t, node.DHTOff)
	right := relay(t, node.DHTOff, left)
	a, b := open(t, strangers(node.DHTOff, left)), open(t, strangers(node.DHTOff, right))
	a.Refuse(func(id types.PeerID) bool { return id != left.ID() }) // a search would find it
	b.Refuse(func(id types.PeerID) bool { return id != right.ID() })
	// What is lost on the way, as before the meshes stand, is lost to the other for
	// good, and with it what links to it: so each try has a topic of its own, all of
	// one shard or another.
	for try := 0; ; try++ {
		name := fmt.Sprint("relayed ", try)
		if relayed(t, []member{joined(t, a, name), joined(t, b, name)}) {
			break
		}
	}
	for _, r := range []*node.Node{left, right} {
		if len(r.Topics()) != 0 {
			t.Error("a relay keeps a topic")
		}
	}
}

// relayed appends at both ends, again and again, and reports whether all of it
// came to the other.
func relayed(t testing.TB, ends []member) bool {
	t.Helper()
	within := 500 * time.Millisecond // the first ones, until the meshes stand
	for n, total := 1, 2; total < 50; n, total = 4, total+8 {
		write(t, ends, n, 1)
		for _, end := range ends {
			ctx, cancel := context.WithTimeout(t.Context(), within)
			_, err := end.Wait(ctx, func(s node.Status) bool { return s.Events == uint64(total) })
			cancel()
			if err != nil {
				return false
			}
		}
		within = 20 * time.Second
	}
	same(t, ends, 42)
	return true
}

// Two replicas that know only a relay find each other through its DHT, and then
// fetch what gossip did not bring.
func TestReplicasFindEachOtherThroughRelay(t *testing.T) {
	r := relay(t, node.DHTServer)
	a := start(t, strangers(node.DHTClient, r))
	write(t, []member{a}, 50, 4)
	b := start(t, strangers(node.DHTClient, r))
	write(t, []member{b}, 50, 4)
	converge(t, []member{a, b}, 100)
	if !linked(a.node, b.node) {
		t.Error("they are equal, and not connected")
	}
	if len(r.Topics()) != 0 {
		t.Error("the relay keeps a topic")
	}
}

// joined is a topic of a node that joins it.
func joined(t testing.TB, n *node.Node, name string) member {
	t.Helper()
	topic, err := n.Topic(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	return member{topic, n}
}
