package syncer_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	corepeer "github.com/libp2p/go-libp2p/core/peer"

	"github.com/cairn-p2p/cairn/syncer"
	"github.com/cairn-p2p/cairn/syncer/pb"
	"github.com/cairn-p2p/cairn/syncer/syncertest"
	"github.com/cairn-p2p/cairn/trie"
	"github.com/cairn-p2p/cairn/types"
)

// finder finds what a test puts there, and notes when it was asked.
type finder struct {
	mu        sync.Mutex
	providers []types.PeerID
	archives  []types.PeerID
	err       error
	asked     []time.Time
	ready     []chan struct{} // of each syncer
}

func (f *finder) Ready() <-chan struct{} {
	f.mu.Lock()
	defer f.mu.Unlock()
	c := make(chan struct{}, 1)
	f.ready = append(f.ready, c)
	return c
}

// becomeReady tells every syncer that there is somebody to ask.
func (f *finder) becomeReady() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, c := range f.ready {
		select {
		case c <- struct{}{}:
		default:
		}
	}
}

func (f *finder) Providers(context.Context, types.TopicID) ([]corepeer.AddrInfo, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.asked = append(f.asked, time.Now())
	return infos(f.providers), f.err
}

func (f *finder) Archives(context.Context) ([]corepeer.AddrInfo, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return infos(f.archives), f.err
}

func infos(ids []types.PeerID) []corepeer.AddrInfo {
	var list []corepeer.AddrInfo
	for _, id := range ids {
		list = append(list, corepeer.AddrInfo{ID: corepeer.ID(id)})
	}
	return list
}

// set changes what is found.
func (f *finder) set(change func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change()
}

// lookups returns the number of lookups so far, and forgets them.
func (f *finder) lookups() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := len(f.asked)
	f.asked = nil
	return n
}

// wild makes n nodes that can find and meet each other: node 0 by a finder, all
// by floods. Those in down cannot be connected to.
func wild(t *testing.T, n int, iv syncer.Intervals, down map[int]bool) (*syncertest.Cluster, *pipes, *finder) {
	f := new(finder)
	c, net := wildWith(t, n, iv, f, func(i int) bool {
		f.mu.Lock()
		defer f.mu.Unlock()
		return !down[i]
	})
	return c, net, f
}

// wildWith is wild with any Finder, also none.
func wildWith(t *testing.T, n int, iv syncer.Intervals, f syncer.Finder, reachable func(int) bool) (*syncertest.Cluster, *pipes) {
	var net *pipes
	c := syncertest.NewCluster(t, n, func(t *testing.T, locals []*syncertest.Local) syncertest.Network {
		net = newPipesWith(t, iv, locals, f)
		for i, s := range net.list {
			s.OnMeet(locals[i].ID(), func(_ context.Context, info corepeer.AddrInfo) error {
				for j, l := range locals {
					if l.ID() == types.PeerID(info.ID) && reachable(j) {
						net.Connect(i, j)
						return nil
					}
				}
				return errors.New("no route")
			})
		}
		return net
	})
	synctest.Wait()
	return c, net
}

func isLocate(m *pb.Request) bool { return m.GetLocate() != nil }

// TestProviders: a node that joins a topic finds a replica it is not connected to,
// by way of a provider record.
func TestProviders(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, _, f := wild(t, 3, syncer.Intervals{}, map[int]bool{2: true})
		c.Join(1)
		c.Locals[1].Append(c.Topic, 10, 16)
		f.set(func() { f.providers = []types.PeerID{c.Locals[2].ID(), c.Locals[1].ID(), c.Locals[0].ID()} })
		c.Join(0)
		after(time.Second)
		if c.Hash(0) != c.Hash(1) {
			t.Error("not fetched from a provider")
		}
	})
}

