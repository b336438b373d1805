package node

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/cairn-p2p/cairn/delivery"
	"github.com/cairn-p2p/cairn/types"
)

// odd suppresses events with an odd seq.
type odd struct{}

func (odd) Check(e *types.Event) string {
	if e.Seq%2 == 1 {
		return "odd"
	}
	return ""
}

// A consumer joins its topic, wakes for what is appended, is held to the validator,
// keeps its place over a restart, and serves a topic that was left.
func TestConsumer(t *testing.T) {
	cfg := loopback(t.TempDir())
	cfg.Validator = func(types.TopicID) delivery.Validator { return odd{} }
	n := open(t, cfg)
	c, err := n.CreateConsumer(t.Context(), "topic", delivery.Settings{Name: "c"})
	if err != nil {
		t.Fatal(err)
	}
	topic, err := n.Find("topic")
	if err != nil || !topic.Joined() || c.Settings().Topic != topic.ID() {
		t.Fatalf("topic of a consumer: %v", err)
	}
	if _, err := n.CreateConsumer(t.Context(), "topic", delivery.Settings{Name: "c", MaxDeliver: 1}); !errors.Is(err, delivery.ErrDiffers) {
		t.Errorf("other settings: %v", err)
	}
	given := make(chan delivery.Delivery, 1)
	go func() {
		for d, err := range c.Stream(context.Background()) {
			if err != nil {
				t.Error(err)
			}
			given <- d
			return
		}
	}()
	for range 4 {
		if _, err := topic.Append(t.Context(), []byte("payload")); err != nil {
			t.Fatal(err)
		}
	}
	first := <-given
	if first.Seq != 2 || first.Count != 1 {
		t.Errorf("given %+v", first)
	}
	if err := c.Ack(t.Context(), first.Token); err != nil {
		t.Error(err)
	}
	if err := n.Leave(t.Context(), "topic"); err != nil {
		t.Error(err)
	}
	if err := n.Close(); err != nil {
		t.Error(err)
	}
	if _, err := c.Next(t.Context(), 1, time.Hour); !errors.Is(err, types.ErrClosed) {
		t.Errorf("next of a closed node: %v", err)
	}

	n = open(t, cfg)
	if c, err = n.Consumers().Find("c"); err != nil {
		t.Fatal(err)
	}
	ds, err := c.Next(t.Context(), 10, 0)
	if err != nil || len(ds) != 1 || ds[0].Seq != 4 {
		t.Errorf("after a restart: %v, %v", ds, err)
	}
	info, err := c.Info()
	if err != nil || info.AckFloor.Number != 3 || info.Pending != 1 || info.Suppressed != 2 {
		t.Errorf("info %+v, %v", info, err)
	}
}
