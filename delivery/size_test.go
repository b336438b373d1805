package delivery

import (
	"testing"
	"time"

	"github.com/cairn-p2p/cairn/types"
)

// TestBatchEndsBySize shows that large events come in small batches, for the first
// time and again, and that one at least always comes.
func TestBatchEndsBySize(t *testing.T) {
	const events = 12
	b := newBench(t)
	for i := range events {
		e, err := types.NewEvent(types.Body{
			Topic: b.topic.ID(), Publisher: types.Publisher{1}, Seq: uint64(i + 1), Height: 1, Payload: make([]byte, types.MaxPayload),
		})
		must(t, err)
		must(t, b.integrate(e))
	}
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
