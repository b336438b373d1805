package gossip

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p"
	pubsub "github.com/libp2p/go-libp2p-pubsub"
	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
	"github.com/libp2p/go-libp2p/p2p/security/noise"
	"github.com/libp2p/go-libp2p/p2p/transport/tcp"

	"github.com/cairn-p2p/cairn/broadcaster"
	"github.com/cairn-p2p/cairn/broadcaster/broadcastertest"
	"github.com/cairn-p2p/cairn/types"
)

// testShards keeps the meshes that a test waits for few.
const testShards = 2

// newHost returns a host on loopback with the i-th key as its identity.
func newHost(t testing.TB, i int) host.Host {
	t.Helper()
	identity, err := crypto.UnmarshalEd25519PrivateKey(broadcastertest.Key(i))
	if err != nil {
		t.Fatal(err)
	}
	h, err := libp2p.New(
		libp2p.Identity(identity),
		libp2p.Transport(tcp.NewTCPTransport),
		libp2p.Security(noise.ID, noise.New),
		libp2p.ListenAddrStrings("/ip4/127.0.0.1/tcp/0"),
		libp2p.DisableRelay(),
	)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { h.Close() }) //nolint:errcheck // nothing depends on it
	return h
}

func verify(v *types.Verifier) func(context.Context, []*types.Event) []error {
	return func(_ context.Context, events []*types.Event) []error {
		errs := make([]error, len(events))
		for i, e := range events {
			errs[i] = v.Verify(e)
		}
		return errs
	}
}

// testConfig returns the configuration of node i with a quick heartbeat.
func testConfig(t testing.TB, i int, local broadcaster.Local) Config {
	params := pubsub.DefaultGossipSubParams()
	params.HeartbeatInitialDelay = 10 * time.Millisecond
	params.HeartbeatInterval = 50 * time.Millisecond
	return Config{
		Host:      newHost(t, i),
		Key:       broadcastertest.Key(i),
		Network:   "test",
		Shards:    testShards,
		Start:     1,
		Local:     local,
		Verify:    verify(types.NewVerifier(1024)),
		GossipSub: &params,
		Tracer:    newGrafts(),
	}
}

func open(t testing.TB, cfg Config) *Broadcaster {
	t.Helper()
	b, err := Open(context.Background(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Close() }) //nolint:errcheck // it is always nil
	return b
}

// start runs b until the test ends.
func start(t testing.TB, b *Broadcaster) {
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		b.Run(context.Background()) //nolint:errcheck // it is always nil
	}()
	t.Cleanup(func() {
		b.Close() //nolint:errcheck // it is always nil
		<-ended
	})
}

// connect links two nodes and waits until each has the other in every mesh.
func connect(t testing.TB, a, b Config) {
	t.Helper()
	err := a.Host.Connect(t.Context(), peer.AddrInfo{ID: b.Host.ID(), Addrs: b.Host.Addrs()})
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range a.pubsubTopics() {
		a.Tracer.(*grafts).await(t, b.Host.ID(), name)
		b.Tracer.(*grafts).await(t, a.Host.ID(), name)
	}
}

// network opens and connects one broadcaster for each node.
func network(t testing.TB, nodes []*broadcastertest.Node, links [][2]int) ([]*Broadcaster, []Config) {
	t.Helper()
	bs, cfgs := make([]*Broadcaster, len(nodes)), make([]Config, len(nodes))
	for i, n := range nodes {
		cfgs[i] = testConfig(t, i, n)
		bs[i] = open(t, cfgs[i])
	}
	for _, l := range links {
		connect(t, cfgs[l[0]], cfgs[l[1]])
	}
	return bs, cfgs
}

// grafts is told by gossipsub who is in which mesh.
type grafts struct {
	pubsub.RawTracer // nil: a call of a method that is not overridden fails the test

	mu      sync.Mutex
	grafted map[graft]chan struct{} // closed once it has happened
}

type graft struct {
	peer  peer.ID
	topic string
}

func newGrafts() *grafts { return &grafts{grafted: make(map[graft]chan struct{})} }

// of returns the channel of g. The caller holds mu.
func (g *grafts) of(k graft) chan struct{} {
	c, ok := g.grafted[k]
	if !ok {
		c = make(chan struct{})
		g.grafted[k] = c
	}
	return c
}

func (g *grafts) await(t testing.TB, p peer.ID, topic string) {
	t.Helper()
	g.mu.Lock()
	c := g.of(graft{p, topic})
	g.mu.Unlock()
	select {
	case <-c:
	case <-t.Context().Done():
		t.Fatal("gave up waiting for the mesh")
	}
}

func (g *grafts) Graft(p peer.ID, topic string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	c := g.of(graft{p, topic})
	select {
	case <-c:
	default:
		close(c)
	}
}

func (g *grafts) OnNewOutboundStream(peer.ID, protocol.ID) {}
func (g *grafts) OnClosedOutboundStream(peer.ID)           {}
func (g *grafts) Join(string)                              {}
func (g *grafts) Leave(string)                             {}
func (g *grafts) Prune(peer.ID, string)                    {}
func (g *grafts) ValidateMessage(*pubsub.Message)          {}
func (g *grafts) DeliverMessage(*pubsub.Message)           {}
func (g *grafts) RejectMessage(*pubsub.Message, string)    {}
func (g *grafts) DuplicateMessage(*pubsub.Message)         {}
func (g *grafts) ThrottlePeer(peer.ID)                     {}
func (g *grafts) RecvRPC(*pubsub.RPC)                      {}
func (g *grafts) SendRPC(*pubsub.RPC, peer.ID)             {}
func (g *grafts) DropRPC(*pubsub.RPC, peer.ID)             {}
func (g *grafts) UndeliverableMessage(*pubsub.Message)     {}
