// Package syncertest is the conformance suite of syncers, and an in-memory
// Local to run them on.
package syncertest

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"

	"github.com/ipfs/go-cid"

	"github.com/cairn-p2p/cairn/syncer"
	"github.com/cairn-p2p/cairn/types"
)

// Syncer is what the suite holds to its contract.
type Syncer interface {
	Add(topic types.TopicID, heads types.Hash)
	Remove(topic types.TopicID)
	Changed(topic types.TopicID, heads types.Hash, backfilled bool)
	Sync(topic types.TopicID, from types.PeerID)
	Status(topic types.TopicID) (syncer.TopicStatus, error)
	Watch(topic types.TopicID) <-chan struct{}
	Run(ctx context.Context) error
}

// Network carries the syncers of a test.
type Network interface {
	// Syncers returns one syncer for each Local, in their order.
	Syncers() []Syncer
	// Connect connects two of them, by index; Disconnect undoes it.
	Connect(i, j int)
	Disconnect(i, j int)
}

// Cluster is some Locals with their syncers running.
type Cluster struct {
	Network
	T       *testing.T
	Locals  []*Local
	Genesis *types.Genesis
	Topic   types.TopicID
}

// NewCluster makes n Locals that replicate one topic, and runs the syncers
// that build makes for them until the test ends.
func NewCluster(t *testing.T, n int, build func(*testing.T, []*Local) Network) *Cluster {
	t.Helper()
	g, err := types.NewOpen(t.Name())
	if err != nil {
		t.Fatal(err)
	}
	c := &Cluster{T: t, Genesis: g, Topic: g.ID()}
	for i := range n {
		c.Locals = append(c.Locals, NewLocal(fmt.Sprint(t.Name(), i)))
	}
	c.Network = build(t, c.Locals)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	for i, s := range c.Syncers() {
		c.Locals[i].OnChange(s.Changed)
		go func() { done <- s.Run(ctx) }()
	}
	t.Cleanup(func() {
		cancel()
		for range c.Syncers() {
			if err := <-done; err != nil {
				t.Errorf("run: %v", err)
			}
		}
	})
	return c
}

// Join makes Local i replicate the topic.
func (c *Cluster) Join(i int) { c.Syncers()[i].Add(c.Topic, c.Locals[i].Join(c.Genesis)) }

// Connects connects each with its neighbour in the list.
func (c *Cluster) Connects(list ...int) {
	for i := 1; i < len(list); i++ {
		c.Connect(list[i-1], list[i])
	}
}

// AwaitEqual blocks until two Locals hold the same.
func (c *Cluster) AwaitEqual(i, j int) {
	c.T.Helper()
	a, b := c.Locals[i], c.Locals[j]
	for {
		changedA, changedB := a.Changed(), b.Changed()
		if c.Hash(i) == c.Hash(j) {
			return
		}
		select {
		case <-changedA:
		case <-changedB:
		case <-c.T.Context().Done():
			c.T.Fatal("test ended")
		}
	}
}

// AwaitState blocks until syncer i's status satisfies ok.
func (c *Cluster) AwaitState(i int, ok func(syncer.TopicStatus) bool) syncer.TopicStatus {
	c.T.Helper()
	for {
		changed := c.Syncers()[i].Watch(c.Topic)
		st, err := c.Syncers()[i].Status(c.Topic)
		if err != nil {
			c.T.Fatal(err)
		}
		if ok(st) {
			return st
		}
		<-changed
	}
}

// Is tells a state.
func Is(state syncer.State) func(syncer.TopicStatus) bool {
	return func(st syncer.TopicStatus) bool { return st.State == state }
}

// Hash is the heads hash of Local i.
func (c *Cluster) Hash(i int) types.Hash {
	c.T.Helper()
	h, err := c.Locals[i].Heads(c.Topic, 0)
	if err != nil {
		c.T.Fatal(err)
	}
	return h.Hash
}

// Events is the number of events of Local i.
func (c *Cluster) Events(i int) int {
	c.T.Helper()
	h, err := c.Locals[i].Heads(c.Topic, 0)
	if err != nil {
		c.T.Fatal(err)
	}
	return int(h.Events)
}

