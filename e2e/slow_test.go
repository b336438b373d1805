package e2e

import (
	"crypto/rand"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cairn-p2p/cairn/crdt"
	"github.com/cairn-p2p/cairn/node"
	"github.com/cairn-p2p/cairn/types"
)

// A publisher that outruns the network accounts for every event: it was sent
// inline, or coalesced to heads. What a slow neighbour's full queue drops is
// counted beside that, and in the end all hold the same.
func TestPublisherOutrunsANeighbour(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const singles, bulk = 1500, 9
		net := newSimulated(Link{Latency: 5 * time.Millisecond, Bandwidth: defaultBandwidth}, 1)
		defer net.close()
		var members []member
		for i := range 3 {
			if i == 2 {
				net.link.Bandwidth = 2_000_000 // of the last one alone
			}
			listen, way := net.place(i)
			m := start(t, node.Config{Network: "sim", DHT: node.DHTOff, MinFree: -1, Listen: []string{listen}, Host: way})
			defer m.node.Close() //nolint:errcheck // start's cleanup reports it; the network outlives the nodes
			for _, other := range members {
				connect(t, m.node, other.node)
			}
			members = append(members, m)
		}
		publisher := members[0]
		time.Sleep(5 * time.Second) // gossipsub's meshes form

		// One message each, more of them than the slow neighbour's queue holds.
		for range singles {
			if _, err := publisher.Append(t.Context(), random(t, 4<<10)); err != nil {
				t.Fatal(err)
			}
			time.Sleep(3 * time.Millisecond)
		}
		// More at once than waits for gossip.
		var drafts []crdt.Draft
		for range bulk {
			drafts = append(drafts, crdt.Draft{Payload: random(t, types.MaxPayload)})
		}
		if _, err := publisher.AppendBatch(t.Context(), drafts); err != nil {
			t.Fatal(err)
		}
		converge(t, members, singles+bulk)

		sent := metric(t, publisher.node, "cairn_gossip_published_events_total")
		coalesced := metric(t, publisher.node, "cairn_gossip_coalesced_events_total")
		dropped := metric(t, publisher.node, "cairn_gossip_dropped_events_total", "own")
		t.Logf("%g events sent inline, %g coalesced to heads, %g dropped for the slow neighbour", sent, coalesced, dropped)
		if sent+coalesced != singles+bulk || coalesced < bulk {
			t.Errorf("%g events sent inline and %g coalesced to heads, want %d together and at least %d of the latter", sent, coalesced, singles+bulk, bulk)
		}
		if frames := metric(t, publisher.node, "cairn_gossipsub_frames_total", "dropped"); dropped == 0 || dropped > singles || frames < dropped {
			t.Errorf("%g events dropped for the slow neighbour, one a frame, in %g frames", dropped, frames)
		}
		slow := members[2].node
		gossiped, synced := metric(t, slow, "cairn_events_total", "gossip"), metric(t, slow, "cairn_events_total", "sync")
		if gossiped+synced != singles+bulk || synced < bulk {
			t.Errorf("the slow one has %g events by gossip and %g by sync", gossiped, synced)
		}
	})
}

// random returns bytes that no link compresses.
func random(t *testing.T, n int) []byte {
	t.Helper()
	b := make([]byte, n)
	if _, err := rand.Read(b); err != nil {
		t.Fatal(err)
	}
	return b
}

// metric is the value of a node's counter or gauge with this value of its
// label.
func metric(t *testing.T, n *node.Node, name string, label ...string) float64 {
	t.Helper()
	families, err := n.Gatherer().Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() != name {
			continue
		}
		for _, m := range f.GetMetric() {
			if l := m.GetLabel(); len(l) == len(label) && (len(l) == 0 || l[0].GetValue() == label[0]) {
				return m.GetCounter().GetValue() + m.GetGauge().GetValue()
			}
		}
	}
	t.Fatalf("there is no metric %s%q", name, label)
	return 0
}
