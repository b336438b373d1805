package discovery

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	dht "github.com/libp2p/go-libp2p-kad-dht"
	"github.com/libp2p/go-libp2p-kad-dht/provider"
	"github.com/libp2p/go-libp2p/core/event"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
	"github.com/libp2p/go-libp2p/p2p/host/eventbus"
	"github.com/multiformats/go-multihash"

	"github.com/cairn-p2p/cairn/types"
)

// Discovery is a node's part in the DHT of its network. Its methods may be
// called concurrently.
type Discovery struct {
	cfg      Config
	dht      *dht.IpfsDHT // nil when it is off
	protocol protocol.ID
	records  *records
	keys     *keys
	lookups  chan struct{}    // a slot for each lookup under way
	ready    chan struct{}    // holds one when lookups have somebody to ask anew
	servers  map[peer.ID]bool // those connected; owned by Run

	mu      sync.Mutex
	changes map[types.Hash]bool // keys to provide, or not any more
	changed chan struct{}       // holds one when changes has something
}

// Open joins the DHT: from then on it answers the host's peers. Nothing is
// provided before Run.
func Open(_ context.Context, cfg Config) (*Discovery, error) {
	if err := cfg.complete(); err != nil {
		return nil, fmt.Errorf("open discovery: %w: %w", types.ErrInvalidArgument, err)
	}
	d := &Discovery{
		cfg:     cfg,
		keys:    &keys{},
		records: newRecords(maxRecords, maxRecordsOfPeer),
		lookups: make(chan struct{}, maxLookups),
		ready:   make(chan struct{}, 1),
		servers: map[peer.ID]bool{},
		changes: map[types.Hash]bool{},
		changed: make(chan struct{}, 1),
	}
	if cfg.Mode == Off {
		return d, nil
	}
	prefix := protocol.ID("/cairn/" + cfg.Network)
	d.protocol = prefix + "/kad/1.0.0"
	// ModeAuto would wait for a proof that the node is reachable, which a node
	// on a private address never gets.
	mode := dht.ModeServer
	if cfg.Mode == Client {
		mode = dht.ModeClient
	}
	var err error
	d.dht, err = dht.New(cfg.Host,
		dht.ProtocolPrefix(prefix),
		dht.Mode(mode),
		dht.BucketSize(cfg.BucketSize),
		dht.BootstrapPeers(cfg.Bootstrap...),
		dht.ProviderDatastore(d.records),
		dht.DisableValues(), // nothing here would bound what others put
	)
	if err != nil {
		return nil, fmt.Errorf("open discovery: %w", err)
	}
	if cfg.Archive {
		d.change(ArchiveKey(cfg.Network), true)
	}
	return d, nil
}

// Close leaves the DHT. Run must have returned.
func (d *Discovery) Close() error {
	if d.dht == nil {
		return nil
	}
	if err := d.dht.Close(); err != nil {
		return fmt.Errorf("close discovery: %w", err)
	}
	return nil
}

// Provide makes this node be found as a replica of the topic, until Unprovide.
// It does not wait for the DHT.
func (d *Discovery) Provide(topic types.TopicID) { d.change(TopicKey(topic), true) }

// Unprovide takes Provide back. It does not wait for the DHT, whose records
// last for up to 48 hours.
func (d *Discovery) Unprovide(topic types.TopicID) { d.change(TopicKey(topic), false) }

func (d *Discovery) change(digest types.Hash, provide bool) {
	if d.dht == nil {
		return
	}
	d.mu.Lock()
	d.changes[digest] = provide
	d.mu.Unlock()
	select {
	case d.changed <- struct{}{}:
	default:
	}
}

// Ready returns a channel that yields a value when a server of the DHT was met
// while fewer than three were connected: lookups may find now what they did not
// before. It has room for one value, which stands for all until it is taken.
func (d *Discovery) Ready() <-chan struct{} { return d.ready }

// takeChanges returns what Provide and Unprovide asked for since the last call.
func (d *Discovery) takeChanges() (start, stop []multihash.Multihash) {
	d.mu.Lock()
	changes := d.changes
	d.changes = map[types.Hash]bool{}
	d.mu.Unlock()
	for digest, provide := range changes {
		if provide {
			start = append(start, multihashOf(digest))
		} else {
			stop = append(stop, multihashOf(digest))
		}
	}
	return start, stop
}

// Run provides what is to be provided, and keeps the records alive, until ctx
// ends; it returns nil then.
func (d *Discovery) Run(ctx context.Context) error {
	if d.dht == nil {
		<-ctx.Done()
		return nil
	}
	sub, err := d.cfg.Host.EventBus().Subscribe([]any{
		new(event.EvtPeerIdentificationCompleted),
		new(event.EvtPeerProtocolsUpdated),
		new(event.EvtPeerConnectednessChanged),
	}, eventbus.BufSize(eventQueue), eventbus.Name("cairn/discovery"))
	if err != nil {
		return fmt.Errorf("subscribe to host events: %w", err)
	}
	defer sub.Close() //nolint:errcheck // it never fails
	// Without a peer the provider would try to reach one ever more rarely, so
	// it starts with the first.
	if !d.awaitPeer(ctx, sub.Out()) {
		return nil
	}
	table := d.table() // what the provider knows or comes to know
	p, err := d.newProvider()
	if err != nil {
		return fmt.Errorf("make provider: %w", err)
	}
	return errors.Join(d.provide(ctx, p, sub.Out(), table), p.Close())
}

