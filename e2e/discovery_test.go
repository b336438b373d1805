package e2e

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/cairn-p2p/cairn/node"
)

// strangers is the configuration of a node in memory that knows only the given
// ones, and whose DHT does in moments what it otherwise does in minutes.
func strangers(mode node.DHTMode, known ...*node.Node) node.Config {
	cfg := config("")
	cfg.DHT = mode
	cfg.DHTTuning.Lookup = 250 * time.Millisecond
	cfg.DHTTuning.Refresh = 500 * time.Millisecond
	for _, k := range known {
		cfg.Bootstrap = append(cfg.Bootstrap, k.Addrs()[0])
	}
	return cfg
}

// closeNow closes a member before the test ends.
func closeNow(t testing.TB, members ...member) {
	t.Helper()
	var group sync.WaitGroup
	for _, m := range members {
		group.Go(func() {
			if err := m.node.Close(); err != nil {
				t.Errorf("close node: %v", err)
			}
		})
	}
	group.Wait()
}

// Two nodes that share only a third one, which does not replicate, find each
// other and converge. As clients they are in nobody's routing table, so that
// nothing but the topic's records brings them together.
func TestStrangersFindEachOther(t *testing.T) {
	for name, mode := range map[string]node.DHTMode{"servers": node.DHTServer, "clients": node.DHTClient} {
		t.Run(name, func(t *testing.T) {
			ignore := goleak.IgnoreCurrent()
			third := open(t, strangers(node.DHTServer))
			a := start(t, strangers(mode, third))
			write(t, []member{a}, 50, 4)
			b := start(t, strangers(mode, third))
			write(t, []member{b}, 50, 4)
			converge(t, []member{a, b}, 100)
			if len(third.Topics()) != 0 {
				t.Error("the third node replicates")
			}
			closeNow(t, a, b, member{node: third})
			goleak.VerifyNone(t, ignore)
		})
	}
}

// Two groups of replicas are joined by relays only, and each side has events that
// the other never hears of by gossip, since it was not there. The topic is quiet,
// each replica is in sync with the others of its group, and those are enough not
// to look for more: lookups that are made although all seems well make the groups
// equal. (TestGroupsMeet of syncer shows that it takes those at random.)
func TestGroupsJoinedOnlyByRelaysBecomeEqual(t *testing.T) {
	left, right := open(t, strangers(node.DHTServer)), open(t, strangers(node.DHTServer))
	group := func(relay *node.Node) []member {
		var members []member
		for range 4 { // each knows three others
			m := start(t, strangers(node.DHTClient, relay))
			for _, other := range members {
				connect(t, m.node, other.node)
			}
			members = append(members, m)
		}
		write(t, members[:1], 20, 1)
		converge(t, members, 20)
		return members
	}
	a, b := group(left), group(right)
	connect(t, left, right)
	converge(t, slices.Concat(a, b), 40)
	for _, relay := range []*node.Node{left, right} {
		if len(relay.Topics()) != 0 {
			t.Error("a relay replicates")
		}
	}
}

// An archive keeps a topic that it only heard of, and whoever comes later finds
// it there through the DHT, though the writer is gone.
func TestArchiveServesWhatAWriterLeftBehind(t *testing.T) {
	third := open(t, strangers(node.DHTServer))
	cfg := strangers(node.DHTClient, third)
	cfg.Archive = true
	archive := open(t, cfg)
	writer := start(t, strangers(node.DHTOff))
	connect(t, writer.node, archive)
	// Gossip loses what is written before its mesh stands: write until heard.
	written := 0
	for heard := false; !heard; {
		write(t, []member{writer}, 1, 1)
		written++
		ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
		_, err := writer.Wait(ctx, func(s node.Status) bool {
			return slices.ContainsFunc(s.Peers, func(p node.PeerStatus) bool {
				return p.Peer == archive.ID() && p.HeadsHash == s.HeadsHash
			})
		})
		cancel()
		heard = err == nil
	}
	closeNow(t, writer)

	late := start(t, strangers(node.DHTClient, third))
	converge(t, []member{late}, written)
	if len(third.Topics()) != 0 {
		t.Error("the third node replicates")
	}
}

// Twenty nodes, each of which knows one other, in a DHT whose records are held
// by three: the topic's replicas find each other and converge, and again when
// half of the nodes have left and others have come.
func TestChurn(t *testing.T) {
	const size, replicas, each = 20, 6, 10
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	begin := time.Now()
	swarm := func(from int, n int, known ...*node.Node) (members []member, others []*node.Node) {
		for i := from; i < from+n; i++ {
			cfg := strangers(node.DHTServer)
			cfg.DHTTuning.BucketSize = 3
			// All nodes share this machine: what takes moments for few of them
			// keeps so many from coming to rest.
			cfg.DHTTuning.Lookup, cfg.DHTTuning.Refresh = time.Second, 2*time.Second
			if len(known) > 0 {
				cfg.Bootstrap = []string{known[i%len(known)].Addrs()[0]}
			}
			if i%(size/replicas) == 0 {
				members = append(members, start(t, cfg))
				known = append(known, members[len(members)-1].node)
			} else {
				others = append(others, open(t, cfg))
				known = append(known, others[len(others)-1])
			}
		}
		return members, others
	}
	members, others := swarm(1, size)
	if len(members) != replicas {
		t.Fatalf("%d of %d replicate", len(members), size)
	}
	write(t, members, each, 1)
	awaitWithin(ctx, t, members, replicas*each)
	same(t, members, replicas*each)
	t.Logf("%d of %d nodes equal after %s", replicas, size, time.Since(begin))

	gone := members[:replicas/2]
	for _, n := range others[:size/2-len(gone)] {
		gone = append(gone[:len(gone):len(gone)], member{node: n})
	}
	closeNow(t, gone...)
	members, others = members[replicas/2:], others[size/2-replicas/2:]
	write(t, members, each, 1)
	came, _ := swarm(0, size/2, others...)
	write(t, came, each, 1)
	want := replicas*each + len(members)*each + len(came)*each
	members = append(members, came...)
	awaitWithin(ctx, t, members, want)
	same(t, members, want)
	t.Logf("%d replicas equal again after %s", len(members), time.Since(begin))
}

// awaitWithin is await with a time limit.
func awaitWithin(ctx context.Context, t testing.TB, members []member, want int) {
	t.Helper()
	for i, m := range members {
		if _, err := m.Wait(ctx, func(s node.Status) bool { return s.Events >= uint64(want) }); err != nil {
			s, _ := m.Status(context.Background()) //nolint:errcheck // for the message only
			t.Fatalf("node %d: %v; it stands at %s", i, err, fmt.Sprintf("%+v", s))
		}
	}
}
