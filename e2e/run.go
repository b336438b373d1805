package e2e

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ipfs/go-cid"

	"github.com/cairn-p2p/cairn/types"
)

// Options say how to run a scenario. The zero Options use the simulated
// network, in real time except inside testing/synctest.
type Options struct {
	Medium Medium
	// Binary is the path of the program cairn, which Processes needs and nobody
	// else uses.
	Binary string
	// Dir takes the nodes' data; empty: a temporary directory, removed at the
	// end.
	Dir string
	// Log takes the nodes' logs, each with its number; nil: they are lost.
	Log *slog.Logger
	// Trace keeps what a report draws: Result.Samples and Log.
	Trace bool
	// Progress, when set, is told of every fault and, often, of how far the run
	// is. It is called by one goroutine at a time and should not block.
	Progress func(Progress)
}

// Progress is how far a run is.
type Progress struct {
	At     time.Duration // since the start
	Events int           // acknowledged so far
	Fault  string        // what just happened, as text; empty: nothing
}

// Result is what a run showed.
type Result struct {
	Scenario     string        `json:"scenario"`
	Medium       string        `json:"medium"`
	Seed         uint64        `json:"seed"`
	Nodes        int           `json:"nodes"`
	Events       int           `json:"events"`       // on the first node, of all topics
	Acknowledged int           `json:"acknowledged"` // at most Events: an append that failed may have persisted
	Lost         int           `json:"lost"`         // of the acknowledged ones, those that not every node has
	Heads        int           `json:"heads"`        // of all topics
	Took         time.Duration `json:"took"`         // from the start until it was checked
	// Converged is the time from the last fault, mending or append, whichever
	// was latest, until all replicas were equal.
	Converged time.Duration `json:"converged"`
	Equal     bool          `json:"equal"`   // else Converged is how long that was waited for
	Bytes     uint64        `json:"bytes"`   // that all nodes sent until then; 0 from Processes, which are not looked into
	Packets   uint64        `json:"packets"` // the same; 0 but on the simulated network, which alone sees them
	// Messages is how many frames of gossipsub and of the sync protocol all nodes
	// sent until then; 0 from Processes.
	Messages uint64 `json:"messages"`
	// Redundant is the number of events that came by sync to a node that had
	// them, by Needed: those that the nodes needed from each other, each from its
	// publisher to every other node once.
	Redundant uint64 `json:"redundant"`
	Needed    uint64 `json:"needed"`
	Peaks     Peaks  `json:"peaks"`
	// Wrong is what does not hold, one sentence each; empty: all does.
	Wrong     []string       `json:"wrong"`
	Attacks   []AttackResult `json:"attacks,omitempty"`    // in the order in which they began
	Growth    uint64         `json:"growth,omitempty"`     // of the heap of the process, with attacks alone
	GrowthCap uint64         `json:"growth_cap,omitempty"` // what it may be
	DiskCap   uint64         `json:"disk_cap,omitempty"`   // what Peaks.Disk may be, with attacks alone
	Faults    []Happening    `json:"faults"`               // in the order in which they happened

	// Of a run with Options.Trace:
	Samples []Sample       `json:"samples,omitempty"`
	Log     []*types.Event `json:"-"` // the first node's delivery log of the first topic
}

// Happening is a fault that began or ended.
type Happening struct {
	At   time.Duration `json:"at"` // since the start
	What string        `json:"what"`
}

// Sample is how many events there were at a moment, of all topics.
type Sample struct {
	At           time.Duration `json:"at"` // since the start
	Acknowledged int           `json:"acknowledged"`
	Events       []int         `json:"events"` // on each node; -1 while it is down
}

// Run runs a scenario and blocks until it is over and checked, all nodes are
// closed and their data is gone. What did not hold is in the result; the error
// says that the run itself failed: an invalid scenario, one that the medium
// cannot show, a node that did not open, or the error of ctx.
func Run(ctx context.Context, s Scenario, o Options) (*Result, error) {
	if err := s.Validate(); err != nil {
		return nil, fmt.Errorf("scenario %q: %w", s.Name, err)
	}
	if err := o.Medium.can(&s); err != nil {
		return nil, fmt.Errorf("scenario %q on the %s network: %w", s.Name, o.Medium, err)
	}
	if o.Medium == Processes && o.Binary == "" {
		return nil, fmt.Errorf("scenario %q on the %s network: %w: no binary", s.Name, o.Medium, types.ErrInvalidArgument)
	}
	dir, err := os.MkdirTemp(o.Dir, "cairn-sim-")
	if err != nil {
		return nil, fmt.Errorf("make data directory: %w", err)
	}
	r := newRun(s.withDefaults(), o, dir)
	result, err := r.run(ctx)
	if err = errors.Join(err, r.close(), os.RemoveAll(dir)); err != nil {
		return nil, fmt.Errorf("run scenario %q: %w", s.Name, err)
	}
	return result, nil
}

