package node

import (
	"errors"
	"fmt"
	"testing"

	"github.com/cairn-p2p/cairn/broadcaster"
	"github.com/cairn-p2p/cairn/keyfile"
	"github.com/cairn-p2p/cairn/types"
)

// heard is a message of a stranger's topic with its first event.
func heard(t *testing.T, name string) broadcaster.Message {
	t.Helper()
	g, err := types.NewOpen(name)
	if err != nil {
		t.Fatal(err)
	}
	key, err := keyfile.New()
	if err != nil {
		t.Fatal(err)
	}
	e, err := types.NewEvent(types.Body{Topic: g.ID(), Publisher: types.PublisherOf(key), Seq: 1, Height: 1})
	if err != nil {
		t.Fatal(err)
	}
	types.SignEvents(key, []*types.Event{e})
	return broadcaster.Message{Topic: g.ID(), Genesis: g, Events: []*types.Event{e}, Heads: []types.TopicID{e.CID}}
}

func replicatesAll(t *testing.T, topics int) *Node {
	t.Helper()
	cfg := loopback("")
	cfg.Replicate, cfg.Strangers.Topics = All, topics
	return open(t, cfg)
}

// A node that replicates all takes up what gossip tells of, with the message
// that told of it, and no more topics than it may.
func TestAdoption(t *testing.T) {
	n := replicatesAll(t, 3)
	for i := range 5 {
		if err := n.adopt(t.Context(), heard(t, fmt.Sprint("stranger ", i))); err != nil {
			t.Fatal(err)
		}
	}
	topics := n.Topics()
	if len(topics) != 3 {
		t.Fatalf("%d topics, want 3", len(topics))
	}
	for _, topic := range topics {
		if _, err := topic.Wait(t.Context(), func(s Status) bool { return s.Events == 1 }); err != nil {
			t.Error(err)
		}
	}
	// One that somebody here joins is no stranger's any more, and makes room.
	join(t, n, "stranger 0")
	if err := n.adopt(t.Context(), heard(t, "stranger 4")); err != nil || len(n.Topics()) != 4 {
		t.Errorf("%d topics, %v", len(n.Topics()), err)
	}
	if mark, err := n.store.Meta(adoptedKey(topics[0].ID())); err != nil || mark != nil {
		t.Errorf("the mark of a joined topic is %v, %v", mark, err)
	}
}

// Once the store takes more than strangers' topics may have it take, none is
// adopted, and one that was does not grow, by gossip or sync. One's own goes on.
func TestStrangersBytes(t *testing.T) {
	cfg := loopback(t.TempDir())
	cfg.Replicate = All
	n := open(t, cfg)
	if err := n.adopt(t.Context(), heard(t, "adopted")); err != nil {
		t.Fatal(err)
	}
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}

	cfg.Strangers.Bytes = 1
	n = open(t, cfg)
	own := join(t, n, "own")
	more := heard(t, "another")
	if (gossipLocal{n}).Wants(more.Genesis) {
		t.Error("gossip is told that another topic is wanted")
	}
	gossipLocal{n}.Receive(more)
	if err := n.adopt(t.Context(), more); err != nil || n.topics.get(more.Topic) != nil || len(n.topics.adoptions) > 0 {
		t.Errorf("another topic was adopted, or is about to be: %v", err)
	}
	adopted, err := n.Find("adopted")
	if err != nil {
		t.Fatal(err)
	}
	grown := heard(t, "adopted")
	gossipLocal{n}.Receive(grown)
	if err := (syncLocal{n}).Integrate(t.Context(), adopted.ID(), "peer", grown.Events); err == nil {
		t.Error("an adopted topic takes what a sync brings")
	}
	if s, err := adopted.State(t.Context()); err != nil || s.Events != 1 || s.PendingEvents != 0 {
		t.Errorf("an adopted topic has %d events and %d pending, %v; want 1", s.Events, s.PendingEvents, err)
	}
	want(t, gather(t, n), 1, leftToSync, "paused")
	if _, err := own.Append(t.Context(), nil); err != nil {
		t.Errorf("an own topic: %v", err)
	}
	if err := (syncLocal{n}).Integrate(t.Context(), own.ID(), "peer", heard(t, "own").Events); err != nil {
		t.Errorf("an own topic: %v", err)
	}
}

// An adoption that fails leaves no topic that counts, and no mark on one that
// somebody here joins later.
func TestFailedAdoptionCountsForNothing(t *testing.T) {
	cfg := loopback(t.TempDir())
	cfg.Replicate, cfg.MinFree = All, 1<<60 // the disk is full
	full := open(t, cfg)
	for i := range 5 {
		if err := full.adopt(t.Context(), heard(t, fmt.Sprint("stranger ", i))); !errors.Is(err, types.ErrDiskFull) {
			t.Fatal(err)
		}
	}
	if adopted := full.topics.adopted.Load(); adopted != 0 || len(full.Topics()) != 0 {
		t.Errorf("%d topics count as adopted, %d are held", adopted, len(full.Topics()))
	}
	if err := full.Close(); err != nil {
		t.Fatal(err)
	}
	n := open(t, loopback(cfg.Dir))
	topic := join(t, n, "stranger 0")
	if mark, err := n.store.Meta(adoptedKey(topic.ID())); err != nil || mark != nil {
		t.Errorf("a topic that was joined is marked as a stranger's: %v, %v", mark, err)
	}
}

// Waiting ends with the node.
func TestWaitEndsWithTheNode(t *testing.T) {
	n := open(t, loopback(""))
	topic := join(t, n, "topic")
	ended := make(chan error)
	go func() {
		_, err := topic.Wait(t.Context(), func(Status) bool { return false })
		ended <- err
	}()
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; !errors.Is(err, types.ErrClosed) {
		t.Errorf("wait: %v", err)
	}
}
