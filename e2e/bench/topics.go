package main

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"maps"
	"math"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/cairn-p2p/cairn/node"
	"github.com/cairn-p2p/cairn/store/badger"
	"github.com/cairn-p2p/cairn/types"
)

const (
	dormantTopics = 100_000
	// usedTopics are used in the row about what that leaves behind: each costs
	// some fsyncs.
	usedTopics = 10_000
	// dormantGoal is what a dormant topic may take of the heap, in bytes.
	dormantGoal = 600
	startGoal   = 500 * time.Millisecond
	// changeBytes is what finding one change may cost on the wire, both ways.
	changeBytes = 25 << 10
)

// topics measures nodes with many topics in which nothing happens: how long
// they take to start, what each topic costs while nothing happens, and how one
// change is found.
func (b *bench) topics() error {
	if err := b.topicsOf(dormantTopics); err != nil {
		return err
	}
	return b.restRow()
}

func (b *bench) topicsOf(n int) error {
	n = b.scaled(n)
	if !b.selectsTopics(n) {
		return nil
	}
	geneses, err := dormantGeneses(n)
	if err != nil {
		return err
	}
	key := ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize))
	dirs := make([]string, 2)
	for i := range dirs {
		if dirs[i], err = b.temp(); err != nil {
			return err
		}
		begin := time.Now()
		if err := fillTopics(b.ctx, dirs[i], key, geneses); err != nil {
			return fmt.Errorf("fill a node with topics: %w", err)
		}
		fmt.Fprintf(b.progress, "%d topics with one durable event each: %s\n", len(geneses), short(time.Since(begin)))
	}
	for _, mode := range []node.DHTMode{node.DHTOff, node.DHTServer} {
		if err := b.startRow(dirs[0], len(geneses), mode); err != nil {
			return err
		}
	}
	for _, mode := range []node.DHTMode{node.DHTOff, node.DHTServer} {
		if err := b.dormantRow(dirs[0], len(geneses), mode); err != nil {
			return err
		}
	}
	if err := b.changeRow(dirs, geneses); err != nil {
		return err
	}
	return b.unloadedRow(dirs, geneses[:min(len(geneses), b.scaled(usedTopics))])
}

// selectsTopics reports whether a row about n topics is selected.
func (b *bench) selectsTopics(n int) bool {
	names := []string{changeName(n)}
	for mode := range modeNames {
		names = append(names, startName(n, mode), dormantName(n, mode))
	}
	return slices.ContainsFunc(names, b.selected.MatchString)
}

func startName(n int, mode node.DHTMode) string {
	return fmt.Sprintf("start, %d topics, %s", n, modeNames[mode])
}

func dormantName(n int, mode node.DHTMode) string {
	return fmt.Sprintf("dormant, %d topics, %s", n, modeNames[mode])
}

func changeName(n int) string { return fmt.Sprintf("one change among %d topics", n) }

func dormantGeneses(n int) ([]*types.Genesis, error) {
	geneses := make([]*types.Genesis, n)
	for i := range geneses {
		var err error
		if geneses[i], err = types.NewOpen(fmt.Sprintf("dormant/%06d", i)); err != nil {
			return nil, err
		}
	}
	return geneses, nil
}

var modeNames = map[node.DHTMode]string{node.DHTOff: "no DHT", node.DHTServer: "DHT server"}

func topicConfig(dir string, mode node.DHTMode) node.Config {
	return node.Config{Dir: dir, Listen: []string{"/ip4/127.0.0.1/tcp/0"}, MinFree: -1, DHT: mode}
}

// fillWriters is the number of topics that wait for one fsync.
const fillWriters = 512

