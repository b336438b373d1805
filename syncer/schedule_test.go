package syncer_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/cairn-p2p/cairn/syncer"
	"github.com/cairn-p2p/cairn/syncer/pb"
	"github.com/cairn-p2p/cairn/syncer/syncertest"
	"github.com/cairn-p2p/cairn/types"
)

// cluster makes n nodes that have joined a topic, on pipes, in virtual time and
// with the default intervals.
func cluster(t *testing.T, n int) (*syncertest.Cluster, *pipes) {
	var net *pipes
	c := syncertest.NewCluster(t, n, func(t *testing.T, locals []*syncertest.Local) syncertest.Network {
		net = newPipes(t, syncer.Intervals{}, locals)
		return net
	})
	for i := range n {
		c.Join(i)
	}
	synctest.Wait() // until Run has begun
	return c, net
}

// after lets virtual time pass.
func after(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// count counts the requests of one kind.
func count(list []request, kind func(*pb.Request) bool) int {
	n := 0
	for _, r := range list {
		if kind(r.m) {
			n++
		}
	}
	return n
}

func isStatus(m *pb.Request) bool { return m.GetStatus() != nil }
func isHeads(m *pb.Request) bool  { return m.GetHeads() != nil }
func isOffer(m *pb.Request) bool  { return m.GetOffer() != nil }
func isPull(m *pb.Request) bool   { return m.GetPull() != nil }

// TestSuiteOnPipes runs the suite in virtual time.
func TestSuiteOnPipes(t *testing.T) {
	syncertest.Run(t, func(t *testing.T, locals []*syncertest.Local) syncertest.Network {
		return newPipes(t, fast, locals)
	})
}

// TestQuietWhenEqual: replicas that are equal and idle exchange nothing but one
// Status each way every 30 s, give or take a quarter.
func TestQuietWhenEqual(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, net := cluster(t, 2)
		c.Locals[0].Append(c.Topic, 10, 16)
		c.Connect(0, 1)
		after(time.Minute)
		if c.Hash(0) != c.Hash(1) {
			t.Fatal("not equal after a minute")
		}
		net.sent()
		after(10 * time.Minute)
		list := net.sent()
		if n := count(list, isStatus); n != len(list) || n < 2*16 || n > 2*27 {
			t.Errorf("%d requests in 10 minutes, %d of them Status; want 32 to 54, all Status", len(list), n)
		}
	})
}

// TestHotTopic: a change that gossip lost is found within a second or so, not
// within 30: the one that made it asks, and so tells.
func TestHotTopic(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, _ := cluster(t, 2)
		c.Connect(0, 1)
		for range 10 {
			after(2 * time.Second)
			c.Locals[0].Append(c.Topic, 1, 16)
			after(1100 * time.Millisecond)
			if c.Hash(0) != c.Hash(1) {
				t.Fatal("not equal a second after a change")
			}
		}
	})
}

// TestFreshJoin: a node that joins a topic asks those connected at once, and
// they learn from it that it has the topic now.
func TestFreshJoin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var net *pipes
		c := syncertest.NewCluster(t, 2, func(t *testing.T, locals []*syncertest.Local) syncertest.Network {
			net = newPipes(t, syncer.Intervals{}, locals)
			return net
		})
		c.Join(0)
		c.Locals[0].Append(c.Topic, 10, 16)
		c.Connect(0, 1)
		after(time.Minute)
		c.Join(1)
		after(time.Second)
		if c.Hash(0) != c.Hash(1) {
			t.Error("not equal a second after the join")
		}
		for i, s := range c.Syncers() {
			if st, err := s.Status(c.Topic); err != nil || st.State != syncer.StateSynced {
				t.Errorf("status of %d is %s (%s), %v", i, st.State, st.Reason, err)
			}
		}
	})
}

// TestNoPingPong: two replicas that change all the time compare when offers come,
// 10/s, and not as fast as they can.
func TestNoPingPong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, net := cluster(t, 2)
		net.relay = func(_ types.PeerID, st syncer.Stream) syncer.Stream {
			return lying(st, func(m *pb.Response) []*pb.Response {
				time.Sleep(5 * time.Millisecond) // with no latency they would be equal at once
				return same(m)
			})
		}
		c.Connect(0, 1)
		after(time.Second)
		net.sent()
		for range 1000 {
			c.Locals[0].Append(c.Topic, 1, 16)
			c.Locals[1].Append(c.Topic, 1, 16)
			after(10 * time.Millisecond)
		}
		// Two nodes, ten offers a second, up to three rounds for each.
		if n := count(net.sent(), isHeads); n < 10 || n > 2*100*3 {
			t.Errorf("%d comparisons in 10 s, want no more than offers cause", n)
		}
		c.Disconnect(0, 1)
		after(time.Second) // for the sleepers of this test
	})
}

