package gossip

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
	"github.com/ipfs/go-cid"
	pubsub "github.com/libp2p/go-libp2p-pubsub"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/cairn-p2p/cairn/broadcaster"
	"github.com/cairn-p2p/cairn/types"
)

// validator decides on neighbours' messages by everything that can be known
// without the ancestors of their events, and hands the valid ones to the node.
// It is safe for concurrent use.
//
// It blames a neighbour only for what that neighbour could see. A node that
// relays a topic without knowing its genesis cannot tell its writers or its
// rules, so such a message, when it carried no genesis, is ignored here.
type validator struct {
	shards uint64
	local  broadcaster.Local
	check  func(context.Context, []*types.Event) []error
	log    *slog.Logger

	unsupported func(types.TopicID, *types.UnsupportedError) // nil: nobody is told
	rejected    func(from peer.ID, topic types.TopicID, why Reason)

	counters *counters
	budgets  *budgets
	numbers  *numbers
	recent   *recent
	geneses  *lru.Cache[types.TopicID, *types.Genesis] // of topics not replicated here

	gate   sync.RWMutex // held for reading around every call of local.Receive
	closed bool         // guarded by gate
}

// inbound is a neighbour's message on its way through the validator.
type inbound struct {
	*message
	from       peer.ID
	at         time.Time
	origin     *types.Genesis // nil if it is not known
	replicated bool           // by this node
	decoded    []*types.Event
}

func (in *inbound) key() numberKey {
	return numberKey{in.announcer, types.Digest(in.topic)}
}

// validate is gossipsub's validator of the pubsub topic of one shard. It blocks
// while witnesses are checked.
func (v *validator) validate(ctx context.Context, shard uint64, from peer.ID, data []byte) pubsub.ValidationResult {
	v.counters.received.Add(1)
	in := &inbound{from: from, at: time.Now()}
	err := v.judge(ctx, shard, in, data)
	if err == nil {
		v.counters.forwarded.Add(1)
		return pubsub.ValidationAccept
	}
	v.counters.refused[err.reason].Add(1)
	if err.reason.Rejected() {
		var topic types.TopicID
		if in.message != nil {
			topic = in.topic
		}
		v.rejected(from, topic, err.reason)
		v.log.DebugContext(ctx, "gossip message rejected", "from", from, "shard", shard, "error", err)
	}
	return err.result()
}

func (v *validator) judge(ctx context.Context, shard uint64, in *inbound, data []byte) *refusal {
	if !v.budgets.takeBytes(in.from, len(data), in.at) {
		return refuse(OverBudget, nil)
	}
	var err error
	if in.message, err = decodeMessage(data); err != nil {
		return refuse(Malformed, err)
	}
	if s := types.Shard(in.topic, v.shards); s != shard {
		return refuse(WrongShard, fmt.Errorf("shard %d", s))
	}
	if err := v.findGenesis(in); err != nil {
		return err
	}
	if err := in.decodeEvents(); err != nil {
		return err
	}
	if err := v.prove(ctx, in); err != nil {
		return err
	}
	return v.admit(in)
}

// findGenesis sets in's origin from what this node knows or the message
// carries.
func (v *validator) findGenesis(in *inbound) *refusal {
	if g, replicated := v.local.Genesis(in.topic); replicated {
		in.origin, in.replicated = g, true
	} else if g, ok := v.geneses.Get(in.topic); ok {
		in.origin = g
	}
	if len(in.genesis) == 0 {
		return nil
	}
	if types.SumCID(in.genesis) != in.topic {
		return refuse(BadGenesis, errors.New("it is of another topic"))
	}
	if in.origin != nil {
		return nil // the same bytes
	}
	if !v.budgets.takeVerifications(in.from, 1+len(in.genesis)/keySize, in.at) {
		return refuse(OverBudget, nil)
	}
	var unsupported *types.UnsupportedError
	g, err := types.DecodeGenesis(in.genesis)
	switch {
	case errors.As(err, &unsupported):
		if v.unsupported != nil {
			v.unsupported(in.topic, unsupported)
		}
		return refuse(Unsupported, err)
	case err != nil:
		return refuse(BadGenesis, err)
	}
	in.origin = g
	v.geneses.Add(in.topic, g)
	return nil
}