// TestFloodFindsTheLast: every provider but one has gone, and that one is known
// to a relay of a relay alone, which do not replicate the topic.
func TestFloodFindsTheLast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		// 0 joins; 1 and 2 relay; 3 has it; 4 and 5 had it and are gone.
		c, net, f := wild(t, 6, syncer.Intervals{}, map[int]bool{4: true, 5: true})
		c.Join(3)
		c.Locals[3].Append(c.Topic, 10, 16)
		f.set(func() { f.providers = []types.PeerID{c.Locals[4].ID(), c.Locals[5].ID()} })
		c.Connects(0, 1, 2, 3)
		c.Connect(2, 0)
		net.Disconnect(2, 0)
		c.Join(0)
		c.Syncers()[0].Sync(c.Topic, c.Locals[1].ID()) // gossip by way of the relay
		after(5 * time.Second)
		if c.Hash(0) != c.Hash(3) {
			st, err := c.Syncers()[0].Status(c.Topic)
			t.Errorf("not found by the flood: %s (%s), %v", st.State, st.Reason, err)
		}
		if st, err := c.Syncers()[0].Status(c.Topic); err != nil || st.State != syncer.StateSynced || len(st.Rungs) > 0 {
			t.Errorf("%+v, %v; want synced", st, err)
		}
	})
}

// TestJoinedByName: a node that joins a quiet topic, of which no gossip tells and
// which has no reachable provider, finds its only replica by the flood or among
// the archives; while there is none, status says what was tried, and the search
// is made again ever more rarely.
func TestJoinedByName(t *testing.T) {
	archive := new(finder)
	for name, f := range map[string]syncer.Finder{"flood": new(finder), "flood without a DHT": nil, "archive": archive} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c, _ := wildWith(t, 4, syncer.Intervals{}, f, func(int) bool { return true })
				c.Join(3) // 1 and 2 relay
				c.Locals[3].Append(c.Topic, 10, 16)
				c.Connects(0, 1, 2)
				if f == archive {
					archive.set(func() { archive.archives = []types.PeerID{c.Locals[3].ID()} })
				} else {
					c.Connect(2, 3)
				}
				after(time.Second)
				c.Join(0)
				after(10 * time.Second)
				if c.Hash(0) != c.Hash(3) {
					st, err := c.Syncers()[0].Status(c.Topic)
					t.Errorf("not found: %s (%s), %v", st.State, st.Reason, err)
				}
				if st, err := c.Syncers()[0].Status(c.Topic); err != nil || st.State != syncer.StateSynced || len(st.Rungs) > 0 {
					t.Errorf("%+v, %v; want synced", st, err)
				}
			})
		})
	}
}

// TestJoinedAlone: see TestJoinedByName.
func TestJoinedAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, net, _ := wild(t, 3, syncer.Intervals{}, nil)
		c.Connects(0, 1, 2)
		after(time.Second)
		net.sent()
		c.Join(0)
		floods := func() int { return count(net.sent(), isLocate) }
		after(10 * time.Second)
		st, err := c.Syncers()[0].Status(c.Topic)
		const want = "none of 1 connected peer has the topic; tried connected peers, providers, flood and archives"
		if err != nil || st.State != syncer.StateAlone || st.Reason != want || len(st.Rungs) != 4 || st.Climbed.IsZero() {
			t.Errorf("%+v, %v; want alone, with 4 rungs", st, err)
		}
		if n := floods(); n != 2 { // 0 asks 1, and 1 asks 2
			t.Errorf("%d Locate requests for a topic joined, want 2", n)
		}
		after(24 * time.Hour)
		if n := floods(); n < 2*5 || n > 2*12 {
			t.Errorf("%d Locate requests in a day alone, want some, less and less often", n)
		}
		// With an event of its own there is something for others to find.
		c.Locals[0].Append(c.Topic, 1, 16)
		after(48 * time.Hour)
		if n := floods(); n > 0 {
			t.Errorf("%d Locate requests for a topic that is no longer blank", n)
		}
	})
}

// TestJoinedWithAReplica: nobody else is asked for a topic of which a connected
// peer has events.
func TestJoinedWithAReplica(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, net, _ := wild(t, 3, syncer.Intervals{}, nil)
		c.Connects(0, 1, 2)
		c.Join(1)
		c.Locals[1].Append(c.Topic, 1, 16)
		after(time.Minute)
		net.sent()
		c.Join(0)
		after(24 * time.Hour)
		if n := count(net.sent(), isLocate); n > 0 {
			t.Errorf("%d Locate requests for a topic with a connected replica", n)
		}
	})
}