// run is a scenario under way.
type run struct {
	s       Scenario
	o       Options
	dir     string
	rng     *rand.Rand
	started time.Time
	net     network
	hosts   []*host
	fail    context.CancelCauseFunc // ends the run; set while it is under way

	// Owned by the goroutine that acts:
	now    conditions
	dirs   int // how many data directories were made after the first ones
	copies map[copyKey]string

	assaults  []*assault
	strangers int // hostile peers so far

	seen atomic.Pointer[conditions] // now, for the nodes

	progress sync.Mutex // held while Options.Progress is called

	mu      sync.Mutex
	acked   map[types.TopicID][]cid.Cid // what must be everywhere in the end
	excused map[types.TopicID][]cid.Cid // acknowledged, and maybe lost with the only disk that had it
	count   int
	last    time.Time // of the last fault, mending or append

	trace trace
}

func newRun(s Scenario, o Options, dir string) *run {
	r := &run{s: s, o: o, dir: dir, rng: rand.New(rand.NewPCG(s.Seed, 1)), acked: map[types.TopicID][]cid.Cid{}, excused: map[types.TopicID][]cid.Cid{}, copies: map[copyKey]string{}}
	r.seen.Store(&r.now)
	switch o.Medium {
	case Loopback:
		r.net = newLoopback(s.Nodes)
	case Processes:
		r.net = &processes{binary: o.Binary, listens: make([]string, s.Nodes), failed: func(err error) { r.fail(err) }}
	default:
		r.net = newSimulated(s.Link, s.Seed)
	}
	for i := range s.Nodes {
		r.hosts = append(r.hosts, &host{index: i, name: fmt.Sprintf("node %d", i), dir: filepath.Join(dir, fmt.Sprintf("%d-0", i))})
	}
	return r
}

// run plays the scenario, and checks what is left.
func (r *run) run(ctx context.Context) (*Result, error) {
	ctx, r.fail = context.WithCancelCause(ctx)
	defer r.fail(nil)
	result, err := r.course(ctx)
	if cause := context.Cause(ctx); cause != nil { // err is what came of it
		return nil, cause
	}
	return result, err
}

func (r *run) course(ctx context.Context) (*Result, error) {
	actions := r.schedule()
	joins := r.s.joins()
	for _, h := range r.hosts {
		if _, late := joins[h.index]; late {
			continue
		}
		if err := r.open(ctx, h); err != nil {
			return nil, err
		}
	}
	r.started = time.Now()
	r.touch()
	stop := r.sample(ctx)
	defer stop()
	growth := r.watchHeap(ctx)
	defer growth()
	if err := r.play(ctx, actions); err != nil {
		return nil, err
	}
	r.mu.Lock()
	last := r.last
	r.mu.Unlock()
	result := &Result{
		Scenario: r.s.Name, Medium: r.o.Medium.String(), Seed: r.s.Seed,
		Nodes: r.s.Nodes, Acknowledged: r.count,
	}
	late := r.converge(ctx, r.s.Expect.Within)
	result.Converged, result.Equal = time.Since(last), late == nil
	stop()
	result.Faults, result.Samples, result.Peaks = r.trace.faults, r.trace.samples, r.trace.peaks
	for _, h := range r.hosts {
		s := h.stats()
		result.Redundant += s.Redundant
		result.Messages += s.Sent
	}
	result.Bytes, result.Packets = r.net.traffic()
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	err := r.endure(ctx, result, growth)
	result.Wrong = append(result.Wrong, result.exceeded()...)
	if err == nil && late == nil {
		late = r.settle(ctx)
	}
	if late != nil {
		result.Wrong = append(result.Wrong, late.Error())
	}
	if err == nil {
		err = ctx.Err()
	}
	if err == nil {
		err = r.inspect(ctx)
	}
	if err == nil {
		err = r.check(ctx, result)
	}
	result.Needed = uint64(result.Events) * uint64(r.s.Nodes-1)
	result.Took = time.Since(r.started)
	return result, err
}

