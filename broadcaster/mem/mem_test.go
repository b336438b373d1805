package mem_test

import (
	"slices"
	"testing"

	"go.uber.org/goleak"

	"github.com/cairn-p2p/cairn/broadcaster"
	"github.com/cairn-p2p/cairn/broadcaster/broadcastertest"
	"github.com/cairn-p2p/cairn/broadcaster/mem"
	"github.com/cairn-p2p/cairn/types"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func self(i int) types.Publisher { return types.PublisherOf(broadcastertest.Key(i)) }

func TestSuite(t *testing.T) {
	broadcastertest.Run(t, func(t *testing.T, s broadcastertest.Setup) []broadcastertest.Broadcaster {
		network := mem.NewNetwork()
		var bs []broadcastertest.Broadcaster
		for i, n := range s.Nodes {
			b := network.Join(self(i), n)
			t.Cleanup(func() { b.Close() }) //nolint:errcheck // it is always nil
			bs = append(bs, b)
			for j := range i {
				network.Cut(self(i), self(j))
			}
		}
		for _, l := range s.Links {
			network.Heal(self(l[0]), self(l[1]))
		}
		return bs
	})
}

// run runs b until the test ends.
func run(t *testing.T, b *mem.Broadcaster) {
	t.Helper()
	ended := make(chan error, 1)
	go func() { ended <- b.Run(t.Context()) }()
	t.Cleanup(func() {
		b.Close() //nolint:errcheck // it is always nil
		<-ended
	})
}

func TestPartition(t *testing.T) {
	g := broadcastertest.Topic(t, "partition")
	nodes := []*broadcastertest.Node{broadcastertest.NewNode(g), broadcastertest.NewNode(g), broadcastertest.NewNode(g)}
	network := mem.NewNetwork()
	bs := make([]*mem.Broadcaster, len(nodes))
	for i, n := range nodes {
		bs[i] = network.Join(self(i), n)
		run(t, bs[i])
	}
	events := broadcastertest.Chain(t, broadcastertest.Key(0), g, 3, 8, false)

	network.Partition([]types.Publisher{self(0), self(1)}, []types.Publisher{self(2)})
	bs[0].Broadcast(broadcastertest.Announce(g, events[0]))
	nodes[1].AwaitEvents(t.Context(), t, events[:1])
	bs[0].Broadcast(broadcastertest.Announce(g, events[1]))
	nodes[1].AwaitEvents(t.Context(), t, events[1:2]) // the first has gone all its ways; this one may still be on them

	network.Partition([]types.Publisher{self(0), self(1), self(2)})
	bs[0].Broadcast(broadcastertest.Announce(g, events[2]))
	nodes[2].AwaitEvents(t.Context(), t, events[2:])
	for _, m := range nodes[2].Messages() {
		if slices.Contains(m.Events, events[0]) {
			t.Error("received what was sent in the time of the partition")
		}
	}
}

func TestLose(t *testing.T) {
	g := broadcastertest.Topic(t, "lose")
	nodes := []*broadcastertest.Node{broadcastertest.NewNode(g), broadcastertest.NewNode(g)}
	network := mem.NewNetwork()
	b := network.Join(self(0), nodes[0])
	network.Join(self(1), nodes[1])
	run(t, b)
	events := broadcastertest.Chain(t, broadcastertest.Key(0), g, 2, 8, false)

	lost := make(chan struct{})
	network.Lose(func(_, _ types.Publisher, m broadcaster.Message) bool {
		if m.Events[0].CID != events[0].CID {
			return false
		}
		close(lost)
		return true
	})
	b.Broadcast(broadcastertest.Announce(g, events[0]))
	<-lost
	b.Broadcast(broadcastertest.Announce(g, events[1]))
	nodes[1].AwaitEvents(t.Context(), t, events[1:])
	if got := len(nodes[1].Messages()); got != 1 {
		t.Errorf("received %d messages, want the lost one left out", got)
	}
}

// A closed member passes nothing on.
func TestClosedRelay(t *testing.T) {
	g := broadcastertest.Topic(t, "relay")
	network := mem.NewNetwork()
	nodes, bs := make([]*broadcastertest.Node, 4), make([]*mem.Broadcaster, 4)
	for i := range nodes {
		nodes[i] = broadcastertest.NewNode(g)
		bs[i] = network.Join(self(i), nodes[i])
	}
	run(t, bs[0])
	network.Cut(self(0), self(2)) // 0 reaches 2 through 1 alone, and 3 at once
	network.Cut(self(3), self(2))
	bs[1].Close() //nolint:errcheck // it is always nil

	// What follows is delivered when the first is through.
	for _, e := range broadcastertest.Chain(t, broadcastertest.Key(0), g, 2, 8, false) {
		bs[0].Broadcast(broadcastertest.Announce(g, e))
		nodes[3].AwaitEvents(t.Context(), t, []*types.Event{e})
	}
	if got := len(nodes[2].Messages()); got != 0 {
		t.Errorf("%d messages came through", got)
	}
}
