package discovery_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
	"github.com/libp2p/go-libp2p/p2p/security/noise"
	"github.com/libp2p/go-libp2p/p2p/transport/tcp"
	"github.com/multiformats/go-multiaddr"
	"go.uber.org/goleak"

	"github.com/cairn-p2p/cairn/syncer/discovery"
	"github.com/cairn-p2p/cairn/types"
)

const networkName = "test"

func topicN(i int) types.TopicID { return types.SumCID(fmt.Append(nil, "topic ", i)) }

// node is a member of the DHT, with what the test may wait for.
type node struct {
	*discovery.Discovery
	t    testing.TB
	host host.Host

	mu      sync.Mutex
	changed chan struct{} // closed at the next record or peer
	peers   map[peer.ID]bool
	records map[string]bool // digest and provider
	stop    func()
}

// open starts a node on loopback.
func open(t testing.TB, cfg discovery.Config) *node {
	t.Helper()
	return openOn(t, loopback(t), cfg)
}

func loopback(t testing.TB) host.Host {
	t.Helper()
	h, err := libp2p.New(libp2p.ListenAddrStrings("/ip4/127.0.0.1/tcp/0"), libp2p.Transport(tcp.NewTCPTransport, tcp.DisableReuseport()),
		libp2p.Security(noise.ID, noise.New), libp2p.DisableRelay(), libp2p.DisableMetrics())
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// openOn starts a node on a host, which it closes in the end.
func openOn(t testing.TB, h host.Host, cfg discovery.Config) *node {
	t.Helper()
	cfg.Host, cfg.Network = h, networkName
	d, err := discovery.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	n := &node{Discovery: d, t: t, host: h, changed: make(chan struct{}), peers: map[peer.ID]bool{}, records: map[string]bool{}}
	if cfg.Mode != discovery.Off {
		d.OnPeer(func(id peer.ID) { n.note(func() { n.peers[id] = true }) })
		d.OnRecord(func(digest types.Hash, from peer.ID) {
			n.note(func() { n.records[hex.EncodeToString(digest[:])+string(from)] = true })
		})
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- d.Run(ctx) }()
	n.stop = sync.OnceFunc(func() {
		cancel()
		if err := errors.Join(<-done, d.Close(), h.Close()); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(n.stop)
	return n
}

func (n *node) note(what func()) {
	n.mu.Lock()
	defer n.mu.Unlock()
	what()
	close(n.changed)
	n.changed = make(chan struct{})
}

// await waits until a condition on what the node has noted holds.
func (n *node) await(what string, holds func() bool) {
	n.t.Helper()
	for {
		n.mu.Lock()
		ok, changed := holds(), n.changed
		n.mu.Unlock()
		if ok {
			return
		}
		select {
		case <-changed:
		case <-n.t.Context().Done():
			n.t.Fatalf("waited in vain for %s", what)
		}
	}
}

func (n *node) awaitRecord(digest types.Hash, from *node) {
	n.t.Helper()
	n.await("a record", func() bool { return n.records[hex.EncodeToString(digest[:])+string(from.host.ID())] })
}

// connect connects nodes, of which the latter is a server, and waits until the
// former knows it as one.
func connect(a, b *node) {
	a.t.Helper()
	if err := a.host.Connect(a.t.Context(), peer.AddrInfo{ID: b.host.ID(), Addrs: b.host.Addrs()}); err != nil {
		a.t.Fatal(err)
	}
	a.await("a peer", func() bool { return a.peers[b.host.ID()] })
}

// Two nodes that know only a third one find each other, on loopback addresses,
// as servers and as clients; neither finds itself.
func TestNodesFindEachOtherThroughAThird(t *testing.T) {
	for name, mode := range map[string]discovery.Mode{"servers": discovery.Server, "clients": discovery.Client} {
		t.Run(name, func(t *testing.T) {
			third := open(t, discovery.Config{})
			a := open(t, discovery.Config{Mode: mode, Archive: true})
			b := open(t, discovery.Config{Mode: mode})
			topic := topicN(1)
			a.Provide(topic) // before it knows anybody
			connect(a, third)
			connect(b, third)
			third.awaitRecord(discovery.TopicKey(topic), a)
			third.awaitRecord(discovery.ArchiveKey(networkName), a)

			found, err := b.Providers(t.Context(), topic)
			if err != nil || len(found) != 1 || found[0].ID != a.host.ID() || !slices.ContainsFunc(found[0].Addrs, a.host.Addrs()[0].Equal) {
				t.Errorf("b found %v, %v; want %s at %v", found, err, a.host.ID(), a.host.Addrs())
			}
			if found, err := a.Providers(t.Context(), topic); err != nil || len(found) != 0 {
				t.Errorf("a found %v, %v; want nobody", found, err)
			}
			b.Provide(topic) // while it is connected
			third.awaitRecord(discovery.TopicKey(topic), b)
			if found, err := a.Providers(t.Context(), topic); err != nil || len(found) != 1 || found[0].ID != b.host.ID() {
				t.Errorf("a found %v, %v; want %s", found, err, b.host.ID())
			}
			if found, err := b.Archives(t.Context()); err != nil || len(found) != 1 || found[0].ID != a.host.ID() {
				t.Errorf("archives: %v, %v; want %s", found, err, a.host.ID())
			}
			if found, err := b.Providers(t.Context(), topicN(2)); err != nil || len(found) != 0 {
				t.Errorf("providers of nothing: %v, %v", found, err)
			}
		})
	}
}

// With buckets of 3 no node holds every record: lookups are routed.
func TestLookupsAreRouted(t *testing.T) {
	const servers, topics, askers = 16, 3, 3
	tuning := discovery.Tuning{BucketSize: 3, Refresh: time.Second}
	var nodes []*node
	for i := range servers {
		n := open(t, discovery.Config{Tuning: tuning})
		if i > 0 {
			connect(n, nodes[0])
		}
		nodes = append(nodes, n)
	}
	for i := range topics {
		nodes[i].Provide(topicN(i))
	}
	for i := range topics {
		for _, n := range nodes[servers-askers:] {
			awaitProvider(t, n, topicN(i), nodes[i].host.ID())
		}
	}
	for i := range topics {
		digest, holders := discovery.TopicKey(topicN(i)), 0
		for _, n := range nodes {
			n.mu.Lock()
			if n.records[hex.EncodeToString(digest[:])+string(nodes[i].host.ID())] {
				holders++
			}
			n.mu.Unlock()
		}
		if holders == servers-1 {
			t.Errorf("every node holds the record of topic %d: nothing was routed", i)
		}
	}
}

// awaitProvider looks up until a provider is found: records move to where they
// belong while the network forms.
func awaitProvider(t testing.TB, n *node, topic types.TopicID, want peer.ID) {
	t.Helper()
	for {
		found, err := n.Providers(t.Context(), topic)
		if len(found) == 1 && found[0].ID == want {
			return
		}
		if len(found) > 0 || t.Context().Err() != nil {
			t.Fatalf("found %v, %v; want %v", found, err, want)
		}
	}
}

// Records outlive their holders: when nodes of the DHT go, the topics are
// provided again to those that are left.
func TestRecordsMoveWhenHoldersGo(t *testing.T) {
	tuning := discovery.Tuning{Refresh: 50 * time.Millisecond}
	first, second := open(t, discovery.Config{}), open(t, discovery.Config{})
	a := open(t, discovery.Config{Mode: discovery.Client, Tuning: tuning})
	topic := topicN(1)
	a.Provide(topic)
	connect(a, first)
	first.awaitRecord(discovery.TopicKey(topic), a)
	connect(a, second)
	first.stop()
	second.awaitRecord(discovery.TopicKey(topic), a)
}

// slowHost opens streams late.
type slowHost struct{ host.Host }

func (h slowHost) NewStream(ctx context.Context, to peer.ID, protocols ...protocol.ID) (network.Stream, error) {
	time.Sleep(20 * time.Millisecond)
	return h.Host.NewStream(ctx, to, protocols...)
}

// What was taken back is not provided any more. Refreshes come between the event
// of a server's coming and its place in the table, for which it is asked first.
func TestUnprovide(t *testing.T) {
	tuning := discovery.Tuning{Refresh: time.Millisecond}
	first, second := open(t, discovery.Config{}), open(t, discovery.Config{})
	a := openOn(t, slowHost{loopback(t)}, discovery.Config{Mode: discovery.Client, Tuning: tuning})
	kept, dropped := topicN(1), topicN(2)
	a.Provide(kept)
	a.Provide(dropped)
	connect(a, first)
	first.awaitRecord(discovery.TopicKey(kept), a)
	first.awaitRecord(discovery.TopicKey(dropped), a)
	a.Unprovide(dropped)
	// What comes behind the change shows that it was done.
	later := topicN(3)
	a.Provide(later)
	first.awaitRecord(discovery.TopicKey(later), a)
	if a.Size() != 2 {
		t.Errorf("%d topics provided, want 2", a.Size())
	}
	connect(a, second)
	second.awaitRecord(discovery.TopicKey(kept), a)
	second.awaitRecord(discovery.TopicKey(later), a)
	gone := discovery.TopicKey(dropped)
	second.mu.Lock()
	defer second.mu.Unlock()
	if second.records[hex.EncodeToString(gone[:])+string(a.host.ID())] {
		t.Error("a topic was provided again after Unprovide")
	}
}

// However many there are: so many providers, with so many addresses, and never
// the asker itself.
func TestWhatALookupReturnsIsBounded(t *testing.T) {
	third, asker := open(t, discovery.Config{}), open(t, discovery.Config{Mode: discovery.Client})
	topic := topicN(1)
	digest := discovery.TopicKey(topic)
	leave := func(id peer.ID, addrs int) {
		info := peer.AddrInfo{ID: id}
		for i := range addrs {
			info.Addrs = append(info.Addrs, multiaddr.StringCast(fmt.Sprintf("/ip4/127.0.0.1/tcp/%d", i+1)))
		}
		if err := third.Leave(t.Context(), digest, info); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 40 {
		_, public, err := crypto.GenerateEd25519Key(bytes.NewReader(bytes.Repeat([]byte{byte(i)}, 64)))
		if err != nil {
			t.Fatal(err)
		}
		id, err := peer.IDFromPublicKey(public)
		if err != nil {
			t.Fatal(err)
		}
		leave(id, 40)
	}
	leave(asker.host.ID(), 1)
	connect(asker, third)
	found, err := asker.Providers(t.Context(), topic)
	if err != nil || len(found) != 16 {
		t.Errorf("%d providers, want 16; %v", len(found), err)
	}
	for _, info := range found {
		if info.ID == asker.host.ID() || len(info.Addrs) != 16 {
			t.Errorf("%s with %d addresses, want another node with 16", info.ID, len(info.Addrs))
		}
	}
}

// Who had nobody to ask is told when there is somebody, also after all had gone.
func TestReady(t *testing.T) {
	a := open(t, discovery.Config{Mode: discovery.Client})
	for range 5 {
		client := open(t, discovery.Config{Mode: discovery.Client})
		if err := a.host.Connect(t.Context(), peer.AddrInfo{ID: client.host.ID(), Addrs: client.host.Addrs()}); err != nil {
			t.Fatal(err)
		}
		select {
		case <-a.Ready():
			t.Error("ready without a server")
		default:
		}
		server := open(t, discovery.Config{})
		connect(a, server)
		select {
		case <-a.Ready():
		case <-t.Context().Done():
			t.Fatal("not told of a server of the DHT")
		}
		server.stop()
		client.stop()
	}
}

func TestLookupsWithoutADHTFail(t *testing.T) {
	alone := open(t, discovery.Config{})
	if _, err := alone.Providers(t.Context(), topicN(1)); err == nil {
		t.Error("a lookup without peers did not fail")
	}
	off := open(t, discovery.Config{Mode: discovery.Off})
	off.Provide(topicN(1))
	if _, err := off.Archives(t.Context()); err == nil {
		t.Error("a lookup with the DHT off did not fail")
	}
	canceled, cancel := context.WithCancel(t.Context())
	cancel()
	third := open(t, discovery.Config{})
	connect(alone, third)
	if _, err := alone.Providers(canceled, topicN(1)); !errors.Is(err, context.Canceled) {
		t.Errorf("a canceled lookup: %v", err)
	}
}

func TestOpenRefuses(t *testing.T) {
	h, err := libp2p.New(libp2p.NoListenAddrs, libp2p.DisableMetrics())
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close() //nolint:errcheck // nothing was opened on it
	for name, cfg := range map[string]discovery.Config{
		"no host":           {Network: networkName},
		"no network":        {Host: h},
		"an unknown mode":   {Host: h, Network: networkName, Mode: 7},
		"a negative tuning": {Host: h, Network: networkName, Tuning: discovery.Tuning{BucketSize: -1}},
	} {
		if _, err := discovery.Open(t.Context(), cfg); !errors.Is(err, types.ErrInvalidArgument) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestNothingRunsAfterClose(t *testing.T) {
	ignore := goleak.IgnoreCurrent()
	a, b := open(t, discovery.Config{}), open(t, discovery.Config{})
	connect(a, b)
	a.Provide(topicN(1))
	b.awaitRecord(discovery.TopicKey(topicN(1)), a)
	if _, err := b.Providers(t.Context(), topicN(1)); err != nil {
		t.Error(err)
	}
	a.stop()
	b.stop()
	goleak.VerifyNone(t, ignore)
}

// The keys are part of the protocol: SPEC.md has them.
func TestKeysAreFixed(t *testing.T) {
	topic := types.SumCID([]byte("topic"))
	id := sha256.Sum256([]byte("topic"))
	if got, want := discovery.TopicKey(topic), sha256.Sum256(append([]byte("cairn/topic/1\x00"), id[:]...)); got != want {
		t.Errorf("topic key %x, want %x", got, want)
	}
	if got, want := discovery.ArchiveKey("main"), types.Hash(sha256.Sum256([]byte("cairn/archive/1\x00main"))); got != want {
		t.Errorf("archive key %x, want %x", got, want)
	}
}
