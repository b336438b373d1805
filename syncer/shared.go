package syncer

import "github.com/cairn-p2p/cairn/types"

// Settled returns the connected peers with which some topic was once found in
// sync.
func (s *Syncer) Settled() []types.PeerID {
	s.mu.Lock()
	defer s.mu.Unlock()
	var settled []types.PeerID
	for id, p := range s.peers {
		for _, r := range p.replicas {
			if !r.lastSync.IsZero() {
				settled = append(settled, id)
				break
			}
		}
	}
	return settled
}

// SharedTopics returns, for each connected peer that speaks the protocol, how
// many of the topics replicated here it is known to hold too.
func (s *Syncer) SharedTopics() map[types.PeerID]int {
	s.mu.Lock()
	defer s.mu.Unlock()
	shared := make(map[types.PeerID]int, len(s.peers))
	for id, p := range s.peers {
		n := 0
		for _, r := range p.replicas {
			if r.held {
				n++
			}
		}
		shared[id] = n
	}
	return shared
}
