package syncer_test

import (
	"context"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/cairn-p2p/cairn/syncer"
	"github.com/cairn-p2p/cairn/syncer/pb"
	"github.com/cairn-p2p/cairn/syncer/syncertest"
	"github.com/cairn-p2p/cairn/types"
)

func isDigest(m *pb.Request) bool  { return m.GetDigest() != nil }
func isChanges(m *pb.Request) bool { return m.GetChanges() != nil }

// joins makes node i replicate the topics with numbers from to to.
func joins(t testing.TB, l *syncertest.Local, s *syncer.Syncer, from, to int) {
	for n := from; n < to; n++ {
		g := genesisOf(t, n)
		s.Add(g.ID(), l.Join(g))
	}
}

func genesisOf(t testing.TB, n int) *types.Genesis {
	t.Helper()
	const digits = "0123456789"
	name := []byte("topic ")
	for d := 100_000; d > 0; d /= 10 {
		name = append(name, digits[n/d%10])
	}
	g, err := types.NewOpen(string(name))
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// traffic counts what goes over the streams of a network, both ways.
type traffic struct {
	requests, frames, bytes int
}

// meter counts all traffic.
func meter(net *pipes) *traffic {
	var sum traffic
	net.relay = func(_ types.PeerID, st syncer.Stream) syncer.Stream {
		return between(st, func(m *pb.Request) {
			net.mu.Lock()
			defer net.mu.Unlock()
			sum.requests++
			sum.frames++
			sum.bytes += proto.Size(m) + 2
		}, func(m *pb.Response) []*pb.Response {
			net.mu.Lock()
			defer net.mu.Unlock()
			sum.frames++
			sum.bytes += proto.Size(m) + 2
			return same(m)
		})
	}
	return &sum
}

func (n *pipes) take(sum *traffic) traffic {
	n.mu.Lock()
	defer n.mu.Unlock()
	was := *sum
	*sum = traffic{}
	return was
}

// TestDifferentTopicSets: nodes that share a part of their topics finish an
// exchange, and then say no more to each other than nodes with equal ones, looking
// for more replicas as they do. What they look for because nobody has anything of
// it is paced, and becomes rare.
func TestDifferentTopicSets(t *testing.T) {
	for name, test := range map[string]struct {
		blank bool
		rest  time.Duration // before it is measured
		most  float64       // bytes a second of both nodes
	}{
		"with an event each":      {false, 20 * time.Minute, 10},
		"blank, soon":             {true, 20 * time.Minute, 100},
		"blank, a few days later": {true, 96 * time.Hour, 10},
	} {
		if underRace && test.rest > time.Hour {
			continue // the same code, for longer
		}
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { differentSets(t, test.blank, test.rest, test.most) })
		})
	}
}

func differentSets(t *testing.T, blank bool, rest time.Duration, most float64) {
	c, net, _ := wild(t, 2, syncer.Intervals{}, nil)
	sum := meter(net)
	joins(t, c.Locals[0], net.list[0], 0, 600)
	joins(t, c.Locals[1], net.list[1], 400, 1000)
	if !blank {
		for n := range 1000 {
			g := genesisOf(t, n)
			if n < 600 {
				c.Locals[0].Append(g.ID(), 1, 16)
			} else {
				c.Locals[1].Append(g.ID(), 1, 16)
			}
		}
	}
	c.Connect(0, 1)
	after(20 * time.Second)
	first := net.take(sum)
	t.Logf("first exchange: %d frames, %d bytes", first.frames, first.bytes)
	after(rest)
	net.take(sum)
	net.sent()
	after(time.Hour)
	hour := net.take(sum)
	rate := float64(hour.bytes) / time.Hour.Seconds()
	locates := count(net.sent(), isLocate)
	t.Logf("an hour at rest: %d frames, %d bytes, %d searches, %.1f bytes a second of both nodes", hour.frames, hour.bytes, locates, rate)
	if hour.bytes == 0 || rate > most {
		t.Errorf("%.1f bytes a second at rest, want at most %.0f", rate, most)
	}
	if !blank && locates > 0 {
		t.Errorf("%d searches for topics of which nothing is missing", locates)
	}
	if asked := hour.requests - locates; asked > 2*2*27*6 {
		t.Errorf("%d requests in an hour at rest, want one Status each 30 s of both", asked)
	}
	for n, shared := range map[int]bool{0: false, 399: false, 400: true, 599: true} {
		st, err := net.list[0].Status(genesisOf(t, n).ID())
		want := syncer.StateAlone
		if shared {
			want = syncer.StateSynced
		}
		if err != nil || st.State != want {
			t.Errorf("topic %d is %s (%s), %v; want %s", n, st.State, st.Reason, err, want)
		}
	}
}

