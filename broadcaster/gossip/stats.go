package gossip

import "sync/atomic"

// Stats counts what a broadcaster has done since it was opened.
type Stats struct {
	Published       uint64 // messages sent
	PublishedEvents uint64 // events in them
	HeadsOnly       uint64 // messages sent without events
	CoalescedEvents uint64 // own events of which only the heads were announced
	PublishFailed   uint64 // messages that gossipsub refused; announced again as heads
	DroppedRPCs     uint64 // frames dropped because a neighbour's queue was full
	// DroppedOwn and DroppedRelayed are the events in these frames, once for each
	// neighbour. Of the own ones the heads are announced again.
	DroppedOwn, DroppedRelayed uint64

	Received  uint64            // neighbours' messages checked
	Forwarded uint64            // of these, accepted
	NewEvents uint64            // events in them that were new here
	Delivered uint64            // messages handed to the node
	Refused   map[Reason]uint64 // messages not forwarded; absent reasons: 0
}

// counters are the live form of Stats.
type counters struct {
	published, publishedEvents, headsOnly, coalescedEvents, publishFailed, droppedRPCs atomic.Uint64
	droppedOwn, droppedRelayed                                                         atomic.Uint64
	received, forwarded, newEvents, delivered                                          atomic.Uint64
	refused                                                                            [reasonsAll]atomic.Uint64
}

func (c *counters) snapshot() Stats {
	s := Stats{
		Published:       c.published.Load(),
		PublishedEvents: c.publishedEvents.Load(),
		HeadsOnly:       c.headsOnly.Load(),
		CoalescedEvents: c.coalescedEvents.Load(),
		PublishFailed:   c.publishFailed.Load(),
		DroppedRPCs:     c.droppedRPCs.Load(),
		DroppedOwn:      c.droppedOwn.Load(),
		DroppedRelayed:  c.droppedRelayed.Load(),
		Received:        c.received.Load(),
		Forwarded:       c.forwarded.Load(),
		NewEvents:       c.newEvents.Load(),
		Delivered:       c.delivered.Load(),
		Refused:         make(map[Reason]uint64),
	}
	for r := range c.refused {
		if n := c.refused[r].Load(); n > 0 {
			s.Refused[Reason(r)] = n
		}
	}
	return s
}