// decodeEvents sets in's decoded events and holds them to the rules of their
// topic.
func (in *inbound) decodeEvents() *refusal {
	seen := make(map[cid.Cid]struct{}, len(in.events))
	for i, p := range in.events {
		e, err := types.DecodeEvent(p.Body, p.Witness)
		if err != nil {
			return in.blame(BadEvent, fmt.Errorf("event %d: %w", i, err))
		}
		if e.Topic != in.topic {
			return in.blame(BadEvent, fmt.Errorf("event %d is of topic %s", i, e.Topic))
		}
		if _, ok := seen[e.CID]; ok {
			return refuse(BadEvent, fmt.Errorf("event %d is there twice", i))
		}
		seen[e.CID] = struct{}{}
		if in.origin != nil && !in.origin.MayPublish(e.Publisher) {
			if len(in.genesis) == 0 {
				return refuse(Unproven, types.ErrNotWriter)
			}
			return refuse(NotWriter, fmt.Errorf("event %d by %s", i, e.Publisher))
		}
		in.decoded = append(in.decoded, e)
	}
	return nil
}

// blame returns a refusal for r, unless the topic's rules are not known here:
// what looks wrong may be right by those of a later release.
func (in *inbound) blame(r Reason, cause error) *refusal {
	if in.origin == nil {
		r = Unproven
	}
	return refuse(r, cause)
}

// prove checks the announcer's signature and the witnesses of all events but
// those that came before with the same one.
func (v *validator) prove(ctx context.Context, in *inbound) *refusal {
	unproved := make([]*types.Event, 0, len(in.decoded))
	for _, e := range in.decoded {
		if !v.recent.proves(e) {
			unproved = append(unproved, e)
		}
	}
	if !v.budgets.takeVerifications(in.from, 2+len(unproved), in.at) {
		return refuse(OverBudget, nil)
	}
	if !v.numbers.known(in.key()) {
		if err := in.announcer.Check(); err != nil {
			return refuse(BadSignature, err)
		}
	}
	if !in.verify() {
		return refuse(BadSignature, nil)
	}
	if len(unproved) == 0 {
		return nil
	}
	for _, err := range v.check(ctx, unproved) {
		switch {
		case err == nil:
		case errors.Is(err, types.ErrBadWitness):
			return in.blame(BadWitness, err)
		case errors.Is(err, types.ErrInvalidEvent):
			return in.blame(BadEvent, err)
		default:
			return refuse(Stopping, err)
		}
	}
	return nil
}

// admit remembers a valid message, hands the node what is new in it, and
// decides whether it is forwarded. Nothing of a message that is not valid is
// remembered: a bad copy must not keep the good one from being forwarded.
func (v *validator) admit(in *inbound) *refusal {
	fresh := v.fresh(in)
	newer := v.numbers.see(in.key(), in.number, in.at)
	v.counters.newEvents.Add(uint64(len(fresh)))
	v.deliver(in, fresh, newer)
	switch {
	case len(fresh) > 0:
		return nil
	case !newer:
		return refuse(NothingNew, nil)
	case !v.numbers.forward(in.key(), in.at):
		return refuse(Paced, nil)
	}
	return nil
}

// fresh returns the events that are new: to the node for a topic that it
// replicates, to its memory of recent events for any other.
func (v *validator) fresh(in *inbound) []*types.Event {
	if len(in.decoded) == 0 {
		return nil
	}
	known := make([]bool, len(in.decoded))
	for i, e := range in.decoded {
		known[i] = v.recent.add(e)
	}
	if in.replicated {
		known = v.local.Known(in.topic, in.decoded)
	}
	fresh := make([]*types.Event, 0, len(in.decoded))
	for i, e := range in.decoded {
		if !known[i] {
			fresh = append(fresh, e)
		}
	}
	return fresh
}

// deliver hands the node the events that are new to it, and the heads if they
// are newer. A topic that it does not and will not replicate is only relayed.
func (v *validator) deliver(in *inbound, fresh []*types.Event, newer bool) {
	if len(fresh) == 0 && !newer {
		return
	}
	if !in.replicated && (in.origin == nil || !v.local.Wants(in.origin)) {
		return
	}
	m := broadcaster.Message{
		From:      types.PeerID(in.from),
		Topic:     in.topic,
		Genesis:   in.origin,
		Events:    fresh,
		Announcer: in.announcer,
	}
	if newer {
		m.Heads, m.HeadsHash = in.heads, in.headsHash
	}
	v.gate.RLock()
	defer v.gate.RUnlock()
	if v.closed {
		return
	}
	v.counters.delivered.Add(1)
	v.local.Receive(m)
}

// close returns when nothing is being handed to the node, and nothing will be.
func (v *validator) close() {
	v.gate.Lock()
	defer v.gate.Unlock()
	v.closed = true
}