// seed returns the seed of a random test, which CAIRN_SEED replays.
func seed(t *testing.T) uint64 {
	t.Helper()
	s := rand.Uint64()
	if v, err := strconv.ParseUint(os.Getenv("CAIRN_SEED"), 10, 64); err == nil {
		s = v
	}
	t.Logf("CAIRN_SEED=%d", s)
	return s
}

// Run runs the suite on the syncers that build makes.
func Run(t *testing.T, build func(*testing.T, []*Local) Network) {
	cluster := func(t *testing.T, n int) *Cluster {
		c := NewCluster(t, n, build)
		for i := range n {
			c.Join(i)
		}
		return c
	}
	t.Run("GapOnQuietTopic", func(t *testing.T) { gapOnQuietTopic(cluster(t, 2)) })
	t.Run("HealedPartition", func(t *testing.T) { healedPartition(cluster(t, 2)) })
	t.Run("Chain", func(t *testing.T) { chain(cluster(t, 4)) })
	t.Run("JoinLate", func(t *testing.T) { joinLate(NewCluster(t, 3, build)) })
	t.Run("ResumedPull", func(t *testing.T) { resumedPull(cluster(t, 2)) })
	t.Run("Sync", func(t *testing.T) { hinted(cluster(t, 2)) })
	t.Run("RandomDAG", func(t *testing.T) { randomDAG(cluster(t, 3)) })
	t.Run("BatchWitness", func(t *testing.T) { batchWitness(cluster(t, 3)) })
	t.Run("Evicted", func(t *testing.T) { evicted(cluster(t, 2)) })
	t.Run("Status", func(t *testing.T) { status(cluster(t, 2)) })
	t.Run("FailedStore", func(t *testing.T) { failedStore(cluster(t, 2)) })
}

// gapOnQuietTopic guards against the first defect of the peers: a broadcast that
// everyone missed, on a topic that stays quiet, leaves replicas different.
func gapOnQuietTopic(c *Cluster) {
	c.Connect(0, 1)
	c.Locals[0].Append(c.Topic, 3, 16)
	c.AwaitEqual(0, 1)
	c.Disconnect(0, 1)
	c.Locals[0].Append(c.Topic, 3, 16)
	c.Connect(0, 1)
	c.AwaitEqual(0, 1)
}

func healedPartition(c *Cluster) {
	c.Locals[0].Append(c.Topic, 700, 16)
	c.Locals[1].Append(c.Topic, 600, 16)
	c.Connect(0, 1)
	c.AwaitEqual(0, 1)
	if n := c.Events(0); n != 1300 {
		c.T.Errorf("%d events, want 1300", n)
	}
}

// chain holds the middle nodes to passing on what they backfilled.
func chain(c *Cluster) {
	c.Connects(0, 1, 2, 3)
	c.AwaitState(3, Is(syncer.StateSynced))
	c.Locals[0].Append(c.Topic, 10, 16)
	c.AwaitEqual(0, 3)
}

func joinLate(c *Cluster) {
	c.Join(0)
	c.Locals[0].Append(c.Topic, 5000, 64)
	c.Connects(0, 1, 2)
	c.Join(1)
	c.AwaitEqual(0, 1)
	c.Join(2)
	c.AwaitEqual(0, 2)
}

// resumedPull guards against the eighth defect of the peers: an interruption in
// the middle of a transfer, after which it starts over or is never completed.
func resumedPull(c *Cluster) {
	const events, enough, underWay = 12_000, 3_000, 5 * 1000
	c.Locals[0].Append(c.Topic, events, 16)
	changed := c.Locals[1].Changed()
	c.Connect(0, 1)
	for c.Events(1) < enough {
		<-changed
		changed = c.Locals[1].Changed()
	}
	c.Disconnect(0, 1)
	c.Locals[0].Append(c.Topic, 10, 16)
	c.Connect(0, 1)
	c.AwaitEqual(0, 1)
	if n := c.Locals[1].Verified(); n > events+10+underWay {
		c.T.Errorf("%d events verified to get %d, of which at most %d were under way at the interruption", n, events+10, underWay)
	}
}

