package hostile

import (
	"context"
	"crypto/ed25519"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ipfs/go-cid"
	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/p2p/security/noise"
	quic "github.com/libp2p/go-libp2p/p2p/transport/quic"
	"github.com/libp2p/go-libp2p/p2p/transport/tcp"
	"golang.org/x/sync/errgroup"

	"github.com/cairn-p2p/cairn/types"
)

const (
	// dialTimeout is how long a victim may take to answer the first time.
	dialTimeout = 10 * time.Second
	// redialEvery is how often a victim that is not connected is dialled.
	redialEvery = time.Second
)

// hostilePeer is one identity of an attack.
type hostilePeer struct {
	cfg     Config
	how     Behaviour
	index   int
	victims []peer.AddrInfo
	others  []*hostilePeer // all of the attack, this one included

	key    ed25519.PrivateKey // of the host, and of heads that it announces
	honest ed25519.PrivateKey // of events that are as they should be
	evil   ed25519.PrivateKey // of events that are not, and of no others
	forged map[cid.Cid]bool   // further events that are not; not changed once connected
	host   host.Host
	books  []*book // one for each topic
	gossip *gossip
	done   atomic.Int64
	rng    *rand.Rand // owned by act

	ctx    context.Context // ends with close
	cancel context.CancelFunc
	tasks  sync.WaitGroup
	closed atomic.Bool
}

func newKey() ed25519.PrivateKey {
	_, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		panic(err) // the system has no randomness
	}
	return key
}

// newPeer returns a peer that listens and serves, and is connected to nobody.
func newPeer(cfg Config, how Behaviour, key ed25519.PrivateKey, index int) (*hostilePeer, error) {
	p := &hostilePeer{cfg: cfg, how: how, index: index, key: key, honest: newKey(), evil: newKey(), forged: map[cid.Cid]bool{}, rng: cfg.random(index)}
	p.ctx, p.cancel = context.WithCancel(context.Background())
	for _, g := range cfg.Topics {
		p.books = append(p.books, newBook(g))
	}
	identity, err := crypto.UnmarshalEd25519PrivateKey(key)
	if err != nil {
		return nil, err
	}
	listen, more := cfg.Host(index)
	p.host, err = libp2p.New(append([]libp2p.Option{
		libp2p.Identity(identity),
		libp2p.ListenAddrStrings(listen),
		libp2p.Transport(tcp.NewTCPTransport),
		libp2p.Transport(quic.NewTransport),
		libp2p.Security(noise.ID, noise.New),
		libp2p.DisableRelay(),
	}, more...)...)
	if err != nil {
		return nil, fmt.Errorf("make host: %w", err)
	}
	return p, nil
}

// bans reports whether no correct node may integrate an event.
func (p *hostilePeer) bans(e *types.Event) bool {
	return e.Publisher == types.PublisherOf(p.evil) || e.Publisher == smallOrder || p.forged[e.CID]
}

func (p *hostilePeer) announcer() []byte {
	own := types.PublisherOf(p.key)
	return own[:]
}

// start prepares the lies, connects to the victims, and begins to act.
func (p *hostilePeer) start(ctx context.Context) error {
	if p.how.prepare != nil {
		if err := p.how.prepare(p); err != nil {
			return err
		}
	}
	if p.how.serve != nil {
		p.host.SetStreamHandler(syncProtocol, p.handle)
	}
	if p.how.kad != nil {
		p.host.SetStreamHandler(kadProtocol(p.cfg.Network), p.handleKad)
	}
	if !p.how.crowd {
		var err error
		if p.gossip, err = newGossip(p); err != nil {
			return err
		}
	}
	var dials errgroup.Group
	for _, v := range p.victims {
		dials.Go(func() error {
			p.dial(ctx, v)
			return nil
		})
	}
	dials.Wait() //nolint:errcheck // none is returned
	p.tasks.Go(p.stay)
	if p.how.act != nil {
		p.tasks.Go(func() { p.how.act(p) })
	}
	return ctx.Err()
}

// dial connects to a victim, if that can be done.
func (p *hostilePeer) dial(ctx context.Context, v peer.AddrInfo) {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	p.host.Connect(ctx, v) //nolint:errcheck // stay tries again
}

// stay keeps the peer connected to its victims.
func (p *hostilePeer) stay() {
	for p.pause(redialEvery) {
		for _, v := range p.victims {
			if p.host.Network().Connectedness(v.ID) != network.Connected {
				p.dial(p.ctx, v)
			}
		}
	}
}

// pause waits. It reports false when the attack is over.
func (p *hostilePeer) pause(d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-p.ctx.Done():
		return false
	}
}

// onEach does something to every victim at once, until it returns.
func (p *hostilePeer) onEach(do func(v peer.ID)) {
	var all sync.WaitGroup
	for _, v := range p.victims {
		all.Go(func() { do(v.ID) })
	}
	all.Wait()
}

func (p *hostilePeer) close() error {
	if p.closed.Swap(true) {
		return nil
	}
	p.cancel()
	err := p.host.Close()
	p.tasks.Wait()
	return err
}
