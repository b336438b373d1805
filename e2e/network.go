package e2e

import (
	"cmp"
	"context"
	"fmt"
	"slices"

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
	// Loopback: TCP of this machine. It has no Link, no Lose, no Delay, no Slow and
	// no asymmetric Partition, and a cut closes connections instead of losing
	// packets.
	Loopback
	// Processes: TCP of this machine, with each node a process of its own, which
	// Options.Binary is run as. Crash kills it. It has no Link and nothing that
	// keeps nodes apart.
	Processes
)

// String returns the medium's name.
func (m Medium) String() string {
	switch m {
	case Loopback:
		return "loopback"
	case Processes:
		return "processes"
	default:
		return "simulated"
	}
}

// can reports why the medium cannot show a scenario.
func (m Medium) can(s *Scenario) error {
	if m < Simulated || m > Processes {
		return fmt.Errorf("no medium %d", m)
	}
	for i, f := range s.Faults {
		if m == Loopback && (f.Kind == Lose || f.Kind == Delay || f.Kind == Slow || f.Asymmetric) {
			return &FieldError{i, "kind", fmt.Errorf("only the simulated network can lose, delay, be slow or cut one direction")}
		}
		if m == Processes && !slices.Contains(ofProcesses, f.Kind) {
			return &FieldError{i, "kind", fmt.Errorf("processes can only %q", ofProcesses)}
		}
	}
	return nil
}

// ofProcesses are the faults that can be done to a process from outside.
var ofProcesses = []Kind{Crash, Restart, Leave, Join}

// network is a Medium in use.
type network interface {
	// open opens the node with that index as cfg says, with an address and a way
	// to the network of its own.
	open(ctx context.Context, index int, cfg node.Config) (instance, error)
	// place is where the host with that index listens, and its way to the network.
	place(index int) (listen string, way []libp2p.Option)
	// set makes what keeps nodes apart be c, when it returns.
	set(c conditions)
	// traffic returns the bytes and packets that the nodes sent so far; 0 of
	// those that it does not see.
	traffic() (bytes, packets uint64)
	// close ends the network, after the last node.
	close()
}

// anyPort is a port of this machine that is free.
const anyPort = "/ip4/127.0.0.1/tcp/0"

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

func (l *loopback) open(ctx context.Context, index int, cfg node.Config) (instance, error) {
	listen, way := l.place(index)
	cfg.Listen, cfg.Host = []string{listen}, way
	n, err := node.Open(ctx, cfg)
	if err != nil {
		return nil, err
	}
	l.nodes[index], l.indexes[n.ID()] = n, index
	l.listens[index] = bare(n.Addrs()[0])
	l.set(l.now)
	return local{n}, nil
}

func (l *loopback) place(index int) (listen string, way []libp2p.Option) {
	return cmp.Or(l.listens[index], anyPort), []libp2p.Option{libp2p.BandwidthReporter(l.counter)}
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
