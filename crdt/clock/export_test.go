package clock

import (
	"fmt"

	"github.com/ipfs/go-cid"
)

// Check holds what the clock keeps of what it did not integrate to its limits,
// and the indexes over it to each other.
func (c *Clock) Check() error {
	if n := len(c.invalid.set); n > c.limits.Invalid || n != len(c.invalid.ring) {
		return fmt.Errorf("%d events remembered as invalid in a ring of %d, limit %d", n, len(c.invalid.ring), c.limits.Invalid)
	}
	p := &c.pending
	if p.size > c.limits.PendingSize {
		return fmt.Errorf("%d bytes pending, limit %d", p.size, c.limits.PendingSize)
	}
	if err := checkShares("neighbour", p.byNeighbour, p, c.limits.NeighbourSize); err != nil {
		return err
	}
	if err := checkShares("publisher", p.byPublisher, p, c.limits.PublisherSize); err != nil {
		return err
	}
	return p.checkWaiters()
}

// checkShares holds shares to their bound and their sum to the whole.
func checkShares[K comparable](what string, shares map[K]*share, p *pending, limit int) error {
	events, total := 0, 0
	for key, s := range shares {
		size := 0
		for at := s.order.Front(); at != nil; at = at.Next() {
			w := at.Value.(*waiting)
			if p.events[w.event.CID] != w {
				return fmt.Errorf("%s %v has %s, which is not pending", what, key, w.event.CID)
			}
			size += w.event.Size()
		}
		if size != s.size || size > limit || s.order.Len() == 0 {
			return fmt.Errorf("%s %v has %d events of %d bytes and counts %d, limit %d", what, key, s.order.Len(), size, s.size, limit)
		}
		events, total = events+s.order.Len(), total+size
	}
	if events != len(p.events) || total != p.size {
		return fmt.Errorf("%ss have %d events of %d bytes, %d of %d are pending", what, events, total, len(p.events), p.size)
	}
	return nil
}

// checkWaiters holds the index by link to the pending events.
func (p *pending) checkWaiters() error {
	waits := map[cid.Cid]int{}
	for link, ids := range p.waiters {
		if len(ids) == 0 {
			return fmt.Errorf("nothing waits for %s, and it is kept", link)
		}
		for _, id := range ids {
			if p.events[id] == nil {
				return fmt.Errorf("%s waits for %s and is not pending", id, link)
			}
			waits[id]++
		}
	}
	for id, w := range p.events {
		if w.missing == 0 || w.missing != waits[id] {
			return fmt.Errorf("%s misses %d links and waits for %d", id, w.missing, waits[id])
		}
	}
	return nil
}
