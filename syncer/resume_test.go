package syncer_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/cairn-p2p/cairn/syncer"
	"github.com/cairn-p2p/cairn/syncer/pb"
	"github.com/cairn-p2p/cairn/syncer/syncertest"
	"github.com/cairn-p2p/cairn/types"
)

// pulls returns the Pull requests among list.
func pulls(list []request) []*pb.PullRequest {
	var found []*pb.PullRequest
	for _, r := range list {
		if p := r.m.GetPull(); p != nil {
			found = append(found, p)
		}
	}
	return found
}

// TestHowItPulls: from nothing, and from where the last pull ended, as events,
// also after a restart; after the server's log was rebuilt by Ancestors.
func TestHowItPulls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, net := cluster(t, 2)
		c.Locals[0].Append(c.Topic, 5000, 16)
		c.Connect(0, 1)
		after(time.Second)
		list := pulls(net.sent())
		if len(list) != 1 || list[0].Cids || list[0].After.GetNumber() != 0 {
			t.Errorf("a fresh join pulls %v, want once, events, from the start", list)
		}

		c.Disconnect(0, 1)
		c.Locals[0].Append(c.Topic, 100, 16)
		c.Connect(0, 1)
		after(time.Second)
		list = pulls(net.sent())
		if len(list) != 1 || list[0].Cids || list[0].After.GetNumber() != 5000 {
			t.Errorf("after a gap it pulls %v, want once, events, from 5000", list)
		}

		c.Disconnect(0, 1)
		c.Locals[0].Append(c.Topic, 100, 16)
		again := restart(t, c)
		again.Connect(0, 1)
		after(time.Second)
		list = pulls(again.sent())
		if len(list) != 1 || list[0].After.GetNumber() != 5100 {
			t.Errorf("after a restart it pulls %v, want once, from 5100", list)
		}

		again.Disconnect(0, 1)
		c.Locals[0].Rebuild(types.LogID{1})
		c.Locals[0].Append(c.Topic, 100, 16)
		again.Connect(0, 1)
		after(time.Second)
		if list := again.sent(); count(list, isPull) != 0 || count(list, isAncestors) != 1 {
			t.Errorf("after a rebuild it pulls %v, want Ancestors alone", pulls(list))
		}
		if n := c.Locals[1].Verified(); c.Hash(0) != c.Hash(1) || n != 5300 {
			t.Errorf("%d events verified, want 5300, each once", n)
		}
	})
}

// TestResumesAfterKill: a node that is killed in the middle of a pull, and keeps
// what was durable alone, fetches what it has not, from the last position that
// was durable or as ancestors, and verifies nothing twice.
func TestResumesAfterKill(t *testing.T) {
	for _, k := range []struct {
		events, at int
		from       uint64 // 0: Ancestors
	}{
		{30_000, 10_000, 8_192},
		{20_000, 12_000, 0},
		{40_000, 15_000, 12_288},
	} {
		t.Run(fmt.Sprintf("at %d of %d", k.at, k.events), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c, _ := cluster(t, 2)
				c.Locals[0].Append(c.Topic, k.events, 16)
				key := "sync/pull/" + c.Topic.KeyString()
				killed := make(chan []byte, 1)
				c.Locals[1].OnChange(func(types.TopicID, types.Hash, bool) {
					if c.Events(1) < k.at {
						return
					}
					durable, err := c.Locals[1].Meta(key)
					if err != nil {
						t.Error(err)
					}
					c.Locals[1].Fail(types.ErrClosed)
					killed <- durable
				})
				c.Connect(0, 1)
				durable := <-killed
				c.Disconnect(0, 1)
				synctest.Wait() // the first life's end writes what a kill would not
				if err := c.Locals[1].SetMeta(key, durable); err != nil {
					t.Fatal(err)
				}
				c.Locals[1].Fail(nil)
				had, verified := c.Events(1), c.Locals[1].Verified()

				net := restart(t, c)
				net.Connect(0, 1)
				after(time.Second)
				if c.Hash(0) != c.Hash(1) {
					t.Fatalf("%d events of %d after a restart with %d", c.Events(1), k.events, had)
				}
				if n := c.Locals[1].Verified() - verified; n != k.events-had {
					t.Errorf("%d events verified after a restart with %d of %d", n, had, k.events)
				}
				sent := net.sent()
				list := pulls(sent)
				switch walks := count(sent, isAncestors); {
				case k.from == 0 && (len(list) != 0 || walks != 1):
					t.Errorf("asks for ancestors %d times and pulls %v, want ancestors once", walks, list)
				case k.from > 0 && (len(list) != 1 || walks != 0 || list[0].After.GetNumber() != k.from):
					t.Errorf("pulls %v after %d walks, want once, from %d", list, walks, k.from)
				}
			})
		})
	}
}

