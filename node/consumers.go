package node

import (
	"context"
	"fmt"

	"github.com/cairn-p2p/cairn/delivery"
)

// Consumers returns the node's durable consumers. One of a topic that was left
// keeps its state, and gives what is here.
func (n *Node) Consumers() *delivery.Consumers { return n.consumers }

// CreateConsumer joins a topic and creates a consumer of it, whose Settings.Topic
// it fills in. See Join and delivery.Consumers.Create for the errors.
func (n *Node) CreateConsumer(ctx context.Context, ref string, s delivery.Settings) (*delivery.Consumer, error) {
	t, err := n.Join(ctx, ref)
	if err != nil {
		return nil, fmt.Errorf("create consumer %q: %w", s.Name, err)
	}
	s.Topic = t.ID()
	return n.consumers.Create(s)
}
