// Package gossip is the broadcaster over gossipsub.
//
// All topics of a network share a few pubsub topics, its shards; every node
// relays all of them, whatever it replicates. A message carries small new
// events and always the announcer's heads, signed. What a node can know to be
// wrong it rejects; what it cannot judge it leaves alone. SPEC.md has every
// byte and every rule.
//
// Nothing here is relied upon: a message that is lost, refused or let go costs
// latency, and the syncer finds what it carried.
package gossip

import (
	"context"
	"crypto/sha256"
	"fmt"
	"sync"

	lru "github.com/hashicorp/golang-lru/v2"
	pubsub "github.com/libp2p/go-libp2p-pubsub"
	pubsubpb "github.com/libp2p/go-libp2p-pubsub/pb"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/cairn-p2p/cairn/types"
)

// Broadcaster tells the network what this node announces, and the node what
// the network does. It is safe for concurrent use.
type Broadcaster struct {
	host      host.Host
	sender    *sender
	validator *validator
	counters  *counters
	ctx       context.Context // ends with Close: gossipsub and run depend on it
	cancel    context.CancelFunc
	closing   sync.Once
}

// Open joins the network: from now on this node receives and relays. The caller
// must call Run to send, and Close. When ctx ends, so does gossipsub; goroutines
// of its own follow soon, and cannot be waited for.
//
// A configuration that cannot be is types.ErrInvalidArgument.
func Open(ctx context.Context, cfg Config) (*Broadcaster, error) {
	if err := cfg.complete(); err != nil {
		return nil, err
	}
	geneses, err := lru.New[types.TopicID, *types.Genesis](maxGeneses)
	if err != nil {
		return nil, err
	}
	b := &Broadcaster{host: cfg.Host, counters: new(counters)}
	b.ctx, b.cancel = context.WithCancel(ctx)
	b.validator = &validator{
		shards:   cfg.Shards,
		local:    cfg.Local,
		check:    cfg.Verify,
		log:      cfg.Log,
		counters: b.counters,
		budgets:  newBudgets(cfg.ByteRate, cfg.VerifyRate),
		numbers:  newNumbers(maxNumbers),
		recent:   newRecent(maxRecent),
		geneses:  geneses,

		unsupported: cfg.Unsupported,
		rejected:    cfg.Rejected,
	}
	b.sender = &sender{
		key:      cfg.Key,
		outbox:   newOutbox(cfg.TopicQueue, cfg.NodeQueue),
		wake:     make(chan struct{}, 1),
		log:      cfg.Log,
		counters: b.counters,
		number:   number{start: cfg.Start},
	}
	if err := b.join(&cfg); err != nil {
		b.Close()
		return nil, err
	}
	return b, nil
}

// join starts gossipsub and enters all shards.
func (b *Broadcaster) join(cfg *Config) error {
	names := cfg.pubsubTopics()
	ps, err := pubsub.NewGossipSub(b.ctx, cfg.Host, b.options(cfg, names)...)
	if err != nil {
		return fmt.Errorf("start gossipsub: %w", err)
	}
	for shard, name := range names {
		// Inline, in as many workers as there are cores: messages stay about in
		// order, and what cannot be checked in time waits in a bounded queue.
		err := ps.RegisterTopicValidator(name, b.validatorOf(uint64(shard)), pubsub.WithValidatorInline(true))
		if err != nil {
			return fmt.Errorf("register validator of %s: %w", name, err)
		}
		t, err := ps.Join(name)
		if err != nil {
			return fmt.Errorf("join %s: %w", name, err)
		}
		if _, err := t.Relay(); err != nil {
			return fmt.Errorf("relay %s: %w", name, err)
		}
		b.sender.topics = append(b.sender.topics, t)
	}
	return nil
}

func (b *Broadcaster) options(cfg *Config, names []string) []pubsub.Option {
	params, thresholds := scoreParams(names, cfg.Offended)
	opts := []pubsub.Option{
		pubsub.WithMessageSignaturePolicy(pubsub.StrictNoSign),
		pubsub.WithNoAuthor(),
		pubsub.WithMessageIdFn(messageID),
		pubsub.WithMaxMessageSize(types.MaxFrame),
		pubsub.WithPeerOutboundQueueSize(outboundQueue),
		pubsub.WithValidateQueueSize(validateQueue),
		pubsub.WithFloodPublish(true),
		pubsub.WithGossipSubParams(*cfg.GossipSub),
		pubsub.WithPeerScore(params, thresholds),
		pubsub.WithLogger(cfg.Log),
		pubsub.WithRawTracer(&dropTracer{self: types.PublisherOf(cfg.Key), counters: b.counters, retry: b.sender.retry}),
	}
	if cfg.Tracer != nil {
		opts = append(opts, pubsub.WithRawTracer(cfg.Tracer))
	}
	if cfg.Scores != nil {
		opts = append(opts, pubsub.WithPeerScoreInspect(cfg.Scores, decayInterval))
	}
	return opts
}

// messageID is the hash of the whole message. One over the CIDs alone would let
// a copy with bad witnesses keep the good one from being read.
func messageID(m *pubsubpb.Message) string {
	sum := sha256.Sum256(m.GetData())
	return string(sum[:])
}

// validatorOf returns gossipsub's validator of one shard. Own messages are
// accepted as they are, and not delivered to this node.
func (b *Broadcaster) validatorOf(shard uint64) pubsub.ValidatorEx {
	self := b.host.ID()
	return func(ctx context.Context, from peer.ID, m *pubsub.Message) pubsub.ValidationResult {
		if from == self {
			return pubsub.ValidationAccept
		}
		return b.validator.validate(ctx, shard, from, m.GetData())
	}
}

// Run sends what is announced until ctx ends or the broadcaster is closed. It
// returns nil: nothing that can happen to a message ends it.
func (b *Broadcaster) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(b.ctx, cancel)()
	b.sender.run(ctx)
	return nil
}

// Broadcast queues the announcement and returns at once. What the queue cannot
// hold is announced as heads alone, and so is a message that gossipsub does not
// take; Stats counts both. The genesis is required, and heads that are not
// sorted would cost this node its score. The broadcaster keeps the
// announcement's slices, which nobody may change any more.
func (b *Broadcaster) Broadcast(a types.Announcement) {
	if b.ctx.Err() == nil {
		b.sender.put(a)
	}
}

// Stats returns what was done so far.
func (b *Broadcaster) Stats() Stats { return b.counters.snapshot() }

// Close leaves the network. When it returns the node receives nothing any more
// and Run is about to return; what waited to be sent is let go. It must not be
// called from within a method of Local. Its error is always nil.
func (b *Broadcaster) Close() error {
	b.closing.Do(func() {
		b.validator.close()
		b.cancel()
		for _, id := range pubsub.GossipSubDefaultProtocols {
			b.host.RemoveStreamHandler(id)
		}
	})
	return nil
}
