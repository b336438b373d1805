package node

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/event"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/p2p/protocol/ping"
	"github.com/multiformats/go-multiaddr"

	"github.com/cairn-p2p/cairn/syncer"
	"github.com/cairn-p2p/cairn/types"
)

const (
	// maxRemembered bounds the peers whose addresses are kept.
	maxRemembered = 128
	// maxAddrs bounds the addresses kept for each.
	maxAddrs = 16
	// fewPeers is the number of connected peers below which remembered ones
	// are dialled again.
	fewPeers = 3

	dialTimeout   = 15 * time.Second
	dialAtOnce    = 8
	redialFirst   = time.Second
	redialLongest = time.Minute
	// redialEvery is how often remembered peers are tried while few are
	// connected.
	redialEvery = 15 * time.Second

	rememberedKey = "peers"
)

// remembered is the stored form of a peer's addresses.
type remembered struct {
	ID    string    `json:"id"`
	Addrs []string  `json:"addrs"`
	Seen  time.Time `json:"seen"`
}

// peers keeps the node connected: to its bootstrap peers for ever, and to
// those it has met before while it has few.
type peers struct {
	n *Node

	mu    sync.Mutex
	known map[peer.ID]remembered
}

// newPeers returns the peers that the node remembers.
func newPeers(n *Node) (*peers, error) {
	p := &peers{n: n, known: map[peer.ID]remembered{}}
	return p, p.load()
}

// run dials and remembers until ctx ends.
func (p *peers) run(ctx context.Context) error {
	identified, err := p.n.host.EventBus().Subscribe(new(event.EvtPeerIdentificationCompleted))
	if err != nil {
		return fmt.Errorf("subscribe to identified peers: %w", err)
	}
	defer identified.Close() //nolint:errcheck // nothing depends on it
	var background sync.WaitGroup
	defer background.Wait()
	for _, a := range p.n.cfg.Bootstrap {
		info, err := parsePeer(a)
		if err != nil {
			return err
		}
		background.Go(func() { p.keep(ctx, *info) })
	}
	background.Go(func() { p.redial(ctx) })
	for {
		select {
		case <-ctx.Done():
			return nil
		case e, ok := <-identified.Out():
			if !ok {
				return nil
			}
			met := e.(event.EvtPeerIdentificationCompleted)
			p.met(met)
			background.Go(func() { p.measure(ctx, met.Peer) })
		}
	}
}

// keep connects to a bootstrap peer, and again whenever the connection is
// lost, with back-off.
func (p *peers) keep(ctx context.Context, info peer.AddrInfo) {
	lost := make(chan struct{}, 1)
	watch := &network.NotifyBundle{DisconnectedF: func(_ network.Network, c network.Conn) {
		if c.RemotePeer() == info.ID {
			select {
			case lost <- struct{}{}:
			default:
			}
		}
	}}
	p.n.host.Network().Notify(watch)
	defer p.n.host.Network().StopNotify(watch)
	for wait := redialFirst; ; wait = min(2*wait, redialLongest) {
		err := p.dial(ctx, info)
		if err == nil {
			wait = redialFirst
			for p.n.host.Network().Connectedness(info.ID) == network.Connected {
				select {
				case <-lost:
				case <-ctx.Done():
					return
				}
			}
		} else {
			p.n.cfg.Log.Debug("bootstrap peer not reached", "peer", info.ID, "err", err)
		}
		if !sleep(ctx, wait) {
			return
		}
	}
}

// redial tries the remembered peers at the start, and later while few are
// connected.
func (p *peers) redial(ctx context.Context) {
	for {
		if len(p.n.host.Network().Peers()) < fewPeers {
			var dials sync.WaitGroup
			slots := make(chan struct{}, dialAtOnce)
			for _, info := range p.candidates() {
				dials.Go(func() {
					slots <- struct{}{}
					defer func() { <-slots }()
					if err := p.dial(ctx, info); err != nil {
						p.n.cfg.Log.Debug("remembered peer not reached", "peer", info.ID, "err", err)
					}
				})
			}
			dials.Wait()
		}
		if !sleep(ctx, redialEvery) {
			return
		}
	}
}

// measure pings a peer once; the peerstore keeps the round trip.
func (p *peers) measure(ctx context.Context, id peer.ID) {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	<-ping.Ping(ctx, p.n.host, id)
}

func (p *peers) dial(ctx context.Context, info peer.AddrInfo) error {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	return p.n.host.Connect(ctx, info)
}

// sleep waits for d and up to a quarter more. It reports false when ctx ends.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d + rand.N(d/4+1))
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// candidates returns the remembered peers that are not connected, the latest
// first.
func (p *peers) candidates() []peer.AddrInfo {
	var infos []peer.AddrInfo
	for _, r := range p.sorted() {
		id, err := peer.Decode(r.ID)
		if err != nil || p.n.host.Network().Connectedness(id) == network.Connected {
			continue
		}
		info := peer.AddrInfo{ID: id}
		for _, a := range r.Addrs {
			if m, err := multiaddr.NewMultiaddr(a); err == nil {
				info.Addrs = append(info.Addrs, m)
			}
		}
		infos = append(infos, info)
	}
	return infos
}

