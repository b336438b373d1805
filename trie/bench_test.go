package trie

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"runtime"
	"testing"

	"github.com/cairn-p2p/cairn/types"
)

func numberedKey(i int) types.Hash {
	return sha256.Sum256(binary.BigEndian.AppendUint64(nil, uint64(i)))
}

// BenchmarkUpdate changes one value and asks for the root each time: what one
// changed topic costs the digest.
func BenchmarkUpdate(b *testing.B) {
	for _, n := range []int{1, 100, 10_000, 100_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			tr := new(Trie)
			keys := make([]types.Hash, n)
			for i := range keys {
				keys[i] = numberedKey(i)
				tr.Set(keys[i], types.Hash{})
			}
			tr.Root()
			b.ReportAllocs()
			i := 0
			for b.Loop() {
				i++
				tr.Set(keys[i*7919%n], types.Hash{0: 1, 1: byte(i), 2: byte(i >> 8), 3: byte(i >> 16)})
				tr.Root()
			}
		})
	}
}

// BenchmarkHeadChange replaces the only head by another: what one append on a
// quiet topic costs the heads hash.
func BenchmarkHeadChange(b *testing.B) {
	tr := new(Trie)
	i := 0
	b.ReportAllocs()
	for b.Loop() {
		key := types.Hash{0: byte(i), 1: byte(i >> 8)}
		tr.Set(key, types.Hash{})
		tr.Root()
		tr.Delete(key)
		i++
	}
}

// BenchmarkFill builds a trie of 100,000 keys and reports its memory.
func BenchmarkFill(b *testing.B) {
	const n = 100_000
	var before, after runtime.MemStats
	for b.Loop() {
		runtime.GC()
		runtime.ReadMemStats(&before)
		tr := new(Trie)
		for i := range n {
			tr.Set(numberedKey(i), types.Hash{})
		}
		tr.Root()
		runtime.GC()
		runtime.ReadMemStats(&after)
		b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/n, "B/key")
		runtime.KeepAlive(tr)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/n, "ns/key")
}
