package e2e

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/cairn-p2p/cairn/node"
)

// neighbours is how many others a node is told of when it opens, and stays
// connected to.
const neighbours = 3

// dhtInterval is what the DHT's times of minutes are brought down to: a scenario
// has seconds.
const dhtInterval = time.Second

// simNetwork is the network of all nodes of a scenario.
const simNetwork = "sim"

// simTopic is the name of a scenario's k-th topic, from 0.
func simTopic(k int) string { return fmt.Sprintf("topic %d", k) }

// host is a node over all its lives. Only the goroutine that acts opens and
// ends them.
type host struct {
	index int
	name  string
	dir   string // its data, moved by a crash and a restore
	addr  string // where it was last

	told []string // the addresses of others that it was told of

	// restored is set once its data was replaced by an older copy. That is said
	// at each start from then on.
	restored bool

	mu   sync.Mutex
	life *life      // nil while it is down
	past node.Stats // of the lives that ended, what adds up
}

// life is a node from its opening to its end.
type life struct {
	node    instance
	topics  []topic
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
	err := l.node.Close()
	h.bury(l)
	if err != nil {
		return fmt.Errorf("close %s: %w", h.name, err)
	}
	return nil
}

// bury adds what a life that ended did to that of the others.
func (h *host) bury(l *life) {
	s := l.node.Stats()
	h.mu.Lock()
	defer h.mu.Unlock()
	h.past.Synced += s.Synced
	h.past.Redundant += s.Redundant
	h.past.Sent += s.Sent
	h.past.PeerStreams = max(h.past.PeerStreams, s.PeerStreams)
}

// stats returns what the host did in all its lives, and what its node has in
// hand.
func (h *host) stats() node.Stats {
	h.mu.Lock()
	defer h.mu.Unlock()
	s := h.past
	if h.life != nil {
		now := h.life.node.Stats()
		now.Synced += s.Synced
		now.Redundant += s.Redundant
		now.Sent += s.Sent
		now.PeerStreams = max(now.PeerStreams, s.PeerStreams)
		return now
	}
	return s
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
		Free:      func(string) (uint64, error) { return r.free(h.index), nil },
		Now:       func() time.Time { return time.Now().Add(r.seen.Load().skew(h.index)) },
		Restored:  h.restored,
		Bootstrap: r.neighbours(h),
	}
	dht, adopts := r.s.needs()
	if dht || r.s.DHT {
		cfg.DHT = node.DHTServer
		cfg.DHTTuning.Lookup, cfg.DHTTuning.Refresh = dhtInterval, dhtInterval
	}
	if adopts {
		cfg.Replicate, cfg.Strangers.Topics = node.All, maxAdopted
	}
	if r.o.Log != nil {
		cfg.Log = r.o.Log.With("node", h.index)
	}
	r.set(r.now.reach(h.index, true))
	n, err := r.net.open(ctx, h.index, cfg)
	if err != nil {
		return fmt.Errorf("%s: %w", h.name, err)
	}
	h.addr = n.addr()
	l := &life{node: n}
	for k := range r.s.Topics {
		t, err := n.join(ctx, simTopic(k))
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

// free returns the number of bytes that a node's disk has left.
func (r *run) free(index int) uint64 {
	if r.seen.Load().diskFull(index) {
		return 0
	}
	return math.MaxInt64
}

// neighbours draws the addresses of some others that have been up. With a DHT it
// draws one, once: were it another one after a crash, nobody might be left who
// knows a node of both parts of a network.
func (r *run) neighbours(h *host) []string {
	want := neighbours
	if r.s.DHT {
		want = 1
	}
	if r.s.DHT && h.told != nil {
		return h.told
	}
	h.told = nil
	for _, i := range r.rng.Perm(len(r.hosts)) {
		if other := r.hosts[i]; other != h && other.addr != "" && len(h.told) < want {
			h.told = append(h.told, other.addr)
		}
	}
	return h.told
}

// newDir names a directory for a host's data that does not exist yet.
func (r *run) newDir(h *host) string {
	r.dirs++
	return filepath.Join(r.dir, fmt.Sprintf("%d-%d", h.index, r.dirs))
}

// crash ends lives as a power cut would: nothing that the nodes do from now on
// reaches anybody, and their next lives find what was on the disks.
func (r *run) crash(nodes []int) error {
	died := map[*host]*life{}
	for _, i := range nodes {
		l := r.hosts[i].die(true)
		if l == nil {
			continue
		}
		if p, ok := l.node.(*process); ok {
			if err := p.kill(); err != nil {
				return err
			}
			continue
		}
		died[r.hosts[i]] = l
		r.set(r.now.reach(i, false))
	}
	var group errgroup.Group // one that cannot reach others may take a while to close
	for h, l := range died {
		left, next := h.dir, r.newDir(h)
		if err := copyCrashed(next, left); err != nil {
			return errors.Join(fmt.Errorf("%s: %w", h.name, err), group.Wait())
		}
		h.dir = next
		group.Go(func() error {
			l.node.Close() //nolint:errcheck // nobody is left to hear of it: what it writes is thrown away
			h.bury(l)
			return os.RemoveAll(left)
		})
	}
	return group.Wait()
}