// awaitPeer waits until a peer of the DHT is connected. It reports false when
// ctx ends before.
func (d *Discovery) awaitPeer(ctx context.Context, events <-chan any) bool {
	known := false
	for _, id := range d.cfg.Host.Network().Peers() {
		known = d.came(id) || known
	}
	if known {
		return true
	}
	for {
		select {
		case <-ctx.Done():
			return false
		case <-d.changed: // no map of 100,000 changes should wait for a peer
			start, stop := d.takeChanges()
			d.keys.Put(ctx, start...)   //nolint:errcheck // they are multihashes of ours
			d.keys.Delete(ctx, stop...) //nolint:errcheck // they are multihashes of ours
		case e, ok := <-events:
			if !ok {
				return false
			}
			if d.concerns(e) {
				return true
			}
		}
	}
}

// speaks reports whether a peer is known to be a server of the DHT.
func (d *Discovery) speaks(id peer.ID) bool {
	spoken, err := d.cfg.Host.Peerstore().SupportsProtocols(id, d.protocol)
	return err == nil && len(spoken) > 0
}

// concerns notes what a host event tells of a server of the DHT that came or
// went, and reports whether it tells of one.
func (d *Discovery) concerns(e any) bool {
	switch e := e.(type) {
	case event.EvtPeerIdentificationCompleted:
		return d.came(e.Peer)
	case event.EvtPeerProtocolsUpdated:
		return d.came(e.Peer)
	case event.EvtPeerConnectednessChanged:
		if e.Connectedness == network.Connected {
			return false
		}
		delete(d.servers, e.Peer)
		return d.speaks(e.Peer)
	}
	return false
}

// came notes a peer that may be a server of the DHT, and reports whether it is
// one.
func (d *Discovery) came(id peer.ID) bool {
	if !d.speaks(id) {
		return false
	}
	if d.servers[id] || d.cfg.Host.Network().Connectedness(id) != network.Connected {
		return true
	}
	d.servers[id] = true
	if len(d.servers) <= fewServers {
		select {
		case d.ready <- struct{}{}:
		default:
		}
	}
	return true
}

// newProvider starts what provides all keys once, then each again in time.
func (d *Discovery) newProvider() (*provider.SweepingProvider, error) {
	return provider.New(
		provider.WithHost(d.cfg.Host),
		provider.WithRouter(d.dht),
		provider.WithMessageSender(d.dht.MessageSender()),
		provider.WithSelfAddrs(d.dht.FilteredAddrs),
		provider.WithKeystore(d.keys),
		provider.WithReplicationFactor(d.cfg.BucketSize),
		provider.WithReprovideInterval(d.cfg.Reprovide),
		provider.WithMaxReprovideDelay(max(1, min(provider.DefaultMaxReprovideDelay, d.cfg.Reprovide/4))),
		provider.WithResumeCycle(false),
	)
}

// table returns the peers with which lookups begin, sorted.
func (d *Discovery) table() []peer.ID {
	peers := d.dht.RoutingTable().ListPeers()
	slices.Sort(peers)
	return peers
}

// provide hands changes to the provider, and provides again when nodes of the
// DHT came or went, which it takes from events and from how the routing table
// differs from the one before.
func (d *Discovery) provide(ctx context.Context, p *provider.SweepingProvider, events <-chan any, before []peer.ID) error {
	wait := min(firstRefresh, d.cfg.Refresh)
	refresh := time.NewTimer(wait)
	defer refresh.Stop()
	var again rotation
	for {
		var err error
		select {
		case <-ctx.Done():
			return nil
		case e, ok := <-events:
			if !ok {
				return nil
			}
			if d.concerns(e) {
				again.restart(d.keys)
			}
		case <-d.changed:
			start, stop := d.takeChanges()
			if err = p.StopProviding(stop...); err == nil {
				err = p.StartProviding(true, start...)
			}
		case <-refresh.C:
			// A server that came enters the table some time after its event.
			if now := d.table(); !slices.Equal(now, before) {
				again.restart(d.keys)
				before = now
			}
			err = p.StartProviding(true, again.next(d.keys)...)
			wait = min(2*wait, d.cfg.Refresh)
			refresh.Reset(wait)
		}
		if err != nil {
			return fmt.Errorf("provide: %w", err)
		}
	}
}

// rotation goes through the keys, a few at a time.
type rotation struct {
	at   types.Hash // the place where it goes on
	left int        // how many keys until it is through
}

func (r *rotation) restart(k *keys) { r.left = k.len() }

// next returns the next keys, none when it is through.
func (r *rotation) next(k *keys) []multihash.Multihash {
	if r.left == 0 {
		return nil
	}
	var hashes []multihash.Multihash
	for _, found := range k.from(r.at, min(r.left, maxRefreshed)) {
		hashes = append(hashes, multihashOf(found.digest))
		r.at = found.place
		r.left--
	}
	r.at = after(r.at)
	return hashes
}

// after returns the place behind another, the first one behind the last.
func after(place types.Hash) types.Hash {
	for i := len(place) - 1; i >= 0; i-- {
		if place[i]++; place[i] != 0 {
			break
		}
	}
	return place
}
