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
// equal. (TestGroupsMeet of syncer shows that it takes those at random.) To write
// before the relays are linked is to lose the last message for certain: one that
// was dropped on its way could come again with gossipsub's next heartbeats, or
// after a lookup, which takes moments here, had linked the groups.
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
// by three: all find replicas of the topic that they were not told of and
// converge, and again when half of them have left and others have come.
func TestChurn(t *testing.T) {
	const (
		size, each = 20, 10
		replicas   = 3 // as many as a node looks for
	)
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	begin := time.Now()
	swarm := func(n int, known ...member) (came []member) {
		for i := range n {
			cfg := strangers(node.DHTServer)
			cfg.DHTTuning.BucketSize = 3
			// All nodes share this machine: what takes moments for few of them
			// keeps so many from coming to rest.
			cfg.DHTTuning.Lookup, cfg.DHTTuning.Refresh = time.Second, 2*time.Second
			if len(known) > 0 {
				cfg.Bootstrap = []string{known[i%len(known)].node.Addrs()[0]}
			}
			came = append(came, start(t, cfg))
			known = append(known, came[i])
		}
		return came
	}
	found := func(members []member, want int) {
		awaitWithin(ctx, t, members, want)
		same(t, members, want)
		for i, m := range members {
			if s, err := m.Wait(ctx, func(s node.Status) bool { return len(s.Peers) >= replicas }); err != nil {
				t.Fatalf("node %d knows %d other replicas, want %d: %v", i, len(s.Peers), replicas, err)
			}
		}
	}
	members := swarm(size)
	write(t, members, each, 1)
	found(members, size*each)
	t.Logf("%d nodes equal after %s", size, time.Since(begin))

	closeNow(t, members[:size/2]...)
	members = members[size/2:]
	write(t, members, each, 1)
	came := swarm(size/2, members...)
	write(t, came, each, 1)
	members = append(members, came...)
	found(members, (size+size)*each)
	t.Logf("%d nodes equal again after %s", len(members), time.Since(begin))
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
