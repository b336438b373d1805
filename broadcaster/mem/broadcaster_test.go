package mem

import (
	"testing"

	"github.com/cairn-p2p/cairn/broadcaster"
	"github.com/cairn-p2p/cairn/broadcaster/broadcastertest"
	"github.com/cairn-p2p/cairn/types"
)

// A message that is under way to a member when it closes is not handed over.
func TestClosedWhileDelivering(t *testing.T) {
	g := broadcastertest.Topic(t, "closed")
	node := broadcastertest.NewNode(g)
	b := NewNetwork().Join(types.PublisherOf(broadcastertest.Key(0)), node)
	m := broadcaster.Message{Topic: g.ID(), Genesis: g}
	b.receive(m)
	b.Close() //nolint:errcheck // it is always nil
	b.receive(m)
	if got := len(node.Messages()); got != 1 {
		t.Errorf("%d messages, want the one before", got)
	}
}
