package syncer_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/cairn-p2p/cairn/syncer"
	"github.com/cairn-p2p/cairn/syncer/syncertest"
	"github.com/cairn-p2p/cairn/types"
)

// BenchmarkJoin is a fresh node that joins a topic, over TCP and Noise on the
// loopback, with replicas in memory: what the syncer itself costs.
func BenchmarkJoin(b *testing.B) {
	for _, events := range []int{10_000, 100_000} {
		b.Run(fmt.Sprint(events), func(b *testing.B) {
			g, err := types.NewOpen("join")
			if err != nil {
				b.Fatal(err)
			}
			full := syncertest.NewLocal("full")
			full.Join(g)
			full.Append(g.ID(), events, 256)
			for b.Loop() {
				b.StopTimer()
				fresh := syncertest.NewLocal("fresh")
				n := newHosts(b, syncer.Intervals{}, []*syncertest.Local{full, fresh})
				stop := runAll(b, n)
				n.list[0].Add(g.ID(), full.Join(g))
				n.list[1].Add(g.ID(), fresh.Join(g))
				b.StartTimer()
				start := time.Now()
				to := peer.AddrInfo{ID: n.hosts[0].ID(), Addrs: n.hosts[0].Addrs()}
				if err := n.hosts[1].Connect(context.Background(), to); err != nil {
					b.Fatal(err)
				}
				for held(b, fresh, g) < events {
					changed := fresh.Changed()
					if held(b, fresh, g) == events {
						break
					}
					<-changed
				}
				b.ReportMetric(float64(events)/time.Since(start).Seconds(), "events/s")
				b.StopTimer()
				stop()
				for _, h := range n.hosts {
					h.Close()
				}
				b.StartTimer()
			}
		})
	}
}

func runAll(b *testing.B, n *hosts) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	for _, s := range n.list {
		go func() { done <- s.Run(ctx) }()
	}
	return func() {
		cancel()
		for range n.list {
			if err := <-done; err != nil {
				b.Error(err)
			}
		}
	}
}

func held(b *testing.B, l *syncertest.Local, g *types.Genesis) int {
	h, err := l.Heads(g.ID(), 0)
	if err != nil {
		b.Fatal(err)
	}
	return int(h.Events)
}
