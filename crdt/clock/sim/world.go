package sim

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"

	"github.com/ipfs/go-cid"

	"github.com/cairn-p2p/cairn/crdt/clock"
	"github.com/cairn-p2p/cairn/types"
)

// Publishers are numbered: replicas from 0, strangers and forgers from these.
const (
	firstStranger = 1_000
	firstForger   = 1_000_000
)

// world is all there is in a run.
type world struct {
	cfg    Config
	rng    *rand.Rand
	report Report
	step   int
	// healing turns every fault off.
	healing bool

	topic      types.TopicID
	foreign    *types.Event // an event of another topic
	replicas   []*replica
	neighbours [][]int // a connected graph
	side       []int   // of the partition on which each replica is
	flight     []message

	acked     []*types.Event
	ackedSet  map[cid.Cid]bool
	burst     int // the most strangers who come at once
	strangers int
	forgers   int
	forged    []*types.Event
	afters    []after
	names     map[cid.Cid]string
	batches   map[string]batch // signed together, by root
}

// after is what an append promised: later comes behind earlier.
type after struct {
	later   *types.Event
	earlier cid.Cid
}

// Run runs the world of a seed: a random schedule, then a healing in which each
// pair of neighbours completes honest syncs. The error says which promise was
// broken. It returns when all is done and starts no goroutine; several runs may
// go at once if they don't share a Trace.
func Run(seed uint64, cfg Config) (Report, error) {
	w, err := newWorld(seed, cfg)
	if err != nil {
		return Report{}, err
	}
	for w.step = 1; w.step <= cfg.Steps; w.step++ {
		if err := w.act(); err != nil {
			return w.report, fmt.Errorf("seed %d, step %d: %w", seed, w.step, err)
		}
	}
	if err := w.heal(); err != nil {
		return w.report, fmt.Errorf("seed %d, healing: %w", seed, err)
	}
	if err := w.verify(); err != nil {
		return w.report, fmt.Errorf("seed %d, at the end: %w", seed, err)
	}
	return w.report, nil
}

func newWorld(seed uint64, cfg Config) (*world, error) {
	if cfg.Replicas < 2 {
		return nil, fmt.Errorf("%w: %d replicas, want at least 2", types.ErrInvalidArgument, cfg.Replicas)
	}
	genesis, err := types.NewOpen("sim")
	if err != nil {
		return nil, fmt.Errorf("build genesis: %w", err)
	}
	other, err := types.NewOpen("elsewhere")
	if err != nil {
		return nil, fmt.Errorf("build genesis: %w", err)
	}
	foreign, err := types.NewEvent(types.Body{Topic: other.ID(), Publisher: publisher(0), Seq: 1, Height: 1})
	if err != nil {
		return nil, fmt.Errorf("build event: %w", err)
	}
	w := &world{
		cfg:       cfg,
		rng:       rand.New(rand.NewPCG(seed, 0)),
		report:    Report{Seed: seed},
		topic:     genesis.ID(),
		foreign:   foreign,
		ackedSet:  map[cid.Cid]bool{},
		strangers: firstStranger,
		forgers:   firstForger,
		batches:   map[string]batch{},
		names:     map[cid.Cid]string{foreign.CID: "an event of another topic"},
	}
	w.populate()
	return w, nil
}

// populate draws the replicas and a connected graph over them.
func (w *world) populate() {
	n := 2 + w.rng.IntN(w.cfg.Replicas-1)
	w.report.Replicas = n
	w.burst = 20
	if w.rng.IntN(8) == 0 { // heads by the hundred
		w.burst = 200
	}
	w.side = make([]int, n)
	w.neighbours = make([][]int, n)
	limits := clock.DefaultLimits()
	if w.rng.IntN(2) == 0 { // room for a few events only
		limits.PendingSize = 500 + w.rng.IntN(10_000)
		limits.NeighbourSize = 500 + w.rng.IntN(10_000)
		limits.PublisherSize = 500 + w.rng.IntN(10_000)
		limits.PendingTicks = w.rng.IntN(4)
		limits.Invalid = w.rng.IntN(8)
	}
	for i := range n {
		w.replicas = append(w.replicas, w.newReplica(i, limits))
		if i > 0 {
			w.connect(i, w.rng.IntN(i))
		}
	}
	for range w.rng.IntN(n) {
		if i, j := w.rng.IntN(n), w.rng.IntN(n); i != j {
			w.connect(i, j)
		}
	}
}

func (w *world) connect(i, j int) {
	for _, n := range w.neighbours[i] {
		if n == j {
			return
		}
	}
	w.neighbours[i] = append(w.neighbours[i], j)
	w.neighbours[j] = append(w.neighbours[j], i)
}

// heal ends all faults and loses what is under way, so that only syncs are
// left; then each pair of neighbours syncs both ways until nothing changes any
// more. One pass for each hop crosses the graph, and what a sync releases out of
// pending, which may be an event that nobody else has, crosses it again.
func (w *world) heal() error {
	w.healing = true
	w.cfg.Loss, w.cfg.Duplicates = 0, 0
	clear(w.side)
	w.flight = nil
	for _, r := range w.replicas {
		if r.down {
			w.restart(r)
		}
		if err := w.flush(r); err != nil {
			return err
		}
	}
	for before := -1; w.stored() > before; {
		before = w.stored()
		for i, r := range w.replicas {
			for _, n := range w.neighbours[i] {
				if err := w.honestSync(r, w.replicas[n]); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// stored is the number of events that the replicas have, each counted alone.
func (w *world) stored() int {
	n := 0
	for _, r := range w.replicas {
		n += len(r.disk.log)
	}
	return n
}

// publisher returns the key of a number. It is no point of the curve: nothing
// here verifies a signature.
func publisher(n int) types.Publisher {
	var p types.Publisher
	binary.BigEndian.PutUint64(p[:], uint64(n))
	return p
}

// numberOf is the inverse of publisher.
func numberOf(p types.Publisher) int { return int(binary.BigEndian.Uint64(p[:])) }

func peerOf(replica int) types.PeerID { return types.PeerID(fmt.Sprintf("r%d", replica)) }
