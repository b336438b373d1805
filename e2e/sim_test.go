package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ipfs/go-cid"

	"github.com/cairn-p2p/cairn/node"
	"github.com/cairn-p2p/cairn/types"
)

// simulate runs a scenario in virtual time, and holds it to its invariants.
// CAIRN_TEST_LOG set to anything shows what the nodes log. One with a DHT runs in
// real time: kad-dht's provider sleeps with a lock held that its Close wants, and
// time in a bubble stands still while somebody waits for a lock.
func simulate(t *testing.T, s Scenario) {
	if dht, _ := s.needs(); dht || s.DHT {
		hold(t, s, Simulated)
		return
	}
	synctest.Test(t, func(t *testing.T) {
		hold(t, s, Simulated)
	})
}

// hold runs a scenario, and holds it to its invariants.
func hold(t *testing.T, s Scenario, m Medium) {
	t.Helper()
	holdWith(t, s, Options{Medium: m})
}

// holdWith is hold with options; it sets where the data is, and what is logged.
func holdWith(t *testing.T, s Scenario, o Options) {
	t.Helper()
	o.Dir, o.Progress = t.TempDir(), func(p Progress) {
		if p.Fault != "" {
			t.Logf("%v: %s, %d events", p.At, p.Fault, p.Events)
		}
	}
	if os.Getenv("CAIRN_TEST_LOG") != "" {
		o.Log = slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug}))
	}
	r, err := Run(t.Context(), s, o)
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%s", text)
	for _, w := range r.Wrong {
		t.Error(w)
	}
	if r.Lost != 0 {
		t.Errorf("%d acknowledged events are lost", r.Lost)
	}
	if r.Heads < min(s.Topics, s.Events) {
		t.Errorf("%d heads, want one in each of %d topics", r.Heads, s.Topics)
	}
	if r.Acknowledged != s.Events {
		t.Errorf("%d events acknowledged, want %d", r.Acknowledged, s.Events)
	}
}

// skipsWithRace leaves two of three scenarios out under the race detector, with
// which they take five times as long: make e2e runs all of them without it.
func skipsWithRace(i int) bool { return raceEnabled && i%3 != 0 }

func TestBuiltin(t *testing.T) {
	for i, s := range Builtin() {
		if skipsWithRace(i) {
			continue
		}
		if raceEnabled {
			s.Events /= 5
		}
		t.Run(s.Name, func(t *testing.T) { simulate(t, s) })
	}
}

// The cases that no other test runs, with few events.
func TestCases(t *testing.T) {
	names := map[string]bool{}
	hostile := hostileCases()
	for i, c := range Cases() {
		if names[c.Name] || c.Name == "" || c.Shows == "" {
			t.Errorf("case %q, of %q, has no name of its own or does not say what it shows", c.Name, c.Shows)
		}
		names[c.Name] = true
		if s, ok := Named(c.Name); !ok || s.About != c.About {
			t.Errorf("case %q is not found by its name", c.Name)
		}
		known := func(s Scenario) bool { return s.Name == c.Name }
		if slices.ContainsFunc(Builtin(), known) || slices.ContainsFunc(hostile, known) || skipsWithRace(i) {
			continue
		}
		t.Run(c.Name, func(t *testing.T) {
			s := c.Scenario
			s.Events = min(s.Events, 400)
			simulate(t, s)
		})
	}
}

// A large network in which a third leaves and joins again, nodes crash, halves
// are cut off from each other, and one packet of ten is lost.
func TestLargeNetwork(t *testing.T) {
	s := Scenario{
		Name: "large", Nodes: 50, Topics: 2, Events: 200, Writers: 20, Duration: time.Minute,
		Link: Link{Latency: 20 * time.Millisecond, Jitter: 10 * time.Millisecond, Loss: 0.1},
		Faults: []Fault{
			{At: 5 * time.Second, Kind: Leave, Pick: 16, For: 20 * time.Second},
			{At: 10 * time.Second, Kind: Partition, For: 35 * time.Second}, // longer than QUIC keeps a connection
			{At: 12 * time.Second, Kind: Crash, Pick: 3, For: 10 * time.Second},
			{At: 30 * time.Second, Kind: Leave, Pick: 16, For: 20 * time.Second},
			{At: 40 * time.Second, Kind: Restart, Pick: 2},
		},
	}
	if raceEnabled {
		s.Nodes, s.Faults[0].Pick, s.Faults[3].Pick = 10, 3, 3
	}
	simulate(t, s)
}

// The same scenario runs over TCP, in real time.
func TestLoopback(t *testing.T) {
	for _, name := range []string{"halves", "crash", "churn"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, ok := Named(name)
			if !ok {
				t.Fatal("no such scenario")
			}
			hold(t, s, Loopback)
		})
	}
}

