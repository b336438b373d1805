package e2e

import (
	"errors"
	"fmt"
	"time"
)

// Scenario says what happens to a network of nodes, and what must hold in the
// end. All nodes join all topics.
type Scenario struct {
	Name  string
	About string // one sentence for people

	Nodes    int
	Topics   int           // 0: one
	Events   int           // in all, appended evenly over Duration
	Size     int           // bytes of payload of each; 0: 256
	Writers  int           // concurrent callers of Append, each at home on a node of its own in turn; 0: one
	Duration time.Duration // of writing and of faults; at its end every fault that is still in force is undone
	Seed     uint64        // of what is drawn: neighbours, the nodes of a fault, what is lost and late
	Link     Link
	Faults   []Fault
	Expect   Expect
}

// Link is what lies between every two nodes. Loopback has its own, and takes
// none of this.
type Link struct {
	Latency   time.Duration // one way
	Jitter    time.Duration // at most so much more, for each packet anew: packets overtake each other
	Loss      float64       // of packets, in [0, 1)
	Bandwidth int           // bits a second, for each node and direction; 0: 1 Gbit/s
}

// Kind says what a fault does.
type Kind string

// The kinds of faults.
const (
	// Partition cuts its nodes off from all others. Asymmetric: only what its
	// nodes send is lost.
	Partition Kind = "partition"
	// Heal ends every Partition, Lose and Delay.
	Heal Kind = "heal"
	// Crash stops its nodes without a Close: what is not on disk by then is
	// lost, and nobody is told.
	Crash Kind = "crash"
	// Restart closes its nodes, and opens them again at once; those that are
	// down are opened.
	Restart Kind = "restart"
	// Leave closes its nodes.
	Leave Kind = "leave"
	// Join opens its nodes. One that did not leave before was not there from the
	// start.
	Join Kind = "join"
	// Lose loses a share of what its nodes send and receive.
	Lose Kind = "lose"
	// Delay makes what its nodes send and receive late.
	Delay Kind = "delay"
)

// Kinds returns every kind of fault.
func Kinds() []Kind {
	return []Kind{Partition, Heal, Crash, Restart, Leave, Join, Lose, Delay}
}

// Fault is one thing that goes wrong, or is mended.
type Fault struct {
	At   time.Duration // since the start
	Kind Kind
	// Nodes are the indexes, from 0, of the nodes it is about. None: Pick of
	// them, drawn by the seed.
	Nodes []int
	// Pick is how many to draw; 0: half of them for Partition, else one.
	Pick int
	// For is how long a Partition, Crash, Leave, Lose or Delay lasts; 0: until it
	// is undone by another fault, or the end.
	For        time.Duration
	Asymmetric bool          // for Partition
	Loss       float64       // for Lose, in (0, 1)
	Delay      time.Duration // for Delay, each way
}

// Expect is what must hold beside the invariants.
type Expect struct {
	// Within bounds the time from the last fault, mending or append, whichever
	// is latest, until all replicas are equal; 0: two minutes.
	Within time.Duration
}

// Limits of a scenario: the first few hold what a machine can run, the others
// keep a slip of the pen from running for ever.
const (
	MaxNodes    = 1000
	MaxTopics   = 1000
	MaxEvents   = 10_000_000
	MaxWriters  = 10_000
	MaxDuration = 24 * time.Hour
	MaxFaults   = 10_000
)

const (
	defaultSize   = 256
	defaultWithin = 2 * time.Minute
)

// FaultError says which fault of a scenario is wrong.
type FaultError struct {
	Index int // in Scenario.Faults
	Err   error
}

// Error names the fault by its number, from 1.
func (e *FaultError) Error() string { return fmt.Sprintf("fault %d: %v", e.Index+1, e.Err) }

// Unwrap returns what is wrong with it.
func (e *FaultError) Unwrap() error { return e.Err }

