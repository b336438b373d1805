package e2e

import (
	"maps"
	"slices"
	"time"
)

// conditions is what is wrong with the network and the nodes at a moment. It is
// not changed once it is made.
type conditions struct {
	down   map[int]bool  // nodes that nothing reaches or leaves
	faults map[int]shape // in force, by their number
}

// shape is a fault in force: one that is not over at once, and leaves its nodes
// up.
type shape struct {
	fault Fault
	in    map[int]bool // its nodes
}

func newShape(f Fault, nodes []int) shape {
	s := shape{fault: f, in: map[int]bool{}}
	for _, i := range nodes {
		s.in[i] = true
	}
	return s
}

// with returns the conditions with another fault in force.
func (c conditions) with(number int, s shape) conditions {
	c.faults = maps.Clone(c.faults)
	if c.faults == nil {
		c.faults = map[int]shape{}
	}
	c.faults[number] = s
	return c
}

// without returns the conditions without that fault.
func (c conditions) without(number int) conditions {
	c.faults = maps.Clone(c.faults)
	delete(c.faults, number)
	return c
}

// healed returns the conditions without any fault of the network; who is down
// stays down.
func (c conditions) healed() conditions {
	c.faults = maps.Clone(c.faults)
	maps.DeleteFunc(c.faults, func(_ int, s shape) bool { return s.fault.Kind != DiskFull && s.fault.Kind != ClockSkew })
	return c
}

// mended returns the conditions without any fault; who is down stays down.
func (c conditions) mended() conditions { return conditions{down: c.down} }

// reach returns the conditions with a node down or up.
func (c conditions) reach(node int, up bool) conditions {
	c.down = maps.Clone(c.down)
	if c.down == nil {
		c.down = map[int]bool{}
	}
	c.down[node] = !up
	return c
}

// cut reports whether nothing gets from one node to another.
func (c conditions) cut(from, to int) bool {
	if c.down[from] || c.down[to] {
		return true
	}
	for _, s := range c.faults {
		if s.fault.Kind != Partition || s.in[from] == s.in[to] {
			continue
		}
		if s.in[from] || !s.fault.Asymmetric {
			return true
		}
	}
	return false
}

// passes returns the share of packets between two nodes that the faults let
// through.
func (c conditions) passes(from, to int) float64 {
	share := 1.0
	for _, n := range slices.Sorted(maps.Keys(c.faults)) {
		if s := c.faults[n]; s.in[from] || s.in[to] {
			share *= 1 - s.fault.Loss
		}
	}
	return share
}

// delay returns by how much the faults make a packet late.
func (c conditions) delay(from, to int) time.Duration {
	var d time.Duration
	for _, s := range c.faults {
		if s.in[from] || s.in[to] {
			d += s.fault.Delay
		}
	}
	return d
}

// bandwidth returns the bits a second that a node reads and sends at most, each;
// 0: no fault bounds them.
func (c conditions) bandwidth(node int) int {
	least := 0
	for _, s := range c.faults {
		if b := s.fault.Bandwidth; s.in[node] && b > 0 && (least == 0 || b < least) {
			least = b
		}
	}
	return least
}

// diskFull reports whether a node has no disk left.
func (c conditions) diskFull(node int) bool {
	for _, s := range c.faults {
		if s.fault.Kind == DiskFull && s.in[node] {
			return true
		}
	}
	return false
}

// skew returns by how much a node's clock is ahead.
func (c conditions) skew(node int) time.Duration {
	var d time.Duration
	for _, s := range c.faults {
		if s.in[node] {
			d += s.fault.Skew
		}
	}
	return d
}
