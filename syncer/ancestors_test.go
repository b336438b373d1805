package syncer_test

import (
	"crypto/ed25519"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ipfs/go-cid"

	"github.com/cairn-p2p/cairn/syncer"
	"github.com/cairn-p2p/cairn/syncer/pb"
	"github.com/cairn-p2p/cairn/syncer/syncertest"
	"github.com/cairn-p2p/cairn/types"
)

// weave grows DAGs in which some writers append at the same time, again and
// again: each links its own last event and others of the round before.
type weave struct {
	t     *testing.T
	topic types.TopicID
	rng   *rand.Rand
	keys  []ed25519.PrivateKey
	seqs  []uint64
	heads []*types.Event // of the last round
}

func newWeave(t *testing.T, topic types.TopicID, writers int) *weave {
	s := rand.Uint64()
	if v, err := strconv.ParseUint(os.Getenv("CAIRN_SEED"), 10, 64); err == nil {
		s = v
	}
	t.Logf("CAIRN_SEED=%d", s)
	w := &weave{t: t, topic: topic, rng: rand.New(rand.NewPCG(s, 0)), seqs: make([]uint64, writers)}
	for i := range writers {
		seed := make([]byte, ed25519.SeedSize)
		binary.BigEndian.PutUint64(seed, uint64(i))
		w.keys = append(w.keys, ed25519.NewKeyFromSeed(seed))
	}
	return w
}

// fork returns a weave that goes on from the same events with other writers,
// those of the number.
func (w *weave) fork(number byte) *weave {
	f := newWeave(w.t, w.topic, len(w.keys))
	for i, key := range f.keys {
		seed := key.Seed()
		seed[31] = number
		f.keys[i] = ed25519.NewKeyFromSeed(seed)
	}
	f.heads = w.heads
	return f
}

// grow appends about n events and returns them.
func (w *weave) grow(n int) []*types.Event {
	var all []*types.Event
	for len(all) < n {
		round := make([]*types.Event, 0, len(w.keys))
		for i, key := range w.keys {
			links, height := w.links(i)
			w.seqs[i]++
			e, err := types.NewEvent(types.Body{
				Topic: w.topic, Publisher: types.PublisherOf(key), Seq: w.seqs[i], Links: links, Height: height, Payload: make([]byte, 16),
			})
			if err != nil {
				w.t.Fatal(err)
			}
			types.SignEvents(key, []*types.Event{e})
			round = append(round, e)
		}
		w.heads = round
		all = append(all, round...)
	}
	return all
}

func (w *weave) links(writer int) ([]cid.Cid, uint64) {
	order := w.rng.Perm(len(w.heads))
	if writer < len(w.heads) { // its own first
		for i, o := range order {
			if o == writer {
				order[0], order[i] = order[i], order[0]
			}
		}
	}
	var links []cid.Cid
	height := uint64(1)
	for _, o := range order[:min(len(order), types.MaxLinks)] {
		links = append(links, w.heads[o].CID)
		height = max(height, w.heads[o].Height+1)
	}
	types.SortCIDs(links)
	return links, height
}

// give makes a node integrate events.
func give(t *testing.T, c *syncertest.Cluster, node int, events []*types.Event) {
	t.Helper()
	if err := c.Locals[node].Integrate(t.Context(), c.Topic, "", events); err != nil {
		t.Fatal(err)
	}
}

// countAncestors counts the events that come in answers to Ancestors.
func countAncestors(net *pipes) *atomic.Int64 {
	n := new(atomic.Int64)
	net.relay = func(_ types.PeerID, st syncer.Stream) syncer.Stream {
		return between(st, func(*pb.Request) {}, func(m *pb.Response) []*pb.Response {
			n.Add(int64(len(m.GetAncestors().GetEvents())))
			return same(m)
		})
	}
	return n
}

func isAncestors(m *pb.Request) bool { return m.GetAncestors() != nil }

