package e2e

import (
	"context"
	"crypto/ed25519"
	"sync"
	"testing"
	"time"

	"github.com/ipfs/go-cid"
	"github.com/libp2p/go-libp2p"
	pubsub "github.com/libp2p/go-libp2p-pubsub"
	"github.com/libp2p/go-libp2p/core/crypto"
	corehost "github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/p2p/security/noise"
	"github.com/libp2p/go-libp2p/p2p/transport/tcp"

	"github.com/cairn-p2p/cairn/broadcaster"
	"github.com/cairn-p2p/cairn/broadcaster/gossip"
	membroadcaster "github.com/cairn-p2p/cairn/broadcaster/mem"
	"github.com/cairn-p2p/cairn/crdt"
	"github.com/cairn-p2p/cairn/crdt/clock"
	"github.com/cairn-p2p/cairn/node"
	"github.com/cairn-p2p/cairn/store/badger"
	"github.com/cairn-p2p/cairn/store/mem"
	"github.com/cairn-p2p/cairn/syncer"
	memsyncer "github.com/cairn-p2p/cairn/syncer/mem"
	"github.com/cairn-p2p/cairn/trie"
	"github.com/cairn-p2p/cairn/types"
)

// part is a replica put together by hand from any store and any transport, which
// a node is not. To these it is the node around the replica.
type part struct {
	node.Store
	t           *testing.T
	genesis     *types.Genesis
	key         ed25519.PrivateKey
	replica     *crdt.Replica
	broadcaster crdt.Broadcaster
	signed      []*types.Event // the history, with witnesses of its own
}

var (
	_ broadcaster.Local = (*part)(nil)
	_ syncer.Local      = (*part)(nil)
)

// newPart returns one with a store that holds the topic, on disk or in memory.
func newPart(t *testing.T, g *types.Genesis, key ed25519.PrivateKey, onDisk bool) *part {
	t.Helper()
	p := &part{t: t, genesis: g, key: key, Store: mem.New(mem.Options{})}
	if onDisk {
		db, err := badger.Open(t.TempDir(), badger.Options{MinFree: badger.NoMinFree})
		if err != nil {
			t.Fatal(err)
		}
		p.Store = db
	}
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	})
	if err := p.JoinTopic(g); err != nil {
		t.Fatal(err)
	}
	return p
}

// open makes the replica and connects it to a network that has not begun.
func (p *part) open(limits clock.Limits, network transport) {
	var s crdt.Syncer
	p.broadcaster, s = network.attach(p)
	p.replica = crdt.New(&crdt.Config{Key: p.key, Store: p.Store, Broadcaster: p.broadcaster, Syncer: s, Limits: limits}, p.genesis, nil)
	p.t.Cleanup(p.replica.Close)
}

// integrate integrates events of the history as if a sync brought them.
func (p *part) integrate(numbers []int) {
	p.t.Helper()
	var events []*types.Event
	for _, n := range numbers {
		events = append(events, p.signed[n])
	}
	if err := p.replica.Integrate(p.t.Context(), "publisher", events); err != nil {
		p.t.Fatal(err)
	}
}

// await waits until the replica has n events.
func (p *part) await(n int) {
	p.t.Helper()
	for {
		committed := p.replica.Committed()
		s, err := p.replica.State(p.t.Context())
		if err != nil {
			p.t.Fatal(err)
		}
		if s.Events >= uint64(n) {
			return
		}
		select {
		case <-committed:
		case <-p.t.Context().Done():
			p.t.Fatalf("%d events of %d", s.Events, n)
		}
	}
}

func (p *part) Genesis(topic types.TopicID) (*types.Genesis, bool) {
	return p.genesis, topic == p.genesis.ID()
}

func (p *part) Known(topic types.TopicID, events []*types.Event) []bool {
	known := make([]bool, len(events))
	heights, err := p.HeightsOf(topic, events)
	for i, e := range events {
		known[i] = err == nil && heights[e.CID] > 0
	}
	return known
}

func (p *part) Wants(*types.Genesis) bool { return false }

