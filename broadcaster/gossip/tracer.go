package gossip

import (
	pubsub "github.com/libp2p/go-libp2p-pubsub"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"

	"github.com/cairn-p2p/cairn/types"
)

// dropTracer learns which frames gossipsub drops because a neighbour's queue is
// full: Publish does not tell. Their events are counted. For an own message with events, its heads are
// announced again; one with heads alone is not, or a neighbour that hangs would
// cost all others a message a second.
type dropTracer struct {
	self     types.Publisher
	counters *counters
	retry    func(types.TopicID)
}

var _ pubsub.RawTracer = (*dropTracer)(nil)

// DropRPC implements pubsub.RawTracer. It does not block.
func (t *dropTracer) DropRPC(rpc *pubsub.RPC, _ peer.ID) {
	t.counters.droppedRPCs.Add(1)
	for _, m := range rpc.GetPublish() {
		switch topic, announcer, events := glance(m.GetData()); {
		case events == 0:
		case announcer == t.self:
			t.counters.droppedOwn.Add(uint64(events))
			t.retry(topic)
		default:
			t.counters.droppedRelayed.Add(uint64(events))
		}
	}
}

// The rest of pubsub.RawTracer is of no interest here.

func (t *dropTracer) OnNewOutboundStream(peer.ID, protocol.ID) {}
func (t *dropTracer) OnClosedOutboundStream(peer.ID)           {}
func (t *dropTracer) Join(string)                              {}
func (t *dropTracer) Leave(string)                             {}
func (t *dropTracer) Graft(peer.ID, string)                    {}
func (t *dropTracer) Prune(peer.ID, string)                    {}
func (t *dropTracer) ValidateMessage(*pubsub.Message)          {}
func (t *dropTracer) DeliverMessage(*pubsub.Message)           {}
func (t *dropTracer) RejectMessage(*pubsub.Message, string)    {}
func (t *dropTracer) DuplicateMessage(*pubsub.Message)         {}
func (t *dropTracer) ThrottlePeer(peer.ID)                     {}
func (t *dropTracer) RecvRPC(*pubsub.RPC)                      {}
func (t *dropTracer) SendRPC(*pubsub.RPC, peer.ID)             {}
func (t *dropTracer) UndeliverableMessage(*pubsub.Message)     {}
