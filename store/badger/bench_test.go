package badger

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/ipfs/go-cid"

	"github.com/cairn-p2p/cairn/store/storetest"
	"github.com/cairn-p2p/cairn/types"
)

const benchPayload = 256

func benchStore(b *testing.B) (*Store, *storetest.DAG, string) {
	b.Helper()
	dir := b.TempDir()
	s, err := Open(dir, Options{})
	if err != nil {
		b.Fatal(err)
	}
	dag := storetest.NewDAG(b, rand.New(rand.NewPCG(1, 2)), "topic", 1)
	if err := s.JoinTopic(dag.Genesis); err != nil {
		b.Fatal(err)
	}
	return s, dag, dir
}

// makeBatches returns batches of size events that continue the topic.
func makeBatches(dag *storetest.DAG, count, size int) []*types.Batch {
	var batches []*types.Batch
	for range count {
		batch := dag.PayloadBatch(size, benchPayload)
		dag.Add(batch)
		batches = append(batches, batch)
	}
	return batches
}

// BenchmarkCommit has one writer of one event a batch and compares it with a
// file to which as many bytes are appended and fsynced, in turns. A writer that
// is faster is not durable: the benchmark fails.
func BenchmarkCommit(b *testing.B) {
	const (
		maxRatio = 1.05
		turn     = 50  // commits before the other's turn
		enough   = 500 // commits for a judgement
	)
	s, dag, dir := benchStore(b)
	defer s.Close()
	f, err := os.Create(filepath.Join(dir, "raw"))
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	batches := makeBatches(dag, b.N, 1)
	var raw time.Duration
	b.ResetTimer()
	for i, batch := range batches {
		if i%turn == 0 {
			b.StopTimer()
			raw += rawAppends(b, f, batches[i:min(i+turn, b.N)])
			b.StartTimer()
		}
		if err := s.Commit(batch); err != nil {
			b.Fatal(err)
		}
	}
	b.StopTimer()
	ratio := raw.Seconds() / b.Elapsed().Seconds()
	b.ReportMetric(ratio, "of-raw-fsync")
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "events/s")
	if b.N >= enough && ratio > maxRatio {
		b.Fatalf("%.2f of the rate of raw append and fsync: commits are not durable", ratio)
	}
}

// rawAppends appends the bytes of each batch and syncs.
func rawAppends(b *testing.B, f *os.File, batches []*types.Batch) time.Duration {
	b.Helper()
	start := time.Now()
	for _, batch := range batches {
		for _, e := range batch.Events {
			if _, err := f.Write(e.Bytes()); err != nil {
				b.Fatal(err)
			}
		}
		if err := f.Sync(); err != nil {
			b.Fatal(err)
		}
	}
	return time.Since(start)
}

func BenchmarkCommitBatch(b *testing.B) {
	for _, size := range []int{64, 1000} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			s, dag, _ := benchStore(b)
			defer s.Close()
			batches := makeBatches(dag, b.N, size)
			b.ResetTimer()
			for _, batch := range batches {
				if err := s.Commit(batch); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.N*size)/b.Elapsed().Seconds(), "events/s")
		})
	}
}

// BenchmarkCommitTopics has 64 writers, each of one event a batch to a topic of
// its own.
func BenchmarkCommitTopics(b *testing.B) {
	const topics = 64
	s, _, _ := benchStore(b)
	defer s.Close()
	rng := rand.New(rand.NewPCG(3, 4))
	var work [topics][]*types.Batch
	for i := range work {
		dag := storetest.NewDAG(b, rng, fmt.Sprint("topic ", i), 1)
		if err := s.JoinTopic(dag.Genesis); err != nil {
			b.Fatal(err)
		}
		work[i] = makeBatches(dag, (b.N+topics-1)/topics, 1)
	}
	done := make(chan error, topics)
	b.ResetTimer()
	for _, batches := range work {
		go func() {
			for _, batch := range batches {
				if err := s.Commit(batch); err != nil {
					done <- err
					return
				}
			}
			done <- nil
		}()
	}
	for range topics {
		if err := <-done; err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(len(work[0])*topics)/b.Elapsed().Seconds(), "events/s")
}

// readEvents is how many events BenchmarkRead reads from.
const readEvents = 100_000

// BenchmarkRead reads from events that were written in batches of 100, after
// the store was closed and opened again, and reports what they take on disk.
func BenchmarkRead(b *testing.B) {
	s, dag, usage := filledBench(b)
	start := time.Now()
	s, err := Open(s.dir, Options{})
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	opened := time.Since(start)
	rng := rand.New(rand.NewPCG(5, 6))

	b.Run("Get", func(b *testing.B) {
		for b.Loop() {
			if events, err := s.Get([]cid.Cid{dag.Events[rng.IntN(readEvents)].CID}); err != nil || events[0] == nil {
				b.Fatal(events, err)
			}
		}
		b.ReportMetric(float64(usage)/readEvents, "disk-B/event")
		b.ReportMetric(float64(opened.Milliseconds()), "open-ms")
	})
	b.Run("Heights1000", func(b *testing.B) {
		cids := make([]cid.Cid, 1000)
		for b.Loop() {
			for i := range cids {
				cids[i] = dag.Events[rng.IntN(readEvents)].CID
			}
			if _, err := s.Heights(dag.Topic(), cids); err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric(float64(b.N*len(cids))/b.Elapsed().Seconds(), "heights/s")
	})
	b.Run("Log", func(b *testing.B) {
		n := 0
		for b.Loop() {
			for _, err := range s.Log(dag.Topic(), types.Cursor{}) {
				if err != nil {
					b.Fatal(err)
				}
				n++
			}
		}
		b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "events/s")
	})
	b.Run("Query", func(b *testing.B) {
		n := 0
		for b.Loop() {
			for _, err := range s.Query(dag.Topic(), types.Query{Limit: 1000}) {
				if err != nil {
					b.Fatal(err)
				}
				n++
			}
		}
		b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "events/s")
	})
}

// filledBench returns a closed store and the bytes that it takes on disk.
func filledBench(b *testing.B) (*Store, *storetest.DAG, int64) {
	b.Helper()
	const size = 100
	s, dag, dir := benchStore(b)
	for range readEvents / size {
		batch := dag.PayloadBatch(size, benchPayload)
		if err := s.Commit(batch); err != nil {
			b.Fatal(err)
		}
		dag.Add(batch)
	}
	if err := s.Close(); err != nil {
		b.Fatal(err)
	}
	usage, err := diskUsage(dir)
	if err != nil {
		b.Fatal(err)
	}
	return s, dag, usage
}

// BenchmarkTopics lists 100,000 dormant topics, as a start does.
func BenchmarkTopics(b *testing.B) {
	const topics = 100_000
	s, _, _ := benchStore(b)
	defer s.Close()
	done := make(chan error, 64)
	for w := range 64 {
		go func() {
			for i := w; i < topics; i += 64 {
				g, err := types.NewOpen(fmt.Sprint("dormant ", i))
				if err == nil {
					err = s.JoinTopic(g)
				}
				if err != nil {
					done <- err
					return
				}
			}
			done <- nil
		}()
	}
	for range 64 {
		if err := <-done; err != nil {
			b.Fatal(err)
		}
	}
	for b.Loop() {
		for _, err := range s.Topics() {
			if err != nil {
				b.Fatal(err)
			}
		}
	}
}
