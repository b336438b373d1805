package discovery

import (
	"crypto/sha256"
	"encoding/base32"
	"fmt"
	"runtime"
	"testing"
)

// BenchmarkHeap fills what grows with topics: the keys that are provided and
// the records that others leave here.
func BenchmarkHeap(b *testing.B) {
	const n = 100_000
	b.Run("keys", func(b *testing.B) {
		for b.Loop() {
			before, s := heapAlloc(), &keys{}
			for i := range n {
				s.add(keyOf(sha256.Sum256(fmt.Append(nil, i))))
			}
			b.ReportMetric(float64(heapAlloc()-before)/n, "B/key")
			runtime.KeepAlive(s)
		}
	})
	b.Run("records", func(b *testing.B) {
		for b.Loop() {
			before, s := heapAlloc(), newRecords(maxRecords, maxRecordsOfPeer)
			for i := range n {
				digest := sha256.Sum256(fmt.Append(nil, i))
				s.put(base32.StdEncoding.EncodeToString(multihashOf(digest)), "peer", 1)
			}
			b.ReportMetric(float64(heapAlloc()-before)/n, "B/record")
			runtime.KeepAlive(s)
		}
	})
}

func heapAlloc() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
