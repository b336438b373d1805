package node

import (
	"fmt"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/cairn-p2p/cairn/keyfile"
	"github.com/cairn-p2p/cairn/store/badger"
	"github.com/cairn-p2p/cairn/types"
)

// A topic that is not used for a while is unloaded and costs tend nothing; its
// next use takes it up again.
func TestIdleTopicsUnload(t *testing.T) {
	n := open(t, loopback(""))
	topic := join(t, n, "topic")
	first, err := topic.Append(t.Context(), []byte("a"))
	if err != nil {
		t.Fatal(err)
	}
	n.tendTopics(t.Context(), time.Now().Add(unloadAfter-time.Minute), MaxPending)
	if !topic.replica.Loaded() || len(n.topics.inUse()) != 1 {
		t.Fatal("a topic that was just used is dormant")
	}
	for range 1_000_000 { // its driver ends a moment after it answered
		n.tendTopics(t.Context(), time.Now().Add(unloadAfter+time.Minute), MaxPending)
		if !topic.replica.Loaded() {
			break
		}
		runtime.Gosched()
	}
	if topic.replica.Loaded() || len(n.topics.inUse()) != 0 {
		t.Fatal("an idle topic is loaded, or looked after")
	}
	second, err := topic.Append(t.Context(), []byte("b"))
	if err != nil {
		t.Fatal(err)
	}
	if second.Seq != 2 || second.Links[0] != first.CID {
		t.Errorf("the event after an unload has seq %d and links %v", second.Seq, second.Links)
	}
	if !topic.replica.Loaded() || len(n.topics.inUse()) != 1 {
		t.Error("a topic in use is dormant")
	}
}

// pend gives a topic pending events, and returns the bytes that they take.
func pend(t *testing.T, topic *Topic, events int) int64 {
	t.Helper()
	link := types.SumCID([]byte("an event that nobody has"))
	for i := range events {
		key, err := keyfile.New()
		if err != nil {
			t.Fatal(err)
		}
		e, err := types.NewEvent(types.Body{
			Topic: topic.ID(), Publisher: types.PublisherOf(key), Seq: 1, Height: 2,
			Links: []types.TopicID{link}, Payload: make([]byte, 100+i),
		})
		if err != nil {
			t.Fatal(err)
		}
		types.SignEvents(key, []*types.Event{e})
		topic.replica.Receive("neighbour", []*types.Event{e}, nil)
	}
	return pending(t, topic)
}

// pending is the bytes of a topic's pending events, once it has done what it was
// asked.
func pending(t *testing.T, topic *Topic) int64 {
	t.Helper()
	s, err := topic.State(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return int64(s.PendingSize)
}

// What the topics of a node have pending together is bounded: the one with the
// most loses some.
func TestPendingOfAllTopicsIsBounded(t *testing.T) {
	n := open(t, loopback(""))
	small, large := join(t, n, "small"), join(t, n, "large")
	few, many := pend(t, small, 2), pend(t, large, 5)
	n.tendTopics(t.Context(), time.Now(), few+many)
	if pending(t, small) != few || pending(t, large) != many {
		t.Error("events were evicted within the bound")
	}
	n.tendTopics(t.Context(), time.Now(), few+many-1)
	left := pending(t, large)
	if pending(t, small) != few || left >= many || left == 0 {
		t.Errorf("%d of %d bytes and %d of %d are left", pending(t, small), few, left, many)
	}
}

// fill puts topics with these numbers into the data of a node that is closed.
func fill(t *testing.T, dir string, from, to int) {
	t.Helper()
	db, err := badger.Open(filepath.Join(dir, storeName), badger.Options{Network: DefaultNetwork, MinFree: badger.NoMinFree})
	if err != nil {
		t.Fatal(err)
	}
	var group errgroup.Group
	for i := from; i < to; i++ {
		group.Go(func() error {
			g, err := types.NewOpen(fmt.Sprint("dormant ", i))
			if err != nil {
				return err
			}
			return db.JoinTopic(g)
		})
	}
	if err := group.Wait(); err != nil {
		t.Error(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
}

// A hundred times the topics have no more goroutines, and none of them is loaded
// or looked after.
func TestDormantTopicsHaveNoGoroutines(t *testing.T) {
	dir := t.TempDir()
	goroutines := func(topics int) int {
		n := open(t, loopback(dir))
		defer n.Close() //nolint:errcheck // open's cleanup reports it
		if got := len(n.Topics()); got != topics {
			t.Fatalf("%d topics, want %d", got, topics)
		}
		for _, topic := range n.Topics() {
			if topic.replica.Loaded() || !topic.Joined() {
				t.Fatalf("topic %s is loaded, or not joined", topic.Name())
			}
		}
		if in := len(n.topics.inUse()); in != 0 {
			t.Errorf("%d topics are looked after", in)
		}
		return runtime.NumGoroutine()
	}
	goroutines(0)
	fill(t, dir, 0, 10)
	few := goroutines(10)
	fill(t, dir, 10, 1000)
	many := goroutines(1000)
	if many-few > 100 { // a host has some more or fewer at times
		t.Errorf("%d goroutines with 10 topics, %d with 1000", few, many)
	}
}

// A restart takes every topic up as it was: joined, left or a stranger's.
func TestRestartKeepsWhoseTopicsTheyAre(t *testing.T) {
	cfg := loopback(t.TempDir())
	cfg.Replicate = All
	n := open(t, cfg)
	join(t, n, "joined")
	join(t, n, "left")
	if err := n.Leave(t.Context(), "left"); err != nil {
		t.Fatal(err)
	}
	if err := n.adopt(t.Context(), heard(t, "stranger")); err != nil {
		t.Fatal(err)
	}
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
	n = open(t, cfg)
	if got := n.topics.adopted.Load(); got != 1 {
		t.Errorf("%d topics count as adopted, want 1", got)
	}
	for name, want := range map[string][2]bool{"joined": {true, false}, "left": {false, false}, "stranger": {true, true}} {
		topic, err := n.Find(name)
		if err != nil {
			t.Fatal(err)
		}
		if topic.Joined() != want[0] || topic.adopted.Load() != want[1] {
			t.Errorf("%s: joined %v, adopted %v; want %v", name, topic.Joined(), topic.adopted.Load(), want)
		}
	}
}