// TestEmptyReplicas: others who joined the topic and hold nothing of it, connected,
// found as providers, and on the way, do not hide the one that holds it.
func TestEmptyReplicas(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, _, f := wild(t, 6, syncer.Intervals{}, nil)
		// 0 joins; 1 is connected to it, 2 a provider, 3 on the way to 5, all empty;
		// 4 relays.
		c.Join(5)
		c.Locals[5].Append(c.Topic, 10, 16)
		for _, i := range []int{1, 2, 3} {
			c.Join(i)
		}
		c.Connect(0, 1)
		c.Connects(0, 3, 4)
		after(time.Minute)
		f.set(func() { f.providers = []types.PeerID{c.Locals[2].ID()} })
		c.Connect(4, 5)
		c.Join(0)
		after(10 * time.Second)
		if c.Hash(0) != c.Hash(5) {
			st, err := c.Syncers()[0].Status(c.Topic)
			t.Errorf("not found: %s (%s), %v", st.State, st.Reason, err)
		}
	})
}

// TestBlankTopicsHoldNothingUp: with a thousand topics joined of which nobody has
// anything, a topic of which gossip shows something is found in seconds, and the
// searches for the others are paced.
func TestBlankTopicsHoldNothingUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, net, _ := wild(t, 3, syncer.Intervals{}, nil)
		c.Join(2)
		c.Locals[2].Append(c.Topic, 10, 16)
		c.Join(0)
		c.Locals[0].Append(c.Topic, 1, 16) // else it would look for it by itself
		c.Connects(0, 1, 2)
		after(time.Second)
		if c.Hash(0) == c.Hash(2) {
			t.Fatal("equal without having met")
		}
		for i := range 1000 {
			g, err := types.NewOpen(fmt.Sprintf("blank %d", i))
			if err != nil {
				t.Fatal(err)
			}
			c.Locals[0].Join(g)
			net.list[0].Add(g.ID(), trie.EmptyRoot)
		}
		after(2 * time.Second)
		net.sent()
		c.Syncers()[0].Sync(c.Topic, c.Locals[1].ID()) // gossip by way of the relay
		after(5 * time.Second)
		if c.Hash(0) != c.Hash(2) {
			t.Error("not found within 5 s")
		}
		after(5 * time.Minute)
		own := 0
		for _, r := range net.sent() {
			if q := r.m.GetLocate(); q != nil && r.from == c.Locals[0].ID() {
				own++
			}
		}
		if own < 100 || own > 400 { // to two peers, one every two seconds
			t.Errorf("%d Locate requests of 1,000 blank topics in five minutes, want about 300", own)
		}
	})
}

// TestFloodWithNobody: without a DHT, a topic joined before there is any peer to ask
// is searched for again soon.
func TestFloodWithNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, _ := wildWith(t, 3, syncer.Intervals{}, nil, func(int) bool { return true })
		c.Join(2)
		c.Locals[2].Append(c.Topic, 10, 16)
		c.Join(0)
		after(5 * time.Minute)
		c.Connects(0, 1, 2)
		after(11 * time.Minute)
		if c.Hash(0) != c.Hash(2) {
			t.Error("not found within 11 minutes")
		}
	})
}

// TestArchive: when neither providers nor the flood help, an archive does.
func TestArchive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, _, f := wild(t, 3, syncer.Intervals{}, nil)
		c.Join(2)
		c.Locals[2].Append(c.Topic, 10, 16)
		f.set(func() { f.archives = []types.PeerID{c.Locals[2].ID()} })
		c.Connect(0, 1)
		c.Join(0)
		c.Syncers()[0].Sync(c.Topic, c.Locals[1].ID())
		after(20 * time.Second)
		if c.Hash(0) != c.Hash(2) {
			t.Error("not fetched from the archive")
		}
	})
}

