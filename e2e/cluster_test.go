package e2e

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"testing"

	"github.com/cairn-p2p/cairn/crdt"
	"github.com/cairn-p2p/cairn/node"
	"github.com/cairn-p2p/cairn/types"
)

const topicName = "e2e"

// config is that of a node on loopback whose data is in dir. CAIRN_TEST_LOG set
// to anything shows what the nodes log.
func config(dir string) node.Config {
	cfg := node.Config{
		Dir:     dir,
		Listen:  []string{"/ip4/127.0.0.1/tcp/0"},
		MinFree: -1,
	}
	if os.Getenv("CAIRN_TEST_LOG") != "" {
		cfg.Log = slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug}))
	}
	return cfg
}

func open(t testing.TB, cfg node.Config) *node.Node {
	t.Helper()
	n, err := node.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := n.Close(); err != nil {
			t.Errorf("close node: %v", err)
		}
	})
	return n
}

// member is a topic with the node that keeps it.
type member struct {
	*node.Topic
	node *node.Node
}

// cluster opens n nodes on disk, all connected, and joins a topic on each.
func cluster(t testing.TB, n int) []member {
	t.Helper()
	var members []member
	for range n {
		m := start(t, config(t.TempDir()))
		for _, other := range members {
			connect(t, m.node, other.node)
		}
		members = append(members, m)
	}
	return members
}

// start opens a node and joins the topic.
func start(t testing.TB, cfg node.Config) member {
	t.Helper()
	n := open(t, cfg)
	topic, err := n.Topic(t.Context(), topicName)
	if err != nil {
		t.Fatal(err)
	}
	return member{topic, n}
}

func connect(t testing.TB, a, b *node.Node) {
	t.Helper()
	if err := a.Connect(t.Context(), b.Addrs()[0]); err != nil {
		t.Fatal(err)
	}
}

// write appends n events of 256 bytes to each topic at once, by writers
// concurrent callers for each.
func write(t testing.TB, topics []member, n, writers int) {
	t.Helper()
	writeAmong(t, topics, n*len(topics), writers*len(topics))
}

// writeAmong appends n events of 256 bytes in all, by so many concurrent writers
// that take turns among the topics.
func writeAmong(t testing.TB, topics []member, n, writers int) {
	t.Helper()
	var group sync.WaitGroup
	for w := range writers {
		group.Go(func() {
			for k := w; k < n; k += writers {
				payload := make([]byte, 256)
				copy(payload, fmt.Sprintf("writer %d, event %d", w, k))
				if _, err := topics[w%len(topics)].Append(t.Context(), payload); err != nil {
					t.Errorf("append on node %d: %v", w%len(topics), err)
					return
				}
			}
		})
	}
	group.Wait()
}

// converge waits until every topic has want events, and holds them to be equal.
func converge(t testing.TB, topics []member, want int) {
	t.Helper()
	await(t, topics, want)
	same(t, topics, want)
}

// await waits until every topic has want events, as long as the test may run.
func await(t testing.TB, topics []member, want int) {
	t.Helper()
	for i, topic := range topics {
		if _, err := topic.Wait(t.Context(), func(s node.Status) bool { return s.Events >= uint64(want) }); err != nil {
			s, _ := topic.Status(context.Background()) //nolint:errcheck // for the message only
			t.Fatalf("node %d: %v; it stands at %+v", i, err, s)
		}
	}
}

// same holds each topic to want events, equal heads hashes, and equal contents.
func same(t testing.TB, topics []member, want int) {
	t.Helper()
	var first crdt.State
	for i, topic := range topics {
		s, err := topic.State(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if i == 0 {
			first = s
		}
		if s.Events != uint64(want) || s.HeadsHash != first.HeadsHash {
			t.Errorf("node %d: %d events, heads hash %x; want %d, %x", i, s.Events, s.HeadsHash, want, first.HeadsHash)
		}
		if s.PendingEvents != 0 {
			t.Errorf("node %d: %d events still pending", i, s.PendingEvents)
		}
		checkOrder(t, topic, want)
	}
}

// checkOrder reads the delivery log: each event once, after its links.
func checkOrder(t testing.TB, topic member, want int) {
	t.Helper()
	seen := make(map[types.TopicID]bool, want)
	for d, err := range topic.Subscribe(t.Context(), types.Cursor{}) {
		if err != nil {
			t.Fatal(err)
		}
		for _, l := range d.Links {
			if !seen[l] {
				t.Fatalf("event %s was delivered before its link %s", d.CID, l)
			}
		}
		if seen[d.CID] {
			t.Fatalf("event %s was delivered twice", d.CID)
		}
		seen[d.CID] = true
		if len(seen) == want {
			return
		}
	}
}