// fillTopics makes a node's data in dir, with topics of one event each. The
// events are the publisher's whose key is given, and the same at each call.
func fillTopics(ctx context.Context, dir string, key ed25519.PrivateKey, geneses []*types.Genesis) (err error) {
	n, err := node.Open(ctx, topicConfig(dir, node.DHTOff)) // makes the identity
	if err != nil {
		return err
	}
	if err := n.Close(); err != nil {
		return err
	}
	db, err := badger.Open(filepath.Join(dir, "store"), badger.Options{Network: node.DefaultNetwork, MinFree: badger.NoMinFree})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	group, ctx := errgroup.WithContext(ctx)
	for w := range fillWriters {
		group.Go(func() error {
			for i := w; i < len(geneses) && ctx.Err() == nil; i += fillWriters {
				if err := fillTopic(db, key, geneses[i]); err != nil {
					return err
				}
			}
			return ctx.Err()
		})
	}
	return group.Wait()
}

func fillTopic(db *badger.Store, key ed25519.PrivateKey, g *types.Genesis) error {
	if err := db.JoinTopic(g); err != nil {
		return err
	}
	e, err := types.NewEvent(types.Body{
		Topic: g.ID(), Publisher: types.PublisherOf(key), Seq: 1, Height: 1, Payload: payload(0, 0, 0),
	})
	if err != nil {
		return err
	}
	types.SignEvents(key, []*types.Event{e})
	return db.Commit(&types.Batch{
		Topic: g.ID(), First: 1, Events: []*types.Event{e}, AddHeads: []types.Head{{CID: e.CID, Height: 1}},
	})
}

// startRow measures how long a node with topics takes to start.
func (b *bench) startRow(dir string, topics int, mode node.DHTMode) error {
	r, err := b.row(startName(topics, mode), func(ctx context.Context, r *row) error {
		r.events = topics
		var n *node.Node
		err := b.measure(ctx, r, func(ctx context.Context) error {
			var err error
			n, err = node.Open(ctx, topicConfig(dir, mode))
			return err
		})
		if err != nil {
			return err
		}
		if got := len(n.Topics()); got != topics {
			return errors.Join(fmt.Errorf("%d topics, want %d", got, topics), n.Close())
		}
		return n.Close()
	})
	if err == nil && r != nil {
		r.atMost(startGoal)
	}
	return err
}

// dormantRow measures what topics take while nothing happens in them.
func (b *bench) dormantRow(dir string, topics int, mode node.DHTMode) error {
	_, err := b.row(dormantName(topics, mode), func(ctx context.Context, r *row) error {
		empty, err := b.temp()
		if err != nil {
			return err
		}
		begin := time.Now()
		none, err := restingNode(ctx, empty, mode)
		if err != nil {
			return err
		}
		all, err := restingNode(ctx, dir, mode)
		if err != nil {
			return err
		}
		r.took = time.Since(begin)
		r.compareRest(none, all, topics)
		return nil
	})
	return err
}

// rest is what a process holds while its node does nothing.
type rest struct {
	heap       int64            // bytes
	owners     map[string]int64 // the heap by who allocated it
	goroutines int
}

// compareRest notes what n topics add to a node without any. The store's
// caches, which are bounded for the node, and the DHT's list of what is provided
// are told apart and do not count.
func (r *row) compareRest(none, all rest, n int) {
	per := func(bytes int64) float64 { return float64(bytes) / float64(n) }
	each := per(all.heap - none.heap)
	var parts []string
	for _, owner := range slices.Sorted(maps.Keys(all.owners)) {
		if p := per(all.owners[owner] - none.owners[owner]); p >= 0.5 {
			parts = append(parts, fmt.Sprintf("%s %.0f", owner, p))
		}
	}
	counted := each
	for _, owner := range []string{storeOwner, dhtOwner} {
		counted -= per(all.owners[owner] - none.owners[owner])
	}
	goroutines := all.goroutines - none.goroutines
	r.notes = []string{
		fmt.Sprintf("%.0f B of heap a topic, %.0f without the store's caches and the DHT's keys (%s)", each, counted, strings.Join(parts, ", ")),
		fmt.Sprintf("%d goroutines more than without topics", goroutines),
	}
	r.goal = fmt.Sprintf("≤ %d B, 0 goroutines", dormantGoal)
	r.met = counted <= dormantGoal && goroutines <= 0
}

