package node

import (
	"crypto/ed25519"
	"fmt"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/peer"
	rcmgr "github.com/libp2p/go-libp2p/p2p/host/resource-manager"
	"github.com/libp2p/go-libp2p/p2p/muxer/yamux"
	"github.com/libp2p/go-libp2p/p2p/net/connmgr"
	"github.com/libp2p/go-libp2p/p2p/security/noise"
	quic "github.com/libp2p/go-libp2p/p2p/transport/quic"
	"github.com/libp2p/go-libp2p/p2p/transport/tcp"
	"github.com/multiformats/go-multiaddr"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/cairn-p2p/cairn/keyfile"
	"github.com/cairn-p2p/cairn/types"
)

const (
	// streamWindow is the window that a stream starts with: at 100 ms round
	// trip, yamux' own 256 KiB would hold a backfill to 2.5 MB/s.
	streamWindow = 4 << 20
	// inboundStreams is how many streams a peer may have open to this node. Yamux
	// accounts for 256 KiB of each to the resource manager, whatever its window,
	// so this is what bounds the rest: 32 windows of 4 MiB. An honest peer has
	// about a dozen: 4 lanes of sync, gossipsub, the DHT, identify and ping, some
	// of them twice while two connections become one.
	inboundStreams = 32
	// peerMemory, in bytes, is what the resource manager lets one peer take: the
	// accounted part of the windows, what they grow by, and what QUIC buffers. A
	// window that may not grow slows a stream, and ends none.
	peerMemory = 64 << 20
	// connections above which idle ones are closed, and down to how many.
	maxConnections, minConnections = 192, 128
)

// newHost returns a host that does not listen yet, so that its protocols can
// be set up before the first peer asks for them.
// libp2p's metrics go into registry; g may refuse connections; more is added to
// the options.
func newHost(key ed25519.PrivateKey, g *gate, registry prometheus.Registerer, more []libp2p.Option) (host.Host, error) {
	k, err := keyfile.Libp2p(key)
	if err != nil {
		return nil, fmt.Errorf("convert identity: %w", err)
	}
	manager, err := connmgr.NewConnManager(minConnections, maxConnections)
	if err != nil {
		return nil, fmt.Errorf("make connection manager: %w", err)
	}
	mux := *yamux.DefaultTransport
	mux.InitialStreamWindowSize = streamWindow
	options := []libp2p.Option{
		libp2p.Identity(k),
		libp2p.NoListenAddrs,
		// With SO_REUSEPORT a second node on the same port would start, and each
		// get some of the connections.
		libp2p.Transport(tcp.NewTCPTransport, tcp.DisableReuseport()),
		libp2p.Transport(quic.NewTransport),
		libp2p.Security(noise.ID, noise.New),
		libp2p.Muxer(yamux.ID, &mux),
		libp2p.ConnectionManager(manager),
		libp2p.ConnectionGater(g),
		libp2p.UserAgent("cairn"),
		libp2p.DisableRelay(),
		libp2p.PrometheusRegisterer(registry),
	}
	options = append(options, more...)
	h, err := libp2p.New(append(options, limitPeers)...)
	if err != nil {
		return nil, fmt.Errorf("make libp2p host: %w", err)
	}
	g.watch(h)
	return h, nil
}

// limitPeers gives a host that has no resource manager yet libp2p's own, with
// bounds for each peer.
func limitPeers(c *libp2p.Config) error {
	if c.ResourceManager != nil {
		return nil
	}
	limits := rcmgr.DefaultLimits
	libp2p.SetDefaultServiceLimits(&limits)
	ours := rcmgr.PartialLimitConfig{PeerDefault: rcmgr.ResourceLimits{
		StreamsInbound: inboundStreams,
		Memory:         peerMemory,
	}}
	manager, err := rcmgr.NewResourceManager(rcmgr.NewFixedLimiter(ours.Build(limits.AutoScale())))
	if err != nil {
		return fmt.Errorf("make resource manager: %w", err)
	}
	return c.Apply(libp2p.ResourceManager(manager))
}

func listen(h host.Host, addrs []string) error {
	var all []multiaddr.Multiaddr
	for _, a := range addrs {
		m, err := multiaddr.NewMultiaddr(a)
		if err != nil {
			return fmt.Errorf("%w: listen address %q: %w", types.ErrInvalidArgument, a, err)
		}
		all = append(all, m)
	}
	// Listen is content with one address that works; a user who named several
	// wants them all.
	for _, m := range all {
		if err := h.Network().Listen(m); err != nil {
			return fmt.Errorf("listen on %s: %w", m, err)
		}
	}
	return nil
}

// parsePeer reads a multiaddress that ends in /p2p/ and a peer id.
func parsePeer(s string) (*peer.AddrInfo, error) {
	info, err := peer.AddrInfoFromString(s)
	if err != nil {
		return nil, fmt.Errorf("%w: %q: %w; want for example /ip4/192.0.2.1/tcp/4460/p2p/12D3Koo…", types.ErrInvalidArgument, s, err)
	}
	if len(info.Addrs) == 0 {
		return nil, fmt.Errorf("%w: %q has no address before /p2p/", types.ErrInvalidArgument, s)
	}
	return info, nil
}
