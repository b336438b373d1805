package node

import (
	"sync/atomic"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/cairn-p2p/cairn/broadcaster/gossip"
	"github.com/cairn-p2p/cairn/types"
)

// What gossip and the syncer hold against a peer is brought together here: each
// offence is named in status, and lowers the peer's score with gossip.

// rejected is told of each gossip message for which a neighbour is blamed.
func (n *Node) rejected(from peer.ID, topic types.TopicID, why gossip.Reason) {
	if s := n.judge.Load(); s != nil {
		s.Blame(types.PeerID(from), topic, "gossip: "+why.String())
	}
}

// offended returns how many offences against the sync protocol a neighbour has
// to its name.
func (n *Node) offended(p peer.ID) float64 {
	if s := n.judge.Load(); s != nil {
		return s.Offended(types.PeerID(p))
	}
	return 0
}

// scores holds the neighbours' scores as gossip last told them.
type scores struct {
	last atomic.Pointer[map[peer.ID]float64]
}

func (s *scores) set(all map[peer.ID]float64) { s.last.Store(&all) }

// of returns a peer's score; 0 for one that is none of the neighbours.
func (s *scores) of(p peer.ID) float64 {
	if all := s.last.Load(); all != nil {
		return (*all)[p]
	}
	return 0
}