// profileRate is the mean number of bytes between two allocations that the heap
// profile samples: few enough for some percent with 100,000 topics.
const profileRate = 4096

// settleTime is what a node is given to finish what a start leaves to its
// goroutines.
const settleTime = 2 * time.Second

// restingNode opens a node, and reports what it holds once it rests.
func restingNode(ctx context.Context, dir string, mode node.DHTMode) (rest, error) {
	was := runtime.MemProfileRate
	runtime.MemProfileRate = profileRate
	defer func() { runtime.MemProfileRate = was }()
	n, err := node.Open(ctx, topicConfig(dir, mode))
	if err != nil {
		return rest{}, err
	}
	select {
	case <-time.After(settleTime):
	case <-ctx.Done():
	}
	found := heap()
	return found, errors.Join(ctx.Err(), n.Close())
}

// heap looks at this process.
func heap() rest {
	runtime.GC()
	runtime.GC() // the profile is of the last but one
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	found := rest{heap: int64(m.HeapAlloc), owners: map[string]int64{}, goroutines: runtime.NumGoroutine()}
	records := make([]runtime.MemProfileRecord, 1<<16)
	n, _ := runtime.MemProfile(records, false)
	for _, r := range records[:min(n, len(records))] {
		found.owners[owner(r.Stack())] += inUse(r)
	}
	return found
}

// inUse is what a sample stands for: the smaller an allocation, the less likely it
// was one.
func inUse(r runtime.MemProfileRecord) int64 {
	if r.InUseObjects() == 0 {
		return 0
	}
	size := float64(r.InUseBytes()) / float64(r.InUseObjects())
	return int64(float64(r.InUseBytes()) / (1 - math.Exp(-size/profileRate)))
}

const (
	// storeOwner holds the database's caches, whose size has a bound that does
	// not depend on the topics.
	storeOwner = "Badger"
	// dhtOwner holds the keys that the DHT provides again and again.
	dhtOwner = "syncer/discovery"
)

// owner names who made an allocation: the innermost package of this module, or
// the library below it.
func owner(stack []uintptr) string {
	frames := runtime.CallersFrames(stack)
	for {
		f, more := frames.Next()
		if rest, ok := strings.CutPrefix(f.Function, "github.com/cairn-p2p/cairn/"); ok {
			pkg, _, _ := strings.Cut(rest, ".")
			return pkg
		}
		switch {
		case strings.HasPrefix(f.Function, "github.com/dgraph-io/"):
			return storeOwner
		case strings.HasPrefix(f.Function, "github.com/libp2p/"):
			return "libp2p"
		case !more:
			return "rest"
		}
	}
}

// changeRow measures how a change in one topic is found by a node that was away.
func (b *bench) changeRow(dirs []string, geneses []*types.Genesis) error {
	seq := 1
	_, err := b.row(changeName(len(geneses)), func(ctx context.Context, r *row) (err error) {
		left, err := node.Open(ctx, topicConfig(dirs[0], node.DHTOff))
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, left.Close()) }()
		right, err := node.Open(ctx, topicConfig(dirs[1], node.DHTOff))
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, right.Close()) }()
		g := geneses[len(geneses)/2]
		changed, err := left.Topic(ctx, g.Name)
		if err != nil {
			return err
		}
		if _, err := changed.Append(ctx, payload(1, 0, seq)); err != nil {
			return err
		}
		seq++
		found, err := right.Topic(ctx, g.Name)
		if err != nil {
			return err
		}
		r.events = 1
		before := heapAlloc()
		err = b.measure(ctx, r, func(ctx context.Context) error {
			if err := right.Connect(ctx, left.Addrs()[0]); err != nil {
				return err
			}
			_, err := found.Wait(ctx, func(s node.Status) bool { return s.Events == uint64(seq) && s.State == node.Synced })
			return err
		})
		if err != nil {
			return err
		}
		bytes, err := syncBytes(right)
		if err != nil {
			return err
		}
		peer := float64(heapAlloc()-before) / float64(2*len(geneses))
		r.notes = []string{
			fmt.Sprintf("%.0f B of sync both ways, the event included", bytes),
			fmt.Sprintf("%.0f B of heap a topic for the peer that has all of them too", peer),
		}
		r.goal, r.met = fmt.Sprintf("≤ %d KB", changeBytes>>10), bytes <= changeBytes
		return nil
	})
	return err
}

