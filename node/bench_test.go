package node

import (
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/cairn-p2p/cairn/crdt"
)

// BenchmarkAppend appends events of 256 bytes, one a call, to one topic of a
// node on disk, by so many concurrent writers, beside the rate at which the same
// disk takes an append of 512 bytes with its fsync. 64 writers must be faster
// than one.
func BenchmarkAppend(b *testing.B) {
	rates := map[int]float64{}
	for _, writers := range []int{1, 16, 64} {
		b.Run(fmt.Sprintf("writers=%d", writers), func(b *testing.B) {
			raw := rawFsyncs(b, 500)
			n, err := Open(b.Context(), loopback(b.TempDir()))
			if err != nil {
				b.Fatal(err)
			}
			defer n.Close() //nolint:errcheck // nothing is read after it
			topic, err := n.Topic(b.Context(), "bench")
			if err != nil {
				b.Fatal(err)
			}
			b.ResetTimer()
			appendAll(b, topic, b.N, writers)
			rates[writers] = float64(b.N) / b.Elapsed().Seconds()
			b.ReportMetric(rates[writers], "events/s")
			b.ReportMetric(rates[writers]/raw, "×fsync")
			if s, err := topic.State(b.Context()); err != nil || s.Events != uint64(b.N) || len(s.Heads) != 1 {
				b.Fatalf("%d events, %d heads, %v; want %d, 1", s.Events, len(s.Heads), err, b.N)
			}
		})
	}
	if rates[64] != 0 && rates[64] < rates[1] {
		b.Errorf("64 writers append %.0f events/s, one alone %.0f", rates[64], rates[1])
	}
}

func appendAll(b *testing.B, topic *Topic, events, writers int) {
	b.Helper()
	var group sync.WaitGroup
	for w := range writers {
		group.Go(func() {
			payload := make([]byte, 256)
			for range (events + writers - 1 - w) / writers {
				if _, err := topic.AppendBatch(b.Context(), []crdt.Draft{{Payload: payload}}); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	group.Wait()
}

// rawFsyncs returns how many appends of 512 bytes, each with its fsync, a file
// takes a second.
func rawFsyncs(b *testing.B, n int) float64 {
	b.Helper()
	f, err := os.Create(filepath.Join(b.TempDir(), "raw"))
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close() //nolint:errcheck // it is thrown away
	buf := make([]byte, 512)
	b.ResetTimer()
	for range n {
		if _, err := f.Write(buf); err != nil {
			b.Fatal(err)
		}
		if err := f.Sync(); err != nil {
			b.Fatal(err)
		}
	}
	return float64(n) / b.Elapsed().Seconds()
}

// BenchmarkScrape gathers the metrics of a node with so many topics that nobody
// uses.
func BenchmarkScrape(b *testing.B) {
	for _, topics := range []int{1, 10_000} {
		b.Run(fmt.Sprintf("topics=%d", topics), func(b *testing.B) {
			n, err := Open(b.Context(), loopback(""))
			if err != nil {
				b.Fatal(err)
			}
			defer n.Close() //nolint:errcheck // nothing is read after it
			for i := range topics {
				if _, err := n.Topic(b.Context(), fmt.Sprint(i)); err != nil {
					b.Fatal(err)
				}
			}
			for b.Loop() {
				if _, err := n.Gatherer().Gather(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