// TestHotEnds: a replica that is ahead of one which does not follow compares
// every second for half a minute, then every 30 s.
func TestHotEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, net := cluster(t, 2)
		c.Connect(0, 1)
		after(time.Minute)
		c.Locals[1].Fail(types.ErrDiskFull)
		net.sent()
		c.Locals[0].Append(c.Topic, 1, 16)
		after(40 * time.Second)
		mine := func(list []request) (heads int) {
			for _, r := range list {
				if r.from == c.Locals[0].ID() && isHeads(r.m) {
					heads++
				}
			}
			return heads
		}
		if n := mine(net.sent()); n < 25 || n > 31 {
			t.Errorf("%d comparisons while hot, want about 30", n)
		}
		after(10 * time.Minute)
		if n := mine(net.sent()); n > 1 {
			t.Errorf("%d comparisons in 10 minutes after, want none", n)
		}
	})
}

// TestFailuresBackOff guards against defect 4: a failed fetch that is repeated
// without back-off.
func TestFailuresBackOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, net := cluster(t, 2)
		c.Locals[1].Fail(types.ErrDiskFull)
		c.Locals[0].Append(c.Topic, 10, 16)
		c.Connect(0, 1)
		for range 600 { // gossip keeps hinting
			c.Syncers()[1].Sync(c.Topic, c.Locals[0].ID())
			after(time.Second)
		}
		list := net.sent()
		if n := count(list, isPull); n < 8 || n > 25 {
			t.Errorf("%d pulls in 10 minutes of failing, want 8 to 25", n)
		}
		if n := len(list); n > 200 {
			t.Errorf("%d requests in 10 minutes of failing, want at most 200", n)
		}
		c.Locals[1].Fail(nil)
		after(4 * time.Minute)
		if c.Hash(0) != c.Hash(1) {
			t.Error("not equal after the failure has gone")
		}
	})
}

// TestHintsCoalesce: a storm of hints by gossip asks a peer no more often than
// every Settle.
func TestHintsCoalesce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, net := cluster(t, 2)
		c.Connect(0, 1)
		after(time.Second)
		net.sent()
		for range 10_000 {
			c.Syncers()[1].Sync(c.Topic, c.Locals[0].ID())
			c.Syncers()[1].Sync(c.Topic, "a stranger")
			time.Sleep(100 * time.Microsecond)
		}
		after(time.Second)
		if n := len(net.sent()); n > 60 {
			t.Errorf("%d requests after a second of hints, want at most one each 20 ms", n)
		}
	})
}

// TestOffersArePaced: what was backfilled is offered to the other replicas, at
// most ten times a second.
func TestOffersArePaced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, net := cluster(t, 3)
		c.Connects(0, 1, 2)
		after(time.Minute)
		net.sent()
		for range 500 {
			c.Locals[0].Append(c.Topic, 1, 16)
			c.Syncers()[1].Sync(c.Topic, c.Locals[0].ID())
			after(10 * time.Millisecond)
		}
		offers := 0
		for _, r := range net.sent() {
			if isOffer(r.m) && r.from == c.Locals[1].ID() && r.to == c.Locals[2].ID() {
				offers++
			}
		}
		if offers < 20 || offers > 51 {
			t.Errorf("%d offers in 5 s, want some and at most 10/s", offers)
		}
		after(time.Second)
		if c.Hash(0) != c.Hash(2) {
			t.Error("the far end of the chain is not equal")
		}
	})
}