// TestStalled: when all rungs fail, status says so, with each rung and what it
// said; the climb is repeated with back-off, and help ends it.
func TestStalled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		down := map[int]bool{2: true, 3: true}
		c, net, f := wild(t, 5, syncer.Intervals{}, down)
		c.Join(0)
		c.Join(1)
		c.Locals[1].Append(c.Topic, 10, 16)
		net.setRelay(func(to types.PeerID, st syncer.Stream) syncer.Stream {
			if to != c.Locals[1].ID() {
				return st
			}
			return lying(st, onPull(func(a *pb.PullAnswer) { a.Events[0].Witness[5] ^= 1 }))
		})
		f.set(func() { f.providers = []types.PeerID{c.Locals[2].ID()} })
		f.set(func() { f.archives = []types.PeerID{c.Locals[3].ID()} })
		c.Connect(0, 1)
		c.Connect(0, 4)
		after(10 * time.Second)
		st, err := c.Syncers()[0].Status(c.Topic)
		if err != nil || st.State != syncer.StateStalled {
			t.Fatalf("%s (%s), %v; want stalled", st.State, st.Reason, err)
		}
		if want := "nobody gave what is missing; tried connected peers, providers, flood and archives"; st.Reason != want {
			t.Errorf("reason %q, want %q", st.Reason, want)
		}
		for i, want := range []struct{ said, by string }{
			{"connected peers: 1 of 2 have the topic", "bad witness"},
			{"providers: 1 found", "no route"},
			{"flood: 1 found, none that was not asked", ""},
			{"archives: 1 found", c.Locals[3].ID().String() + ": no route"},
		} {
			if got := st.Rungs[i].String(); !strings.HasPrefix(got, want.said) || !strings.Contains(got, want.by) {
				t.Errorf("rung %q, want %q", got, want)
			}
		}
		if len(st.Offenders) != 1 || len(st.Missing) == 0 || len(st.Rungs) != 4 || st.Climbed.IsZero() {
			t.Errorf("%d offenders, %d missing, %d rungs", len(st.Offenders), len(st.Missing), len(st.Rungs))
		}
		f.lookups()
		after(10 * time.Minute)
		if n := f.lookups(); n < 3 || n > 25 {
			t.Errorf("%d climbs in 10 minutes of failing, want 3 to 25", n)
		}
		// One of those that were unreachable comes back, with the topic.
		c.Join(3)
		if err := c.Locals[3].Integrate(t.Context(), c.Topic, "", events(t, c, 1)); err != nil {
			t.Fatal(err)
		}
		f.set(func() { delete(down, 3) })
		after(4 * time.Minute)
		st, err = c.Syncers()[0].Status(c.Topic)
		if err != nil || st.State != syncer.StateSynced || c.Hash(0) != c.Hash(3) {
			t.Errorf("%s (%s), %v; want synced", st.State, st.Reason, err)
		}
	})
}

// TestLookupLeavesBackOff: a lookup that is brought forward does not bring forward
// the climb to the top that waits, and does not replace it.
func TestLookupLeavesBackOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, net, f := wild(t, 3, syncer.Intervals{BackoffMin: time.Hour, BackoffMax: time.Hour}, nil)
		c.Join(0)
		c.Locals[0].Append(c.Topic, 1, 16) // else a lookup would flood, too
		c.Connect(0, 1)
		after(time.Minute)
		c.Syncers()[0].Sync(c.Topic, c.Locals[1].ID()) // what nobody has
		after(time.Minute)
		floods := func() int { return count(net.sent(), isLocate) }
		floods()
		f.lookups()
		f.becomeReady()
		after(20 * time.Minute)
		if n, m := f.lookups(), floods(); n == 0 || m > 0 {
			t.Errorf("%d lookups and %d floods while the climb to the top waits, want some and none", n, m)
		}
		after(90 * time.Minute)
		if floods() == 0 {
			t.Error("the climb to the top was not made any more")
		}
	})
}

// late is a stream on which a request is that late.
type late struct {
	syncer.Stream
	by time.Duration
}

func (l late) Write(b []byte) (int, error) {
	time.Sleep(l.by)
	return l.Stream.Write(b)
}