// play writes and acts until both are done, and mends at the end what is
// broken.
func (r *run) play(ctx context.Context, actions []action) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var writers sync.WaitGroup
	for w := range r.s.Writers {
		writers.Go(func() {
			if err := r.write(ctx, w); err != nil {
				cancel(err)
			}
		})
	}
	err := r.act(ctx, actions)
	if err != nil {
		cancel(err)
	}
	writers.Wait()
	return context.Cause(ctx)
}

// act does what the schedule says, each at its time.
func (r *run) act(ctx context.Context, actions []action) error {
	for _, a := range actions {
		if !r.sleepUntil(ctx, a.at) {
			return ctx.Err()
		}
		if err := a.do(ctx); err != nil {
			return fmt.Errorf("%v, %s: %w", a.at, a.name, err)
		}
		r.touch()
		r.trace.happened(time.Since(r.started), a.name)
		r.tell(a.name)
	}
	return nil
}

// write is one writer: it appends every Writers-th event when it is due.
func (r *run) write(ctx context.Context, w int) error {
	for k := w; k < r.s.Events; k += r.s.Writers {
		due := time.Duration(float64(r.s.Duration) * (float64(k) + 0.5) / float64(r.s.Events))
		if !r.sleepUntil(ctx, due) {
			return ctx.Err()
		}
		if err := r.append(ctx, w, k); err != nil {
			return err
		}
		r.tell("")
	}
	return nil
}

// appendAgain is how long a writer waits before it tries an append that failed
// once more.
const appendAgain = 100 * time.Millisecond

// append has an event acknowledged: by the writer's own node, or the next one
// that is up, as often as it takes. An attempt that failed may have persisted,
// so each has a payload of its own.
func (r *run) append(ctx context.Context, w, k int) error {
	for try := 0; ; try++ {
		if h, l := r.up(w % r.s.Nodes); l != nil {
			payload := make([]byte, r.s.Size)
			copy(payload, fmt.Sprintf("writer %d, event %d, try %d", w, k, try))
			topic := l.topics[(w+k/r.s.Writers)%len(l.topics)] // each writer writes to all
			e, err := topic.Append(l.ctx, payload)
			if err == nil && r.acknowledge(h, l, e) {
				return nil
			}
			if errors.Is(err, types.ErrForkedKey) { // for good
				return fmt.Errorf("append on %s: %w", h.name, err)
			}
		}
		if !sleep(ctx, appendAgain) {
			return ctx.Err()
		}
	}
}

// acknowledge counts an event as one that must be everywhere in the end, unless
// its node crashed before: then nobody heard of it.
func (r *run) acknowledge(h *host, l *life, e *types.Event) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if l.crashed {
		return false
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.acked[e.Topic] = append(r.acked[e.Topic], e.CID)
	r.count++
	r.last = time.Now()
	return true
}

// up returns the first host from index on that is up, and its life.
func (r *run) up(index int) (*host, *life) {
	for i := range r.hosts {
		h := r.hosts[(index+i)%len(r.hosts)]
		if l := h.living(); l != nil {
			return h, l
		}
	}
	return nil, nil
}

func (r *run) touch() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.last = time.Now()
}

func (r *run) tell(fault string) {
	if r.o.Progress == nil {
		return
	}
	r.mu.Lock()
	p := Progress{At: time.Since(r.started), Events: r.count, Fault: fault}
	r.mu.Unlock()
	r.progress.Lock()
	defer r.progress.Unlock()
	r.o.Progress(p)
}

func (r *run) sleepUntil(ctx context.Context, at time.Duration) bool {
	return sleep(ctx, time.Until(r.started.Add(at)))
}

// sleep waits for d. It reports false when ctx ends.
func sleep(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return ctx.Err() == nil
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// close closes every node that is still open, and then the network.
func (r *run) close() error {
	all := make([]int, len(r.hosts))
	for i := range all {
		all[i] = i
	}
	err := errors.Join(r.endAttacks(), r.leave(all))
	r.net.close()
	return err
}
