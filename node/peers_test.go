package node

import (
	"strings"
	"testing"

	"github.com/libp2p/go-libp2p/core/event"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/test"
	"github.com/multiformats/go-multiaddr"
)

// awaitPeer waits until n is connected to the peer, as long as the test may run.
func awaitPeer(t *testing.T, n *Node, id peer.ID) {
	t.Helper()
	changes, err := n.host.EventBus().Subscribe(new(event.EvtPeerConnectednessChanged))
	if err != nil {
		t.Fatal(err)
	}
	defer changes.Close() //nolint:errcheck // nothing depends on it
	for n.host.Network().Connectedness(id) != network.Connected {
		select {
		case <-changes.Out():
		case <-t.Context().Done():
			t.Fatal(t.Context().Err())
		}
	}
}

// Defect: a node that was closed, or killed, before it had synced with the only
// peer it was told of came back knowing nobody.
func TestPeerThatTheUserNamedIsRedialled(t *testing.T) {
	dir := t.TempDir()
	a, b := open(t, loopback(t.TempDir())), open(t, loopback(dir))
	connect(t, b, a) // no topic, so there is nothing to sync
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	awaitPeer(t, open(t, loopback(dir)), a.host.ID())
}

func TestLostBootstrapPeerIsRedialled(t *testing.T) {
	dir := t.TempDir()
	a := open(t, loopback(dir))
	cfg := loopback(t.TempDir())
	cfg.Bootstrap = a.Addrs()
	b := open(t, cfg)
	awaitPeer(t, b, a.host.ID())
	again := loopback(dir)
	for _, addr := range a.host.Network().ListenAddresses() {
		again.Listen = []string{addr.String()}
	}
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	awaitPeer(t, b, open(t, again).host.ID())
}

// The peers kept, and the addresses of each, are bounded; those that were dialled
// last stay.
func TestRememberedPeersAreBounded(t *testing.T) {
	dir := t.TempDir()
	n := open(t, loopback(dir))
	var last peer.AddrInfo
	for range maxRemembered + 10 {
		id, err := test.RandPeerID()
		if err != nil {
			t.Fatal(err)
		}
		last = peer.AddrInfo{ID: id, Addrs: []multiaddr.Multiaddr{
			multiaddr.StringCast("/ip4/127.0.0.1/tcp/9"),
			multiaddr.StringCast("/dns4/" + strings.Repeat("a", maxAddrSize) + "/tcp/9"),
		}}
		for port := range maxAddrs {
			last.Addrs = append(last.Addrs, multiaddr.StringCast("/ip4/192.0.2.1/tcp/"+string(rune('1'+port%9))+string(rune('0'+port/9))))
		}
		n.peers.named(last)
	}
	if held := len(n.peers.sorted()); held != maxRemembered {
		t.Errorf("%d peers in memory, want %d", held, maxRemembered)
	}
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
	kept := open(t, loopback(dir)).peers.sorted()
	if len(kept) != maxRemembered || kept[0].ID != last.ID.String() {
		t.Errorf("%d peers, the first is %s; want %d and %s", len(kept), kept[0].ID, maxRemembered, last.ID)
	}
	if len(kept[0].Named) != maxAddrs {
		t.Errorf("%d addresses, want %d", len(kept[0].Named), maxAddrs)
	}
	for _, a := range kept[0].Named {
		if len(a) > maxAddrSize {
			t.Errorf("an address of %d bytes", len(a))
		}
	}
}
