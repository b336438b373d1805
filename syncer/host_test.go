package syncer_test

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"testing"
	"time"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/p2p/security/noise"
	"github.com/libp2p/go-libp2p/p2p/transport/tcp"

	"github.com/cairn-p2p/cairn/syncer"
	"github.com/cairn-p2p/cairn/syncer/syncertest"
	"github.com/cairn-p2p/cairn/types"
)

// fast are intervals at which a test that waits for each of them is short.
var fast = syncer.Intervals{
	Settle: time.Millisecond, Compare: 20 * time.Millisecond, Hot: time.Second, Full: 200 * time.Millisecond,
	Offer: 5 * time.Millisecond, Probe: 50 * time.Millisecond, BackoffMin: 5 * time.Millisecond, BackoffMax: 100 * time.Millisecond,
}

// hosts is a network of libp2p hosts on the loopback.
type hosts struct {
	t     testing.TB
	hosts []host.Host
	list  []*syncer.Syncer
}

func newHost(t testing.TB, l *syncertest.Local) host.Host {
	t.Helper()
	key, err := crypto.UnmarshalEd25519PrivateKey(l.Key)
	if err != nil {
		t.Fatal(err)
	}
	h, err := libp2p.New(libp2p.Identity(key), libp2p.ListenAddrStrings("/ip4/127.0.0.1/tcp/0"),
		libp2p.Transport(tcp.NewTCPTransport), libp2p.Security(noise.ID, noise.New), libp2p.DisableRelay())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { h.Close() })
	return h
}

func newHosts(t testing.TB, iv syncer.Intervals, locals []*syncertest.Local) *hosts {
	t.Helper()
	n := &hosts{t: t}
	for _, l := range locals {
		h := newHost(t, l)
		s, err := syncer.New(syncer.Config{Host: h, Local: l, Log: testLog(t), Intervals: iv})
		if err != nil {
			t.Fatal(err)
		}
		n.hosts, n.list = append(n.hosts, h), append(n.list, s)
	}
	return n
}

// testLog logs everything with CAIRN_LOG set, else nothing.
func testLog(testing.TB) *slog.Logger {
	if os.Getenv("CAIRN_LOG") == "" {
		return slog.New(slog.DiscardHandler)
	}
	return slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

func (n *hosts) Syncers() []syncertest.Syncer {
	var list []syncertest.Syncer
	for _, s := range n.list {
		list = append(list, s)
	}
	return list
}

func (n *hosts) Connect(i, j int) {
	to := peer.AddrInfo{ID: n.hosts[j].ID(), Addrs: n.hosts[j].Addrs()}
	if err := n.hosts[i].Connect(context.Background(), to); err != nil {
		n.t.Fatal(err)
	}
}

func (n *hosts) Disconnect(i, j int) {
	if err := n.hosts[i].Network().ClosePeer(n.hosts[j].ID()); err != nil {
		n.t.Fatal(err)
	}
}

func onHosts(t *testing.T, locals []*syncertest.Local) syncertest.Network {
	return newHosts(t, fast, locals)
}

func TestSyncer(t *testing.T) { syncertest.Run(t, onHosts) }

// TestLadderOnHosts: a node finds a replica by a flood through a relay, and
// connects to it.
func TestLadderOnHosts(t *testing.T) {
	c := syncertest.NewCluster(t, 3, onHosts)
	c.Join(2)
	c.Locals[2].Append(c.Topic, 10, 16)
	c.Connects(0, 1, 2)
	c.Join(0)
	c.Syncers()[0].Sync(c.Topic, c.Locals[1].ID())
	c.AwaitEqual(0, 2)
}

// TestGenesisOnHosts: so does one that asks for a genesis.
func TestGenesisOnHosts(t *testing.T) {
	var n *hosts
	c := syncertest.NewCluster(t, 3, func(t *testing.T, locals []*syncertest.Local) syncertest.Network {
		n = newHosts(t, fast, locals)
		return n
	})
	c.Join(2)
	c.Connects(0, 1, 2)
	for {
		g, err := n.list[0].FetchGenesis(t.Context(), c.Topic)
		if err == nil && g.ID() == c.Topic {
			return
		}
		if !errors.Is(err, types.ErrNotFound) { // the hosts may not be identified yet
			t.Fatal(err)
		}
	}
}
