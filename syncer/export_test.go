package syncer

import (
	"context"

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

func (s *Syncer) Connected(id types.PeerID)    { s.connected(id) }
func (s *Syncer) Disconnected(id types.PeerID) { s.disconnected(id) }

func (s *Syncer) Serve(ctx context.Context, from types.PeerID, st Stream) error {
	return s.serve(ctx, from, st)
}

const (
	MaxRequest  = maxRequest
	MaxResponse = maxResponse
)
