package e2e

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/libp2p/go-libp2p"
	libp2pnet "github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/p2p/transport/quicreuse"
	"github.com/marcopolo/simnet"
	"github.com/quic-go/quic-go"
	"go.uber.org/fx"

	"github.com/cairn-p2p/cairn/node"
)

// simPort is the UDP port of every node of the simulated network: each has an
// IP address of its own.
const simPort = 4460

// simulated is a network in memory. It lives on the time package's clock, so
// that inside testing/synctest its time is virtual.
type simulated struct {
	link Link
	net  *simnet.Simnet
	now  atomic.Pointer[conditions]

	bytes, packets atomic.Uint64
	in, out        [MaxNodes]queue // of the nodes' sockets

	endpoints sync.Mutex // simnet.NewEndpoint may not be called concurrently
	draws     sync.Mutex // guards rng
	rng       *rand.Rand
}

func newSimulated(l Link, seed uint64) *simulated {
	s := &simulated{link: l, rng: rand.New(rand.NewPCG(seed, 2))}
	s.now.Store(&conditions{})
	s.net = &simnet.Simnet{LatencyFunc: s.latency, Logger: slog.New(slog.DiscardHandler)}
	s.net.Start()
	return s
}

func (s *simulated) open(ctx context.Context, index int, cfg node.Config) (instance, error) {
	listen, way := s.place(index)
	cfg.Listen, cfg.Host = []string{listen}, way
	n, err := node.Open(ctx, cfg)
	if err != nil {
		return nil, err
	}
	return local{n}, nil
}

func (s *simulated) place(index int) (listen string, way []libp2p.Option) {
	return fmt.Sprintf("/ip4/%s/udp/%d/quic-v1", simnet.IntToPublicIPv4(index), simPort), []libp2p.Option{
		s.quic(index),
		// Both wait for what never comes when time is virtual.
		libp2p.DisableIdentifyAddressDiscovery(),
		libp2p.ResourceManager(&libp2pnet.NullResourceManager{}),
	}
}

func (s *simulated) set(c conditions) { s.now.Store(&c) }

func (s *simulated) traffic() (bytes, packets uint64) { return s.bytes.Load(), s.packets.Load() }

func (s *simulated) close() { s.net.Close() }

// quic makes a host's QUIC use the simulated network instead of UDP sockets.
func (s *simulated) quic(index int) libp2p.Option {
	source := &fixedSource{}
	options := []quicreuse.Option{
		quicreuse.OverrideSourceIPSelector(func() (quicreuse.SourceIPSelector, error) { return source, nil }),
		quicreuse.OverrideListenUDP(func(_ string, a *net.UDPAddr) (net.PacketConn, error) {
			source.ip.Store(&a.IP)
			return s.endpoint(index, a), nil
		}),
	}
	return libp2p.QUICReuse(func(life fx.Lifecycle, reset quic.StatelessResetKey, token quic.TokenGeneratorKey, options ...quicreuse.Option) (*quicreuse.ConnManager, error) {
		m, err := quicreuse.NewConnManager(reset, token, options...)
		if err != nil {
			return nil, err
		}
		life.Append(fx.StopHook(m.Close)) // libp2p closes only one that it made
		return m, nil
	}, options...)
}

// fixedSource says that packets leave from where the host listens.
type fixedSource struct{ ip atomic.Pointer[net.IP] }

// PreferredSourceIPForDestination implements quicreuse.SourceIPSelector.
func (f *fixedSource) PreferredSourceIPForDestination(*net.UDPAddr) (net.IP, error) {
	return *f.ip.Load(), nil
}

func (s *simulated) endpoint(index int, a *net.UDPAddr) *endpoint {
	speed := simnet.LinkSettings{BitsPerSecond: s.link.Bandwidth}
	s.endpoints.Lock()
	defer s.endpoints.Unlock()
	return &endpoint{
		SimConn: s.net.NewEndpoint(a, simnet.NodeBiDiLinkSettings{Downlink: speed, Uplink: speed}),
		net:     s,
		index:   index,
	}
}

