package delivery

import (
	"context"
	"testing"
	"time"

	"github.com/cairn-p2p/cairn/types"
)

// large integrates n events of the largest payload.
func (b *bench) large(t failer, n int) {
	t.Helper()
	for i := range n {
		e, err := types.NewEvent(types.Body{
			Topic: b.topic.ID(), Publisher: types.Publisher{1}, Seq: uint64(i + 1), Height: 1, Payload: make([]byte, types.MaxPayload),
		})
		must(t, err)
		must(t, b.integrate(e))
	}
}

// TestEndedCallsKeepLittle shows that calls which end while they look at the log
// leave no more events in memory than a batch has.
func TestEndedCallsKeepLittle(t *testing.T) {
	const events = 12
	b := newBench(t)
	b.large(t, events)
	var end context.CancelFunc
	b.validator = rule(func(*types.Event) string { end(); return "" })
	c := b.create(t, Settings{})
	for range events {
		ctx, cancel := context.WithCancel(t.Context())
		end = cancel
		ds, err := c.Next(ctx, MaxBatch, 0)
		cancel()
		if err == nil {
			if len(ds) == 0 {
				t.Error("nothing is given")
			}
			return // what was looked at is a batch
		}
	}
	t.Errorf("%d events of %d bytes are kept", c.loaded.ready.Len(), types.MaxPayload)
}

// TestBatchEndsBySize shows that large events come in small batches, for the first
// time and again, and that one at least always comes.
func TestBatchEndsBySize(t *testing.T) {
	const events = 12
	b := newBench(t)
	b.large(t, events)
	c := b.create(t, Settings{})
	for attempt := 1; attempt <= 2; attempt++ {
		for got := 0; got < events; {
			ds, err := c.Next(t.Context(), MaxBatch, 0)
			must(t, err)
			if len(ds) == 0 || len(ds) > MaxBatchSize/types.MaxPayload+1 {
				t.Fatalf("%d events of %d bytes at once", len(ds), types.MaxPayload)
			}
			if ds[0].Count != attempt {
				t.Fatalf("delivered for the %d. time, want %d", ds[0].Count, attempt)
			}
			got += len(ds)
		}
		b.now = b.now.Add(time.Hour)
		must(t, b.reopen()) // sizes come from the log
		var err error
		c, err = b.Find("c")
		must(t, err)
	}
}
