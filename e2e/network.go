package e2e

import (
	"fmt"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/metrics"

	"github.com/cairn-p2p/cairn/node"
	"github.com/cairn-p2p/cairn/types"
)

// Medium is what a scenario's nodes speak through.
type Medium int

const (
	// Simulated: QUIC over a network in memory, with the scenario's link.
	Simulated Medium = iota
	// Loopback: TCP of this machine. It has no Link, no Lose, no Delay and no
	// asymmetric Partition, and a cut closes connections instead of losing packets.
	Loopback
)

// String returns the medium's name.
func (m Medium) String() string {
	if m == Loopback {
		return "loopback"
	}
	return "simulated"
}

// can reports why the medium cannot show a scenario.
func (m Medium) can(s *Scenario) error {
	if m == Simulated {
		return nil
	}
	if m != Loopback {
		return fmt.Errorf("no medium %d", m)
	}
	for i, f := range s.Faults {
		if f.Kind == Lose || f.Kind == Delay || f.Asymmetric {
			return &FieldError{i, "kind", fmt.Errorf("only the simulated network can lose, delay or cut one direction")}
		}
	}
	return nil
}

// network is a Medium in use.
type network interface {
	// configure gives the node with that index its address and its way to the
	// network. It is called before each opening.
	configure(index int, cfg *node.Config)
	// opened tells of a node that is open.
	opened(index int, n *node.Node)
	// set makes what keeps nodes apart be c, when it returns.
	set(c conditions)
	// traffic returns the bytes and packets that the nodes sent so far; 0
	// packets when it does not see them.
	traffic() (bytes, packets uint64)
	// close ends the network, after the last node.
	close()
}

// loopback is the network of this machine.
type loopback struct {
	counter *metrics.BandwidthCounter
	nodes   []*node.Node
	listens map[int]string // where nodes listened before: they do so again
	indexes map[types.PeerID]int
	now     conditions
}

func newLoopback(nodes int) *loopback {
	return &loopback{
		counter: metrics.NewBandwidthCounter(),
		nodes:   make([]*node.Node, nodes),
		listens: map[int]string{},
		indexes: map[types.PeerID]int{},
	}
}

func (l *loopback) configure(index int, cfg *node.Config) {
	if l.listens[index] == "" {
		l.listens[index] = "/ip4/127.0.0.1/tcp/0"
	}
	cfg.Listen = []string{l.listens[index]}
	cfg.Host = []libp2p.Option{libp2p.BandwidthReporter(l.counter)}
}

func (l *loopback) opened(index int, n *node.Node) {
	l.nodes[index], l.indexes[n.ID()] = n, index
	l.listens[index] = bare(n.Addrs()[0])
	l.set(l.now)
}

func (l *loopback) set(c conditions) {
	l.now = c
	known := make(map[types.PeerID]int, len(l.indexes)) // refused is called by others
	for id, i := range l.indexes {
		known[id] = i
	}
	for i, n := range l.nodes {
		if n == nil {
			continue
		}
		n.Refuse(func(id types.PeerID) bool {
			other, ok := known[id]
			return ok && (c.cut(i, other) || c.cut(other, i))
		})
	}
}

func (l *loopback) traffic() (bytes, packets uint64) {
	return uint64(l.counter.GetBandwidthTotals().TotalOut), 0
}

func (l *loopback) close() {}
