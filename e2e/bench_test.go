package e2e

import (
	"fmt"
	"testing"
)

// BenchmarkConverge writes 10,000 events of 256 bytes in all, on all nodes at
// once, and ends when every node has them all.
func BenchmarkConverge(b *testing.B) {
	const events = 10000
	for _, test := range []struct{ nodes, writers int }{{3, 16}, {5, 1}, {5, 16}, {5, 64}} {
		b.Run(fmt.Sprintf("nodes=%d/writers=%d", test.nodes, test.writers), func(b *testing.B) {
			for b.Loop() {
				b.StopTimer()
				members := cluster(b, test.nodes)
				each := events / test.nodes
				b.StartTimer()
				write(b, members, each, test.writers)
				await(b, members, each*test.nodes)
				b.StopTimer()
				same(b, members, each*test.nodes)
				closeAll(b, members)
				b.StartTimer()
			}
			b.ReportMetric(events*float64(b.N)/b.Elapsed().Seconds(), "events/s")
		})
	}
}

// BenchmarkJoin has a fresh node join a topic of so many events.
func BenchmarkJoin(b *testing.B) {
	for _, events := range []int{1000, 10000, 100000} {
		b.Run(fmt.Sprintf("events=%d", events), func(b *testing.B) {
			server := start(b, config(b.TempDir()))
			write(b, []member{server}, events, 64)
			for b.Loop() {
				b.StopTimer()
				fresh := start(b, config(b.TempDir()))
				b.StartTimer()
				connect(b, fresh.node, server.node)
				await(b, []member{fresh}, events)
				b.StopTimer()
				same(b, []member{server, fresh}, events)
				closeAll(b, []member{fresh})
				b.StartTimer()
			}
			b.ReportMetric(float64(events)*float64(b.N)/b.Elapsed().Seconds(), "events/s")
		})
	}
}

func closeAll(b *testing.B, members []member) {
	b.Helper()
	for _, m := range members {
		if err := m.node.Close(); err != nil {
			b.Fatal(err)
		}
	}
}