// TestRedundantTransfer holds what Ancestors transfers beside what is missing to
// half of the latter, over DAGs of several widths: for a node that was away, for
// two halves of a partition that know what they shared, and for two that don't
// and only have the skips.
func TestRedundantTransfer(t *testing.T) {
	const history, gap = 3000, 1500
	for _, writers := range []int{1, 4, 16, 64} {
		if underRace && writers != 16 {
			continue
		}
		for _, kind := range []string{"gap", "partition", "partition after gossip", "partition, restarted"} {
			t.Run(fmt.Sprintf("%d writers, %s", writers, kind), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					c, net := cluster(t, 2)
					received := countAncestors(net)
					w := newWeave(t, c.Topic, writers)
					past, later := w.grow(history/2), w.grow(history/2)
					for _, node := range []int{0, 1} {
						give(t, c, node, past)
						if kind != "partition after gossip" {
							give(t, c, node, later)
						}
					}
					if strings.HasPrefix(kind, "partition") && !strings.HasSuffix(kind, "restarted") {
						c.Connect(0, 1)
						after(time.Second)
						if kind == "partition after gossip" {
							for node, l := range c.Locals { // both have it before either tells
								l.OnChange(nil)
								give(t, c, node, later)
							}
							for node, l := range c.Locals {
								net.list[node].Changed(c.Topic, c.Hash(node), false)
								l.OnChange(net.list[node].Changed)
							}
							after(2 * time.Second)
						}
						c.Disconnect(0, 1)
						if received.Load() > 0 {
							t.Fatal("something was fetched before the partition")
						}
					}
					needed := 0
					if kind != "gap" {
						other := w.fork(1).grow(gap)
						needed += len(other)
						give(t, c, 1, other)
					}
					own := w.grow(gap)
					needed += len(own)
					give(t, c, 0, own)
					net.sent()
					c.Connect(0, 1)
					after(time.Second)
					if c.Hash(0) != c.Hash(1) {
						t.Fatal("not equal a second after the connection")
					}
					if list := net.sent(); count(list, isAncestors) == 0 || count(list, isPull) > 0 {
						t.Errorf("%d Ancestors and %d Pull requests, want only the former", count(list, isAncestors), count(list, isPull))
					}
					var stats syncer.Stats
					for _, s := range net.list {
						stats.Events += s.Stats().Events
						stats.Redundant += s.Stats().Redundant
					}
					if int64(stats.Events) != received.Load() || int(stats.Events-stats.Redundant) != needed {
						t.Errorf("the nodes count %d events received, %d of them redundant", stats.Events, stats.Redundant)
					}
					ratio := float64(int(received.Load())-needed) / float64(needed)
					t.Logf("%d events needed, %d received: %.3f redundant", needed, received.Load(), ratio)
					limit := 0.5
					if kind != "partition, restarted" && writers <= 16 { // all heads are remembered, or still this node's own
						limit = 0
					}
					if ratio < 0 || ratio > limit {
						t.Errorf("%.3f redundant events for each needed, want at most %.1f", ratio, limit)
					}
					c.Disconnect(0, 1)
				})
			})
		}
	}
}

// TestAsymmetricTransfer holds each side of a partition whose memory is lost to
// the same half, however much it has integrated since, and however little it
// has.
func TestAsymmetricTransfer(t *testing.T) {
	for _, shape := range []struct{ history, own, other, writers int }{
		{6000, 12000, 1100, 4},
		{3000, 6000, 1200, 1},
		{3000, 6000, 1200, 4},
		{3000, 6000, 1200, 16},
		{10000, 3000, 1100, 4},
		{1400, 0, 1500, 1},
		{1400, 200, 2500, 4},
		{1200, 0, 8000, 4},
		{300, 0, 4000, 4}, // hardly anything: as events
	} {
		if underRace && shape.history+shape.own+shape.other > 5000 {
			continue // the same code as with fewer events
		}
		t.Run(fmt.Sprint(shape), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c, net := cluster(t, 2)
				received := countEvents(net)
				w := newWeave(t, c.Topic, shape.writers)
				past := w.grow(shape.history)
				give(t, c, 0, past)
				give(t, c, 1, past)
				needed := map[types.PeerID]int{}
				for node, n := range []int{shape.other, shape.own} {
					more := w.fork(byte(node + 1)).grow(n)
					needed[c.Locals[node].ID()] = len(more)
					give(t, c, 1-node, more)
				}
				c.Connect(0, 1)
				after(2 * time.Second)
				if c.Hash(0) != c.Hash(1) {
					t.Fatal("not equal two seconds after the connection")
				}
				probes := count(net.sent(), isHeld)
				net.mu.Lock()
				defer net.mu.Unlock()
				for node, l := range c.Locals {
					n, got := needed[l.ID()], received[l.ID()]
					t.Logf("node %d: %d events needed, %d received; %d Held requests of both", node, n, got, probes)
					if got < n || got > n+n/2 {
						t.Errorf("node %d: %d events received for %d needed, want at most half as many more", node, got, n)
					}
				}
				if probes > 2*3 {
					t.Errorf("%d Held requests, want at most 3 a node", probes)
				}
			})
		})
	}
}

// countEvents counts the events that come to each node in answers of any kind.
// net.mu guards the counts.
func countEvents(net *pipes) map[types.PeerID]int {
	n := make(map[types.PeerID]int)
	net.relay = func(to types.PeerID, st syncer.Stream) syncer.Stream {
		return between(st, func(*pb.Request) {}, func(m *pb.Response) []*pb.Response {
			net.mu.Lock()
			defer net.mu.Unlock()
			for _, l := range net.locals {
				if l.ID() != to { // the other of two
					n[l.ID()] += len(m.GetAncestors().GetEvents()) + len(m.GetPull().GetEvents()) + len(m.GetEvents().GetItems())
				}
			}
			return same(m)
		})
	}
	return n
}