// A medium refuses what it cannot show, instead of leaving it out.
func TestMediumRefuses(t *testing.T) {
	for _, test := range []struct {
		medium Medium
		fault  Fault
	}{
		{Loopback, Fault{Kind: Lose, Loss: 0.5}},
		{Loopback, Fault{Kind: Delay, Delay: time.Second}},
		{Loopback, Fault{Kind: Partition, Asymmetric: true}},
		{Loopback, Fault{Kind: Slow, Bandwidth: MinBandwidth}},
		{Processes, Fault{Kind: Lose, Loss: 0.5}},
		{Processes, Fault{Kind: Delay, Delay: time.Second}},
		{Processes, Fault{Kind: Partition}},
		{Processes, Fault{Kind: Heal}},
	} {
		s := Scenario{Nodes: 2, Duration: time.Second, Faults: []Fault{{Kind: Restart}, test.fault}}
		_, err := Run(t.Context(), s, Options{Medium: test.medium, Binary: "none", Dir: t.TempDir()})
		var wrong *FieldError
		if !errors.As(err, &wrong) || wrong.Fault != 1 {
			t.Errorf("%s of %s: %v, want an error about fault 2", test.fault.Kind, test.medium, err)
		}
	}
}

// Processes need a program.
func TestNoBinary(t *testing.T) {
	_, err := Run(t.Context(), Scenario{Nodes: 1, Duration: time.Second}, Options{Medium: Processes, Dir: t.TempDir()})
	if !errors.Is(err, types.ErrInvalidArgument) {
		t.Errorf("%v, want ErrInvalidArgument", err)
	}
}

// What a node acknowledged is on its disk when it crashes: there is nobody else
// to get it from.
func TestCrashAlone(t *testing.T) {
	simulate(t, Scenario{
		Nodes: 1, Events: 200, Writers: 8, Duration: 2 * time.Second,
		Faults: []Fault{
			{At: 500 * time.Millisecond, Kind: Crash, For: 100 * time.Millisecond},
			{At: time.Second, Kind: Crash},
		},
	})
}

// Each writer writes to each topic, however many there are of both.
func TestWritersWriteToAllTopics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, writers := range []int{1, 3, 6} {
			r := newRun(Scenario{Nodes: 1, Topics: 3, Events: 36, Writers: writers, Duration: time.Second}.withDefaults(), Options{}, t.TempDir())
			if err := r.open(t.Context(), r.hosts[0]); err != nil {
				t.Fatal(err)
			}
			r.started = time.Now()
			wrote := map[[2]string]int{} // by writer and topic
			if err := r.play(t.Context(), nil); err != nil {
				t.Fatal(err)
			}
			for _, topic := range r.hosts[0].living().topics {
				replica, err := readReplica(t.Context(), "", topic.(*node.Topic))
				if err != nil {
					t.Fatal(err)
				}
				for _, e := range replica.Log {
					writer, _, _ := strings.Cut(string(e.Payload), ",")
					wrote[[2]string{writer, topic.Name()}]++
				}
			}
			if len(wrote) != 3*writers {
				t.Errorf("%d writers: %v, want all to write to 3 topics", writers, wrote)
			}
			if err := r.close(); err != nil {
				t.Error(err)
			}
		}
	})
}

// A run finds an event that was acknowledged and is nowhere, and replicas that
// stay apart.
func TestRunFindsWhatIsWrong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := Scenario{Nodes: 2, Events: 10, Duration: time.Second, Expect: Expect{Within: 10 * time.Second}}
		r := newRun(s.withDefaults(), Options{}, t.TempDir())
		defer func() {
			if err := r.close(); err != nil {
				t.Error(err)
			}
		}()
		lost := sum(t, 1)
		for _, h := range r.hosts {
			if err := r.open(t.Context(), h); err != nil {
				t.Fatal(err)
			}
		}
		topic := r.hosts[0].living().topics[0]
		r.acked[topic.ID()] = []cid.Cid{lost}
		r.set(r.now.reach(0, false)) // nobody hears of what it writes
		if _, err := topic.Append(t.Context(), []byte("unheard")); err != nil {
			t.Fatal(err)
		}
		if err := r.converge(t.Context(), s.Expect.Within); !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "node 1 has 0 events") {
			t.Errorf("converge: %v, want that node 1 is not in time", err)
		}
		var result Result
		if err := r.check(t.Context(), &result); err != nil {
			t.Fatal(err)
		}
		wrong := strings.Join(result.Wrong, "\n")
		for _, want := range []string{"node 0: 1 of 1 acknowledged events are missing", lost.String(), "node 1: heads hash"} {
			if !strings.Contains(wrong, want) {
				t.Errorf("found %q, want something about %q", wrong, want)
			}
		}
	})
}

