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
	for try := 0; ; try++ {
		// What is written before the meshes stand is lost to b for good, and with it
		// what links to it: so each try has a topic of its own, all of one shard or
		// another.
		name := fmt.Sprint("relayed ", try)
		members := []member{joined(t, a, name), joined(t, b, name)}
		write(t, members[:1], 1, 1)
		ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
		_, err := members[1].Wait(ctx, func(s node.Status) bool { return s.Events == 1 })
		cancel()
		if err != nil && t.Context().Err() == nil {
			continue
		}
		for total := 9; total < 50; total += 8 {
			write(t, members, 4, 1)
			converge(t, members, total)
		}
		break
	}
	for _, r := range []*node.Node{left, right} {
		if len(r.Topics()) != 0 {
			t.Error("a relay keeps a topic")
		}
	}
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
