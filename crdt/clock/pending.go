package clock

import (
	"container/list"
	"slices"

	"github.com/ipfs/go-cid"

	"github.com/cairn-p2p/cairn/types"
)

// pending holds valid events from gossip whose links are not all integrated.
// It is a cache for latency: whatever falls out comes again by sync.
type pending struct {
	events map[cid.Cid]*waiting
	// waiters are the pending events behind each link that is not integrated.
	waiters map[cid.Cid][]cid.Cid
	size    int // bytes of all events
	ticks   int
	dropped int // events that fell out since the last Take

	byNeighbour map[types.PeerID]*share
	byPublisher map[types.Publisher]*share
}

// waiting is one pending event.
type waiting struct {
	event   *types.Event
	parents uint64 // greatest height among the links integrated so far
	missing int    // links that are not
	since   int    // the tick at which it came

	neighbour                types.PeerID
	inNeighbour, inPublisher *list.Element
}

// share is what one neighbour or publisher has pending, oldest first.
type share struct {
	order *list.List // of *waiting
	size  int
}

func newPending() pending {
	return pending{
		events:      map[cid.Cid]*waiting{},
		waiters:     map[cid.Cid][]cid.Cid{},
		byNeighbour: map[types.PeerID]*share{},
		byPublisher: map[types.Publisher]*share{},
	}
}

func (p *pending) len() int { return len(p.events) }

func (p *pending) has(id cid.Cid) bool {
	_, ok := p.events[id]
	return ok
}

// add keeps e until its missing links are integrated, and makes room for it by
// dropping the oldest of its neighbour, of its publisher, or of the neighbour
// with the most. An event larger than a cap is not kept at all.
func (p *pending) add(from types.PeerID, e *types.Event, parents uint64, missing []cid.Cid, limits Limits) {
	if p.has(e.CID) {
		return
	}
	size := e.Size()
	if size > min(limits.NeighbourSize, limits.PublisherSize, limits.PendingSize) {
		p.dropped++
		return
	}
	for s := p.byNeighbour[from]; s != nil && s.size+size > limits.NeighbourSize; s = p.byNeighbour[from] {
		p.drop(s.oldest())
	}
	for s := p.byPublisher[e.Publisher]; s != nil && s.size+size > limits.PublisherSize; s = p.byPublisher[e.Publisher] {
		p.drop(s.oldest())
	}
	for p.size+size > limits.PendingSize {
		p.evict()
	}
	w := &waiting{event: e, parents: parents, missing: len(missing), since: p.ticks, neighbour: from}
	w.inNeighbour = push(p.byNeighbour, from, w, size)
	w.inPublisher = push(p.byPublisher, e.Publisher, w, size)
	p.events[e.CID] = w
	p.size += size
	for _, l := range missing {
		p.waiters[l] = append(p.waiters[l], e.CID)
	}
}

func push[K comparable](shares map[K]*share, key K, w *waiting, size int) *list.Element {
	s := shares[key]
	if s == nil {
		s = &share{order: list.New()}
		shares[key] = s
	}
	s.size += size
	return s.order.PushBack(w)
}

func pull[K comparable](shares map[K]*share, key K, at *list.Element, size int) {
	s := shares[key]
	s.order.Remove(at)
	s.size -= size
	if s.order.Len() == 0 {
		delete(shares, key)
	}
}

func (s *share) oldest() *waiting { return s.order.Front().Value.(*waiting) }

// drop lets go of an event that a sync has to bring.
func (p *pending) drop(w *waiting) {
	p.dropped++
	p.remove(w.event.CID)
}

// remove forgets an event, if it is pending. Those that wait for it still do.
func (p *pending) remove(id cid.Cid) {
	w, ok := p.events[id]
	if !ok {
		return
	}
	size := w.event.Size()
	delete(p.events, id)
	p.size -= size
	pull(p.byNeighbour, w.neighbour, w.inNeighbour, size)
	pull(p.byPublisher, w.event.Publisher, w.inPublisher, size)
	for _, l := range w.event.Links {
		p.forget(l, id)
	}
}

// forget takes id from those that wait for link.
func (p *pending) forget(link, id cid.Cid) {
	ids, ok := p.waiters[link]
	if !ok {
		return
	}
	switch i := slices.Index(ids, id); {
	case i == 0: // the oldest goes first, mostly: moving the others is for naught
		ids = ids[1:]
	case i > 0:
		ids = slices.Delete(ids, i, i+1)
	}
	if len(ids) == 0 {
		delete(p.waiters, link)
		return
	}
	p.waiters[link] = ids
}

// evict drops the oldest event of the neighbour that has most pending and
// returns its size. Something must be pending.
func (p *pending) evict() int {
	var most types.PeerID
	for id, s := range p.byNeighbour {
		best := p.byNeighbour[most]
		if best == nil || s.size > best.size || s.size == best.size && id < most {
			most = id
		}
	}
	w := p.byNeighbour[most].oldest()
	p.drop(w)
	return w.event.Size()
}

// abandon returns the pending events that wait for id, which will never be
// integrated, and no longer counts them as waiting: the caller removes them.
func (p *pending) abandon(id cid.Cid) []cid.Cid {
	ids := p.waiters[id]
	delete(p.waiters, id)
	return ids
}

// resolved takes note that e was integrated. It removes and returns the
// events that waited for nothing else.
func (p *pending) resolved(e *types.Event) []*waiting {
	var ready []*waiting
	for _, id := range p.waiters[e.CID] {
		w := p.events[id]
		w.parents = max(w.parents, e.Height)
		if w.missing--; w.missing == 0 {
			ready = append(ready, w)
		}
	}
	delete(p.waiters, e.CID)
	for _, w := range ready {
		p.remove(w.event.CID)
	}
	return ready
}

// tick counts time and drops what has waited for more than age ticks.
func (p *pending) tick(age int) {
	p.ticks++
	for _, s := range p.byNeighbour {
		for s.order.Len() > 0 && p.ticks-s.oldest().since > age {
			p.drop(s.oldest())
		}
	}
}

// missing returns up to limit links that pending events wait for and that are
// not pending themselves, sorted.
func (p *pending) missing(limit int) []cid.Cid {
	var links []cid.Cid
	for l := range p.waiters {
		if _, ok := p.events[l]; !ok {
			links = append(links, l)
		}
	}
	types.SortCIDs(links)
	return links[:min(limit, len(links))]
}
