package badger

import (
	"bytes"
	"math/rand/v2"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/options"
	"github.com/ipfs/go-cid"

	"github.com/cairn-p2p/cairn/store/storetest"
	"github.com/cairn-p2p/cairn/types"
)

// BenchmarkTuning compares the options that this package gives Badger with
// others, each over the same 100,000 events: how fast they are committed, what
// is written to the disk for each and what stays there, how far level 0 falls
// behind, and how fast events are read meanwhile, by CID and in canonical order.
// One b.N is all of it:
//
//	go test -run '^$' -bench Tuning -benchtime 1x ./store/badger
func BenchmarkTuning(b *testing.B) {
	same := func(o badger.Options) badger.Options { return o }
	for _, variant := range []struct {
		name string
		tune func(badger.Options) badger.Options
	}{
		{"as it is", same},
		{"memtable of 64 MiB", func(o badger.Options) badger.Options { return o.WithMemTableSize(64 << 20) }},
		{"memtable of 8 MiB", func(o badger.Options) badger.Options { return o.WithMemTableSize(8 << 20) }},
		{"level 0 of 5 tables, stall at 15", func(o badger.Options) badger.Options {
			return o.WithNumLevelZeroTables(5).WithNumLevelZeroTablesStall(15)
		}},
		{"no compression", func(o badger.Options) badger.Options { return o.WithCompression(options.None) }},
		{"zstd", func(o badger.Options) badger.Options { return o.WithCompression(options.ZSTD) }},
	} {
		for _, size := range []int{1, 64} {
			b.Run(variant.name+"/batches of "+strconv.Itoa(size), func(b *testing.B) {
				for b.Loop() {
					tuning(b, variant.tune, size)
				}
			})
		}
	}
}

// tuning commits events in batches of so many, by one writer if they are of
// one.
func tuning(b *testing.B, tune func(badger.Options) badger.Options, size int) {
	const all = 100_000
	events := all
	if size == 1 {
		events = all / 10 // as many fsyncs
	}
	b.StopTimer()
	var db *badger.DB
	opts := Options{MinFree: NoMinFree}
	opts.hooks.tune = tune
	opts.hooks.wrap = func(e engine) engine { db = e.(*database).DB; return e }
	dir := b.TempDir()
	s, err := Open(dir, opts)
	if err != nil {
		b.Fatal(err)
	}
	dag := storetest.NewDAG(b, rand.New(rand.NewPCG(1, 2)), "topic", 1)
	if err := s.JoinTopic(dag.Genesis); err != nil {
		b.Fatal(err)
	}
	batches := makeBatches(dag, events/size, size)
	before := writtenBytes(b)
	var committed, gets, ordered atomic.Int64
	stop := make(chan struct{})
	var readers sync.WaitGroup
	// read calls f with one event after the other until it fails or all is over.
	read := func(seed uint64, f func(e *types.Event) error) {
		rng := rand.New(rand.NewPCG(3, seed))
		for {
			select {
			case <-stop:
				return
			default:
			}
			if n := committed.Load(); n > 0 {
				e := dag.Events[rng.Int64N(n)]
				if err := f(e); err != nil {
					b.Errorf("read %s: %v", e.CID, err)
					return
				}
			}
		}
	}
	b.StartTimer()
	readers.Go(func() {
		read(4, func(e *types.Event) error {
			got, err := s.Get([]cid.Cid{e.CID})
			if err == nil && got[0] == nil {
				err = types.ErrNotFound
			}
			gets.Add(1)
			return err
		})
	})
	readers.Go(func() {
		read(5, func(e *types.Event) error {
			for _, err := range s.Query(dag.Topic(), types.Query{After: e.CID, Limit: 100}) {
				if err != nil {
					return err
				}
				ordered.Add(1)
			}
			return nil
		})
	})
	deepest := 0
	for i, batch := range batches {
		if err := s.Commit(batch); err != nil {
			b.Fatal(err)
		}
		committed.Add(int64(size))
		if i%100 == 0 {
			deepest = max(deepest, db.Levels()[0].NumTables)
		}
	}
	b.StopTimer()
	close(stop)
	readers.Wait()
	n := 0
	for _, err := range s.Log(dag.Topic(), types.Cursor{}) {
		if err != nil {
			b.Fatal(err)
		}
		n++
	}
	if n != events/size*size {
		b.Fatalf("%d events in the log, want %d", n, events/size*size)
	}
	if err := s.Close(); err != nil {
		b.Fatal(err)
	}
	kept, err := diskUsage(dir)
	if err != nil {
		b.Fatal(err)
	}
	written := writtenBytes(b) - before
	b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "events/s")
	b.ReportMetric(float64(gets.Load())/b.Elapsed().Seconds(), "gets/s")
	b.ReportMetric(float64(ordered.Load())/b.Elapsed().Seconds(), "ordered/s")
	b.ReportMetric(float64(written)/float64(n), "written-B/event")
	b.ReportMetric(float64(kept)/float64(n), "kept-B/event")
	b.ReportMetric(float64(written)/float64(kept), "amplification")
	b.ReportMetric(float64(deepest), "L0-tables")
	b.StartTimer()
}

// writtenBytes is what this process has caused to be written to disks so far.
func writtenBytes(b *testing.B) int64 {
	b.Helper()
	text, err := os.ReadFile("/proc/self/io")
	if err != nil {
		b.Skip("what is written is known on Linux only:", err)
	}
	_, rest, _ := bytes.Cut(text, []byte("\nwrite_bytes: "))
	line, _, _ := bytes.Cut(rest, []byte("\n"))
	n, err := strconv.ParseInt(string(line), 10, 64)
	if err != nil {
		b.Fatal(err)
	}
	return n
}
