package hostile

import (
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"sync"
	"time"

	"github.com/ipfs/go-cid"
	pubsub "github.com/libp2p/go-libp2p-pubsub"
	pubsubpb "github.com/libp2p/go-libp2p-pubsub/pb"
	"github.com/libp2p/go-libp2p/core/peer"
	"google.golang.org/protobuf/proto"

	"github.com/cairn-p2p/cairn/broadcaster/gossip/pb"
	"github.com/cairn-p2p/cairn/types"
)

const (
	// shards is how many pubsub topics a network has, unless agreed otherwise.
	shards = 16
	// messageBytes of events fill a message, and no more than messageEvents.
	messageBytes  = 32 << 10
	messageEvents = 256
	// maxHeard bounds the messages of others that are remembered.
	maxHeard = 1024
	// forgetful is for how long the peer knows a message again, so that it can
	// send it once more.
	forgetful = 10 * time.Millisecond
)

// gossip is a peer's part in the network's pubsub topics: it relays all, and
// accepts everything.
type gossip struct {
	p      *hostilePeer
	topics []*pubsub.Topic // by shard

	mu       sync.Mutex
	sequence uint64
	heard    []heard // of others
	listen   func(heard)
	spoil    func([]byte) []byte // of every second own message; nil: none
}

// heard is a message of somebody else.
type heard struct {
	shard int
	data  []byte
}

func newGossip(p *hostilePeer) (*gossip, error) {
	g := &gossip{p: p}
	ps, err := pubsub.NewGossipSub(p.ctx, p.host,
		pubsub.WithMessageSignaturePolicy(pubsub.StrictNoSign), pubsub.WithNoAuthor(),
		pubsub.WithMessageIdFn(func(m *pubsubpb.Message) string {
			sum := sha256.Sum256(m.GetData())
			return string(sum[:])
		}),
		pubsub.WithMaxMessageSize(types.MaxFrame), pubsub.WithFloodPublish(true),
		pubsub.WithPeerOutboundQueueSize(4096), pubsub.WithSeenMessagesTTL(forgetful))
	if err != nil {
		return nil, fmt.Errorf("start gossipsub: %w", err)
	}
	for shard := range shards {
		name := fmt.Sprintf("/cairn/1/%s/%d/%d", p.cfg.Network, shards, shard)
		if err := ps.RegisterTopicValidator(name, g.validator(shard), pubsub.WithValidatorInline(true)); err != nil {
			return nil, fmt.Errorf("register validator: %w", err)
		}
		t, err := ps.Join(name)
		if err != nil {
			return nil, fmt.Errorf("join %s: %w", name, err)
		}
		if _, err := t.Relay(); err != nil {
			return nil, fmt.Errorf("relay %s: %w", name, err)
		}
		g.topics = append(g.topics, t)
	}
	return g, nil
}

// validator takes note of what others say, and lets everything pass.
func (g *gossip) validator(shard int) pubsub.ValidatorEx {
	return func(_ context.Context, from peer.ID, m *pubsub.Message) pubsub.ValidationResult {
		if from == g.p.host.ID() {
			return pubsub.ValidationAccept
		}
		h := heard{shard, m.GetData()}
		g.mu.Lock()
		if len(g.heard) < maxHeard {
			g.heard = append(g.heard, h)
		}
		listen := g.listen
		g.mu.Unlock()
		if listen != nil {
			listen(h)
		}
		return pubsub.ValidationAccept
	}
}

// listenTo has what is heard from now on be handed to hear, which must not block.
func (g *gossip) listenTo(hear func(heard)) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.listen = hear
}

// all returns what was heard so far.
func (g *gossip) all() []heard {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.heard
}

// events returns the events of a topic that were heard so far.
func (g *gossip) events(topic types.TopicID) []*types.Event {
	var list []*types.Event
	for _, h := range g.all() {
		var m pb.Message
		if proto.Unmarshal(h.data, &m) != nil {
			continue
		}
		for _, e := range m.GetEvents() {
			if event, err := types.DecodeEvent(e.GetBody(), e.GetWitness()); err == nil && event.Topic == topic {
				list = append(list, event)
			}
		}
	}
	return list
}

// publish sends bytes to the pubsub topic of a shard.
func (g *gossip) publish(shard int, data []byte) {
	if g.topics[shard].Publish(g.p.ctx, data) == nil {
		g.p.done.Add(1)
	}
}

// say sends a message about a topic, signed by key, with its next number.
func (g *gossip) say(key ed25519.PrivateKey, genesis *types.Genesis, events []entry, hash types.Hash, heads []cid.Cid) {
	m := &pb.Message{Topic: genesis.ID().Bytes(), Genesis: genesis.Bytes()}
	for _, e := range events {
		m.Events = append(m.Events, &pb.Event{Body: e.body, Witness: e.witness})
	}
	g.mu.Lock()
	g.sequence++
	m.Start, m.Sequence = 1, g.sequence
	g.mu.Unlock()
	m.HeadsHash = hash[:]
	for _, h := range heads {
		m.Heads = append(m.Heads, h.Bytes())
	}
	data := encodeSigned(m, key)
	if g.spoil != nil && m.GetSequence()%2 == 0 {
		data = g.spoil(data)
	}
	g.publish(int(types.Shard(genesis.ID(), shards)), data)
}

// encodeSigned signs what a message says of heads, and encodes all of it.
func encodeSigned(m *pb.Message, key ed25519.PrivateKey) []byte {
	publisher := types.PublisherOf(key)
	m.Announcer = publisher[:]
	signed := append([]byte("cairn/heads/1\x00"), m.GetTopic()...)
	signed = binary.BigEndian.AppendUint64(signed, m.GetStart())
	signed = binary.BigEndian.AppendUint64(signed, m.GetSequence())
	signed = append(signed, m.GetHeadsHash()...)
	for _, h := range m.GetHeads() {
		signed = append(signed, h...)
	}
	m.Signature = ed25519.Sign(key, signed)
	data, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
	if err != nil {
		panic(err) // it holds bytes and numbers alone
	}
	return data
}

// messages cuts entries into pieces that fit a message.
func messages(list []entry) [][]entry {
	var all [][]entry
	for len(list) > 0 {
		n, size := 0, 0
		for n < min(len(list), messageEvents) && (n == 0 || size < messageBytes) {
			size += len(list[n].body) + len(list[n].witness)
			n++
		}
		all = append(all, list[:n])
		list = list[n:]
	}
	return all
}

// someHeads returns as many heads as a message may have.
func (at *page) someHeads() []cid.Cid {
	var heads []cid.Cid
	for _, h := range at.heads[:min(len(at.heads), types.MaxLinks)] {
		heads = append(heads, h.CID)
	}
	return heads
}
