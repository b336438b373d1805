package sim_test

import (
	"bytes"
	"flag"
	"os"
	"runtime"
	"sync"
	"testing"

	"github.com/cairn-p2p/cairn/crdt/clock/sim"
)

var seed = flag.Uint64("seed", 0, "run this seed alone, and print its trace")

var soak = flag.Uint64("seeds", 0, "run so many seeds")

// seeds is how many worlds TestSeeds runs; a race build is ten times slower.
func seeds() uint64 {
	if *soak > 0 {
		return *soak
	}
	if raceEnabled {
		return 200
	}
	return 2000
}

// TestSeeds runs the worlds of many seeds: whatever is lost, repeated,
// reordered, cut, crashed or evicted, the replicas end up equal, with the
// sinks of one DAG for heads.
func TestSeeds(t *testing.T) {
	cfg := sim.DefaultConfig()
	if *seed != 0 {
		cfg.Trace = os.Stdout
		if report, err := sim.Run(*seed, cfg); err != nil {
			t.Fatal(err)
		} else {
			t.Logf("%+v", report)
		}
		return
	}
	total := runAll(t, cfg, seeds())
	t.Logf("in all: %+v", total)
	for what, n := range map[string]int{
		"messages lost":          total.Lost,
		"messages repeated":      total.Repeated,
		"syncs finished":         total.SyncsFinished,
		"crashes":                total.Crashes,
		"resumed pulls":          total.Resumed,
		"restores":               total.Restores,
		"appends refused then":   total.Refused,
		"commits failed":         total.FailedCommits,
		"of them persisted":      total.Persisted,
		"partitions":             total.Partitions,
		"Takes of many batches":  total.SplitBatches,
		"pending evicted":        total.Evicted,
		"pending released":       total.Released,
		"unloads":                total.Unloads,
		"events signed together": total.Together,
		"whole batches sent":     total.WholeBatches,
		"parts of batches sent":  total.BatchParts,
		"events forged":          total.Forged,
		"appends at 33 heads":    total.Crowded,
	} {
		if n <= 0 {
			t.Errorf("%s: none in any run: the simulator does not try what it claims to", what)
		}
	}
}

// runAll runs the seeds from 1 to n over all processors and adds their reports
// up.
func runAll(t *testing.T, cfg sim.Config, n uint64) sim.Report {
	t.Helper()
	var (
		mu    sync.Mutex
		next  uint64
		total sim.Report
		wg    sync.WaitGroup
	)
	for range runtime.GOMAXPROCS(0) {
		wg.Go(func() {
			for {
				mu.Lock()
				next++
				mine := next
				mu.Unlock()
				if mine > n || t.Failed() {
					return
				}
				report, err := sim.Run(mine, cfg)
				if err != nil {
					t.Errorf("%v\nreplay: go test ./crdt/clock/sim -run TestSeeds -seed %d", err, mine)
				}
				mu.Lock()
				total = sum(total, report)
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	return total
}

func sum(a, b sim.Report) sim.Report {
	return sim.Report{
		Replicas:      a.Replicas + b.Replicas,
		Events:        a.Events + b.Events,
		Acked:         a.Acked + b.Acked,
		Sent:          a.Sent + b.Sent,
		Lost:          a.Lost + b.Lost,
		Repeated:      a.Repeated + b.Repeated,
		Syncs:         a.Syncs + b.Syncs,
		SyncsFinished: a.SyncsFinished + b.SyncsFinished,
		Crashes:       a.Crashes + b.Crashes,
		FailedCommits: a.FailedCommits + b.FailedCommits,
		Persisted:     a.Persisted + b.Persisted,
		Resumed:       a.Resumed + b.Resumed,
		Restores:      a.Restores + b.Restores,
		Refused:       a.Refused + b.Refused,
		Partitions:    a.Partitions + b.Partitions,
		Batches:       a.Batches + b.Batches,
		SplitBatches:  a.SplitBatches + b.SplitBatches,
		Evicted:       a.Evicted + b.Evicted,
		Released:      a.Released + b.Released,
		Unloads:       a.Unloads + b.Unloads,
		Together:      a.Together + b.Together,
		WholeBatches:  a.WholeBatches + b.WholeBatches,
		BatchParts:    a.BatchParts + b.BatchParts,
		Forged:        a.Forged + b.Forged,
		Crowded:       a.Crowded + b.Crowded,
		MaxPending:    max(a.MaxPending, b.MaxPending),
		MaxHeads:      max(a.MaxHeads, b.MaxHeads),
	}
}

// TestReplay runs seeds twice: a seed that found something must find it again,
// so nothing in clock or simulator may depend on the order of a map.
func TestReplay(t *testing.T) {
	for s := uint64(1); s <= 20; s++ {
		var traces [2]bytes.Buffer
		for i := range traces {
			cfg := sim.DefaultConfig()
			cfg.Trace = &traces[i]
			if _, err := sim.Run(s, cfg); err != nil {
				t.Fatal(err)
			}
		}
		if !bytes.Equal(traces[0].Bytes(), traces[1].Bytes()) {
			t.Errorf("seed %d: two runs differ", s)
		}
	}
}

// TestConfigRefused: one replica has nobody to converge with.
func TestConfigRefused(t *testing.T) {
	if _, err := sim.Run(1, sim.Config{Replicas: 1}); err == nil {
		t.Error("a world of one replica runs")
	}
}
