package node

import (
	"sync/atomic"

	pubsub "github.com/libp2p/go-libp2p-pubsub"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
	"google.golang.org/protobuf/proto"
)

// Words of gossipsub's metrics.
const (
	delivered = "delivered"
	duplicate = "duplicate"
	grafted   = "graft"
	pruned    = "prune"
)

// tracer counts what gossipsub does. Its maps are never changed after
// newTracer, so that counting takes no lock.
type tracer struct {
	neighbours            atomic.Int64
	grafts, prunes        atomic.Uint64
	in, out, lost         atomic.Uint64 // frames
	inBytes, outBytes     atomic.Uint64
	outcomes              map[string]*atomic.Uint64 // of messages
	delivered, duplicated *atomic.Uint64            // in outcomes
}

var _ pubsub.RawTracer = (*tracer)(nil)

func newTracer() *tracer {
	t := &tracer{outcomes: map[string]*atomic.Uint64{}}
	for _, o := range gossipsubOutcomes() {
		t.outcomes[o] = new(atomic.Uint64)
	}
	t.delivered, t.duplicated = t.outcomes[delivered], t.outcomes[duplicate]
	return t
}

// OnNewOutboundStream implements pubsub.RawTracer, as do all of the following.
func (t *tracer) OnNewOutboundStream(peer.ID, protocol.ID) { t.neighbours.Add(1) }
func (t *tracer) OnClosedOutboundStream(peer.ID)           { t.neighbours.Add(-1) }
func (t *tracer) Graft(peer.ID, string)                    { t.grafts.Add(1) }
func (t *tracer) Prune(peer.ID, string)                    { t.prunes.Add(1) }
func (t *tracer) DeliverMessage(*pubsub.Message)           { t.delivered.Add(1) }
func (t *tracer) DuplicateMessage(*pubsub.Message)         { t.duplicated.Add(1) }
func (t *tracer) DropRPC(*pubsub.RPC, peer.ID)             { t.lost.Add(1) }

func (t *tracer) RecvRPC(rpc *pubsub.RPC) {
	t.in.Add(1)
	t.inBytes.Add(uint64(proto.Size(&rpc.RPC)))
}

func (t *tracer) SendRPC(rpc *pubsub.RPC, _ peer.ID) {
	t.out.Add(1)
	t.outBytes.Add(uint64(proto.Size(&rpc.RPC)))
}

func (t *tracer) RejectMessage(_ *pubsub.Message, reason string) {
	c := t.outcomes[gossipsubRefusal(reason)]
	if c == nil {
		c = t.outcomes[otherwise]
	}
	c.Add(1)
}

// What follows does not happen here, or says nothing.

func (t *tracer) Join(string)                          {}
func (t *tracer) Leave(string)                         {}
func (t *tracer) ValidateMessage(*pubsub.Message)      {}
func (t *tracer) ThrottlePeer(peer.ID)                 {}
func (t *tracer) UndeliverableMessage(*pubsub.Message) {}