func (p *part) Receive(m broadcaster.Message) { p.replica.Receive(m.From, m.Events, m.Heads) }

func (p *part) Heads(topic types.TopicID, limit int) (syncer.Heads, error) {
	s, err := p.Load(topic, types.PublisherOf(p.key))
	return syncer.Heads{
		Genesis: p.genesis, Heads: s.Heads[:min(limit, len(s.Heads))], Count: len(s.Heads), Hash: crdt.HeadsHash(s.Heads), Events: s.Events, End: s.End,
	}, err
}

func (p *part) HeadsTrie(_ types.TopicID, look func(*trie.Trie)) error {
	return p.replica.HeadsTrie(look)
}

func (p *part) Get(_ types.TopicID, cids []cid.Cid) ([]*types.Event, error) {
	return p.replica.Get(cids...)
}

func (p *part) Missing(topic types.TopicID, cids []cid.Cid) ([]cid.Cid, error) {
	heights, err := p.Heights(topic, cids)
	var missing []cid.Cid
	for _, id := range cids {
		if heights[id] == 0 {
			missing = append(missing, id)
		}
	}
	return missing, err
}

func (p *part) MissingOf(topic types.TopicID, events []*types.Event) ([]*types.Event, error) {
	heights, err := p.HeightsOf(topic, events)
	var missing []*types.Event
	for _, e := range events {
		if heights[e.CID] == 0 {
			missing = append(missing, e)
		}
	}
	return missing, err
}

// verifier remembers what it has verified for all parts.
var verifier = types.NewVerifier(1 << 12)

func (p *part) Verify(ctx context.Context, events []*types.Event) []error { return verify(ctx, events) }

func verify(ctx context.Context, events []*types.Event) []error {
	errs := make([]error, len(events))
	for i, e := range events {
		if errs[i] = ctx.Err(); errs[i] == nil {
			errs[i] = verifier.Verify(e)
		}
	}
	return errs
}

func (p *part) Integrate(ctx context.Context, _ types.TopicID, from types.PeerID, events []*types.Event) error {
	return p.replica.Integrate(ctx, from, events)
}

// transport joins parts.
type transport interface {
	// attach gives a part its ends of the transport.
	attach(p *part) (crdt.Broadcaster, crdt.Syncer)
	// begin connects all with all.
	begin()
	// settle does what does not happen by itself once all was fed.
	settle()
}

// hands is a transport without a goroutine: gossip is handed on at once, every
// third message is lost, and a sync is made when all is over.
type hands struct {
	parts []*part
	sent  int
}

func byHand(*testing.T) transport { return &hands{} }

func (h *hands) attach(p *part) (crdt.Broadcaster, crdt.Syncer) {
	h.parts = append(h.parts, p)
	return h, h
}

func (h *hands) begin() {}

func (h *hands) Broadcast(a types.Announcement) {
	for _, p := range h.parts {
		if h.sent++; h.sent%3 > 0 {
			p.replica.Receive("neighbour", a.Events, a.Heads)
		}
	}
}

func (h *hands) Sync(types.TopicID, types.PeerID) {}

func (h *hands) Changed(types.TopicID, types.Hash, bool) {}

func (h *hands) settle() {
	for i := range 2 * len(h.parts) {
		server, client := h.parts[i%len(h.parts)], h.parts[(i+1)%len(h.parts)]
		var events []*types.Event
		for entry, err := range server.replica.Log(types.Cursor{}) {
			if err != nil {
				server.t.Fatal(err)
			}
			e, err := entry.Event()
			if err != nil {
				server.t.Fatal(err)
			}
			events = append(events, e)
		}
		if err := client.replica.Integrate(client.t.Context(), "server", events); err != nil {
			client.t.Fatal(err)
		}
	}
}

// running is what goes on in goroutines until the test ends.
type running struct {
	ctx   context.Context
	group sync.WaitGroup
}

// newRunning stops and waits, then closes.
func newRunning(t *testing.T, closing func()) *running {
	ctx, cancel := context.WithCancel(context.Background())
	r := &running{ctx: ctx}
	t.Cleanup(func() {
		cancel()
		r.group.Wait()
		closing()
	})
	return r
}

