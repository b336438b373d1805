package clock

import "github.com/cairn-p2p/cairn/types"

// MaxAfter bounds the events that a Draft names: with this node's own latest
// they fill an event's links.
const MaxAfter = types.MaxLinks - 1

// maxGaps bounds the events looked at again before a sync is asked for. More in
// one go are no events that just overtook each other.
const maxGaps = 256

// Limits holds what a clock may keep of what it did not integrate. All of it
// is a cache: what falls out is fetched again by a sync.
type Limits struct {
	// PendingSize bounds the bytes of pending events of the topic.
	PendingSize int
	// NeighbourSize bounds the bytes pending that one neighbour delivered.
	NeighbourSize int
	// PublisherSize bounds the bytes pending of one publisher.
	PublisherSize int
	// PendingTicks is the number of ticks after which a pending event is
	// dropped: its links come by sync by then, or not at all.
	PendingTicks int
	// Invalid bounds the CIDs remembered as invalid for ever.
	Invalid int
}

// DefaultLimits lets a burst of several thousand small events arrive out of
// order, and no neighbour take more than half of the room.
func DefaultLimits() Limits {
	return Limits{
		PendingSize:   8 << 20,
		NeighbourSize: 4 << 20,
		PublisherSize: 4 << 20,
		PendingTicks:  60,
		Invalid:       4096,
	}
}
