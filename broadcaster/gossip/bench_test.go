package gossip

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ipfs/go-cid"

	"github.com/cairn-p2p/cairn/broadcaster"
	"github.com/cairn-p2p/cairn/broadcaster/broadcastertest"
	"github.com/cairn-p2p/cairn/types"
)

// sink is a node that only notes which of a fixed set of events have come.
type sink struct {
	genesis *types.Genesis
	index   map[cid.Cid]int // shared, never changed
	got     []atomic.Bool
	arrived func(i int) // called once for each event
}

func (s *sink) Genesis(types.TopicID) (*types.Genesis, bool) { return s.genesis, true }
func (s *sink) Wants(*types.Genesis) bool                    { return false }

func (s *sink) Known(_ types.TopicID, events []*types.Event) []bool {
	known := make([]bool, len(events))
	for i, e := range events {
		known[i] = s.got[s.index[e.CID]].Load()
	}
	return known
}

func (s *sink) Receive(m broadcaster.Message) {
	for _, e := range m.Events {
		if i := s.index[e.CID]; !s.got[i].Swap(true) {
			s.arrived(i)
		}
	}
}

// benchEvents returns n events of 256 bytes of payload, signed in batches as a
// busy replica signs them, or on their own.
func benchEvents(b *testing.B, g *types.Genesis, n int, together bool) []*types.Event {
	key := broadcastertest.Key(0)
	events := broadcastertest.Chain(b, key, g, n, 256, true)
	batch := 64
	if !together {
		batch = 1
	}
	for i := 0; i < n; i += batch {
		types.SignEvents(key, events[i:min(i+batch, n)])
	}
	return events
}

// BenchmarkReachAll has 64 announcers on one of several fully linked nodes
// announce single events, with at most window of them on the way, and measures
// how fast they reach all other nodes. What was let go on the way never does:
// it is reported, and makes up no part of the rate.
func BenchmarkReachAll(b *testing.B) {
	for _, nodes := range []int{3, 5} {
		for _, witness := range []string{"batch", "single"} {
			b.Run(fmt.Sprintf("nodes=%d/witness=%s", nodes, witness), func(b *testing.B) {
				benchmarkReachAll(b, nodes, witness == "batch")
			})
		}
	}
}

func benchmarkReachAll(b *testing.B, nodes int, together bool) {
	const announcers, window = 64, 4096
	g := broadcastertest.Topic(b, "bench")
	events := benchEvents(b, g, b.N, together)
	index := make(map[cid.Cid]int, b.N)
	for i, e := range events {
		index[e.CID] = i
	}
	missing := make([]atomic.Int32, b.N) // nodes that lack the event
	flight := make(chan struct{}, window)
	var reached atomic.Int64
	arrived := func(i int) {
		if missing[i].Add(-1) == 0 {
			reached.Add(1)
			<-flight
		}
	}
	var bs []*Broadcaster
	var cfgs []Config
	for i := range nodes {
		cfg := testConfig(b, i, &sink{genesis: g, index: index, got: make([]atomic.Bool, b.N), arrived: arrived})
		bs, cfgs = append(bs, open(b, cfg)), append(cfgs, cfg)
		start(b, bs[i])
		for j := range i {
			connect(b, cfgs[i], cfgs[j])
		}
	}
	for i := range missing {
		missing[i].Store(int32(nodes - 1))
	}

	ctx, cancel := context.WithTimeout(b.Context(), time.Minute) // events that were let go hold the window
	defer cancel()
	b.ResetTimer()
	var next atomic.Int64
	var announcing sync.WaitGroup
	for range announcers {
		announcing.Go(func() {
			for i := next.Add(1) - 1; i < int64(b.N); i = next.Add(1) - 1 {
				select {
				case flight <- struct{}{}:
				case <-ctx.Done():
					return
				}
				bs[0].Broadcast(broadcastertest.Announce(g, events[i]))
			}
		})
	}
	announcing.Wait()
	for range window { // until nothing is on the way
		select {
		case flight <- struct{}{}:
		case <-ctx.Done():
		}
	}
	b.StopTimer()
	b.ReportMetric(float64(reached.Load())/b.Elapsed().Seconds(), "events/s")
	b.ReportMetric(float64(int64(b.N)-reached.Load()), "lost")
	s := bs[0].Stats()
	b.ReportMetric(float64(s.CoalescedEvents), "coalesced")
	b.ReportMetric(float64(s.PublishedEvents)/float64(max(1, s.Published)), "events/message")
}
