// Package broadcaster is the vocabulary that every broadcaster shares with the
// node it serves: what it asks of the node and what it hands over.
//
// A broadcaster tells the other nodes of its network what this node's replicas
// announce, and this node what theirs do. It promises nothing: messages are
// lost, duplicated and reordered, and the syncer finds what was missed. Package
// broadcaster/gossip does it over gossipsub, broadcaster/mem within a process;
// broadcaster/broadcastertest holds both to the same behaviour.
package broadcaster

import (
	"github.com/ipfs/go-cid"

	"github.com/cairn-p2p/cairn/types"
)

// Local is the node that a broadcaster serves. All methods are safe for
// concurrent use and none blocks on the network or the disk: a broadcaster
// calls them while it holds up the messages of a neighbour.
type Local interface {
	// Genesis returns the genesis of topic if this node replicates it.
	Genesis(topic types.TopicID) (g *types.Genesis, replicated bool)
	// Known reports, in the order of events, which of them are integrated or
	// pending in topic, which all are of.
	Known(topic types.TopicID, events []*types.Event) []bool
	// Wants reports whether this node would begin to replicate the topic of g,
	// which it does not replicate now, on receiving a message of it.
	Wants(g *types.Genesis) bool
	// Receive takes a message, which it owns. It does not block.
	Receive(m Message)
}

// Message is what a neighbour delivered about one topic: new events, new heads
// or both. The events are valid by every rule that does not need their
// ancestors; the heads are a claim of the announcer.
type Message struct {
	From      types.PeerID // the neighbour that delivered it, not its author
	Topic     types.TopicID
	Genesis   *types.Genesis // nil if it is not known and the message had none
	Events    []*types.Event // only those new to this node; in the sender's log order
	Announcer types.Publisher
	Heads     []cid.Cid  // some of the announcer's heads, sorted by bytes, at most types.MaxLinks
	HeadsHash types.Hash // of all of them; zero, without Heads, when they are out of date
}