// TestOwnSearchIsNotAnswered: a search that comes back to who began it ends there.
func TestOwnSearchIsNotAnswered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, net, _ := wild(t, 3, syncer.Intervals{}, nil)
		c.Connects(0, 1, 2, 0)
		after(time.Second)
		net.sent()
		first := true
		net.setRelay(func(to types.PeerID, st syncer.Stream) syncer.Stream {
			if to != c.Locals[2].ID() || !first {
				return st
			}
			first = false
			return late{st, 100 * time.Millisecond}
		})
		if _, err := net.list[0].FetchGenesis(t.Context(), c.Topic); !errors.Is(err, types.ErrNotFound) {
			t.Errorf("%v, want not found", err)
		}
		// 0 asks 1, 1 asks 2, 2 asks 0, who began it; 2 has seen it when 0 asks.
		if n := count(net.sent(), isLocate); n != 4 {
			t.Errorf("%d Locate requests, want 4", n)
		}
	})
}

// TestSearchesPassedOn: a node that passes on as many searches as it may answers
// others at once, with nobody.
func TestSearchesPassedOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, net, _ := wild(t, 3, syncer.Intervals{}, nil)
		c.Join(2)
		c.Connects(0, 1, 2)
		after(time.Second)
		for range 16 {
			if !net.list[1].OccupySearch() {
				t.Fatal("want 16 searches at a time")
			}
		}
		if net.list[1].OccupySearch() {
			t.Error("more than 16 searches at a time")
		}
		if _, err := net.list[0].FetchGenesis(t.Context(), c.Topic); !errors.Is(err, types.ErrNotFound) {
			t.Errorf("passed on by a node that is busy: %v", err)
		}
		net.list[1].ReleaseSearch()
		if _, err := net.list[0].FetchGenesis(t.Context(), c.Topic); err != nil {
			t.Errorf("not passed on: %v", err)
		}
	})
}

// events returns all events of a node.
func events(t *testing.T, c *syncertest.Cluster, node int) []*types.Event {
	t.Helper()
	var list []*types.Event
	for entry, err := range c.Locals[node].Log(c.Topic, types.Cursor{}) {
		if err != nil {
			t.Fatal(err)
		}
		e, err := entry.Event()
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, e)
	}
	return list
}

// TestWhenLookedUp: on joining, then less and less often while there are few
// replicas; with enough of them hourly while the topic changes and daily when it
// does not.
func TestWhenLookedUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, _, f := wild(t, 4, syncer.Intervals{}, nil)
		c.Join(0)
		after(time.Minute)
		if n := f.lookups(); n != 1 {
			t.Errorf("%d lookups on joining, want 1", n)
		}
		after(24 * time.Hour)
		if n := f.lookups(); n < 5 || n > 12 {
			t.Errorf("%d lookups in a day alone, want some, less and less often", n)
		}
		for i := 1; i < 4; i++ {
			c.Join(i)
			c.Connect(0, i)
		}
		after(48 * time.Hour)
		f.lookups()
		units := 10
		if underRace {
			units = 3
		}
		after(time.Duration(units) * 24 * time.Hour)
		if n := f.lookups(); 10*n < units*4*7 || 10*n > units*4*14 { // by four nodes
			t.Errorf("%d lookups in %d dormant days, want about one a day", n, units)
		}
		for range units * 60 {
			c.Locals[0].Append(c.Topic, 1, 16)
			after(time.Minute)
		}
		if n := f.lookups(); 10*n < units*4*6 || 10*n > units*4*14 {
			t.Errorf("%d lookups in %d active hours, want about one an hour", n, units)
		}
	})
}

// TestFailedLookups: a lookup that had nobody to ask is made again with back-off,
// and at once when there is somebody; it does not count as one that found no one.
func TestFailedLookups(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, _, f := wild(t, 2, syncer.Intervals{}, nil)
		c.Join(1)
		c.Locals[1].Append(c.Topic, 10, 16)
		after(time.Minute)
		f.set(func() { f.err = errors.New("nobody to ask") })
		f.lookups()
		c.Join(0)
		after(24 * time.Hour)
		if n := f.lookups(); n < 2*24*5 || n > 2*24*8 {
			t.Errorf("%d lookups of two nodes in a day that could not be made, want one every 10 minutes", n)
		}
		f.set(func() { f.err, f.providers = nil, []types.PeerID{c.Locals[1].ID()} })
		f.becomeReady()
		after(10 * time.Second)
		if c.Hash(0) != c.Hash(1) {
			t.Error("not looked up again when there was somebody to ask")
		}
	})
}

