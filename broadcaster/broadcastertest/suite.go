// Package broadcastertest holds every broadcaster to the same behaviour.
package broadcastertest

import (
	"context"
	"sync"
	"testing"

	"github.com/cairn-p2p/cairn/types"
)

// Broadcaster is what the suite tests.
type Broadcaster interface {
	Broadcast(types.Announcement)
	Run(ctx context.Context) error
	Close() error
}

// Setup is what a test asks for: one broadcaster for each node, with Key of its
// index, which has exactly the given links.
type Setup struct {
	Nodes []*Node
	Links [][2]int
}

// Open returns the broadcasters of a setup, not running yet, when everything
// that will be sent over the links will arrive. It registers the cleanup.
type Open func(t *testing.T, s Setup) []Broadcaster

// Run runs the suite.
func Run(t *testing.T, open Open) {
	for _, test := range []struct {
		name string
		run  func(*testing.T, Open)
	}{
		{"everything arrives", testEverythingArrives},
		{"heads alone arrive", testHeadsAlone},
		{"an unknown topic is relayed", testRelay},
		{"a wanted topic comes with its genesis", testWanted},
		{"known events are left out", testKnown},
		{"a full queue announces heads", testFullQueue},
		{"concurrent announcers", testConcurrent},
		{"nothing after close", testClose},
		{"run ends with its context", testRunEnds},
	} {
		t.Run(test.name, func(t *testing.T) { test.run(t, open) })
	}
}

// line links n nodes to a line.
func line(n int) [][2]int {
	var links [][2]int
	for i := range n - 1 {
		links = append(links, [2]int{i, i + 1})
	}
	return links
}

// start runs the broadcasters until the test ends.
func start(t *testing.T, bs []Broadcaster) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	for _, b := range bs {
		running.Go(func() {
			if err := b.Run(ctx); err != nil {
				t.Errorf("run: %v", err)
			}
		})
	}
	t.Cleanup(func() { cancel(); running.Wait() })
}

// Both ends of a line publish; every node gets all of what the others sent,
// each event once, and nothing of its own.
func testEverythingArrives(t *testing.T, open Open) {
	g := Topic(t, "arrive")
	nodes := []*Node{NewNode(g), NewNode(g), NewNode(g)}
	bs := open(t, Setup{nodes, line(3)})
	start(t, bs)

	left := Chain(t, Key(0), g, 50, 256, true)
	right := Chain(t, Key(2), g, 50, 256, false)
	nodes[0].Hold(left...)
	nodes[2].Hold(right...)
	for i := range left {
		bs[0].Broadcast(Announce(g, left[i]))
		bs[2].Broadcast(Announce(g, right[i]))
	}
	nodes[0].AwaitEvents(t.Context(), t, right)
	nodes[1].AwaitEvents(t.Context(), t, append(left, right...))
	nodes[2].AwaitEvents(t.Context(), t, left)
	for i, want := range []int{50, 100, 50} {
		if got := countEvents(nodes[i].Messages()); got != want {
			t.Errorf("node %d received %d events, want %d", i, got, want)
		}
	}
	for _, m := range nodes[2].Messages() {
		if m.From != types.PublisherOf(Key(1)).PeerID() || m.Announcer != types.PublisherOf(Key(0)) {
			t.Fatalf("node 2 received from %s what %s announced, want from its neighbour what the other end did", m.From, m.Announcer)
		}
	}
}

func testHeadsAlone(t *testing.T, open Open) {
	g := Topic(t, "heads")
	nodes := []*Node{NewNode(g), NewNode(g), NewNode(g)}
	bs := open(t, Setup{nodes, line(3)})
	start(t, bs)

	e := Chain(t, Key(0), g, 1, 0, false)[0]
	want := AnnounceHeads(g, e)
	bs[0].Broadcast(want)
	for _, n := range nodes[1:] {
		m := n.AwaitHeads(t.Context(), t, want.HeadsHash)[0]
		if len(m.Events) != 0 || len(m.Heads) != 1 || m.Heads[0] != e.CID {
			t.Errorf("received %d events and heads %v, want only %s", len(m.Events), m.Heads, e.CID)
		}
		if m.Topic != g.ID() || m.Genesis == nil || m.Genesis.ID() != g.ID() {
			t.Errorf("received topic %s with genesis %v", m.Topic, m.Genesis)
		}
	}
}

// The node in the middle does not replicate the topic: it passes it on and is
// told nothing.
func testRelay(t *testing.T, open Open) {
	g := Topic(t, "relay")
	nodes := []*Node{NewNode(g), NewNode(), NewNode(g)}
	bs := open(t, Setup{nodes, line(3)})
	start(t, bs)

	events := Chain(t, Key(0), g, 2, 16, false)
	bs[0].Broadcast(Announce(g, events[0]))
	nodes[2].AwaitEvents(t.Context(), t, events[:1])
	a := AnnounceHeads(g, events[1])
	bs[0].Broadcast(a)
	nodes[2].AwaitHeads(t.Context(), t, a.HeadsHash)
	if got := nodes[1].Messages(); len(got) != 0 {
		t.Errorf("the relay received %d messages of a topic that is not its own", len(got))
	}
}

