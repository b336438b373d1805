//go:build long

package e2e

import (
	"fmt"
	"slices"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// A hundred nodes live through an hour: a third leaves and joins again every
// ten minutes, halves are cut off from each other, nodes crash, one has a full
// disk, one is slow, one is restored from an old copy, and packets are lost all
// the while. Time is virtual; it takes half an hour or so of real time. `make
// sim-long` runs it.
func TestLong(t *testing.T) {
	const m = time.Minute
	s := Scenario{
		Name: "long", Nodes: 100, Topics: 3, Events: 600, Writers: 50, Duration: time.Hour,
		Link: Link{Latency: 20 * time.Millisecond, Jitter: 10 * time.Millisecond, Loss: 0.02},
	}
	for at := 5 * m; at < time.Hour-5*m; at += 10 * m {
		s.Faults = append(s.Faults,
			Fault{At: at, Kind: Leave, Pick: 33, For: 3 * m},
			Fault{At: at + 2*m, Kind: Partition, For: 4 * m},
			Fault{At: at + 3*m, Kind: Crash, Pick: 5, For: m},
			Fault{At: at + 5*m, Kind: Lose, Pick: 20, Loss: 0.3, For: 2 * m},
		)
	}
	s.Faults = append(s.Faults,
		Fault{At: 10 * m, Kind: DiskFull, Pick: 5, For: 10 * m},
		Fault{At: 20 * m, Kind: Slow, Pick: 5, For: 10 * m, Bandwidth: 100_000},
		Fault{At: 33 * m, Kind: RestoreOld, Pick: 1, Age: 20 * m},
		Fault{At: 40 * m, Kind: ClockSkew, Pick: 5, For: 10 * m, Skew: -10 * 365 * 24 * time.Hour},
	)
	begun := wall()
	synctest.Test(t, func(t *testing.T) {
		r, err := Run(t.Context(), s, Options{Dir: t.TempDir(), Progress: func(p Progress) {
			if p.Fault != "" {
				fmt.Printf("%v after %.0f s: %s, %d events\n", p.At, wall()-begun, p.Fault, p.Events)
			}
		}})
		if err != nil {
			t.Fatal(err)
		}
		for _, w := range r.Wrong {
			t.Error(w)
		}
		restored := slices.ContainsFunc(r.Faults, func(h Happening) bool { return h.What[:7] == "restore" })
		if r.Acknowledged != s.Events || !restored {
			t.Errorf("%d events acknowledged, want %d; a node was restored: %v", r.Acknowledged, s.Events, restored)
		}
		fmt.Printf("wall %.0f s, virtual %v, events %d, lost %d, converged %.1f s, %.0f bytes/event, redundant %d of %d, heap %d MiB, disk %d MiB, pending %d B, streams %d\n",
			wall()-begun, r.Took, r.Events, r.Lost, r.Converged.Seconds(), float64(r.Bytes)/float64(r.Events), r.Redundant, r.Needed,
			r.Peaks.Heap>>20, r.Peaks.Disk>>20, r.Peaks.Pending, r.Peaks.Streams)
	})
}

// wall is the time in real seconds, which the time package does not tell inside
// synctest.
func wall() float64 {
	var now syscall.Timeval
	if err := syscall.Gettimeofday(&now); err != nil {
		return 0 // only a figure in the output
	}
	return float64(now.Sec) + float64(now.Usec)/1e6
}