func isHeld(m *pb.Request) bool { return m.GetHeld() != nil }

// TestTooFarBack: when the walk does not close within the budget the client
// pulls, and so it does at once when it sees that it cannot.
func TestTooFarBack(t *testing.T) {
	if underRace {
		t.Skip("it takes 16,000 events to exceed the budget; make full runs it")
	}
	for gap, asks := range map[int]bool{16 << 10: true, 17_000: false} {
		synctest.Test(t, func(t *testing.T) {
			c, net := cluster(t, 2)
			w := newWeave(t, c.Topic, 1)
			past := w.grow(20_000)
			give(t, c, 0, past)
			give(t, c, 1, past)
			give(t, c, 0, w.grow(gap))
			c.Connect(0, 1)
			after(2 * time.Second)
			if c.Hash(0) != c.Hash(1) {
				t.Fatal("not equal")
			}
			if list := net.sent(); count(list, isAncestors) > 0 != asks || count(list, isPull) == 0 {
				t.Errorf("%d events behind: %d Ancestors and %d Pull requests", gap, count(list, isAncestors), count(list, isPull))
			}
		})
	}
}

// onAncestors applies lie to answers to Ancestors.
func onAncestors(lie func(*pb.Response)) func(*pb.Response) []*pb.Response {
	return func(m *pb.Response) []*pb.Response {
		if a := m.GetAncestors(); a != nil {
			expand(a.Events, &a.Batches)
			lie(m)
		}
		return same(m)
	}
}

// TestAncestorsLiars: every lie in an answer to Ancestors ends the session, counts
// against the peer, and harms no one else.
func TestAncestorsLiars(t *testing.T) {
	other := otherTopicsEvent(t)
	for _, tt := range []struct {
		name   string
		lie    func(*pb.Response)
		reason string
	}{
		{"event without its links", func(m *pb.Response) {
			a := m.GetAncestors()
			a.Events = append(a.Events[:7], a.Events[8:]...)
		}, "links that are not integrated"},
		{"newest first", func(m *pb.Response) {
			events := m.GetAncestors().Events
			events[0], events[len(events)-1] = events[len(events)-1], events[0]
		}, "links that are not integrated"},
		{"bad witness", func(m *pb.Response) { m.GetAncestors().Events[7].Witness[5] ^= 1 }, "bad witness"},
		{"not an event", func(m *pb.Response) { m.GetAncestors().Events[7].Body = []byte{1} }, "invalid event"},
		{"event of another topic", func(m *pb.Response) { m.GetAncestors().Events[7] = other }, "is of topic"},
		{"cut short", func(m *pb.Response) {
			if a := m.GetAncestors(); len(a.Events) > 1 {
				a.Events, m.More = a.Events[:len(a.Events)-1], false
			}
		}, "does not serve"},
		{"empty", func(m *pb.Response) { m.GetAncestors().Events = nil }, "frame of 0 ancestors"},
		{"events and use pull", func(m *pb.Response) { m.GetAncestors().UsePull = true }, "says to pull"},
		{"another kind", func(m *pb.Response) { m.Answer = &pb.Response_Events{Events: &pb.EventsAnswer{}} }, "another kind"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				v := apart(t, 1500)
				v.net.mu.Lock()
				v.net.relay = func(to types.PeerID, st syncer.Stream) syncer.Stream {
					if to != v.Locals[1].ID() {
						return st
					}
					return between(st, func(*pb.Request) {}, onAncestors(tt.lie))
				}
				v.net.mu.Unlock()
				v.Connect(0, 1)
				v.check(t, tt.reason)
			})
		})
	}
}

// TestHeldLiars: so does one in an answer to Held. Who says what is not so of its
// events harms itself: too few come, or too many.
func TestHeldLiars(t *testing.T) {
	for name, tt := range map[string]struct {
		lie    func(*pb.Response)
		reason string
	}{
		"too long":     {func(m *pb.Response) { m.GetHeld().Bitmap |= 1 << 63 }, "answer to Held"},
		"more":         {func(m *pb.Response) { m.More = true }, "answer to Held"},
		"another kind": {func(m *pb.Response) { m.Answer = &pb.Response_Pull{Pull: &pb.PullAnswer{}} }, "answer to Held"},
		"nothing held": {func(m *pb.Response) { m.GetHeld().Bitmap = 0 }, ""},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				v := apart(t, 1500)
				v.net.setRelay(func(to types.PeerID, st syncer.Stream) syncer.Stream {
					if to != v.Locals[1].ID() {
						return st
					}
					return between(st, func(*pb.Request) {}, func(m *pb.Response) []*pb.Response {
						if m.GetHeld() != nil {
							tt.lie(m)
						}
						return same(m)
					})
				})
				v.Connect(0, 1)
				v.check(t, tt.reason)
			})
		})
	}
}