// TestChanges: after the first exchange, a change costs one request, whatever
// the number of topics; a restarted peer's numbers are unknown, and so is a
// number too long ago.
func TestChanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, net := strangers(t, 2)
		joins(t, c.Locals[0], net.list[0], 0, 500)
		joins(t, c.Locals[1], net.list[1], 0, 500)
		c.Connect(0, 1)
		after(time.Minute)
		net.sent()
		c.Locals[0].OnChange(nil) // no comparison but the exchange's
		g := genesisOf(t, 7)
		c.Locals[0].Append(g.ID(), 3, 16)
		h, err := c.Locals[0].Heads(g.ID(), 1<<20)
		if err != nil {
			t.Fatal(err)
		}
		net.Disconnect(0, 1) // forgets what is known: a walk
		net.list[0].Changed(g.ID(), h.Hash, false)
		net.Connect(0, 1)
		after(time.Second)
		list := net.sent()
		if count(list, isDigest) == 0 || count(list, isChanges) != 0 || heldBy(t, c.Locals[1], g) != 3 {
			t.Errorf("%d Digest, %d Changes requests and %d events after a connection", count(list, isDigest), count(list, isChanges), heldBy(t, c.Locals[1], g))
		}
		after(time.Minute)
		net.sent()
		net.list[1].Remove(g.ID())
		c.Locals[1].Append(genesisOf(t, 8).ID(), 1, 16)
		after(time.Minute)
		list = net.sent()
		if count(list, isDigest) != 0 || count(list, isChanges) == 0 {
			t.Errorf("%d Digest and %d Changes requests after two changes", count(list, isDigest), count(list, isChanges))
		}
		if st, err := net.list[0].Status(g.ID()); err != nil || st.State != syncer.StateAlone {
			t.Errorf("a topic that the peer left is %s, %v", st.State, err)
		}
		if heldBy(t, c.Locals[0], genesisOf(t, 8)) != 1 {
			t.Error("a change is not found")
		}
	})
}

func heldBy(t *testing.T, l *syncertest.Local, g *types.Genesis) int {
	h, err := l.Heads(g.ID(), 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	return int(h.Events)
}

// TestDigestFindsAll: whatever differs between two nodes with some thousand
// topics is found by one exchange.
func TestDigestFindsAll(t *testing.T) {
	s := rand.Uint64()
	t.Logf("seed %d", s)
	rng := rand.New(rand.NewPCG(s, 0))
	synctest.Test(t, func(t *testing.T) {
		c, net := strangers(t, 2)
		const topics = 3000
		for _, l := range c.Locals {
			l.OnChange(nil)
		}
		for n := range topics {
			for _, l := range c.Locals {
				l.Join(genesisOf(t, n))
				if rng.IntN(30) == 0 {
					l.Append(genesisOf(t, n).ID(), 1+rng.IntN(3), 16)
				}
			}
		}
		for i, s := range net.list {
			joins(t, c.Locals[i], s, 0, topics)
		}
		c.Connect(0, 1)
		after(20 * time.Second)
		for n := range topics {
			a, err := c.Locals[0].Heads(genesisOf(t, n).ID(), 1<<20)
			if err != nil {
				t.Fatal(err)
			}
			b, err := c.Locals[1].Heads(genesisOf(t, n).ID(), 1<<20)
			if err != nil || a.Hash != b.Hash {
				t.Fatalf("topic %d differs, %v", n, err)
			}
		}
	})
}

// TestDigestLiars: an answer that breaks the order of a walk is an offence.
func TestDigestLiars(t *testing.T) {
	hash := make([]byte, 32)
	hash[0] = 1
	for name, lie := range map[string]func(m *pb.Response){
		"not asked": func(m *pb.Response) {
			if a := m.GetDigest(); a != nil {
				a.Subtrees = []*pb.Subtree{{Prefix: []byte{1, 2, 3, 4}}}
			}
		},
		"twice": func(m *pb.Response) {
			if a := m.GetDigest(); a != nil {
				a.Subtrees = append(a.Subtrees, a.Subtrees[0])
			}
		},
		"leaf out of place": func(m *pb.Response) {
			if a := m.GetDigest(); a != nil {
				p := a.Subtrees[0]
				p.Bitmap, p.Hashes = 0, nil
				key := make([]byte, 32)
				key[0] = (p.Prefix[0] ^ 1) << 4
				p.Leaves = []*pb.Leaf{{Key: key, HeadsHash: hash}}
			}
		},
		"no root":      func(m *pb.Response) { m.GetStatus().Root = nil },
		"no change id": func(m *pb.Response) { m.GetStatus().ChangeId = nil },
		"another kind": func(m *pb.Response) {
			if m.GetDigest() != nil {
				m.Answer = &pb.Response_Pull{Pull: &pb.PullAnswer{}}
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c, net := strangers(t, 2)
				net.relay = func(to types.PeerID, st syncer.Stream) syncer.Stream {
					return lying(st, func(m *pb.Response) []*pb.Response {
						if to == c.Locals[1].ID() && (m.GetStatus() != nil || m.GetDigest() != nil) {
							if m.GetStatus() != nil == (name == "no root" || name == "no change id") {
								lie(m)
							}
						}
						return same(m)
					})
				}
				joins(t, c.Locals[0], net.list[0], 0, 300)
				joins(t, c.Locals[1], net.list[1], 0, 300)
				c.Locals[1].Append(genesisOf(t, 3).ID(), 1, 16)
				c.Locals[0].Fail(types.ErrDiskFull) // the digests stay different
				c.Connect(0, 1)
				after(5 * time.Minute)
				st, err := net.list[0].Status(genesisOf(t, 200).ID())
				if err != nil || len(st.Offenders) != 1 {
					t.Errorf("offenders %+v, %v; want one", st.Offenders, err)
				}
			})
		})
	}
}

