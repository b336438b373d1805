package syncer

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/libp2p/go-libp2p/core/event"
	"github.com/libp2p/go-libp2p/core/network"
	corepeer "github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
	"github.com/libp2p/go-libp2p/p2p/host/eventbus"

	"github.com/cairn-p2p/cairn/types"
)

// eventQueue is how many of the host's events may wait: hosts connect in
// bursts.
const eventQueue = 256

// attach serves the protocol on the host and follows who is connected.
func (s *Syncer) attach() error {
	sub, err := s.host.EventBus().Subscribe([]any{
		new(event.EvtPeerIdentificationCompleted),
		new(event.EvtPeerProtocolsUpdated),
		new(event.EvtPeerConnectednessChanged),
	}, eventbus.BufSize(eventQueue), eventbus.Name("cairn/syncer"))
	if err != nil {
		return fmt.Errorf("subscribe to host events: %w", err)
	}
	s.host.SetStreamHandler(Protocol, s.handle)
	s.startTask(func() {
		defer sub.Close() //nolint:errcheck // it never fails
		for _, id := range s.host.Network().Peers() {
			s.look(id)
		}
		s.follow(sub.Out())
	})
	return nil
}

// follow keeps the set of peers equal to the host's that speak the protocol.
func (s *Syncer) follow(events <-chan any) {
	for {
		select {
		case <-s.ctx.Done():
			return
		case e, ok := <-events:
			if !ok {
				return
			}
			switch e := e.(type) {
			case event.EvtPeerIdentificationCompleted:
				s.look(e.Peer)
			case event.EvtPeerProtocolsUpdated:
				if slices.Contains(e.Removed, protocol.ID(Protocol)) {
					s.disconnected(types.PeerID(e.Peer))
				}
				s.look(e.Peer)
			case event.EvtPeerConnectednessChanged:
				if e.Connectedness != network.Connected {
					s.disconnected(types.PeerID(e.Peer))
					s.look(e.Peer) // it may be back already
				}
			}
		}
	}
}

// Met makes a peer that the host was just connected to, and has identified, one that
// is asked from now on, if it speaks the protocol. Without it that happens soon.
func (s *Syncer) Met(id types.PeerID) { s.look(corepeer.ID(id)) }

// look adds the peer if it is connected and known to speak the protocol.
func (s *Syncer) look(id corepeer.ID) {
	if s.host.Network().Connectedness(id) != network.Connected {
		return
	}
	spoken, err := s.host.Peerstore().SupportsProtocols(id, Protocol)
	if err == nil && len(spoken) > 0 {
		s.connected(types.PeerID(id))
	}
}

// handle serves a stream that a peer opened, in the host's goroutine.
func (s *Syncer) handle(st network.Stream) {
	done := make(chan struct{})
	started := s.startTask(func() {
		defer close(done)
		s.serve(s.ctx, types.PeerID(st.Conn().RemotePeer()), st) //nolint:errcheck // it has noted why
	})
	if !started {
		st.Reset() //nolint:errcheck // nothing left to do
		return
	}
	<-done
}

// openStream opens a stream to a connected peer.
func (s *Syncer) openStream(ctx context.Context, to types.PeerID) (stream, error) {
	ctx = network.WithNoDial(ctx, "sync is with connected peers")
	return s.host.NewStream(ctx, corepeer.ID(to), Protocol)
}

// connectTo connects to a peer, unless it is connected, and makes it one that
// the syncer can ask.
func (s *Syncer) connectTo(ctx context.Context, info corepeer.AddrInfo) error {
	if err := s.host.Connect(ctx, info); err != nil { // it waits until the peer is identified
		return fmt.Errorf("connect: %w", err)
	}
	s.Met(types.PeerID(info.ID))
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.peers[types.PeerID(info.ID)] == nil {
		return errors.New("does not speak the sync protocol")
	}
	return nil
}