func TestValidate(t *testing.T) {
	fine := Scenario{Nodes: 3, Duration: time.Minute}
	if err := fine.Validate(); err != nil {
		t.Error(err)
	}
	for name, spoil := range map[string]func(*Scenario){
		"no nodes":           func(s *Scenario) { s.Nodes = 0 },
		"too many nodes":     func(s *Scenario) { s.Nodes = MaxNodes + 1 },
		"no duration":        func(s *Scenario) { s.Duration = 0 },
		"all is lost":        func(s *Scenario) { s.Link.Loss = 1 },
		"negative latency":   func(s *Scenario) { s.Link.Latency = -1 },
		"unknown kind":       func(s *Scenario) { s.Faults = []Fault{{Kind: "explode"}} },
		"too late":           func(s *Scenario) { s.Faults = []Fault{{Kind: Heal, At: time.Hour}} },
		"no such node":       func(s *Scenario) { s.Faults = []Fault{{Kind: Crash, Nodes: []int{3}}} },
		"a node twice":       func(s *Scenario) { s.Faults = []Fault{{Kind: Crash, Nodes: []int{1, 1}}} },
		"nodes and pick":     func(s *Scenario) { s.Faults = []Fault{{Kind: Crash, Nodes: []int{1}, Pick: 1}} },
		"too many picked":    func(s *Scenario) { s.Faults = []Fault{{Kind: Crash, Pick: 4}} },
		"heal of nodes":      func(s *Scenario) { s.Faults = []Fault{{Kind: Heal, Pick: 1}} },
		"restart for a time": func(s *Scenario) { s.Faults = []Fault{{Kind: Restart, For: time.Second}} },
		"lose nothing":       func(s *Scenario) { s.Faults = []Fault{{Kind: Lose}} },
		"crash with loss":    func(s *Scenario) { s.Faults = []Fault{{Kind: Crash, Loss: 0.1}} },
		"delay of nothing":   func(s *Scenario) { s.Faults = []Fault{{Kind: Delay}} },
		"slow as nothing":    func(s *Scenario) { s.Faults = []Fault{{Kind: Slow, Bandwidth: MinBandwidth - 1}} },
		"loss of slow":       func(s *Scenario) { s.Faults = []Fault{{Kind: Slow, Bandwidth: MinBandwidth, Loss: 0.5}} },
		"slow partition":     func(s *Scenario) { s.Faults = []Fault{{Kind: Partition, Bandwidth: MinBandwidth}} },
		"clock is right":     func(s *Scenario) { s.Faults = []Fault{{Kind: ClockSkew}} },
		"skewed disk":        func(s *Scenario) { s.Faults = []Fault{{Kind: DiskFull, Skew: 1}} },
		"copy of before":     func(s *Scenario) { s.Faults = []Fault{{Kind: RestoreOld, At: time.Second, Age: 2 * time.Second}} },
		"copy of now":        func(s *Scenario) { s.Faults = []Fault{{Kind: RestoreOld, At: time.Second}} },
		"restore alone": func(s *Scenario) {
			s.Nodes, s.Faults = 1, []Fault{{Kind: RestoreOld, At: 2, Age: 1}}
		},
		"restore for long": func(s *Scenario) { s.Faults = []Fault{{Kind: RestoreOld, At: 2, Age: 1, For: time.Second}} },
		"age of a crash":   func(s *Scenario) { s.Faults = []Fault{{Kind: Crash, Age: 1}} },
		"asymmetric crash": func(s *Scenario) { s.Faults = []Fault{{Kind: Crash, Asymmetric: true}} },
	} {
		s := fine
		spoil(&s)
		if err := s.Validate(); err == nil {
			t.Errorf("%s: valid", name)
		}
	}
	for _, s := range Builtin() {
		if err := s.Validate(); err != nil {
			t.Errorf("%s: %v", s.Name, err)
		}
	}
}

// A trace shows who lagged behind and who was down, and that nobody is in the
// end.
func TestTrace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, err := Run(t.Context(), Scenario{
			Nodes: 3, Topics: 2, Events: 100, Writers: 2, Duration: 10 * time.Second,
			Faults: []Fault{
				{At: 2 * time.Second, Kind: Partition, Nodes: []int{2}, For: 4 * time.Second},
				{At: 7 * time.Second, Kind: Crash, Nodes: []int{1}, For: time.Second},
			},
		}, Options{Dir: t.TempDir(), Trace: true})
		if err != nil {
			t.Fatal(err)
		}
		var what []string
		for _, f := range r.Faults {
			what = append(what, f.What)
		}
		if got, want := strings.Join(what, "; "), "partition of [2]; end of partition of [2]; crash of [1]; end of crash of [1]; end of all faults"; got != want {
			t.Errorf("faults %q, want %q", got, want)
		}
		behind, down := 0, 0
		for _, s := range r.Samples {
			if s.At > 5*time.Second && s.At < 6*time.Second && s.Events[2] < s.Acknowledged-20 && s.Events[1] >= s.Acknowledged-1 {
				behind++
			}
			if s.Events[1] == -1 && s.At > 7*time.Second && s.At < 8*time.Second {
				down++
			}
		}
		if behind < 15 || down < 15 {
			t.Errorf("of 20 samples each, node 2 is behind in %d, and node 1 down in %d", behind, down)
		}
		last := r.Samples[len(r.Samples)-1]
		if want := []int{100, 100, 100}; !slices.Equal(last.Events, want) || last.Acknowledged != 100 {
			t.Errorf("last sample %+v, want %v", last, want)
		}
		if r.Messages < uint64(r.Events) {
			t.Errorf("%d messages of %d events", r.Messages, r.Events)
		}
		if len(r.Log) != 50 {
			t.Errorf("%d events of the first topic, want 50", len(r.Log))
		}
	})
}
