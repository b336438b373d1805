package syncer

import (
	"context"

	corepeer "github.com/libp2p/go-libp2p/core/peer"

	"github.com/cairn-p2p/cairn/types"
)

// Finder looks for nodes that are not connected. Its methods are safe for
// concurrent use and block on the network until ctx is done. What it finds is a
// claim, which syncing proves.
type Finder interface {
	// Providers looks up nodes that provide the topic; at most some dozens,
	// without this node.
	Providers(ctx context.Context, topic types.TopicID) ([]corepeer.AddrInfo, error)
	// Archives looks up nodes that keep everything.
	Archives(ctx context.Context) ([]corepeer.AddrInfo, error)
	// Ready returns a channel that yields a value when there is somebody to ask
	// again after lookups had nobody; it has room for one.
	Ready() <-chan struct{}
}