func (p *peers) sorted() []remembered {
	p.mu.Lock()
	defer p.mu.Unlock()
	all := make([]remembered, 0, len(p.known))
	for _, r := range p.known {
		all = append(all, r)
	}
	slices.SortFunc(all, func(a, b remembered) int {
		return cmp.Or(b.Seen.Compare(a.Seen), cmp.Compare(a.ID, b.ID))
	})
	return all
}

// met remembers a peer that speaks the sync protocol.
func (p *peers) met(e event.EvtPeerIdentificationCompleted) {
	if !slices.Contains(e.Protocols, syncer.Protocol) {
		return
	}
	r := remembered{ID: e.Peer.String(), Seen: time.Now().UTC()}
	for _, a := range e.ListenAddrs[:min(len(e.ListenAddrs), maxAddrs)] {
		r.Addrs = append(r.Addrs, a.String())
	}
	if len(r.Addrs) == 0 {
		return
	}
	p.mu.Lock()
	p.known[e.Peer] = r
	p.mu.Unlock()
	if err := p.save(); err != nil {
		p.n.cfg.Log.Warn("remember peer", "peer", e.Peer, "err", err)
	}
}

// save stores the latest peers, and forgets the others.
func (p *peers) save() error {
	all := p.sorted()
	all = all[:min(len(all), maxRemembered)]
	p.mu.Lock()
	if len(p.known) > len(all) {
		clear(p.known)
		for _, r := range all {
			if id, err := peer.Decode(r.ID); err == nil {
				p.known[id] = r
			}
		}
	}
	p.mu.Unlock()
	b, err := json.Marshal(all)
	if err != nil {
		return err
	}
	return p.n.store.SetMeta(rememberedKey, b)
}

func (p *peers) load() error {
	b, err := p.n.store.Meta(rememberedKey)
	if err != nil || b == nil {
		return err
	}
	var all []remembered
	if err := json.Unmarshal(b, &all); err != nil {
		return fmt.Errorf("%w: remembered peers: %w", types.ErrCorrupt, err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, r := range all {
		if id, err := peer.Decode(r.ID); err == nil {
			p.known[id] = r
		}
	}
	return nil
}

// PeerInfo describes a connected peer.
type PeerInfo struct {
	ID        types.PeerID
	Addrs     []string      // of its connections
	Direction string        // "inbound" or "outbound": who opened the first one
	Latency   time.Duration // round trip; 0 while it is unknown
	Topics    int           // topics that both replicate, as far as is known
}

// Peers returns the connected peers, by id.
func (n *Node) Peers() []PeerInfo {
	shared := n.syncer.SharedTopics()
	var all []PeerInfo
	for _, id := range n.host.Network().Peers() {
		info := PeerInfo{
			ID:      types.PeerID(id),
			Latency: n.host.Peerstore().LatencyEWMA(id),
			Topics:  shared[types.PeerID(id)],
		}
		for i, c := range n.host.Network().ConnsToPeer(id) {
			if i == 0 {
				info.Direction = "inbound"
				if c.Stat().Direction == network.DirOutbound {
					info.Direction = "outbound"
				}
			}
			info.Addrs = append(info.Addrs, c.RemoteMultiaddr().String())
		}
		if info.Addrs != nil {
			all = append(all, info)
		}
	}
	slices.SortFunc(all, func(a, b PeerInfo) int { return cmp.Compare(a.ID.String(), b.ID.String()) })
	return all
}

// Connect opens a connection to the peer at addr, a multiaddress that ends in
// /p2p/ and its id, and returns once it stands.
func (n *Node) Connect(ctx context.Context, addr string) error {
	info, err := parsePeer(addr)
	if err != nil {
		return err
	}
	if types.PeerID(info.ID) == n.id {
		return fmt.Errorf("%w: %s is this node", types.ErrInvalidArgument, info.ID)
	}
	if err := n.host.Connect(ctx, *info); err != nil {
		return fmt.Errorf("connect to %s: %w", info.ID, err)
	}
	return nil
}

// Addrs returns the multiaddresses that peers can dial, with the node's id: TCP
// before QUIC.
func (n *Node) Addrs() []string {
	addrs, err := n.host.Network().InterfaceListenAddresses()
	if err != nil {
		addrs = n.host.Addrs()
	}
	all := make([]string, 0, len(addrs))
	for _, a := range addrs {
		all = append(all, a.String()+"/p2p/"+n.id.String())
	}
	slices.Sort(all)
	return all
}
