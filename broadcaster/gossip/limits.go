package gossip

import (
	"time"

	"github.com/cairn-p2p/cairn/types"
)

// Limits of one message. They are part of the protocol: a message outside them
// is rejected by every node.
const (
	// maxMessage is the size in bytes of the largest message. Its frame, a
	// gossipsub RPC, adds a pubsub topic's name and a few bytes of its own.
	maxMessage = types.MaxFrame - 1<<10
	// maxEvents bounds the events of a message, so that what one message costs
	// to check is bounded too. It is more than batchBytes of the smallest.
	maxEvents = 256
	// maxNetwork is the length in bytes of the longest network name: it is
	// part of every pubsub topic's name, which travels with every message.
	maxNetwork = 64
	// maxShards bounds a network's shards. Each is a mesh of its own, with its
	// own heartbeat traffic at every node.
	maxShards = 1024
)

// How announcements are gathered and paced.
const (
	// batchBytes of events fill a message. Larger ones gain nothing: at 32 KiB
	// the costs of a message are already shared by about 80 events.
	batchBytes = 32 << 10
	// linger is how long a topic that has just sent waits for more events.
	linger = 2 * time.Millisecond
	// forwardPause is the time in which at most one message of an announcer
	// and topic that brings no event is forwarded.
	forwardPause = time.Second
	// headsPause is the time between two messages without events that this
	// node sends of one topic. It exceeds forwardPause by what the network may
	// shift one against the other: else neighbours would not forward the last.
	headsPause = forwardPause + forwardPause/4
	// remembered is how long the heads of a topic are kept after its last
	// message, to be announced again if a neighbour's frame is dropped. It is
	// twice as long as gossipsub keeps a message for neighbours that ask for it.
	remembered = 10 * time.Second
)

// Default bounds of the outgoing queue, in bytes of events. What they cannot
// hold is announced as heads.
const (
	// defaultTopicQueue holds four of a driver's largest batches, or about
	// 10,000 small events: a neighbour that misses more is better off syncing.
	defaultTopicQueue = 4 * types.MaxBatchSize
	// defaultNodeQueue bounds the memory of all topics together.
	defaultNodeQueue = 8 * defaultTopicQueue
)

// Gossipsub's queues are 32 messages long by default and drop silently: four
// of five messages of a burst were lost. They are counted in messages, so each
// bound is a compromise between a burst of small and a pile of large ones.
const (
	// outboundQueue is what waits for one neighbour: two seconds of a busy
	// topic. What is dropped beyond it is announced again as heads.
	outboundQueue = 1024
	// validateQueue is what waits for the validator. Unlike the drops behind
	// it, one here does not mark the message as seen, so another neighbour's
	// copy is still taken.
	validateQueue = 1024
	// There is no subscription queue: the validator hands messages over, and
	// the node relays the pubsub topics instead of subscribing to them.
)

// What one neighbour may cost. The excess is ignored and comes by sync.
const (
	// defaultByteRate, in bytes a second, is half of a gigabit link.
	defaultByteRate = 64 << 20
	// byteBurst lets a neighbour hand over what gathered in its queue.
	byteBurst = 64 << 20
	// defaultVerifyRate, in signatures a second, is more than one core checks.
	defaultVerifyRate = 40_000
	// verifyBurst lets a second of the busiest topic through at once.
	verifyBurst = 80_000
)

// maxVerifications is what one step of checking a message costs at most: its
// events, its announcer's key and signature, or the keys of its genesis.
const maxVerifications = max(maxEvents+2, 1+maxGenesis/keySize)

// Bounds of what is remembered. Forgetting costs a message forwarded or checked
// once more, never a wrong verdict.
const (
	// maxNeighbours is how many token buckets are kept, 300 bytes each: more
	// than a node has connections.
	maxNeighbours = 2048
	// maxRecent is how many events' CIDs and witness hashes are remembered,
	// 200 bytes each: some seconds of a busy network.
	maxRecent = 1 << 15
	// maxNumbers is how many announcers' numbers are remembered, 300 bytes
	// each, one for each topic that they announce.
	maxNumbers = 1 << 14
	// numberExpiry ends the memory of a number: a node whose start counter was
	// lost is silent for no longer than this.
	numberExpiry = 10 * time.Minute
	// maxGeneses is how many geneses of topics not replicated here are
	// remembered, at most 32 KiB each.
	maxGeneses = 256
)
