package node

import (
	"context"
	"fmt"

	"github.com/cairn-p2p/cairn/delivery"
	"github.com/cairn-p2p/cairn/types"
)

func (n *Node) openConsumers() error {
	var err error
	n.consumers, err = delivery.Open(delivery.Config{
		Records: n.store,
		Topic: func(id types.TopicID) (delivery.Log, error) {
			t := n.topics.get(id)
			if t == nil {
				return nil, fmt.Errorf("topic %s: %w on this node", id, types.ErrNotFound)
			}
			return t.replica, nil
		},
		Validator: n.cfg.Validator,
		Restored:  n.cfg.Restored,
		Log:       n.cfg.Log,
	})
	return err
}

// Consumers returns the node's durable consumers. One of a topic that was left
// keeps its state, and gives what is here.
func (n *Node) Consumers() *delivery.Consumers { return n.consumers }

// CreateConsumer joins a topic and creates a consumer of it, whose Settings.Topic
// it fills in. What is refused whatever the topic holds joins nothing. See Join
// and delivery.Consumers.Create for the errors.
func (n *Node) CreateConsumer(ctx context.Context, ref string, s delivery.Settings) (*delivery.Consumer, error) {
	topic, err := ParseTopicRef(ref)
	if err != nil {
		return nil, fmt.Errorf("create consumer %q: %w", s.Name, err)
	}
	s.Topic = topic.ID
	if err := n.consumers.Check(s); err != nil {
		return nil, err
	}
	if _, err := n.Join(ctx, ref); err != nil {
		return nil, fmt.Errorf("create consumer %q: %w", s.Name, err)
	}
	return n.consumers.Create(s)
}
