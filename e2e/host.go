package e2e

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/cairn-p2p/cairn/node"
)

// neighbours is how many others a node is told of when it opens, and stays
// connected to.
const neighbours = 3

// simNetwork is the network of all nodes of a scenario.
const simNetwork = "sim"

// simTopic is the name of a scenario's k-th topic, from 0.
func simTopic(k int) string { return fmt.Sprintf("topic %d", k) }

// host is a node over all its lives. Only the goroutine that acts opens and
// ends them.
type host struct {
	index int
	name  string
	dir   string // its data, moved by a crash
	addr  string // where it was last

	mu   sync.Mutex
	life *life // nil while it is down
}

// life is a node from its opening to its end.
type life struct {
	node    *node.Node
	topics  []*node.Topic
	ctx     context.Context // of its appends; ends with it
	stop    context.CancelFunc
	crashed bool // guarded by host.mu
}

func (h *host) living() *life {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.life
}

// die makes the host one that is down, and returns the life that it had; nil:
// it was down.
func (h *host) die(crash bool) *life {
	h.mu.Lock()
	defer h.mu.Unlock()
	l := h.life
	h.life = nil
	if l != nil {
		l.crashed = crash
		l.stop()
	}
	return l
}

// close ends the host's life in good order, if it has one.
func (h *host) close() error {
	l := h.die(false)
	if l == nil {
		return nil
	}
	if err := l.node.Close(); err != nil {
		return fmt.Errorf("close %s: %w", h.name, err)
	}
	return nil
}

// open begins a life, unless the host has one.
func (r *run) open(ctx context.Context, h *host) error {
	if h.living() != nil {
		return nil
	}
	cfg := node.Config{
		Dir:       h.dir,
		Network:   simNetwork,
		DHT:       node.DHTOff,
		MinFree:   -1,
		Bootstrap: r.neighbours(h),
	}
	dht, adopts := r.s.needs()
	if dht {
		cfg.DHT = node.DHTServer
		cfg.DHTTuning.Lookup, cfg.DHTTuning.Refresh = time.Second, time.Second
	}
	if adopts {
		cfg.Replicate, cfg.Strangers.Topics = node.All, maxAdopted
	}
	if r.o.Log != nil {
		cfg.Log = r.o.Log.With("node", h.index)
	}
	r.net.configure(h.index, &cfg)
	r.set(r.now.reach(h.index, true))
	n, err := node.Open(ctx, cfg)
	if err != nil {
		return fmt.Errorf("%s: %w", h.name, err)
	}
	h.addr = n.Addrs()[0]
	r.net.opened(h.index, n)
	l := &life{node: n}
	for k := range r.s.Topics {
		t, err := n.Topic(ctx, simTopic(k))
		if err != nil {
			return errors.Join(fmt.Errorf("%s: %w", h.name, err), n.Close())
		}
		l.topics = append(l.topics, t)
	}
	h.begin(ctx, l)
	return nil
}

// begin makes l, which is whole, the host's life.
func (h *host) begin(ctx context.Context, l *life) {
	l.ctx, l.stop = context.WithCancel(ctx)
	h.mu.Lock()
	defer h.mu.Unlock()
	h.life = l
}

// neighbours draws the addresses of some others that have been up.
func (r *run) neighbours(h *host) []string {
	var addrs []string
	for _, i := range r.rng.Perm(len(r.hosts)) {
		if other := r.hosts[i]; other != h && other.addr != "" && len(addrs) < neighbours {
			addrs = append(addrs, other.addr)
		}
	}
	return addrs
}

// crash ends a life as a power cut would: nothing that the node does from now
// on reaches anybody, and its next life finds what was on the disk.
func (r *run) crash(h *host) error {
	l := h.die(true)
	if l == nil {
		return nil
	}
	r.set(r.now.reach(h.index, false))
	r.lives++
	left, next := h.dir, filepath.Join(r.dir, fmt.Sprintf("%d-%d", h.index, r.lives))
	if err := copyCrashed(next, left); err != nil {
		return err
	}
	h.dir = next
	l.node.Close() //nolint:errcheck // nobody is left to hear of it: what it writes is thrown away
	return os.RemoveAll(left)
}