// TestPausedIsLeftOut: a replica that says paused is not compared every second
// and does not keep others from being synced.
func TestPausedIsLeftOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, net := cluster(t, 3)
		c.Locals[2].Pause(c.Topic, true)
		c.Locals[2].Fail(types.ErrDiskFull)
		c.Connects(1, 0, 2)
		c.Locals[0].Append(c.Topic, 1, 16)
		after(10 * time.Second)
		net.sent()
		c.Locals[0].Append(c.Topic, 1, 16)
		after(20 * time.Second)
		n := 0
		for _, r := range net.sent() {
			if r.from == c.Locals[0].ID() && r.to == c.Locals[2].ID() && isHeads(r.m) {
				n++
			}
		}
		if n > 2 {
			t.Errorf("%d comparisons with a paused replica", n)
		}
		st, err := c.Syncers()[0].Status(c.Topic)
		if err != nil || st.State != syncer.StateSynced {
			t.Errorf("status %s (%s), %v; want synced", st.State, st.Reason, err)
		}
		if st, err := c.Syncers()[2].Status(c.Topic); err != nil || st.State != syncer.StatePaused {
			t.Errorf("status of the paused one %s, %v", st.State, err)
		}
	})
}

// TestOneTransferATopic: with many peers that have what is missing, it is
// fetched from one of them at a time.
func TestOneTransferATopic(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, _ := cluster(t, 5)
		events := c.Locals[0].Append(c.Topic, 3000, 16)
		for i := 1; i < 4; i++ {
			if err := c.Locals[i].Integrate(t.Context(), c.Topic, "", events); err != nil {
				t.Fatal(err)
			}
		}
		for i := range 4 {
			c.Connect(i, 4)
		}
		after(500 * time.Millisecond)
		if c.Hash(0) != c.Hash(4) {
			t.Fatal("not equal")
		}
		st, err := c.Syncers()[4].Status(c.Topic)
		if err != nil || st.State != syncer.StateSynced || len(st.Replicas) != 4 {
			t.Errorf("status %+v, %v; want synced with 4", st, err)
		}
		if n := c.Locals[4].Verified(); n != 3000 {
			t.Errorf("%d events verified, want each once", n)
		}
	})
}

// TestHintAsksOthers: when the sender of a hint fails, or has nothing new
// itself, the other replicas are asked.
func TestHintAsksOthers(t *testing.T) {
	for _, fails := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			c, net := cluster(t, 3)
			c.Connects(1, 0, 2)
			after(time.Minute)
			c.Locals[2].OnChange(nil) // the syncer of 2 does not tell
			c.Locals[2].Append(c.Topic, 10, 16)
			net.mu.Lock()
			net.relay = func(to types.PeerID, st syncer.Stream) syncer.Stream {
				if fails && to == c.Locals[1].ID() {
					st.Reset()
				}
				return st
			}
			net.mu.Unlock()
			c.Syncers()[0].Sync(c.Topic, c.Locals[1].ID())
			after(1500 * time.Millisecond)
			if c.Hash(0) != c.Hash(2) {
				t.Errorf("not fetched from another replica (sender fails: %v)", fails)
			}
		})
	}
}

// TestPeerLeaves: a peer that no longer has the topic is no replica of it.
func TestPeerLeaves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, _ := cluster(t, 2)
		c.Connect(0, 1)
		after(time.Minute)
		c.Syncers()[1].Remove(c.Topic)
		after(time.Minute)
		st, err := c.Syncers()[0].Status(c.Topic)
		if err != nil || st.State != syncer.StateAlone {
			t.Errorf("status %+v, %v; want alone", st, err)
		}
	})
}

// TestPausedFetchesNothing: a node that takes nothing new asks for nothing, says
// nothing false of its peers, and catches up once it is told to.
func TestPausedFetchesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, net := cluster(t, 2)
		c.Locals[0].Append(c.Topic, 100, 32)
		c.Locals[1].Pause(c.Topic, true)
		net.Connect(0, 1)
		after(10 * time.Minute)
		pulls := 0
		for _, r := range net.sent() {
			if r.from == c.Locals[1].ID() && (r.m.GetPull() != nil || r.m.GetEvents() != nil || r.m.GetAncestors() != nil) {
				pulls++
			}
		}
		if pulls > 0 || c.Events(1) > 0 {
			t.Errorf("%d requests for events, %d events", pulls, c.Events(1))
		}
		st, err := c.Syncers()[1].Status(c.Topic)
		if err != nil || st.State != syncer.StatePaused || len(st.Missing) > 0 || len(st.Offenders) > 0 {
			t.Errorf("status %+v, %v", st, err)
		}
		c.Locals[1].Pause(c.Topic, false)
		c.Syncers()[1].Sync(c.Topic, "")
		after(5 * time.Second)
		if c.Hash(0) != c.Hash(1) {
			t.Errorf("%d events 5 s after the pause, want %d", c.Events(1), c.Events(0))
		}
	})
}