func hinted(c *Cluster) {
	c.Connect(0, 1)
	c.AwaitState(1, Is(syncer.StateSynced))
	c.Locals[0].Append(c.Topic, 1, 16)
	for range 100 {
		c.Syncers()[1].Sync(c.Topic, c.Locals[0].ID())
		c.Syncers()[1].Sync(c.Topic, "a stranger")
	}
	c.AwaitEqual(0, 1)
}

// randomDAG grows a DAG of many heads on nodes that come and go.
func randomDAG(c *Cluster) {
	s := seed(c.T)
	rng := rand.New(rand.NewPCG(s, 0))
	for range 40 {
		i := rng.IntN(3)
		j := (i + 1) % 3
		switch rng.IntN(4) {
		case 0:
			c.Connect(i, j)
		case 1:
			c.Disconnect(i, j)
		default:
			c.Locals[i].Append(c.Topic, 1+rng.IntN(20), rng.IntN(600))
		}
	}
	c.Connects(0, 1, 2, 0)
	c.AwaitEqual(0, 1)
	c.AwaitEqual(1, 2)
	c.AwaitEqual(0, 2)
}

// batchWitness holds syncers to handing on witnesses as they are: of events
// signed alone, of whole batches, and of what a peer lacks of one, which it hands
// on to a third.
func batchWitness(c *Cluster) {
	var events []*types.Event
	for _, n := range []int{1, 64, 1, 40, 200} {
		events = append(events, c.Locals[0].Append(c.Topic, n, 16)...)
	}
	const held = 130 // ends inside a batch
	if err := c.Locals[1].add(c.Topic, events[:held], false); err != nil {
		c.T.Fatal(err)
	}
	c.Connects(0, 1, 2)
	c.AwaitEqual(0, 1)
	c.AwaitEqual(1, 2)
	if n := c.Locals[1].Verified(); n < len(events)-held {
		c.T.Errorf("%d events verified of %d that came", n, len(events)-held)
	}
	verifier := types.NewVerifier(16)
	for i := range c.Locals {
		for _, e := range events {
			got, err := c.Locals[i].Get(c.Topic, []cid.Cid{e.CID})
			if err != nil || got[0] == nil {
				c.T.Fatalf("Local %d has no %s: %v", i, e.CID, err)
			}
			if err := verifier.Verify(got[0]); err != nil || !bytes.Equal(got[0].Witness, e.Witness) {
				c.T.Errorf("Local %d holds event %d with another witness, %v", i, e.Seq, err)
			}
		}
	}
}

// evicted: a replica asked for a sync because of an event that gossip brought,
// and let go of it before the peer was connected; nobody asks again.
func evicted(c *Cluster) {
	c.Locals[0].Append(c.Topic, 70, 16)
	c.Syncers()[1].Sync(c.Topic, c.Locals[0].ID())
	c.Connect(0, 1)
	c.AwaitEqual(0, 1)
	c.Syncers()[1].Sync(c.Topic, c.Locals[0].ID()) // of one that is integrated by now
	c.AwaitState(1, Is(syncer.StateSynced))
}

// status guards against defect 14: no way to ask whether one is in sync.
func status(c *Cluster) {
	c.AwaitState(0, Is(syncer.StateAlone))
	c.Locals[1].Append(c.Topic, 5, 16)
	c.Connect(0, 1)
	st := c.AwaitState(0, Is(syncer.StateSynced))
	if len(st.Replicas) != 1 || !st.Replicas[0].InSync || st.Replicas[0].Peer != c.Locals[1].ID() || st.Reason == "" {
		c.T.Errorf("synced status %+v", st)
	}
	c.Disconnect(0, 1)
	c.AwaitState(0, Is(syncer.StateAlone))
	if _, err := c.Syncers()[0].Status(types.SumCID([]byte("unknown"))); err == nil {
		c.T.Error("status of an unknown topic has no error")
	}
}

// failedStore holds a syncer to going on once the store takes events again.
func failedStore(c *Cluster) {
	c.Locals[1].Fail(types.ErrDiskFull)
	c.Locals[0].Append(c.Topic, 5, 16)
	c.Connect(0, 1)
	c.AwaitState(1, func(st syncer.TopicStatus) bool { return st.LastError != "" })
	c.Locals[1].Fail(nil)
	c.AwaitEqual(0, 1)
}
