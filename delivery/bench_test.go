package delivery

import (
	"context"
	"fmt"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/cairn-p2p/cairn/store/badger"
	"github.com/cairn-p2p/cairn/types"
)

// newDatabase is a log in a database, with n events of 256 B of payload in a
// chain.
func newDatabase(b *testing.B, n int) (*badger.Store, Config, types.TopicID) {
	b.Helper()
	g, err := types.NewOpen("topic")
	must(b, err)
	db, err := badger.Open(b.TempDir(), badger.Options{Network: "bench", MinFree: badger.NoMinFree})
	must(b, err)
	b.Cleanup(func() { must(b, db.Close()) })
	must(b, db.JoinTopic(g))
	last := types.Head{}
	for first := 1; first <= n; {
		batch := &types.Batch{Topic: g.ID(), First: uint64(first)}
		for range min(1000, n+1-first) {
			body := types.Body{Topic: g.ID(), Seq: uint64(first), Height: last.Height + 1, Payload: make([]byte, 256)}
			copy(body.Payload, fmt.Sprint(first))
			if last.Height > 0 {
				body.Links = append(body.Links, last.CID)
			}
			e, err := types.NewEvent(body)
			must(b, err)
			e.Witness = make([]byte, 65)
			batch.Events = append(batch.Events, e)
			last = types.Head{CID: e.CID, Height: e.Height}
			first++
		}
		batch.AddHeads = append(batch.AddHeads, last)
		if batch.First > 1 {
			batch.DropHeads = append(batch.DropHeads, batch.Events[0].Links[0])
		}
		must(b, db.Commit(batch))
	}
	log := databaseLog{db, g.ID()}
	cfg := Config{Records: db, Topic: func(types.TopicID) (Log, error) { return log, nil }}
	return db, cfg, g.ID()
}

// scanRate is how many events a second one reader gets from a log, decoded: the
// limit of delivery without sharing, on one core.
func scanRate(b *testing.B, cfg Config, topic types.TopicID) float64 {
	b.Helper()
	log, err := cfg.Topic(topic)
	must(b, err)
	begin, n := time.Now(), 0
	for at := (types.Cursor{}); ; {
		events, err := readPiece(log, at)
		must(b, err)
		if len(events) == 0 {
			return float64(n) / time.Since(begin).Seconds()
		}
		n += len(events)
		at = events[len(events)-1].cursor
	}
}

// commitRate is how often a second one caller can write 3 KB durably: the limit
// of acknowledging one by one.
func commitRate(b *testing.B, records Records) float64 {
	b.Helper()
	begin, n := time.Now(), 0
	for ; time.Since(begin) < 250*time.Millisecond; n++ {
		must(b, records.SetMetas(types.Record{Key: "limit", Value: make([]byte, 3<<10)}))
	}
	return float64(n) / time.Since(begin).Seconds()
}

// BenchmarkDeliver gives a log of 50,000 events to 10 consumers, each of which
// acknowledges batches. The goal is 300,000 events/s in all, on two cores.
func BenchmarkDeliver(b *testing.B) {
	const consumers, events, batch = 10, 50_000, MaxBatch
	_, cfg, topic := newDatabase(b, events)
	b.ResetTimer() // to make the log is another's work
	for i := range b.N {
		cs, err := Open(cfg)
		must(b, err)
		var wg sync.WaitGroup
		for n := range consumers {
			c, err := cs.Create(Settings{Name: fmt.Sprintf("c%d-%d-%d", b.N, i, n), Topic: topic})
			must(b, err)
			wg.Go(func() {
				for got := 0; got < events; {
					ds, err := c.Next(context.Background(), batch, 0)
					tokens := make([]Token, len(ds))
					for i, d := range ds {
						tokens[i] = d.Token
					}
					if err == nil {
						err = c.Ack(context.Background(), tokens...)
					}
					if err != nil || len(ds) == 0 {
						b.Errorf("after %d events: %v", got, err)
						return
					}
					got += len(ds)
				}
			})
		}
		wg.Wait()
		must(b, cs.Close())
	}
	b.ReportMetric(float64(consumers*events*b.N)/b.Elapsed().Seconds(), "events/s")
	b.ReportMetric(scanRate(b, cfg, topic), "limit")
	b.ReportMetric(300_000, "goal")
}