// TestWithoutHeld: a server that does not know Held gets the skips as stops.
func TestWithoutHeld(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := apart(t, 1500)
		v.Locals[0].Append(v.Topic, 100, 16) // so that its heads tell nothing
		verified := v.Locals[0].Verified()
		stops := 0
		v.net.setRelay(func(_ types.PeerID, st syncer.Stream) syncer.Stream {
			return between(st, func(m *pb.Request) {
				if m.GetHeld() != nil {
					m.Request = nil
				}
				v.net.mu.Lock()
				defer v.net.mu.Unlock()
				stops = max(stops, len(m.GetAncestors().GetStops()))
			}, same)
		})
		v.Connect(0, 1)
		after(2 * time.Second)
		list := v.net.sent()
		v.net.mu.Lock()
		defer v.net.mu.Unlock()
		if v.Hash(0) != v.Hash(1) || count(list, isAncestors) != 2 || stops < 25 || v.Locals[0].Verified() != verified+500 {
			t.Errorf("%d Ancestors requests with %d stops, %d events verified", count(list, isAncestors), stops, v.Locals[0].Verified()-verified)
		}
	})
}

// TestEndlessAncestors: an answer without end is given up.
func TestEndlessAncestors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := apart(t, 1500)
		v.net.mu.Lock()
		v.net.relay = func(to types.PeerID, st syncer.Stream) syncer.Stream {
			if to != v.Locals[1].ID() {
				return st
			}
			return between(st, func(*pb.Request) {}, func(m *pb.Response) []*pb.Response {
				if m.GetAncestors() == nil {
					return same(m)
				}
				m.More = true
				list := make([]*pb.Response, 100)
				for i := range list {
					list[i] = m
				}
				return list
			})
		}
		v.net.mu.Unlock()
		v.Connect(0, 1)
		v.check(t, "more than 16384 ancestors")
	})
}

// TestHeavyAncestors: so is one that sends the same large events again and again.
func TestHeavyAncestors(t *testing.T) {
	if underRace {
		t.Skip("its answers of 100 MiB and more take minutes; make full runs it")
	}
	synctest.Test(t, func(t *testing.T) {
		v := apart(t, 1500)
		heavy := v.Locals[2].Append(v.Topic, 1, types.MaxPayload)[0]
		for _, node := range []int{0, 1} { // the large one links to what only the others have
			if err := v.Locals[node].Integrate(t.Context(), v.Topic, "", events(t, v.Cluster, 2)); err != nil {
				t.Fatal(err)
			}
		}
		v.Locals[1].Append(v.Topic, 300, 16)
		v.net.setRelay(func(to types.PeerID, st syncer.Stream) syncer.Stream {
			if to != v.Locals[1].ID() {
				return st
			}
			return between(st, func(*pb.Request) {}, func(m *pb.Response) []*pb.Response {
				if m.GetAncestors() == nil {
					return same(m)
				}
				m.More = true
				m.Answer = &pb.Response_Ancestors{Ancestors: &pb.AncestorsAnswer{
					Events: []*pb.Event{{Body: heavy.Bytes(), Witness: heavy.Witness}},
				}}
				list := make([]*pb.Response, 200)
				for i := range list {
					list[i] = m
				}
				return list
			})
		})
		v.Connect(0, 1)
		v.check(t, "ancestors of more than")
	})
}

// BenchmarkHealed is two halves of a partition, 1,000 events a side, that become
// equal over TCP and Noise on the loopback, with replicas in memory.
func BenchmarkHealed(b *testing.B) {
	g, err := types.NewOpen("healed")
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		b.StopTimer()
		locals := []*syncertest.Local{syncertest.NewLocal("left"), syncertest.NewLocal("right")}
		for _, l := range locals {
			l.Join(g)
		}
		past := locals[0].Append(g.ID(), 5000, 256)
		if err := locals[1].Integrate(b.Context(), g.ID(), "", past); err != nil {
			b.Fatal(err)
		}
		n := newHosts(b, syncer.Intervals{}, locals)
		stop := runAll(b, n)
		for i, l := range locals {
			l.Append(g.ID(), 1000, 256)
			l.OnChange(n.list[i].Changed)
			n.list[i].Add(g.ID(), l.Join(g))
		}
		b.StartTimer()
		n.Connect(0, 1)
		for _, l := range locals {
			for {
				changed := l.Changed()
				if held(b, l, g) == 7000 {
					break
				}
				<-changed
			}
		}
		b.StopTimer()
		stop()
		for _, h := range n.hosts {
			h.Close()
		}
		b.StartTimer()
	}
}