func testWanted(t *testing.T, open Open) {
	g := Topic(t, "wanted")
	nodes := []*Node{NewNode(g), NewWantingNode()}
	bs := open(t, Setup{nodes, line(2)})
	start(t, bs)

	events := Chain(t, Key(0), g, 1, 16, false)
	bs[0].Broadcast(Announce(g, events...))
	m := nodes[1].AwaitEvents(t.Context(), t, events)[0]
	if m.Genesis == nil || m.Genesis.ID() != g.ID() {
		t.Errorf("received genesis %v, want that of the topic", m.Genesis)
	}
}

func testKnown(t *testing.T, open Open) {
	g := Topic(t, "known")
	nodes := []*Node{NewNode(g), NewNode(g)}
	bs := open(t, Setup{nodes, line(2)})
	start(t, bs)

	events := Chain(t, Key(0), g, 3, 16, false)
	nodes[1].Hold(events[:2]...)
	bs[0].Broadcast(Announce(g, events...))
	m := nodes[1].AwaitEvents(t.Context(), t, events[2:])
	if got := countEvents(m); got != 1 {
		t.Errorf("received %d events, want the one that was new", got)
	}
}

// More is announced than a queue may hold, before anything can be sent: the
// heads still arrive, and what is announced later arrives whole.
func testFullQueue(t *testing.T, open Open) {
	g := Topic(t, "full")
	nodes := []*Node{NewNode(g), NewNode(g)}
	bs := open(t, Setup{nodes, line(2)})

	events := Chain(t, Key(0), g, 11, types.MaxPayload, false)
	for _, e := range events[:10] { // 5 MiB
		bs[0].Broadcast(Announce(g, e))
	}
	start(t, bs)
	last := Announce(g, events[9])
	m := nodes[1].AwaitHeads(t.Context(), t, last.HeadsHash)
	if got := countEvents(m); got >= 10 {
		t.Errorf("received %d events, want fewer than were announced", got)
	}
	bs[0].Broadcast(Announce(g, events[10]))
	nodes[1].AwaitEvents(t.Context(), t, events[10:])
}

func testConcurrent(t *testing.T, open Open) {
	const announcers, each = 8, 20
	topics := []*types.Genesis{Topic(t, "concurrent 1"), Topic(t, "concurrent 2")}
	nodes := []*Node{NewNode(topics...), NewNode(topics...)}
	bs := open(t, Setup{nodes, line(2)})
	start(t, bs)

	var all []*types.Event
	var announcing sync.WaitGroup
	for i := range announcers {
		g := topics[i%len(topics)]
		events := Chain(t, Key(10+i), g, each, 64, false)
		all = append(all, events...)
		announcing.Go(func() {
			for _, e := range events {
				bs[0].Broadcast(Announce(g, e))
			}
		})
	}
	announcing.Wait()
	m := nodes[1].AwaitEvents(t.Context(), t, all)
	if got := countEvents(m); got != len(all) {
		t.Errorf("received %d events, want %d", got, len(all))
	}
}

// A closed broadcaster hands over nothing, sends nothing, and its Run returns;
// the others go on.
func testClose(t *testing.T, open Open) {
	g := Topic(t, "close")
	nodes := []*Node{NewNode(g), NewNode(g), NewNode(g)}
	bs := open(t, Setup{nodes, [][2]int{{0, 1}, {0, 2}}})
	start(t, []Broadcaster{bs[0], bs[2]})
	ended := make(chan error, 1)
	go func() { ended <- bs[1].Run(context.Background()) }()

	events := Chain(t, Key(0), g, 2, 16, false)
	bs[0].Broadcast(Announce(g, events[0]))
	nodes[1].AwaitEvents(t.Context(), t, events[:1])
	for range 2 {
		if err := bs[1].Close(); err != nil {
			t.Fatal(err)
		}
	}
	if err := <-ended; err != nil {
		t.Errorf("run: %v", err)
	}
	before := len(nodes[1].Messages())
	bs[1].Broadcast(Announce(g, events[1]))
	bs[0].Broadcast(Announce(g, events[1]))
	nodes[2].AwaitEvents(t.Context(), t, events)
	if got := len(nodes[1].Messages()); got != before {
		t.Errorf("%d messages after close", got-before)
	}
}

func testRunEnds(t *testing.T, open Open) {
	bs := open(t, Setup{Nodes: []*Node{NewNode()}})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := bs[0].Run(ctx); err != nil {
		t.Errorf("run: %v", err)
	}
}
