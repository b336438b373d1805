package node

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
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
	// rememberEvery is how often the peers to remember are looked through; they
	// are written only if they changed.
	rememberEvery = 5 * time.Second
	// maxAddrSize is the length of the longest address that is remembered.
	maxAddrSize = 256

	rememberedKey = "peers"
)

// remembered is the stored form of a peer's addresses.
type remembered struct {
	ID    string   `json:"id"`
	Addrs []string `json:"addrs"`           // where it says it listens
	Named []string `json:"named,omitempty"` // where the user said it is
	// Dialled: this node once dialled it, so its addresses are more than a claim.
	Dialled bool      `json:"dialled"`
	Seen    time.Time `json:"seen"`
}

// peers keeps the node connected: to its bootstrap peers for ever, and to
// those it has met before while it has few.
type peers struct {
	n *Node

	saving  sync.Mutex  // one save at a time, so that the latest is stored last
	unsaved atomic.Bool // the last save failed

	identified event.Subscription // stands before anybody can connect, so that nobody is missed

	mu      sync.Mutex
	known   map[peer.ID]remembered
	listens map[peer.ID][]string // where connected peers say they listen
}

// newPeers returns the peers that the node remembers.
func newPeers(n *Node) (*peers, error) {
	p := &peers{n: n, known: map[peer.ID]remembered{}, listens: map[peer.ID][]string{}}
	var err error
	if p.identified, err = n.host.EventBus().Subscribe(new(event.EvtPeerIdentificationCompleted)); err != nil {
		return nil, fmt.Errorf("subscribe to identified peers: %w", err)
	}
	n.onClose(p.identified.Close)
	return p, p.load()
}

// run dials and remembers until ctx ends.
func (p *peers) run(ctx context.Context) error {
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
	ticker := time.NewTicker(rememberEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
			p.remember()
		case e, ok := <-p.identified.Out():
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

// candidates returns the remembered peers that are not connected, in their
// order.
func (p *peers) candidates() []peer.AddrInfo {
	var infos []peer.AddrInfo
	for _, r := range p.sorted() {
		id, err := peer.Decode(r.ID)
		if err != nil || p.n.host.Network().Connectedness(id) == network.Connected {
			continue
		}
		info := peer.AddrInfo{ID: id}
		for _, a := range slices.Concat(r.Named, r.Addrs) {
			if m, err := multiaddr.NewMultiaddr(a); err == nil {
				info.Addrs = append(info.Addrs, m)
			}
		}
		infos = append(infos, info)
	}
	return infos
}

// sorted returns the remembered peers, those that were dialled first, then the
// latest.
func (p *peers) sorted() []remembered {
	p.mu.Lock()
	defer p.mu.Unlock()
	all := make([]remembered, 0, len(p.known))
	for _, r := range p.known {
		all = append(all, r)
	}
	slices.SortFunc(all, func(a, b remembered) int {
		if a.Dialled != b.Dialled {
			if a.Dialled {
				return -1
			}
			return 1
		}
		return cmp.Or(b.Seen.Compare(a.Seen), cmp.Compare(a.ID, b.ID))
	})
	return all
}

// met notes where a peer that speaks the sync protocol says it listens.
func (p *peers) met(e event.EvtPeerIdentificationCompleted) {
	if !slices.Contains(e.Protocols, syncer.Protocol) {
		return
	}
	var addrs []string
	for _, a := range e.ListenAddrs[:min(len(e.ListenAddrs), maxAddrs)] {
		if s := a.String(); len(s) <= maxAddrSize {
			addrs = append(addrs, s)
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.listens[e.Peer] = addrs
}

// remember stores the addresses of the connected peers that this node has been
// in sync with, if there is news and room on the disk. Peers that this node
// dialled come before those that dialled it, which may be anybody.
func (p *peers) remember() {
	if p.look() || p.unsaved.Load() {
		p.save()
	}
}

// named stores the address of a peer that the node's user had it connect to,
// which is worth redialling before anything was synced with it.
func (p *peers) named(info peer.AddrInfo) {
	p.mu.Lock()
	known := p.known[info.ID]
	var all []string
	for _, a := range info.Addrs {
		if s := a.String(); len(s) <= maxAddrSize {
			all = append(all, s)
		}
	}
	for _, s := range known.Named {
		if !slices.Contains(all, s) {
			all = append(all, s)
		}
	}
	known.Named = all[:min(len(all), maxAddrs)]
	known.ID, known.Dialled, known.Seen = info.ID.String(), true, time.Now().UTC()
	p.known[info.ID] = known
	p.mu.Unlock()
	p.save()
}

// look takes up what is new of the connected peers, and reports whether there
// was anything.
func (p *peers) look() (news bool) {
	settled := p.n.syncer.Settled()
	p.mu.Lock()
	defer p.mu.Unlock()
	for id := range p.listens {
		if p.n.host.Network().Connectedness(id) != network.Connected {
			delete(p.listens, id)
		}
	}
	for _, id := range settled {
		id := peer.ID(id)
		addrs, old := p.listens[id], p.known[id]
		if len(addrs) == 0 || slices.Equal(addrs, old.Addrs) {
			continue
		}
		news = true
		p.known[id] = remembered{
			ID: id.String(), Addrs: addrs, Named: old.Named,
			Dialled: old.Dialled || p.dialled(id), Seen: time.Now().UTC(),
		}
	}
	return news
}

// dialled reports whether this node opened a connection to the peer.
func (p *peers) dialled(id peer.ID) bool {
	return slices.ContainsFunc(p.n.host.Network().ConnsToPeer(id), func(c network.Conn) bool {
		return c.Stat().Direction == network.DirOutbound
	})
}

// save stores the first peers of the order, and forgets the others.
// While the disk is full it stores nothing, and remember tries again.
func (p *peers) save() {
	p.saving.Lock()
	defer p.saving.Unlock()
	all := p.sorted()
	p.mu.Lock()
	for _, r := range all[min(len(all), maxRemembered):] {
		if id, err := peer.Decode(r.ID); err == nil {
			delete(p.known, id)
		}
	}
	p.mu.Unlock()
	err := p.n.store.Writable()
	if err == nil {
		var b []byte
		if b, err = json.Marshal(all[:min(len(all), maxRemembered)]); err == nil {
			err = p.n.store.SetMeta(rememberedKey, b)
		}
	}
	p.unsaved.Store(err != nil)
	if err != nil && !errors.Is(err, types.ErrDiskFull) {
		p.n.cfg.Log.Warn("remember peers", "err", err)
	}
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
	Offence   Offender      // what it did that no correct peer does; its Count is 0: nothing
	Score     float64       // with gossip: 0, or less for offences of the last minutes; nothing is read below -400
}

// Peers returns the connected peers, by id.
func (n *Node) Peers() []PeerInfo {
	shared := n.syncer.SharedTopics()
	offences := map[types.PeerID]Offender{}
	for _, o := range n.syncer.Offences() {
		offences[o.Peer] = Offender(o)
	}
	var all []PeerInfo
	for _, id := range n.host.Network().Peers() {
		info := PeerInfo{
			ID:      types.PeerID(id),
			Latency: n.host.Peerstore().LatencyEWMA(id),
			Topics:  shared[types.PeerID(id)],
			Offence: offences[types.PeerID(id)],
			Score:   n.scores.of(id),
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
// /p2p/ and its id, and returns once it stands and Join finds the peer's topics. The
// node remembers the peer, and redials it after a restart.
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
	n.syncer.Met(types.PeerID(info.ID)) // what is asked of it next finds it
	n.peers.named(*info)
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