// Validate reports what is wrong with the scenario: a *FaultError if it is one
// of its faults.
func (s *Scenario) Validate() error {
	for _, f := range []struct {
		name       string
		n, min, to int
	}{
		{"nodes", s.Nodes, 1, MaxNodes},
		{"topics", s.Topics, 0, MaxTopics},
		{"events", s.Events, 0, MaxEvents},
		{"size", s.Size, 0, 512 << 10},
		{"writers", s.Writers, 0, MaxWriters},
		{"faults", len(s.Faults), 0, MaxFaults},
		{"link: bandwidth", s.Link.Bandwidth, 0, 1 << 40},
	} {
		if f.n < f.min || f.n > f.to {
			return fmt.Errorf("%s: %d is not in [%d, %d]", f.name, f.n, f.min, f.to)
		}
	}
	if s.Duration <= 0 || s.Duration > MaxDuration {
		return fmt.Errorf("duration: %v is not in (0, %v]", s.Duration, MaxDuration)
	}
	if s.Link.Latency < 0 || s.Link.Jitter < 0 || s.Expect.Within < 0 {
		return errors.New("a time is negative")
	}
	if s.Link.Loss < 0 || s.Link.Loss >= 1 {
		return fmt.Errorf("link: loss: %v is not in [0, 1)", s.Link.Loss)
	}
	for i := range s.Faults {
		if err := s.Faults[i].validate(s); err != nil {
			return &FaultError{i, err}
		}
	}
	return nil
}

func (f *Fault) validate(s *Scenario) error {
	lasts := false
	switch f.Kind {
	case Partition, Crash, Leave, Lose, Delay:
		lasts = true
	case Heal:
		if len(f.Nodes) > 0 || f.Pick > 0 {
			return errors.New("heal is about all nodes, and takes none")
		}
	case Restart, Join:
	default:
		return fmt.Errorf("kind: %q is none of %q", f.Kind, Kinds())
	}
	switch {
	case f.At < 0 || f.At > s.Duration:
		return fmt.Errorf("at: %v is not within the duration, %v", f.At, s.Duration)
	case f.For < 0 || f.For > 0 && !lasts:
		return fmt.Errorf("for: %v is no time that a %s lasts", f.For, f.Kind)
	case f.Asymmetric && f.Kind != Partition:
		return fmt.Errorf("asymmetric: only a %s is", Partition)
	case (f.Kind == Lose) != (f.Loss != 0) || f.Loss < 0 || f.Loss >= 1:
		return fmt.Errorf("loss: %v; a %s has one in (0, 1), and nothing else", f.Loss, Lose)
	case (f.Kind == Delay) != (f.Delay != 0) || f.Delay < 0:
		return fmt.Errorf("delay: %v; a %s has one, and nothing else", f.Delay, Delay)
	case f.Pick < 0 || f.Pick > s.Nodes:
		return fmt.Errorf("pick: %d of %d nodes", f.Pick, s.Nodes)
	case f.Pick > 0 && len(f.Nodes) > 0:
		return errors.New("pick: the nodes are named already")
	}
	seen := map[int]bool{}
	for _, i := range f.Nodes {
		if i < 0 || i >= s.Nodes {
			return fmt.Errorf("nodes: %d is not in [0, %d)", i, s.Nodes)
		}
		if seen[i] {
			return fmt.Errorf("nodes: %d is there twice", i)
		}
		seen[i] = true
	}
	return nil
}

// withDefaults fills in what was left zero.
func (s Scenario) withDefaults() Scenario {
	s.Topics = max(s.Topics, 1)
	s.Writers = max(s.Writers, 1)
	if s.Size == 0 {
		s.Size = defaultSize
	}
	if s.Link.Bandwidth == 0 {
		s.Link.Bandwidth = 1_000_000_000
	}
	if s.Expect.Within == 0 {
		s.Expect.Within = defaultWithin
	}
	return s
}