// TestOneOfMany holds the search for one changed topic among 100,000 to four
// round trips and 25 KB, at first contact and later.
func TestOneOfMany(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		topics := 100_000
		if underRace {
			topics = 10_000
		}
		c, net := strangers(t, 2)
		sum := meter(net)
		for i, l := range c.Locals {
			joins(t, l, net.list[i], 0, topics)
		}
		g := genesisOf(t, 4711)
		c.Locals[1].Append(g.ID(), 1, 16)
		c.Connect(0, 1)
		after(time.Second)
		if heldBy(t, c.Locals[0], g) != 1 {
			t.Fatal("not found")
		}
		list := net.sent()
		trips := 0 // of the one that lacked something, before it compared the topic
		for _, r := range list {
			if r.from == c.Locals[0].ID() && (isStatus(r.m) || isDigest(r.m)) {
				trips++
			}
		}
		found := net.take(sum)
		t.Logf("first contact: %d round trips; %d bytes both ways, the transfer included", trips, found.bytes)
		if trips > 4 || found.bytes > 2*25<<10 {
			t.Errorf("%d round trips and %d bytes, want at most 4 and 25 KB a node", trips, found.bytes)
		}
		after(time.Minute)
		c.Locals[1].OnChange(nil)
		c.Locals[1].Append(g.ID(), 1, 16)
		h, err := c.Locals[1].Heads(g.ID(), 1<<20)
		if err != nil {
			t.Fatal(err)
		}
		net.take(sum)
		net.list[1].Changed(g.ID(), h.Hash, false)
		after(time.Minute)
		later := net.take(sum)
		t.Logf("later: %d bytes in a minute", later.bytes)
		if heldBy(t, c.Locals[0], g) != 2 || later.bytes > 8<<10 {
			t.Errorf("%d events after %d bytes", heldBy(t, c.Locals[0], g), later.bytes)
		}
	})
}

// BenchmarkDigest finds one changed topic among 100,000 at first contact, and
// reports what that takes. What two nodes say to each other at rest, measured
// over an hour of virtual time, is in TestDifferentTopicSets.
func BenchmarkDigest(b *testing.B) {
	const topics = 100_000
	locals := []*syncertest.Local{syncertest.NewLocal("left"), syncertest.NewLocal("right")}
	net := newPipes(b, syncer.Intervals{Full: time.Hour}, locals)
	for i, l := range locals {
		joins(b, l, net.list[i], 0, topics)
		l.OnChange(net.list[i].Changed)
	}
	sum := meter(net)
	ctx, cancel := context.WithCancel(b.Context())
	done := make(chan error)
	for _, s := range net.list {
		go func() { done <- s.Run(ctx) }()
	}
	g := genesisOf(b, 4711)
	n := 0
	for b.Loop() {
		locals[1].Append(g.ID(), 1, 16)
		n++
		net.take(sum)
		net.Connect(0, 1)
		for {
			changed := locals[0].Changed()
			if held(b, locals[0], g) == n {
				break
			}
			<-changed
		}
		b.StopTimer()
		trips := 0
		for _, r := range net.sent() {
			if r.from == locals[0].ID() && (isStatus(r.m) || isDigest(r.m)) {
				trips++
			}
		}
		b.ReportMetric(float64(trips), "trips")
		b.ReportMetric(float64(net.take(sum).bytes), "bytes-both-ways")
		net.Disconnect(0, 1)
		b.StartTimer()
	}
	cancel()
	for range net.list {
		<-done
	}
}
