package node

import (
	"context"
	"errors"
	"testing"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/config"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
)

// Config.Host reaches the libp2p host, and an option that fails ends the
// opening.
func TestHostOptions(t *testing.T) {
	applied := false
	cfg := loopback("")
	cfg.Host = []libp2p.Option{func(*config.Config) error {
		applied = true
		return nil
	}}
	open(t, cfg)
	if !applied {
		t.Error("an option was not applied")
	}
	want := errors.New("refused")
	cfg.Host = []libp2p.Option{func(*config.Config) error { return want }}
	if n, err := Open(t.Context(), cfg); !errors.Is(err, want) {
		t.Errorf("opened %v, %v; want %v", n, err, want)
	}
}

// A peer has no more streams open than it may, over either transport; meanwhile
// an honest one syncs.
func TestStreamsOfAPeerAreBounded(t *testing.T) {
	for _, listen := range []string{"/ip4/127.0.0.1/tcp/0", "/ip4/127.0.0.1/udp/0/quic-v1"} {
		t.Run(listen, func(t *testing.T) {
			cfg := loopback("")
			cfg.Listen = []string{listen}
			n := open(t, cfg)
			topic := join(t, n, "topic")
			if _, err := topic.Append(t.Context(), nil); err != nil {
				t.Fatal(err)
			}
			greedy, err := libp2p.New(libp2p.NoListenAddrs, libp2p.ResourceManager(&network.NullResourceManager{}))
			if err != nil {
				t.Fatal(err)
			}
			defer greedy.Close() //nolint:errcheck // it has nothing to lose
			at := peer.AddrInfo{ID: n.host.ID(), Addrs: n.host.Addrs()}
			if err := greedy.Connect(t.Context(), at); err != nil {
				t.Fatal(err)
			}
			opened, refused := 0, 0
			for range 3 * inboundStreams {
				if holdStream(t.Context(), greedy, at.ID) {
					opened++
				} else {
					refused++
				}
			}
			if opened == 0 || opened > inboundStreams || refused == 0 {
				t.Errorf("%d streams opened and %d refused, want at most %d", opened, refused, inboundStreams)
			}
			honest := open(t, loopback(""))
			connect(t, honest, n)
			if _, err := join(t, honest, "topic").Wait(t.Context(), func(s Status) bool { return s.Events == 1 }); err != nil {
				t.Error(err)
			}
		})
	}
}

// holdStream opens a stream, keeps it, and reports whether the other side took
// it: then it speaks first.
func holdStream(ctx context.Context, h host.Host, to peer.ID) bool {
	s, err := h.Network().NewStream(ctx, to)
	if err != nil {
		return false
	}
	if _, err := s.Write([]byte("\x13/multistream/1.0.0\n")); err != nil {
		return false
	}
	_, err = s.Read(make([]byte, 1))
	return err == nil
}
