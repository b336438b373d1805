package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"math"
	"time"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/peerstore"
	"github.com/libp2p/go-libp2p/core/protocol"
	"github.com/libp2p/go-libp2p/p2p/muxer/yamux"
	"github.com/libp2p/go-libp2p/p2p/net/swarm"
	"github.com/libp2p/go-libp2p/p2p/security/noise"
	quic "github.com/libp2p/go-libp2p/p2p/transport/quic"
	"github.com/libp2p/go-libp2p/p2p/transport/tcp"
	"github.com/multiformats/go-multistream"

	"github.com/cairn-p2p/cairn/client/pb"
	"github.com/cairn-p2p/cairn/client/wire"
	"github.com/cairn-p2p/cairn/types"
)

const (
	maxHeads = wire.MaxHeads
	maxAsked = wire.MaxAsked
	// maxHeight bounds the heads that a chain can be built behind: to be higher, an
	// event would need as many ancestors.
	maxHeight = math.MaxInt64 - wire.MaxChain
	// streamWindow is the window that a stream starts with: at 100 ms round trip,
	// yamux' own 256 KiB would hold a subscription to 2.5 MB/s.
	streamWindow = 4 << 20
)

// Remote is a broker that is reached over libp2p. Its methods are safe for
// concurrent use.
type Remote struct {
	host    host.Host
	broker  peer.ID
	network string
}

var _ Broker = (*Remote)(nil)

// Dial connects to the broker at a multiaddress with /p2p/ and its peer id, as a
// member of a network, under an identity that is used once. Later calls connect
// anew where the connection was lost. The caller ends with Close. It fails with
// types.ErrInvalidArgument or ErrUnreachable.
func Dial(ctx context.Context, addr, networkName string) (*Remote, error) {
	info, err := ParseBroker(addr)
	if err != nil {
		return nil, err
	}
	mux := *yamux.DefaultTransport
	mux.InitialStreamWindowSize = streamWindow
	h, err := libp2p.New(
		libp2p.NoListenAddrs,
		libp2p.Transport(tcp.NewTCPTransport),
		libp2p.Transport(quic.NewTransport),
		libp2p.Security(noise.ID, noise.New),
		libp2p.Muxer(yamux.ID, &mux),
		libp2p.UserAgent("cairn-client"),
		libp2p.DisableRelay(),
		libp2p.DisableMetrics(),
	)
	if err != nil {
		return nil, fmt.Errorf("make libp2p host: %w", err)
	}
	h.Peerstore().AddAddrs(info.ID, info.Addrs, peerstore.PermanentAddrTTL)
	r := &Remote{host: h, broker: info.ID, network: networkName}
	open, cancel := context.WithTimeout(ctx, wire.OpenTimeout)
	defer cancel()
	if err := h.Connect(open, *info); err != nil {
		return nil, errors.Join(r.failed(ctx, err), h.Close())
	}
	return r, nil
}

// ParseBroker reads the multiaddress of a broker. The error is
// types.ErrInvalidArgument.
func ParseBroker(addr string) (*peer.AddrInfo, error) {
	info, err := peer.AddrInfoFromString(addr)
	if err == nil && len(info.Addrs) == 0 {
		err = errors.New("no address before /p2p/")
	}
	if err != nil {
		return nil, fmt.Errorf("%w: broker %q: %w; want for example /ip4/192.0.2.1/tcp/4460/p2p/12D3Koo…", types.ErrInvalidArgument, addr, err)
	}
	return info, nil
}

// String implements Broker: the peer id.
func (r *Remote) String() string { return r.broker.String() }

// Close ends all calls and the connection.
func (r *Remote) Close() error { return r.host.Close() }

// Deliver implements Broker. It sets the request's network.
func (r *Remote) Deliver(ctx context.Context, m *pb.Request) iter.Seq2[*pb.Response, error] {
	return func(yield func(*pb.Response, error) bool) {
		m.Network = r.network
		st, err := r.open(ctx)
		if err != nil {
			yield(nil, r.failed(ctx, err))
			return
		}
		defer st.Reset()                                      //nolint:errcheck // the answer was read, or nobody wants it
		stop := context.AfterFunc(ctx, func() { st.Reset() }) //nolint:errcheck // nothing left to do
		defer stop()
		if err := send(st, m); err != nil {
			yield(nil, r.failed(ctx, err))
			return
		}
		frames := wire.NewReader(st)
		for first := true; ; first = false {
			wait := time.Now().Add(wire.FrameTimeout)
			switch {
			case m.GetSubmit() != nil:
				wait = wait.Add(wire.SubmitTimeout)
			case m.GetSubscribe() != nil && !first:
				wait = time.Time{} // until something happens in the topic
			}
			frame := new(pb.Response)
			err := st.SetReadDeadline(wait)
			if err == nil {
				err = frames.Read(frame)
			}
			switch {
			case errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) && m.GetSubscribe() == nil:
				return
			case errors.Is(err, wire.ErrMalformed):
				yield(nil, fmt.Errorf("broker %s: %w", r, err))
				return
			case err != nil:
				yield(nil, r.failed(ctx, err))
				return
			case !yield(frame, nil):
				return
			}
		}
	}
}

// open opens a stream, over a new connection if there is none.
func (r *Remote) open(ctx context.Context) (network.Stream, error) {
	if s, ok := r.host.Network().(*swarm.Swarm); ok {
		s.Backoff().Clear(r.broker) // who calls says how often
	}
	ctx, cancel := context.WithTimeout(ctx, wire.OpenTimeout)
	defer cancel()
	return r.host.NewStream(ctx, r.broker, wire.Protocol)
}

func send(st network.Stream, m *pb.Request) error {
	b, err := wire.Encode(m)
	if err != nil {
		return err
	}
	if err := st.SetWriteDeadline(time.Now().Add(wire.FrameTimeout)); err != nil {
		return err
	}
	_, err = st.Write(b)
	return err
}

// failed is the error of a call that got no answer.
func (r *Remote) failed(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	var refused multistream.ErrNotSupported[protocol.ID]
	if errors.As(err, &refused) {
		return fmt.Errorf("%w: %s is no broker: it does not speak %s", ErrNotServed, r, wire.Protocol)
	}
	return fmt.Errorf("%w: %s: %v", ErrUnreachable, r, err) //nolint:errorlint // its time-outs are not the caller's
}
