// Package mem is a broadcaster between nodes of one process, for tests and
// examples: no encoding, no signatures, and switches for what a network does
// to messages.
package mem

import (
	"sync"

	"github.com/cairn-p2p/cairn/broadcaster"
	"github.com/cairn-p2p/cairn/types"
)

// Network joins the broadcasters of one process. At first every member is
// linked with every other. It is safe for concurrent use.
type Network struct {
	mu      sync.Mutex
	members map[types.Publisher]*Broadcaster
	cut     map[link]bool
	lose    func(from, to types.Publisher, m broadcaster.Message) bool
}

// link is an unordered pair of members.
type link struct{ low, high types.Publisher }

func newLink(a, b types.Publisher) link {
	if string(a[:]) > string(b[:]) {
		a, b = b, a
	}
	return link{a, b}
}

// NewNetwork returns a network without members.
func NewNetwork() *Network {
	return &Network{members: make(map[types.Publisher]*Broadcaster), cut: make(map[link]bool)}
}

// Join adds a member, which receives from now on and sends while its Run does.
// Its messages name self as announcer, and it is known as self's peer id to its
// neighbours. A member of the same name is replaced.
func (n *Network) Join(self types.Publisher, local broadcaster.Local) *Broadcaster {
	n.mu.Lock()
	defer n.mu.Unlock()
	b := newBroadcaster(n, self, local)
	n.members[self] = b
	return b
}

// Cut removes the link between two members. What was not delivered over it is
// lost.
func (n *Network) Cut(a, b types.Publisher) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.cut[newLink(a, b)] = true
}

// Heal puts the link between two members back.
func (n *Network) Heal(a, b types.Publisher) {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.cut, newLink(a, b))
}

// Partition cuts every link between members of different groups, and heals
// those within one.
func (n *Network) Partition(groups ...[]types.Publisher) {
	n.mu.Lock()
	defer n.mu.Unlock()
	group := make(map[types.Publisher]int)
	for i, members := range groups {
		for _, p := range members {
			group[p] = i
		}
	}
	for a, i := range group {
		for b, j := range group {
			if i == j {
				delete(n.cut, newLink(a, b))
			} else {
				n.cut[newLink(a, b)] = true
			}
		}
	}
}

// Lose sets the function that decides which messages are lost between two
// neighbours; nil loses none. It is called concurrently and must not change m.
func (n *Network) Lose(lose func(from, to types.Publisher, m broadcaster.Message) bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.lose = lose
}

// leave removes b, unless it was replaced.
func (n *Network) leave(b *Broadcaster) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.members[b.self] == b {
		delete(n.members, b.self)
	}
}

// flood passes a message from neighbour to neighbour until every member that it
// can reach has had it once.
func (n *Network) flood(from types.Publisher, m broadcaster.Message) {
	reached := map[types.Publisher]bool{from: true}
	for next := []types.Publisher{from}; len(next) > 0; next = next[1:] {
		neighbours, lose := n.neighbours(next[0])
		for _, b := range neighbours {
			if reached[b.self] || lose != nil && lose(next[0], b.self, m) {
				continue
			}
			reached[b.self] = true
			next = append(next, b.self)
			m.From = next[0].PeerID()
			b.receive(m)
		}
	}
}

func (n *Network) neighbours(of types.Publisher) ([]*Broadcaster, func(from, to types.Publisher, m broadcaster.Message) bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	var neighbours []*Broadcaster
	for p, b := range n.members {
		if p != of && !n.cut[newLink(p, of)] {
			neighbours = append(neighbours, b)
		}
	}
	return neighbours, n.lose
}
