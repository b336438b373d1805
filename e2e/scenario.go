package e2e

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/cairn-p2p/cairn/e2e/hostile"
	"github.com/cairn-p2p/cairn/types"
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
	DHT      bool          // each node is told of one other, not of three, and they find each other through the DHT
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
	// Heal ends every Partition, Lose, Delay and Slow.
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
	// Slow makes its nodes read and send slowly: packets wait in their sockets,
	// and those that find a socket's buffer full are lost.
	Slow Kind = "slow"
	// DiskFull leaves its nodes less free disk than they demand: they take
	// nothing new.
	DiskFull Kind = "disk-full"
	// ClockSkew makes its nodes' clocks wrong.
	ClockSkew Kind = "clock-skew"
	// RestoreOld closes its nodes, replaces their data by older copies, and
	// opens them again as restored ones. They are closed for a moment when the
	// copies are made, too.
	RestoreOld Kind = "restore-old"
	// Byzantine lets hostile peers join, which behave as Behaviour says and are
	// connected to its nodes. Without For they stay until all is checked.
	Byzantine Kind = "byzantine"
)

// Kinds returns every kind of fault.
func Kinds() []Kind {
	return []Kind{Partition, Heal, Crash, Restart, Leave, Join, Lose, Delay, Slow, DiskFull, ClockSkew, RestoreOld, Byzantine}
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
	// For is how long a fault lasts that is not over at once; 0: until it is
	// undone by another fault, or the end.
	For        time.Duration
	Asymmetric bool          // for Partition
	Loss       float64       // for Lose, in (0, 1)
	Delay      time.Duration // for Delay, each way
	Bandwidth  int           // for Slow: bits a second, each way; at least MinBandwidth
	Skew       time.Duration // for ClockSkew: ahead, or behind when negative
	Age        time.Duration // for RestoreOld: how old the copy is; at most At
	Behaviour  string        // for Byzantine: the name of one of hostile.Behaviours
	Count      int           // for Byzantine: how much of it; 0: a number that shows it
}

// MinBandwidth is the least bandwidth of a Slow fault, in bits a second: a
// packet takes a second.
const MinBandwidth = 10_000

// lasts are the kinds of faults that are not over at once.
func lasts() []Kind {
	return []Kind{Partition, Crash, Leave, Lose, Delay, Slow, DiskFull, ClockSkew, Byzantine}
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
	maxBandwidth     = 1 << 40 // bits a second
	defaultBandwidth = 1_000_000_000
	defaultSize      = 256
	defaultWithin    = 2 * time.Minute
)

// FieldError says which field of a scenario is wrong. Fields are named as in a
// file.
type FieldError struct {
	Fault int    // index in Scenario.Faults; -1: the field is no fault's
	Field string // for example "nodes", "link.loss", or "at" of a fault
	Err   error
}

// Error names the field, and a fault by its number, from 1.
func (e *FieldError) Error() string {
	if e.Fault < 0 {
		return fmt.Sprintf("%s: %v", e.Field, e.Err)
	}
	return fmt.Sprintf("fault %d: %s: %v", e.Fault+1, e.Field, e.Err)
}

// Unwrap returns types.ErrInvalidArgument and what is wrong.
func (e *FieldError) Unwrap() []error { return []error{types.ErrInvalidArgument, e.Err} }

func fieldf(field, format string, args ...any) *FieldError {
	return &FieldError{-1, field, fmt.Errorf(format, args...)}
}

// Validate reports what is wrong with the scenario: a *FieldError.
func (s *Scenario) Validate() error {
	for _, f := range []struct {
		name       string
		n, min, to int
	}{
		{"nodes", s.Nodes, 1, MaxNodes},
		{"topics", s.Topics, 0, MaxTopics},
		{"events", s.Events, 0, MaxEvents},
		{"size", s.Size, 0, types.MaxPayload},
		{"writers", s.Writers, 0, MaxWriters},
		{"fault", len(s.Faults), 0, MaxFaults},
		{"link.bandwidth", s.Link.Bandwidth, 0, maxBandwidth},
	} {
		if f.n < f.min || f.n > f.to {
			return fieldf(f.name, "%d is not in [%d, %d]", f.n, f.min, f.to)
		}
	}
	switch {
	case s.Duration <= 0 || s.Duration > MaxDuration:
		return fieldf("duration", "%v is not in (0, %v]", s.Duration, MaxDuration)
	case s.Seed > math.MaxInt64: // a file holds no more
		return fieldf("seed", "it is not in [0, 2^63)")
	case s.Link.Latency < 0:
		return fieldf("link.latency", "%v is negative", s.Link.Latency)
	case s.Link.Jitter < 0:
		return fieldf("link.jitter", "%v is negative", s.Link.Jitter)
	case s.Expect.Within < 0:
		return fieldf("expect.within", "%v is negative", s.Expect.Within)
	case !isShare(s.Link.Loss):
		return fieldf("link.loss", "%v is not in [0, 1)", s.Link.Loss)
	}
	joins := s.joins()
	for i := range s.Faults {
		if err := s.Faults[i].validate(s, joins); err != nil {
			err.Fault = i
			return err
		}
	}
	return nil
}

