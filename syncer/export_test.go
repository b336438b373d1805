package syncer

import (
	"context"

	corepeer "github.com/libp2p/go-libp2p/core/peer"

	"github.com/cairn-p2p/cairn/types"
)

// What tests of the whole use without a host.

type Stream = stream

// NewOn returns a syncer whose streams dial makes.
func NewOn(c Config, dial func(context.Context, types.PeerID) (Stream, error)) *Syncer {
	s := newSyncer(c)
	s.dial = dial
	return s
}

// OnMeet makes meet the way to connect to peers that were found, and self what
// this node says of itself.
func (s *Syncer) OnMeet(self types.PeerID, meet func(context.Context, corepeer.AddrInfo) error) {
	s.self = func() corepeer.AddrInfo { return corepeer.AddrInfo{ID: corepeer.ID(self)} }
	s.meet = meet
}

func (s *Syncer) Connected(id types.PeerID)    { s.connected(id) }
func (s *Syncer) Disconnected(id types.PeerID) { s.disconnected(id) }

func (s *Syncer) Serve(ctx context.Context, from types.PeerID, st Stream) error {
	return s.serve(ctx, from, st)
}

const (
	MaxRequest  = maxRequest
	MaxResponse = maxResponse
)

// Lanes is the number of streams open to a peer.
func (s *Syncer) Lanes(id types.PeerID) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.peers[id].lanes
}

// OccupySearch takes one of the places for searches of others that are passed
// on, if one is free.
func (s *Syncer) OccupySearch() bool {
	select {
	case s.searches.slots <- struct{}{}:
		return true
	default:
		return false
	}
}

// ReleaseSearch frees such a place.
func (s *Syncer) ReleaseSearch() { <-s.searches.slots }