// endpoint is a node's socket. simnet loses nothing by itself; the endpoint
// does, as a packet is sent.
type endpoint struct {
	*simnet.SimConn
	net   *simulated
	index int
}

// WriteTo implements net.PacketConn.
func (e *endpoint) WriteTo(p []byte, to net.Addr) (int, error) {
	e.net.bytes.Add(uint64(len(p)))
	e.net.packets.Add(1)
	if e.net.loses(e.index, indexOf(to)) {
		return len(p), nil
	}
	wait, ok := e.net.queue(e.index, indexOf(to), len(p))
	if !ok {
		return len(p), nil
	}
	if wait == 0 {
		return e.SimConn.WriteTo(p, to)
	}
	later := slices.Clone(p)
	time.AfterFunc(wait, func() { e.SimConn.WriteTo(later, to) }) //nolint:errcheck // as lost as with a node that goes down
	return len(p), nil
}

// socketBuffer is the number of bytes that wait in a slow node's socket, each
// way; what comes on top is lost.
const socketBuffer = 64 << 10

// queue is what waits in a slow node's socket, one way.
type queue struct {
	mu   sync.Mutex
	free time.Time // when the last packet is through
}

// enter queues a packet of so many bytes, of which so many bits a second get
// through; 0: all do. It returns when the packet is through, from now; false: the
// buffer is full.
func (q *queue) enter(size, bandwidth int) (time.Duration, bool) {
	if bandwidth == 0 {
		return 0, true
	}
	takes := func(bytes int) time.Duration { return time.Duration(float64(bytes) * 8 / float64(bandwidth) * 1e9) }
	q.mu.Lock()
	defer q.mu.Unlock()
	now := time.Now()
	waits := max(q.free.Sub(now), 0)
	if waits+takes(size) > takes(socketBuffer) {
		return 0, false
	}
	waits += takes(size)
	q.free = now.Add(waits)
	return waits, true
}

// queue returns how long a packet waits in the sockets of slow nodes; false: it
// is lost there.
func (s *simulated) queue(from, to, size int) (time.Duration, bool) {
	c := s.now.Load()
	sent, ok := s.out[from].enter(size, c.bandwidth(from))
	if !ok || to < 0 || to >= MaxNodes {
		return sent, ok
	}
	read, ok := s.in[to].enter(size, c.bandwidth(to))
	return sent + read, ok
}

// loses decides whether a packet is lost.
func (s *simulated) loses(from, to int) bool {
	c := s.now.Load()
	if c.cut(from, to) {
		return true
	}
	share := (1 - s.link.Loss) * c.passes(from, to)
	if share == 1 {
		return false
	}
	s.draws.Lock()
	defer s.draws.Unlock()
	return s.rng.Float64() >= share
}

// latency is how long a packet is under way.
func (s *simulated) latency(p *simnet.Packet) time.Duration {
	d := s.link.Latency + s.now.Load().delay(indexOf(p.From), indexOf(p.To))
	if s.link.Jitter > 0 {
		s.draws.Lock()
		defer s.draws.Unlock()
		d += time.Duration(s.rng.Int64N(int64(s.link.Jitter)))
	}
	return d
}

// indexOf is the index of the node with an address of simnet.IntToPublicIPv4,
// which is one more than its lower three bytes; -1 for another address.
func indexOf(a net.Addr) int {
	u, ok := a.(*net.UDPAddr)
	if !ok || u.IP.To4() == nil {
		return -1
	}
	ip := u.IP.To4()
	return int(ip[1])<<16 + int(ip[2])<<8 + int(ip[3]) - 1
}

// bare is a multiaddress without its peer id.
func bare(addr string) string {
	a, _, _ := strings.Cut(addr, "/p2p/")
	return a
}