// restart runs new syncers on the Locals of a cluster until the test ends.
func restart(t *testing.T, c *syncertest.Cluster) *pipes {
	net := newPipes(t, syncer.Intervals{}, c.Locals)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	for i, s := range net.list {
		c.Locals[i].OnChange(s.Changed)
		s.Add(c.Topic, c.Hash(i))
		go func() { done <- s.Run(ctx) }()
	}
	t.Cleanup(func() {
		cancel()
		for range net.list {
			if err := <-done; err != nil {
				t.Errorf("run: %v", err)
			}
		}
	})
	return net
}

// TestHeadsAreNotReadForEachBatch: a DAG may have thousands of heads, which a
// transfer reads a few times, whatever its length.
func TestHeadsAreNotReadForEachBatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, _ := cluster(t, 2)
		c.Locals[0].Append(c.Topic, 20_000, 16)
		read := c.Locals[1].HeadsRead()
		c.Connect(0, 1)
		after(time.Second)
		if n := c.Locals[1].HeadsRead() - read; n > 10 || c.Hash(0) != c.Hash(1) {
			t.Errorf("heads read %d times for %d events of 20000, want at most 10 times", n, c.Events(1))
		}
	})
}

// TestSlowStoreHoldsTheStream: what a node reads ahead of a store that does not
// keep up is bounded, in its memory and on the stream.
func TestSlowStoreHoldsTheStream(t *testing.T) {
	for _, byCID := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			const events, size = 3000, 8 << 10
			c, net := cluster(t, 2)
			all := c.Locals[0].Append(c.Topic, events, size)
			if byCID {
				give(t, c, 1, all[:events/2])
				net.setRelay(func(_ types.PeerID, st syncer.Stream) syncer.Stream { return lying(st, same) })
			}
			gate := make(chan struct{})
			c.Locals[1].Slow(gate)
			c.Connect(0, 1)
			const ahead = 5*types.MaxBatchSize + types.MaxFrame // the batches, and a frame being read
			for range 4 {
				after(5 * time.Second)
				had := c.Events(1) * (size + 512)
				if n := int(net.list[1].Stats().BytesIn); n > had+ahead {
					t.Errorf("%d bytes read with %d events integrated, want at most %d ahead", n, c.Events(1), ahead)
				}
				gate <- struct{}{}
			}
			if n := int(net.list[1].Stats().BytesIn); n < ahead/2 {
				t.Errorf("%d bytes read: the store was not what held them", n)
			}
			close(gate)
			after(time.Minute)
			if c.Hash(0) != c.Hash(1) {
				t.Errorf("%d events of %d", c.Events(1), events)
			}
		})
	}
}

// TestBudgets: events too large for one answer come in several.
func TestBudgets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, net := cluster(t, 2)
		events := c.Locals[0].Append(c.Topic, 1300, 32<<10)
		if err := c.Locals[1].Integrate(t.Context(), c.Topic, "", events[:700]); err != nil {
			t.Fatal(err)
		}
		net.relay = func(_ types.PeerID, st syncer.Stream) syncer.Stream { return lying(st, same) }
		c.Connect(0, 1)
		after(10 * time.Second)
		if c.Hash(0) != c.Hash(1) {
			t.Errorf("%d events of 1300", c.Events(1))
		}
		st, err := c.Syncers()[1].Status(c.Topic)
		if err != nil || st.LastError != "" || len(st.Offenders) > 0 {
			t.Errorf("status %+v, %v", st, err)
		}
		if n := len(pulls(net.sent())); n != 1 {
			t.Errorf("%d pulls, want 1", n)
		}
	})
}

