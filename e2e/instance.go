package e2e

import (
	"context"

	"github.com/cairn-p2p/cairn/crdt"
	"github.com/cairn-p2p/cairn/node"
	"github.com/cairn-p2p/cairn/types"
)

// instance is a node that is open, wherever it runs.
type instance interface {
	// addr is where others reach it: one multiaddress with its peer id.
	addr() string
	// join begins to replicate the open topic of that name.
	join(ctx context.Context, name string) (topic, error)
	// Stats is what the node did and has in hand; nothing of a process, which is
	// not looked into.
	Stats() node.Stats
	// Close ends the node in good order.
	Close() error
}

// topic is a topic of an instance. Its methods are those of node.Topic.
type topic interface {
	ID() types.TopicID
	Name() string
	Append(ctx context.Context, payload []byte, tags ...string) (*types.Event, error)
	State(ctx context.Context) (crdt.State, error)
	Wait(ctx context.Context, until func(node.Status) bool) (node.Status, error)
}

// local is a node of this process. Its topics are of type *node.Topic.
type local struct{ *node.Node }

func (l local) addr() string { return l.Addrs()[0] }

func (l local) join(ctx context.Context, name string) (topic, error) {
	t, err := l.Topic(ctx, name)
	if err != nil {
		return nil, err
	}
	return t, nil
}
