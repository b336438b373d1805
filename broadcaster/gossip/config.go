package gossip

import (
	"context"
	"crypto/ed25519"
	"fmt"
	"log/slog"
	"strings"
	"unicode/utf8"

	pubsub "github.com/libp2p/go-libp2p-pubsub"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/cairn-p2p/cairn/broadcaster"
	"github.com/cairn-p2p/cairn/types"
)

// DefaultShards is how many pubsub topics a network has unless its members
// agreed on another number.
const DefaultShards = 16

// Config is what Open needs. Fields without a default are required.
type Config struct {
	Host host.Host
	// Key signs this node's heads. It need not be the host's.
	Key ed25519.PrivateKey
	// Network keeps apart nodes that have nothing to say to each other: 1 to 64
	// bytes of UTF-8 without a slash.
	Network string
	// Shards is the network's number of pubsub topics, the same at all its
	// nodes. Default DefaultShards, at most 1024.
	Shards uint64
	// Start is how often this node has started, kept durably: neighbours ignore
	// heads whose number does not exceed the last.
	Start uint64
	Local broadcaster.Local
	// Verify checks the events' witnesses and returns, in their order, nil or
	// an error: types.ErrBadWitness, types.ErrInvalidEvent, or another one when
	// it could not check. It is called concurrently and may block for as long
	// as the checks take.
	Verify func(context.Context, []*types.Event) []error
	Log    *slog.Logger // default: none
	// Unsupported, when not nil, is told of each message that is ignored because
	// this release does not know the rules of its topic. It must not block.
	Unsupported func(types.TopicID, *types.UnsupportedError)

	// TopicQueue and NodeQueue bound the events that wait to be sent, in bytes.
	// Defaults 4 MiB and 32 MiB.
	TopicQueue, NodeQueue int
	// ByteRate and VerifyRate bound what one neighbour may cost a second, in
	// bytes and in signature checks. Defaults 64 MiB and 40,000.
	ByteRate, VerifyRate float64

	// GossipSub replaces gossipsub's default parameters, when not nil.
	GossipSub *pubsub.GossipSubParams
	// Tracer, when not nil, is told of what gossipsub does, for metrics. Its
	// methods must not block.
	Tracer pubsub.RawTracer
	// Rejected, when not nil, is told of each message for which the neighbour
	// that sent it is blamed, with its topic, which is undefined where the
	// message does not say. It must not block.
	Rejected func(from peer.ID, topic types.TopicID, why Reason)
	// Offended, when not nil, returns how many offences that gossip does not see
	// a neighbour has to its name. They lower its score as rejected messages do.
	// It is called often, and must not block.
	Offended func(peer.ID) float64
	// Scores, when not nil, is given each neighbour's score every second.
	Scores pubsub.PeerScoreInspectFn
}

// complete fills in the defaults and reports what is wrong, as
// types.ErrInvalidArgument.
func (c *Config) complete() error {
	if c.Shards == 0 {
		c.Shards = DefaultShards
	}
	if c.TopicQueue == 0 {
		c.TopicQueue = defaultTopicQueue
	}
	if c.NodeQueue == 0 {
		c.NodeQueue = defaultNodeQueue
	}
	if c.ByteRate == 0 {
		c.ByteRate = defaultByteRate
	}
	if c.VerifyRate == 0 {
		c.VerifyRate = defaultVerifyRate
	}
	if c.Rejected == nil {
		c.Rejected = func(peer.ID, types.TopicID, Reason) {}
	}
	if c.Offended == nil {
		c.Offended = func(peer.ID) float64 { return 0 }
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.GossipSub == nil {
		p := pubsub.DefaultGossipSubParams()
		c.GossipSub = &p
	}
	switch {
	case c.Host == nil || c.Local == nil || c.Verify == nil || len(c.Key) != ed25519.PrivateKeySize:
		return fmt.Errorf("%w: host, key, local and verify are required", types.ErrInvalidArgument)
	case c.Network == "" || len(c.Network) > maxNetwork || strings.Contains(c.Network, "/") || !utf8.ValidString(c.Network):
		return fmt.Errorf("%w: network name %q", types.ErrInvalidArgument, c.Network)
	case c.Shards > maxShards:
		return fmt.Errorf("%w: %d shards, limit %d", types.ErrInvalidArgument, c.Shards, maxShards)
	case c.TopicQueue < 0 || c.NodeQueue < 0 || c.ByteRate < 0 || c.VerifyRate < 0:
		return fmt.Errorf("%w: negative limit", types.ErrInvalidArgument)
	}
	return nil
}

// pubsubTopics returns the names of the network's pubsub topics, by shard.
func (c *Config) pubsubTopics() []string {
	names := make([]string, c.Shards)
	for shard := range names {
		names[shard] = fmt.Sprintf("/cairn/1/%s/%d/%d", c.Network, c.Shards, shard)
	}
	return names
}
