package e2e

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cairn-p2p/cairn/types"
)

// traced runs a scenario in virtual time and returns its result, which held.
func traced(t *testing.T, s Scenario) (r *Result) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		var err error
		if r, err = Run(t.Context(), s, Options{Dir: t.TempDir(), Trace: true}); err != nil {
			t.Fatal(err)
		}
		for _, w := range r.Wrong {
			t.Error(w)
		}
	})
	return r
}

// between returns the samples of a part of a run.
func (r *Result) between(from, to time.Duration) []Sample {
	return slices.DeleteFunc(slices.Clone(r.Samples), func(s Sample) bool { return s.At < from || s.At > to })
}

// A slow node lags behind while it is slow, and the others do not.
func TestSlowNodeLags(t *testing.T) {
	r := traced(t, Scenario{
		Nodes: 4, Events: 800, Writers: 3, Duration: 8 * time.Second,
		Faults: []Fault{{At: time.Second, Kind: Slow, Nodes: []int{3}, For: 5 * time.Second, Bandwidth: 50_000}},
	})
	for _, s := range r.between(4*time.Second, 6*time.Second) {
		if s.Events[3] > s.Acknowledged-100 {
			t.Errorf("at %v it has %d events of %d", s.At, s.Events[3], s.Acknowledged)
		}
		if s.Events[0] < s.Acknowledged-20 {
			t.Errorf("at %v another has %d events of %d", s.At, s.Events[0], s.Acknowledged)
		}
	}
}

// A node whose disk is full takes nothing, and takes everything again when it
// is not: from others and from its own writer.
func TestFullDiskTakesNothing(t *testing.T) {
	r := traced(t, Scenario{
		Nodes: 3, Events: 400, Writers: 2, Duration: 8 * time.Second,
		Faults: []Fault{{At: time.Second, Kind: DiskFull, Nodes: []int{0}, For: 4 * time.Second}},
	})
	const look = 1100 * time.Millisecond // how long it may not have looked at the disk
	full := r.between(time.Second+look, 5*time.Second)
	for _, s := range full {
		if s.Events[0] != full[0].Events[0] {
			t.Errorf("it had %d events when the disk was full, and has %d at %v", full[0].Events[0], s.Events[0], s.At)
		}
	}
	if last := full[len(full)-1]; last.Acknowledged < full[0].Events[0]+50 {
		t.Errorf("the others took %d events meanwhile", last.Acknowledged-full[0].Events[0])
	}
	resumed := r.between(5*time.Second+look, 8*time.Second)
	if s := resumed[len(resumed)-1]; s.Events[0] < s.Acknowledged-20 {
		t.Errorf("it has %d events of %d at %v", s.Events[0], s.Acknowledged, s.At)
	}
}

// A wrong clock shows in the time of the events that its node writes, and in
// no other's.
func TestSkewShowsInTimeOnly(t *testing.T) {
	var start time.Time
	const skew = 10 * 365 * 24 * time.Hour
	s := Scenario{
		Nodes: 3, Events: 90, Writers: 3, Duration: 3 * time.Second,
		Faults: []Fault{
			{Kind: ClockSkew, Nodes: []int{0}, Skew: skew, For: 2 * time.Second},
			{Kind: ClockSkew, Nodes: []int{1}, Skew: -skew, For: 2 * time.Second},
		},
	}
	var r *Result
	synctest.Test(t, func(*testing.T) { start = time.Now() }) // each bubble begins then
	r = traced(t, s)
	offsets := map[types.Publisher]map[time.Duration]bool{}
	for _, e := range r.Log {
		d := time.Unix(0, e.Time).Sub(start).Round(skew)
		if offsets[e.Publisher] == nil {
			offsets[e.Publisher] = map[time.Duration]bool{}
		}
		offsets[e.Publisher][d] = true
	}
	var wrong, ahead, behind int
	for _, of := range offsets {
		switch {
		case of[skew] && of[0] && !of[-skew]:
			ahead++
		case of[-skew] && of[0] && !of[skew]:
			behind++
		case of[skew] || of[-skew]:
			wrong++
		}
	}
	if len(offsets) != 3 || ahead != 1 || behind != 1 || wrong != 0 {
		t.Errorf("times of %d publishers are off by %v", len(offsets), offsets)
	}
}

// A node with an old copy of its data lacks what came after the copy and writes
// nothing while it is alone. Then it gets all back, its own events too, and goes
// on with the seqs behind them.
func TestOldCopyGetsItsOwnEventsBack(t *testing.T) {
	r := traced(t, Scenario{
		Nodes: 3, Events: 400, Writers: 1, Duration: 8 * time.Second,
		Faults: []Fault{
			{At: 5 * time.Second, Kind: Partition, Nodes: []int{0}, For: time.Second},
			{At: 5 * time.Second, Kind: RestoreOld, Nodes: []int{0}, Age: 2 * time.Second},
		},
	})
	for _, s := range r.between(5100*time.Millisecond, 5900*time.Millisecond) {
		if s.Acknowledged != 250 || s.Events[0] != 150 {
			t.Errorf("at %v it has %d events of %d acknowledged, want 150 of 250", s.At, s.Events[0], s.Acknowledged)
		}
	}
	seqs := map[uint64]bool{}
	for _, e := range r.Log {
		seqs[e.Seq] = true
	}
	if r.Events != 400 || len(seqs) != 400 || r.Lost != 0 {
		t.Errorf("%d events with %d seqs of one publisher, %d lost; want 400", r.Events, len(seqs), r.Lost)
	}
}

// What a node acknowledged while nobody heard it is lost with its disk. That is
// counted, and no failure: nobody can give it back.
func TestOldCopyLosesWhatNobodyElseHas(t *testing.T) {
	r := traced(t, Scenario{
		Nodes: 2, Events: 200, Writers: 1, Duration: 8 * time.Second,
		Faults: []Fault{
			{At: time.Second, Kind: Partition, Nodes: []int{0}},
			{At: 5 * time.Second, Kind: RestoreOld, Nodes: []int{0}, Age: 2 * time.Second},
		},
	})
	if r.Acknowledged != 200 || r.Lost < 40 || r.Lost > 60 || r.Events != r.Acknowledged-r.Lost {
		t.Errorf("%d events of %d acknowledged, %d lost: want those of 2 of 8 seconds", r.Events, r.Acknowledged, r.Lost)
	}
}
