package discovery_test

import (
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/cairn-p2p/cairn/syncer/discovery"
	"github.com/cairn-p2p/cairn/types"
)

// BenchmarkProvide provides 100,000 topics to a DHT of another two nodes: the
// call, the time until both have every record, and the heap that is left.
func BenchmarkProvide(b *testing.B) {
	const topics = 100_000
	ids := make([]types.TopicID, topics)
	for i := range ids {
		ids[i] = topicN(i)
	}
	for b.Loop() {
		b.StopTimer()
		holders := []*node{open(b, discovery.Config{}), open(b, discovery.Config{})}
		var held sync.WaitGroup
		a := open(b, discovery.Config{})
		for _, h := range holders {
			held.Add(topics)
			h.OnRecord(func(types.Hash, peer.ID) { held.Done() })
		}
		connect(a, holders[0])
		connect(a, holders[1])
		before := heap()
		b.StartTimer()
		begin := time.Now()
		for _, id := range ids {
			a.Provide(id)
		}
		called := time.Since(begin)
		held.Wait()
		b.StopTimer()
		b.ReportMetric(float64(called.Milliseconds()), "ms/call")
		b.ReportMetric(float64(heap()-before)/topics, "heap-B/topic(3-nodes)")
		for _, n := range append(holders, a) {
			n.stop()
		}
		b.StartTimer()
	}
}

func heap() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