// isShare reports whether f is in [0, 1). NaN is not.
func isShare(f float64) bool { return f >= 0 && f < 1 }

// joins returns when those nodes join that were not there from the start: they
// join by name before they leave or crash. Those that are drawn were there.
func (s *Scenario) joins() map[int]time.Duration {
	joins, met := map[int]time.Duration{}, map[int]bool{}
	faults := slices.Clone(s.Faults)
	slices.SortStableFunc(faults, func(a, b Fault) int { return cmp.Compare(a.At, b.At) })
	for _, f := range faults {
		if f.Kind != Join && f.Kind != Leave && f.Kind != Crash {
			continue
		}
		for _, i := range f.Nodes {
			if f.Kind == Join && !met[i] {
				joins[i] = f.At
			}
			met[i] = true
		}
	}
	return joins
}

// validateOwn checks the fields that belong to one kind.
func (f *Fault) validateOwn() *FieldError {
	if !slices.Contains(Kinds(), f.Kind) {
		return fieldf("kind", "%q is none of %q", f.Kind, Kinds())
	}
	for _, own := range []struct {
		field string
		of    Kind
		set   bool
	}{
		{"asymmetric", Partition, f.Asymmetric},
		{"loss", Lose, f.Loss != 0},
		{"delay", Delay, f.Delay != 0},
		{"bandwidth", Slow, f.Bandwidth != 0},
		{"skew", ClockSkew, f.Skew != 0},
		{"age", RestoreOld, f.Age != 0},
		{"behaviour", Byzantine, f.Behaviour != ""},
		{"count", Byzantine, f.Count != 0},
	} {
		if own.set && f.Kind != own.of {
			return fieldf(own.field, "only %q has one", own.of)
		}
	}
	switch {
	case f.Kind == Lose && (f.Loss == 0 || !isShare(f.Loss)):
		return fieldf("loss", "%v is not in (0, 1)", f.Loss)
	case f.Kind == Delay && f.Delay <= 0:
		return fieldf("delay", "%v is not positive", f.Delay)
	case f.Kind == Slow && (f.Bandwidth < MinBandwidth || f.Bandwidth > maxBandwidth):
		return fieldf("bandwidth", "%d is not in [%d, %d]", f.Bandwidth, MinBandwidth, maxBandwidth)
	case f.Kind == ClockSkew && f.Skew == 0:
		return fieldf("skew", "it is 0")
	case f.Count < 0 || f.Count > hostile.MaxCount:
		return fieldf("count", "%d is not in [0, %d]", f.Count, hostile.MaxCount)
	case f.Kind == Byzantine && !slices.Contains(hostile.Names(), f.Behaviour):
		return fieldf("behaviour", "%q is none of %q", f.Behaviour, hostile.Names())
	case f.Kind == RestoreOld && (f.Age <= 0 || f.Age > f.At):
		return fieldf("age", "%v is not in (0, %v]: the copy is made after the start", f.Age, f.At)
	}
	return nil
}

// validate checks a fault; joins are those of the scenario.
func (f *Fault) validate(s *Scenario, joins map[int]time.Duration) *FieldError {
	if err := f.validateOwn(); err != nil {
		return err
	}
	switch {
	case f.At < 0 || f.At > s.Duration:
		return fieldf("at", "%v is not within the duration, %v", f.At, s.Duration)
	case f.For < 0:
		return fieldf("for", "%v is negative", f.For)
	case f.For > 0 && !slices.Contains(lasts(), f.Kind):
		return fieldf("for", "a %s is over at once", f.Kind)
	case f.Kind == Heal && len(f.Nodes) > 0:
		return fieldf("nodes", "%q is about all", Heal)
	case f.Kind == Heal && f.Pick != 0:
		return fieldf("pick", "%q is about all nodes", Heal)
	case f.Kind == RestoreOld && s.Nodes == 1:
		return fieldf("kind", "%q needs another node, to have what the copy lacks", RestoreOld)
	case f.Pick < 0 || f.Pick > s.Nodes:
		return fieldf("pick", "%d is not in [0, %d]", f.Pick, s.Nodes)
	case f.Pick > 0 && len(f.Nodes) > 0:
		return fieldf("pick", "the nodes are named already")
	}
	if b, ok := hostile.Named(f.Behaviour); ok && max(s.Topics, 1) < b.Topics {
		return fieldf("behaviour", "%q needs %d topics", b.Name, b.Topics)
	}
	for k, i := range f.Nodes {
		if i < 0 || i >= s.Nodes {
			return fieldf("nodes", "%d is not in [0, %d]", i, s.Nodes-1)
		}
		if at, late := joins[i]; late && f.Kind == RestoreOld && at >= f.At-f.Age {
			return fieldf("nodes", "%d joins at %v, and the copy is made at %v", i, at, f.At-f.Age)
		}
		if slices.Contains(f.Nodes[:k], i) {
			return fieldf("nodes", "%d is there twice", i)
		}
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
		s.Link.Bandwidth = defaultBandwidth
	}
	if s.Expect.Within == 0 {
		s.Expect.Within = defaultWithin
	}
	return s
}