// TestLostEvents: a node that remembers a position but has lost what came
// before it finds out, and pulls from the start.
func TestLostEvents(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, _ := cluster(t, 3)
		c.Locals[0].Append(c.Topic, 100, 16)
		c.Connect(0, 1)
		after(time.Second)
		key := "sync/pull/" + c.Topic.KeyString()
		position, err := c.Locals[1].Meta(key)
		if err != nil || len(position) == 0 {
			t.Fatalf("position %x, %v", position, err)
		}
		if err := c.Locals[2].SetMeta(key, position); err != nil {
			t.Fatal(err)
		}
		c.Connect(0, 2)
		after(time.Second)
		st, err := c.Syncers()[2].Status(c.Topic)
		if err != nil || c.Hash(0) != c.Hash(2) || len(st.Offenders) > 0 {
			t.Errorf("%d events of 100, status %+v, %v", c.Events(2), st, err)
		}
	})
}

// TestRemove: a topic that is removed in the middle of a pull is let go.
func TestRemove(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, net := cluster(t, 2)
		c.Locals[0].Append(c.Topic, 10, 16)
		c.Connect(0, 1)
		c.Syncers()[1].Remove(c.Topic)
		after(time.Minute)
		net.sent()
		c.Syncers()[1].Sync(c.Topic, c.Locals[0].ID())
		c.Syncers()[1].Changed(c.Topic, types.Hash{1}, true)
		after(10 * time.Minute)
		for _, r := range net.sent() {
			if r.from == c.Locals[1].ID() {
				t.Fatalf("request for a removed topic: %v", r.m)
			}
		}
		if _, err := c.Syncers()[1].Status(c.Topic); !errors.Is(err, types.ErrNotFound) {
			t.Errorf("status of a removed topic: %v", err)
		}
	})
}

// TestRunLeavesNothing: Run returns with every goroutine gone, also when it is
// stopped in the middle of a transfer.
func TestRunLeavesNothing(t *testing.T) {
	before := goleak.IgnoreCurrent()
	g, err := types.NewOpen("leak")
	if err != nil {
		t.Fatal(err)
	}
	locals := []*syncertest.Local{syncertest.NewLocal("a"), syncertest.NewLocal("b")}
	net := newPipes(t, fast, locals)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	for i, s := range net.list {
		s.Add(g.ID(), locals[i].Join(g))
		locals[i].OnChange(s.Changed)
		go func() { done <- s.Run(ctx) }()
	}
	locals[0].Append(g.ID(), 20_000, 64)
	begun := locals[1].Changed()
	net.Connect(0, 1)
	<-begun
	cancel()
	for range net.list {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	net.tasks.Wait() // the served streams of pipes belong to the test
	goleak.VerifyNone(t, before)
}

// TestRandomBytesOnHost: garbage on the protocol of a real host ends its
// stream, and nothing else.
func TestRandomBytesOnHost(t *testing.T) {
	c := syncertest.NewCluster(t, 2, onHosts)
	c.Join(0)
	c.Join(1)
	n := c.Network.(*hosts)
	rogue := newHost(t, syncertest.NewLocal("rogue"))
	to := peer.AddrInfo{ID: n.hosts[0].ID(), Addrs: n.hosts[0].Addrs()}
	if err := rogue.Connect(t.Context(), to); err != nil {
		t.Fatal(err)
	}
	random := rand.NewChaCha8([32]byte{})
	for range 50 {
		st, err := rogue.NewStream(t.Context(), to.ID, syncer.Protocol)
		if err != nil {
			t.Fatal(err)
		}
		garbage := make([]byte, 1000)
		random.Read(garbage) //nolint:errcheck // it never fails
		st.Write(garbage)    //nolint:errcheck // the other end may have hung up
		st.Reset()           //nolint:errcheck // the test is done with it
	}
	c.Locals[0].Append(c.Topic, 10, 16)
	c.Connect(0, 1)
	c.AwaitEqual(0, 1)
}