// unloadSoon is how long the unloaded row lets topics stay in memory.
const unloadSoon = 2 * time.Second

// unloadedRow measures what topics that were used leave behind, beside what
// they took as dormant ones: each took one event from a peer that has gone since,
// and was unloaded.
func (b *bench) unloadedRow(dirs []string, geneses []*types.Genesis) error {
	_, err := b.row(fmt.Sprintf("used, then unloaded, %d topics", len(geneses)), func(ctx context.Context, r *row) error {
		dormant, err := restingNode(ctx, dirs[1], node.DHTOff)
		if err != nil {
			return err
		}
		used, err := b.usedNode(ctx, r, dirs, geneses)
		if err != nil {
			return err
		}
		r.compareRest(dormant, used, len(geneses))
		r.goal = "" // what is bounded for the node is in it: the caches of gossip, libp2p and syncer
		return nil
	})
	return err
}

// usedNode opens a node whose topics are all used, and reports what it holds
// once they are unloaded. The row's time is what it took until all were equal.
func (b *bench) usedNode(ctx context.Context, r *row, dirs []string, geneses []*types.Genesis) (found rest, err error) {
	was := runtime.MemProfileRate
	runtime.MemProfileRate = profileRate
	defer func() { runtime.MemProfileRate = was }()
	cfg := topicConfig(dirs[1], node.DHTOff)
	cfg.UnloadAfter = unloadSoon
	n, err := node.Open(ctx, cfg)
	if err != nil {
		return rest{}, err
	}
	defer func() { err = errors.Join(err, n.Close()) }()
	r.events = len(geneses)
	begin := time.Now()
	if err := useTopics(ctx, n, dirs[0], geneses); err != nil {
		return rest{}, err
	}
	r.took = time.Since(begin)
	select {
	case <-time.After(unloadSoon + settleTime):
	case <-ctx.Done():
	}
	return heap(), ctx.Err()
}

// useTopics gives n a new event in every topic, from another node with data in
// dir.
func useTopics(ctx context.Context, n *node.Node, dir string, geneses []*types.Genesis) (err error) {
	other, err := node.Open(ctx, topicConfig(dir, node.DHTOff))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, other.Close()) }()
	if err := n.Connect(ctx, other.Addrs()[0]); err != nil {
		return err
	}
	group, appending := errgroup.WithContext(ctx)
	for w := range fillWriters {
		group.Go(func() error {
			for i := w; i < len(geneses); i += fillWriters {
				t, err := other.Topic(appending, geneses[i].Name)
				if err != nil {
					return err
				}
				if _, err := t.Append(appending, payload(2, w, i)); err != nil {
					return err
				}
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	for _, g := range geneses {
		t, err := other.Topic(ctx, g.Name)
		if err != nil {
			return err
		}
		end, err := t.End()
		if err != nil {
			return err
		}
		mine, err := n.Topic(ctx, g.Name)
		if err != nil {
			return err
		}
		if _, err := mine.Wait(ctx, func(s node.Status) bool { return s.Events >= end.Number }); err != nil {
			return err
		}
	}
	return nil
}

func heapAlloc() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// syncBytes is what the sync protocol of a node has moved, both ways.
func syncBytes(n *node.Node) (float64, error) {
	families, err := n.Gatherer().Gather()
	if err != nil {
		return 0, err
	}
	total := 0.0
	for _, f := range families {
		if f.GetName() == "cairn_sync_bytes_total" {
			for _, m := range f.GetMetric() {
				total += m.GetCounter().GetValue()
			}
		}
	}
	return total, nil
}