func (r *running) run(t *testing.T, run func(context.Context) error) {
	r.group.Go(func() {
		if err := run(r.ctx); err != nil {
			t.Error(err)
		}
	})
}

// memNetwork is the transport of packages broadcaster/mem and syncer/mem.
type memNetwork struct {
	t            *testing.T
	gossip       *membroadcaster.Network
	sync         memsyncer.Network
	parts        []*part
	broadcasters []*membroadcaster.Broadcaster
	syncers      []*memsyncer.Syncer
}

func inProcess(t *testing.T) transport { return &memNetwork{t: t, gossip: membroadcaster.NewNetwork()} }

func (n *memNetwork) attach(p *part) (crdt.Broadcaster, crdt.Syncer) {
	self := types.PublisherOf(p.key)
	b, s := n.gossip.Join(self, p), n.sync.New(self.PeerID(), p)
	n.parts, n.broadcasters, n.syncers = append(n.parts, p), append(n.broadcasters, b), append(n.syncers, s)
	return b, s
}

func (n *memNetwork) begin() {
	r := newRunning(n.t, func() {})
	for i, s := range n.syncers {
		s.Add(n.parts[i].genesis.ID(), types.Hash{})
		for _, other := range n.syncers[:i] {
			n.sync.Connect(s, other)
		}
		r.run(n.t, s.Run)
		r.run(n.t, n.broadcasters[i].Run)
	}
}

func (n *memNetwork) settle() {}

// libp2pNetwork is the transport of nodes: gossipsub, and the sync protocol.
type libp2pNetwork struct {
	t       *testing.T
	hosts   []corehost.Host
	gossips []*gossip.Broadcaster
	syncers []*syncer.Syncer
	parts   []*part
}

func onLoopback(t *testing.T) transport { return &libp2pNetwork{t: t} }

func (n *libp2pNetwork) attach(p *part) (crdt.Broadcaster, crdt.Syncer) {
	identity, err := crypto.UnmarshalEd25519PrivateKey(p.key)
	if err != nil {
		n.t.Fatal(err)
	}
	h, err := libp2p.New(libp2p.Identity(identity), libp2p.ListenAddrStrings("/ip4/127.0.0.1/tcp/0"),
		libp2p.Transport(tcp.NewTCPTransport), libp2p.Security(noise.ID, noise.New), libp2p.DisableRelay())
	if err != nil {
		n.t.Fatal(err)
	}
	params := pubsub.DefaultGossipSubParams()
	params.HeartbeatInitialDelay, params.HeartbeatInterval = 10*time.Millisecond, 50*time.Millisecond
	b, err := gossip.Open(context.Background(), gossip.Config{
		Host: h, Key: p.key, Network: "test", Shards: 1, Start: 1, Local: p, Verify: verify, GossipSub: &params,
	})
	if err != nil {
		n.t.Fatal(err)
	}
	s, err := syncer.New(syncer.Config{Host: h, Local: p, Network: "test"})
	if err != nil {
		n.t.Fatal(err)
	}
	n.parts, n.hosts, n.gossips, n.syncers = append(n.parts, p), append(n.hosts, h), append(n.gossips, b), append(n.syncers, s)
	return b, s
}

func (n *libp2pNetwork) begin() {
	r := newRunning(n.t, func() {
		for i, h := range n.hosts {
			n.gossips[i].Close() //nolint:errcheck // it is always nil
			if err := h.Close(); err != nil {
				n.t.Error(err)
			}
		}
	})
	for i, s := range n.syncers {
		r.run(n.t, s.Run)
		r.run(n.t, n.gossips[i].Run)
		s.Add(n.parts[i].genesis.ID(), crdt.HeadsHash(nil))
	}
	for i, h := range n.hosts {
		for _, other := range n.hosts[:i] {
			if err := h.Connect(n.t.Context(), *corehost.InfoFromHost(other)); err != nil {
				n.t.Fatal(err)
			}
		}
	}
}

func (n *libp2pNetwork) settle() {}