// TestFailedLookupIsRetried: without any word of the finder, too.
func TestFailedLookupIsRetried(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, _, f := wild(t, 2, syncer.Intervals{}, nil)
		f.set(func() { f.err = errors.New("nobody to ask") })
		c.Join(1)
		c.Locals[1].Append(c.Topic, 10, 16)
		c.Join(0)
		after(3 * time.Second)
		f.set(func() { f.err, f.providers = nil, []types.PeerID{c.Locals[1].ID()} })
		after(10 * time.Second)
		if c.Hash(0) != c.Hash(1) {
			t.Error("not looked up again soon after a lookup that failed")
		}
	})
}

// TestLostReplica: when a replica goes and few are left, others are looked for
// within seconds, but ever more rarely while replicas come and go.
func TestLostReplica(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, net, f := wild(t, 3, syncer.Intervals{}, nil)
		c.Join(0)
		after(24 * time.Hour) // it has looked in vain for long
		c.Join(1)
		c.Join(2)
		c.Connect(0, 1)
		after(time.Minute)
		f.set(func() { f.providers = []types.PeerID{c.Locals[2].ID()} })
		net.Disconnect(0, 1)
		c.Locals[2].Append(c.Topic, 10, 16)
		after(10 * time.Second)
		if c.Hash(0) != c.Hash(2) {
			t.Error("no replica found when the only one had gone")
		}
		f.set(func() { f.providers = nil })
		f.lookups()
		for range 6 * 60 { // 0 and 1 lose each other every ten seconds, and all hear of it
			net.Connect(0, 1)
			after(5 * time.Second)
			net.Disconnect(0, 1)
			f.becomeReady()
			after(5 * time.Second)
		}
		if n := f.lookups(); n < 3*6 || n > 3*16 {
			t.Errorf("%d lookups by three nodes in an hour of losses, want 6 to 16 of each", n)
		}
	})
}

// TestPausedClimbsNothing: a paused topic looks for nobody, whatever gossip shows
// of it, and goes on where it was when it is not paused any more.
func TestPausedClimbsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, net, f := wild(t, 2, syncer.Intervals{}, nil)
		c.Join(1)
		c.Locals[1].Append(c.Topic, 10, 16)
		c.Join(0)
		after(time.Second)
		c.Locals[0].Pause(c.Topic, true)
		c.Locals[1].Pause(c.Topic, true) // else it would look, and connect
		c.Syncers()[0].Sync(c.Topic, "a stranger")
		f.lookups()
		after(24 * time.Hour)
		if n := f.lookups(); n != 0 {
			t.Errorf("%d lookups in a day of being paused", n)
		}
		f.set(func() { f.providers = []types.PeerID{c.Locals[1].ID()} })
		c.Locals[0].Pause(c.Topic, false)
		net.list[0].Resume(c.Topic)
		after(5 * time.Second)
		if c.Hash(0) != c.Hash(1) {
			t.Error("not looked for replicas once it was not paused any more")
		}
	})
}

// TestResumeIsNoHint: a topic that takes new events again compares with its
// replicas, and is as lonely as before if it has none.
func TestResumeIsNoHint(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, net, f := wild(t, 3, syncer.Intervals{}, nil)
		c.Join(0)
		c.Connect(0, 2)
		after(time.Minute)
		net.sent()
		f.lookups()
		net.list[0].Resume(c.Topic)
		after(5 * time.Minute)
		if st, err := c.Syncers()[0].Status(c.Topic); err != nil || st.State != syncer.StateAlone || f.lookups() > 0 {
			t.Errorf("%s (%s), %v; want alone, and no lookup", st.State, st.Reason, err)
		}
		if n := count(net.sent(), isLocate); n > 0 {
			t.Errorf("%d Locate requests for a topic of which gossip showed nothing", n)
		}
		c.Join(1)
		c.Connect(0, 1)
		after(time.Minute)
		net.sent()
		net.list[0].Resume(c.Topic)
		after(2 * time.Second)
		if n := count(net.sent(), isHeads); n != 1 {
			t.Errorf("%d comparisons with the one replica, want 1", n)
		}
	})
}

