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
	const total, maxLost = 42, 3
	for try, lost := 0, 0; ; try++ {
		name := fmt.Sprint("relayed ", try)
		came := relayed(t, []member{joined(t, a, name), joined(t, b, name)}, total)
		if came == total {
			break
		}
		if came > 0 { // the meshes stood
			lost++
		}
		if lost > maxLost {
			t.Fatalf("%d times something was lost behind events that had come both ways", lost)
		}
	}
	for _, r := range []*node.Node{left, right} {
		if len(r.Topics()) != 0 {
			t.Error("a relay keeps a topic")
		}
	}
}

// relayed appends up to total events at both ends, first one and then four at
// each, and returns how many came to the other before something did not.
func relayed(t testing.TB, ends []member, total int) (came int) {
	t.Helper()
	within := 500 * time.Millisecond // the first ones, until the meshes stand
	for n := 1; came < total; n = 4 {
		write(t, ends, n, 1)
		want := came + n*len(ends)
		for _, end := range ends {
			ctx, cancel := context.WithTimeout(t.Context(), within)
			_, err := end.Wait(ctx, func(s node.Status) bool { return s.Events == uint64(want) })
			cancel()
			if err != nil {
				return came
			}
		}
		came, within = want, 20*time.Second
	}
	same(t, ends, total)
	return came
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