// BenchmarkAck acknowledges events durably, of the default 1,024 that may be
// pending: in batches, by many callers of one each, and by one. The goal is 50,000
// acks/s; commits/s times the batch is the limit of one caller.
func BenchmarkAck(b *testing.B) {
	const events = 50_000
	_, cfg, topic := newDatabase(b, events)
	for _, w := range []struct{ callers, batch, events int }{
		{1, 1000, events}, {1, 100, events}, {64, 1, events}, {256, 1, events}, {1, 1, 2000},
	} {
		b.Run(fmt.Sprintf("callers=%d/batch=%d", w.callers, w.batch), func(b *testing.B) {
			cs, err := Open(cfg)
			must(b, err)
			var spent time.Duration
			for i := range b.N {
				c, err := cs.Create(Settings{Name: fmt.Sprintf("a%d-%d-%d-%d", i, w.callers, w.batch, b.N), Topic: topic})
				must(b, err)
				for acked := 0; acked < w.events; {
					ds, err := c.Next(context.Background(), MaxBatch, 0)
					must(b, err)
					spent += ackAll(b, c, ds, w.callers, w.batch)
					acked += len(ds)
				}
			}
			b.ReportMetric(float64(w.events*b.N)/spent.Seconds(), "acks/s")
			b.ReportMetric(commitRate(b, cfg.Records), "commits/s")
			b.ReportMetric(50_000, "goal")
			must(b, cs.Close())
		})
	}
}

// ackAll acknowledges deliveries, and returns how long that took.
func ackAll(b *testing.B, c *Consumer, ds []Delivery, callers, batch int) time.Duration {
	work := make(chan []Token, len(ds))
	for len(ds) > 0 {
		var tokens []Token
		for _, d := range ds[:min(batch, len(ds))] {
			tokens = append(tokens, d.Token)
		}
		ds = ds[len(tokens):]
		work <- tokens
	}
	close(work)
	begin := time.Now()
	var wg sync.WaitGroup
	for range callers {
		wg.Go(func() {
			for tokens := range work {
				if err := c.Ack(context.Background(), tokens...); err != nil {
					b.Error(err)
				}
			}
		})
	}
	wg.Wait()
	return time.Since(begin)
}

// BenchmarkIdle measures what 10,000 consumers cost that have been used and are
// idle. The goal is 2 KB of heap each, and no goroutine.
func BenchmarkIdle(b *testing.B) {
	w := newBench(b)
	w.chain(b, 1, 1000)
	s := Settings{Topic: w.topic.ID(), Tags: []string{"some-tag"}, BackOff: []time.Duration{time.Second, time.Minute}}
	for i := range MaxConsumers {
		s.Name = fmt.Sprintf("consumer-%d", i)
		w.create(b, s)
	}
	use := func() {
		for _, c := range w.List() {
			ds, err := c.Next(context.Background(), 100, 0)
			must(b, err)
			if len(ds) > 0 {
				b.Fatal("an event matches")
			}
		}
	}
	use() // their records have their size now
	w.now = w.now.Add(idleAfter)
	w.Tend()
	for range b.N {
		w.Consumers = nil
		before, routines := heapBytes(), runtime.NumGoroutine()
		must(b, w.reopen())
		use()
		inUse := heapBytes()
		w.now = w.now.Add(idleAfter)
		w.Tend()
		b.ReportMetric(float64(heapBytes()-before)/MaxConsumers, "B/idle")
		b.ReportMetric(float64(inUse-before)/MaxConsumers, "B/used")
		b.ReportMetric(float64(runtime.NumGoroutine()-routines), "goroutines")
		b.ReportMetric(2048, "goal")
	}
}

func heapBytes() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