// TestGroupsMeet: two groups of replicas, joined only by a relay and quiet, become
// equal by a lookup at random. There is no gossip here, so what a group appends
// is lost on the relay to the last message. A group of two, {A, A'}, would not show
// that it takes lookups at random: who knows fewer than three replicas looks for
// more in any case.
func TestGroupsMeet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		// Two groups of four, in which each knows enough others not to look for
		// more: 0 to 3, and 4 to 7. 8 relays.
		c, _, f := wild(t, 9, syncer.Intervals{Lookup: time.Hour, Dormant: 4 * time.Hour, Full: time.Hour}, nil)
		for i := range 8 {
			c.Join(i)
			for j := i / 4 * 4; j < i; j++ {
				c.Connect(i, j)
			}
		}
		c.Locals[0].Append(c.Topic, 5, 16)
		c.Locals[4].Append(c.Topic, 5, 16)
		after(time.Minute)
		c.Connect(0, 8)
		c.Connect(4, 8)
		after(3 * time.Hour) // lookups find nobody
		if c.Hash(0) == c.Hash(4) {
			t.Fatal("equal without having met")
		}
		f.set(func() {
			for _, l := range c.Locals[:8] {
				f.providers = append(f.providers, l.ID())
			}
		})
		after(8 * time.Hour) // the topic is quiet by now
		for i := 1; i < 8; i++ {
			if c.Hash(0) != c.Hash(i) {
				t.Errorf("%d differs from 0 after lookups at random", i)
			}
		}
	})
}

// TestLocateBounds: a search is answered once, passed on only so far, and a peer
// gets so many answered.
func TestLocateBounds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := newServed(t, syncer.Limits{})
		v.s.OnMeet(v.local.ID(), nil)
		ask := func(nonce byte, topic types.TopicID) int {
			m := &pb.LocateRequest{Topic: topic.Bytes(), Nonce: append(make([]byte, 15), nonce), Hops: 4}
			return len(v.ask(&pb.Request{Request: &pb.Request_Locate{Locate: m}})[0].GetLocate().GetHolders())
		}
		if ask(1, v.g.ID()) != 1 || ask(1, v.g.ID()) != 0 || ask(2, types.SumCID(nil)) != 0 {
			t.Error("want a holder, once, of a topic that is held")
		}
		answered := 0
		for nonce := range byte(100) {
			answered += ask(nonce+10, v.g.ID())
		}
		if answered > 16 {
			t.Errorf("%d searches answered at once, want at most 16", answered)
		}
		after(time.Minute)
		if ask(200, v.g.ID()) != 1 {
			t.Error("not answered a minute later")
		}
		v.local.Pause(v.g.ID(), true)
		after(time.Minute)
		if ask(201, v.g.ID()) != 0 {
			t.Error("a paused topic is offered")
		}
	})
}

// TestFloodEnds: in a ring of relays a search ends, each node asks on once, and
// what is more than four relays away is not found.
func TestFloodEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const n = 12
		c, net, _ := wild(t, n, syncer.Intervals{}, nil)
		c.Join(6)
		for i := range n {
			c.Connect(i, (i+1)%n)
		}
		after(time.Second)
		net.sent()
		if _, err := net.list[0].FetchGenesis(t.Context(), c.Topic); !errors.Is(err, types.ErrNotFound) {
			t.Errorf("six hops away: %v, want not found", err)
		}
		if n := count(net.sent(), isLocate); n > 12 {
			t.Errorf("%d Locate requests for a search, want each node to ask once", n)
		}
		if g, err := net.list[2].FetchGenesis(t.Context(), c.Topic); err != nil || g.ID() != c.Topic {
			t.Errorf("four hops away: %v", err)
		}
	})
}

