package node

import (
	"sync/atomic"

	"github.com/libp2p/go-libp2p/core/control"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/multiformats/go-multiaddr"

	"github.com/cairn-p2p/cairn/types"
)

// Refuse cuts the node off from the peers for which refused is true: their
// connections are closed before it returns, and new ones are refused in both
// directions until it is called again. nil refuses nobody. It is a fault switch
// for tests and demonstrations, and keeps nobody out of a topic: what a refused
// peer has published still comes by way of others. refused is called by several
// goroutines and must not block.
func (n *Node) Refuse(refused func(types.PeerID) bool) {
	n.gate.set(refused)
	for _, id := range n.host.Network().Peers() {
		if n.gate.refuses(id) {
			n.host.Network().ClosePeer(id) //nolint:errcheck // the connection is gone all the same
		}
	}
}

// gate is the connection gater behind Refuse. The zero gate refuses nobody.
type gate struct {
	refused atomic.Pointer[func(types.PeerID) bool]
}

func (g *gate) set(refused func(types.PeerID) bool) {
	if refused == nil {
		g.refused.Store(nil)
		return
	}
	g.refused.Store(&refused)
}

func (g *gate) refuses(id peer.ID) bool {
	refused := g.refused.Load()
	return refused != nil && (*refused)(types.PeerID(id))
}

// watch closes connections that had passed the gate when it was shut, but
// were not known to the host yet.
func (g *gate) watch(h host.Host) {
	h.Network().Notify(&network.NotifyBundle{ConnectedF: func(_ network.Network, c network.Conn) {
		if g.refuses(c.RemotePeer()) {
			c.Close() //nolint:errcheck // as in Refuse
		}
	}})
}

// InterceptPeerDial implements connmgr.ConnectionGater, as the following do.
func (g *gate) InterceptPeerDial(id peer.ID) bool { return !g.refuses(id) }

// InterceptAddrDial allows all: InterceptPeerDial has decided.
func (g *gate) InterceptAddrDial(peer.ID, multiaddr.Multiaddr) bool { return true }

// InterceptAccept allows all: who it is turns out later.
func (g *gate) InterceptAccept(network.ConnMultiaddrs) bool { return true }

// InterceptSecured decides on those that others open.
func (g *gate) InterceptSecured(_ network.Direction, id peer.ID, _ network.ConnMultiaddrs) bool {
	return !g.refuses(id)
}

// InterceptUpgraded decides again, as the gate may have been shut meanwhile.
func (g *gate) InterceptUpgraded(c network.Conn) (bool, control.DisconnectReason) {
	return !g.refuses(c.RemotePeer()), 0
}