// TestStates leads one topic through the states that syncing has, each with its
// reason.
func TestStates(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, net, _ := wild(t, 4, syncer.Intervals{}, nil)
		want := func(state syncer.State, reason string) syncer.TopicStatus {
			t.Helper()
			st, err := c.Syncers()[0].Status(c.Topic)
			if err != nil || st.State != state || !strings.Contains(st.Reason, reason) {
				t.Errorf("%s (%s), %v; want %s (%s)", st.State, st.Reason, err, state, reason)
			}
			return st
		}
		c.Join(0)
		want(syncer.StateAlone, "none of 0 connected peers has the topic")

		// A relay passes on gossip of a topic that nobody in reach has.
		c.Connect(0, 3)
		after(time.Second)
		want(syncer.StateAlone, "none of 1 connected peer has the topic")
		c.Syncers()[0].Sync(c.Topic, c.Locals[3].ID())
		after(100 * time.Millisecond)
		want(syncer.StateBehind, "gossip shows events that are not here")
		after(10 * time.Second)
		st := want(syncer.StateStalled, "gossip shows events that nobody gave; tried connected peers, providers, flood and archives")
		if len(st.Rungs) != 4 || st.Rungs[0].String() != "connected peers: 0 of 1 have the topic" {
			t.Errorf("rungs %v", st.Rungs)
		}

		// A replica comes, but answers slowly.
		c.Join(1)
		c.Locals[1].Append(c.Topic, 5, 16)
		net.setRelay(func(to types.PeerID, st syncer.Stream) syncer.Stream {
			if to != c.Locals[1].ID() {
				return st
			}
			return lying(st, func(m *pb.Response) []*pb.Response {
				time.Sleep(3 * time.Second)
				return same(m)
			})
		})
		c.Connect(0, 1)
		c.AwaitState(0, func(st syncer.TopicStatus) bool {
			return st.State == syncer.StateBehind && st.Reason == "1 of 1 connected replica has something new"
		})
		c.AwaitState(0, syncertest.Is(syncer.StateSyncing))
		st = want(syncer.StateSyncing, "fetching from "+c.Locals[1].ID().String())
		if st.Fetching != c.Locals[1].ID() {
			t.Errorf("fetching from %q", st.Fetching)
		}
		after(20 * time.Second)
		st = want(syncer.StateSynced, "all that 1 connected replica has is integrated")
		if len(st.Missing) != 0 || len(st.Rungs) != 0 {
			t.Errorf("synced with %+v missing after %v", st.Missing, st.Rungs)
		}

		// Another one breaks the protocol.
		c.Join(2)
		c.Locals[2].Append(c.Topic, 1, 16)
		net.setRelay(func(to types.PeerID, st syncer.Stream) syncer.Stream {
			if to != c.Locals[2].ID() {
				return st
			}
			return lying(st, func(m *pb.Response) []*pb.Response {
				if m.GetPull() != nil || m.GetEvents() != nil {
					m.Answer = &pb.Response_Heads{Heads: &pb.HeadsAnswer{}}
				}
				return same(m)
			})
		})
		c.Connect(0, 2)
		after(time.Minute)
		st = want(syncer.StateBehind, "the last exchange with 1 of 2 connected replicas failed")
		if len(st.Offenders) != 1 || st.Offenders[0].Peer != c.Locals[2].ID() || len(st.Missing) != 1 {
			t.Fatalf("offenders %+v, missing %+v", st.Offenders, st.Missing)
		}
		if m := st.Missing[0]; m.Since.IsZero() || len(m.Asked) != 1 || m.Asked[0].Peer != c.Locals[2].ID() || m.Asked[0].Answer == "" {
			t.Errorf("missing %+v, want since when and whom we asked", m)
		}

		// One that is paused has no say.
		net.Disconnect(0, 2)
		c.Locals[1].Pause(c.Topic, true)
		c.Locals[0].Append(c.Topic, 1, 16)
		after(2 * time.Minute)
		c.Locals[0].Pause(c.Topic, true)
		want(syncer.StatePaused, "takes nothing new")
		c.Locals[0].Pause(c.Topic, false)
		for i := range 4 {
			if i > 0 {
				net.Disconnect(0, i)
			}
		}
		want(syncer.StateAlone, "none of 0 connected peers has the topic")
		after(time.Hour) // the sleepers of this test
	})
}
