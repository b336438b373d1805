// Package clock is the Merkle-clock of one topic as a pure state machine: it
// decides what to integrate, what to link to and what to keep waiting, and
// leaves the doing to its driver. It has no I/O, goroutine, clock or
// randomness: equal inputs give equal outputs.
//
// One rule carries it: integrate parents first; on integrating an event, its
// links stop being heads and it becomes one.
package clock

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"slices"

	"github.com/ipfs/go-cid"

	"github.com/cairn-p2p/cairn/types"
)

// Effects is what the inputs since the last Take ask of the world. The driver
// obeys the fields in their order, and stops at the first error.
type Effects struct {
	// Store is to be committed, one transaction a batch, in this order. Events
	// without a witness are this node's own, to be signed together first.
	Store []*types.Batch
	// Announce is to be broadcast after the last commit: this node's own events.
	Announce []*types.Event
	// Sync says that something is missing: start a sync, with the sender first.
	Sync bool
	// Dropped is how many pending events fell out: count them. A sync finds
	// them again.
	Dropped int
	// Deliver is by how many events the delivery log grew: wake subscribers.
	Deliver int
}

// Draft is an event to append, before the clock gives it its place.
type Draft struct {
	Payload []byte   // kept by the event
	Tags    []string // sorted, unique; kept by the event
	// After are up to MaxAfter integrated events that the new one must come
	// behind. With no more heads than an event has links it comes behind
	// everything integrated anyway, and After changes nothing.
	After []types.Head
}

// Source says how events came here.
type Source struct {
	Peer types.PeerID // the neighbour that delivered them
	// Sync is set for the answer to a request. Its events never become
	// pending: each must follow its links.
	Sync bool
}

// Refusal is the verdict on an event that Receive did not take.
type Refusal struct {
	CID cid.Cid
	// Err is types.ErrInvalidEvent for one that is invalid for ever, or
	// types.ErrUnlinked for one of a sync whose links are not integrated.
	Err error
}

// Clock is the state of one topic. It is not safe for concurrent use.
type Clock struct {
	topic  types.TopicID
	self   types.Publisher
	limits Limits

	events  uint64 // length of the delivery log
	heads   map[cid.Cid]uint64
	top     types.Head   // the highest head, of several the last; undefined: none
	ranked  []types.Head // heads to merge, if there are too many for one event: see nextRanked
	own     ownLog
	pending pending
	invalid fifo

	// fresh holds the heights of what was integrated since the last Take: the
	// heights that the driver read may be older.
	fresh map[cid.Cid]uint64
	// gaps are the events received since the last Take whose links were not all
	// integrated. Those that still are not by then are what a sync is for.
	gaps  []cid.Cid
	build builder
	out   Effects
}

// New returns the clock of a topic that stands at state, for the publisher
// self.
func New(topic types.TopicID, self types.Publisher, state types.TopicState, limits Limits) *Clock {
	c := &Clock{
		topic:   topic,
		self:    self,
		limits:  limits,
		events:  state.Events,
		heads:   make(map[cid.Cid]uint64, len(state.Heads)),
		own:     ownLog{tip: state.Tip, stored: state.Tip.Seq, unspent: map[uint64]bool{}},
		pending: newPending(),
		invalid: newFIFO(limits.Invalid),
		fresh:   map[cid.Cid]uint64{},
	}
	for _, h := range state.Heads {
		c.heads[h.CID] = h.Height
		c.raise(h)
	}
	return c
}

// Append adds an event of this node at the time now (Unix nanoseconds) and
// returns it without a witness. It links to the heads, so each appended event
// follows the one before. It fails with types.ErrRolledBack or
// types.ErrForkedKey while the node's own log is in doubt, and with
// types.ErrInvalidArgument for a draft outside the limits; nothing changes then.
func (c *Clock) Append(now int64, d Draft) (*types.Event, error) {
	if err := c.own.mayAppend(); err != nil {
		return nil, err
	}
	if len(d.After) > MaxAfter {
		return nil, fmt.Errorf("%w: %d events to come after, limit %d", types.ErrInvalidArgument, len(d.After), MaxAfter)
	}
	links, height := c.chooseLinks(d.After)
	e, err := types.NewEvent(types.Body{
		Topic:     c.topic,
		Publisher: c.self,
		Seq:       c.own.nextSeq(),
		Links:     links,
		Height:    height,
		Time:      now,
		Tags:      d.Tags,
		Payload:   d.Payload,
	})
	if err != nil {
		return nil, fmt.Errorf("build event: %w", err)
	}
	c.integrate(e)
	c.release(e)
	c.out.Announce = append(c.out.Announce, e)
	return e, nil
}

// Receive takes events of the topic whose witnesses are valid. known holds the
// heights of those events and of their links that are integrated, 0 for an
// event of another topic. The driver reads it after the commits of the last
// Take; what was integrated since then the clock knows by itself.
func (c *Clock) Receive(src Source, events []*types.Event, known map[cid.Cid]uint64) []Refusal {
	var refused []Refusal
	for _, e := range events {
		if c.integrated(e.CID, known) {
			continue
		}
		if err := c.receive(src, e, known); err != nil {
			refused = append(refused, Refusal{CID: e.CID, Err: err})
		}
	}
	return refused
}

// Hear takes heads that somebody claims: one that is neither integrated nor
// pending is missing here. known is as for Receive.
func (c *Clock) Hear(heads []cid.Cid, known map[cid.Cid]uint64) {
	for _, id := range heads {
		if !c.integrated(id, known) && !c.pending.has(id) && !c.invalid.has(id) {
			c.out.Sync = true
		}
	}
}

// Tick tells the clock that some time has passed: what is pending is asked for
// again, and dropped once it is too old. Own events that are known to exist
// elsewhere are asked for even when none of them is pending any more, because
// appends wait for them.
func (c *Clock) Tick() {
	c.pending.tick(c.limits.PendingTicks)
	if c.pending.len() > 0 || c.own.behind() {
		c.out.Sync = true
	}
}

// Evict drops at least size bytes of pending events, or all.
func (c *Clock) Evict(size int) {
	for freed := 0; freed < size && c.pending.len() > 0; {
		freed += c.pending.evict()
	}
}

// Take returns what the inputs since the last call ask for. The clock counts
// it as done: when a commit fails, the driver drops the clock and loads
// another from the store.
func (c *Clock) Take() Effects {
	out := c.out
	out.Store = c.build.take()
	out.Dropped, c.pending.dropped = c.pending.dropped, 0
	out.Sync = out.Sync || slices.ContainsFunc(c.gaps, c.unsettled)
	c.out, c.gaps = Effects{}, nil
	clear(c.fresh)
	c.own.stored = c.own.tip.Seq
	clear(c.own.unspent)
	return out
}

// unsettled reports whether an event received since the last Take is neither
// integrated nor refused for ever.
func (c *Clock) unsettled(id cid.Cid) bool {
	_, ok := c.fresh[id]
	return !ok && !c.invalid.has(id)
}

// Unstored is the number of bytes of events that wait for Take.
func (c *Clock) Unstored() int { return c.build.size }

// Events is the length of the delivery log.
func (c *Clock) Events() uint64 { return c.events }

// Heads returns the heads, sorted by the bytes of their CIDs.
func (c *Clock) Heads() []types.Head {
	heads := make([]types.Head, 0, len(c.heads))
	for id, height := range c.heads {
		heads = append(heads, types.Head{CID: id, Height: height})
	}
	slices.SortFunc(heads, func(a, b types.Head) int { return types.CompareCIDs(a.CID, b.CID) })
	return heads
}

// Pending returns the number of pending events and of the bytes they take.
func (c *Clock) Pending() (events, size int) { return c.pending.len(), c.pending.size }

// Missing returns up to limit links of pending events that are themselves
// neither integrated nor pending, sorted by bytes.
func (c *Clock) Missing(limit int) []cid.Cid { return c.pending.missing(limit) }

// OwnErr returns why appends are refused, or nil.
func (c *Clock) OwnErr() error { return c.own.mayAppend() }

// Doubt returns what a clock that takes this one's place should know of the
// own log.
func (c *Clock) Doubt() Doubt { return c.own.Doubt }

// SetDoubt tells a new clock what the one before knew.
func (c *Clock) SetDoubt(d Doubt) { c.own.Doubt = d }

// Suspects reports whether e, which is not integrated, would prove a fork if
// its seq was used here. The driver then looks whether the store holds an own
// event with that seq, and says Unspent if it does not: seqs that were given up
// after a rollback are not remembered for ever.
func (c *Clock) Suspects(e *types.Event) bool {
	return e.Publisher == c.self && e.Seq <= c.own.stored && c.own.spent(e.Seq)
}

// Unspent tells the clock that no stored event of this node has the seq. It
// holds until Take.
func (c *Clock) Unspent(seq uint64) { c.own.unspent[seq] = true }

// Resume lets appends go on after a rollback, because all replicas that can be
// asked were compared with, although the own events that proved it could not be
// had. Their seqs are not used again.
func (c *Clock) Resume() { c.own.resume() }

func (c *Clock) integrated(id cid.Cid, known map[cid.Cid]uint64) bool {
	if _, ok := c.fresh[id]; ok {
		return true
	}
	return known[id] > 0
}

// receive takes one event that is not integrated.
func (c *Clock) receive(src Source, e *types.Event, known map[cid.Cid]uint64) error {
	if e.Topic != c.topic {
		return fmt.Errorf("%w: it is of topic %s", types.ErrInvalidEvent, e.Topic)
	}
	if c.invalid.has(e.CID) {
		return fmt.Errorf("%w: it was refused before", types.ErrInvalidEvent)
	}
	parents, missing, err := c.resolve(e, known)
	if err != nil {
		c.refuse(e.CID)
		return err
	}
	if e.Publisher == c.self {
		c.own.saw(e)
	}
	if len(missing) > 0 {
		return c.wait(src, e, parents, missing)
	}
	if err := checkHeight(e, parents); err != nil {
		c.refuse(e.CID)
		return err
	}
	c.pending.remove(e.CID)
	c.integrate(e)
	c.release(e)
	return nil
}

// resolve returns the greatest height among e's integrated links and the links
// that are not integrated.
func (c *Clock) resolve(e *types.Event, known map[cid.Cid]uint64) (parents uint64, missing []cid.Cid, err error) {
	for _, l := range e.Links {
		height, ok := c.fresh[l]
		if !ok {
			height, ok = known[l]
		}
		switch {
		case ok && height == 0:
			return 0, nil, fmt.Errorf("%w: it links to %s of another topic", types.ErrInvalidEvent, l)
		case ok:
			parents = max(parents, height)
		case c.invalid.has(l):
			return 0, nil, fmt.Errorf("%w: it links to %s, which is invalid", types.ErrInvalidEvent, l)
		default:
			missing = append(missing, l)
		}
	}
	return parents, missing, nil
}

func (c *Clock) wait(src Source, e *types.Event, parents uint64, missing []cid.Cid) error {
	if len(c.gaps) < maxGaps {
		c.gaps = append(c.gaps, e.CID)
	} else {
		c.out.Sync = true
	}
	if src.Sync {
		return fmt.Errorf("%w: %d links of %s, the first %s", types.ErrUnlinked, len(missing), e.CID, missing[0])
	}
	c.pending.add(src.Peer, e, parents, missing, c.limits)
	return nil
}

func checkHeight(e *types.Event, parents uint64) error {
	if e.Height != parents+1 {
		return fmt.Errorf("%w: height %d above links of height %d", types.ErrInvalidEvent, e.Height, parents)
	}
	return nil
}

// integrate adds e, whose links are integrated, to the log and the heads.
func (c *Clock) integrate(e *types.Event) {
	c.events++
	c.build.add(c.topic, c.events, e)
	for _, l := range e.Links {
		if _, ok := c.heads[l]; ok {
			delete(c.heads, l)
			c.build.dropHead(l)
		}
	}
	c.heads[e.CID] = e.Height
	c.raise(types.Head{CID: e.CID, Height: e.Height})
	c.build.addHead(e)
	c.fresh[e.CID] = e.Height
	if e.Publisher == c.self {
		c.own.integrated(e)
	}
	c.out.Deliver++
}

// release integrates what waited for e, and what waited for that, parents
// first.
func (c *Clock) release(e *types.Event) {
	for queue := []*types.Event{e}; len(queue) > 0; queue = queue[1:] {
		for _, w := range c.pending.resolved(queue[0]) {
			if checkHeight(w.event, w.parents) != nil {
				c.refuse(w.event.CID)
				continue
			}
			c.integrate(w.event)
			queue = append(queue, w.event)
		}
	}
}

// refuse remembers an event as invalid for ever, with the pending events above.
func (c *Clock) refuse(id cid.Cid) {
	for queue := []cid.Cid{id}; len(queue) > 0; queue = queue[1:] {
		c.invalid.add(queue[0])
		c.pending.remove(queue[0])
		queue = append(queue, c.pending.abandon(queue[0])...)
	}
}

// chooseLinks returns what a new event links to, sorted, and its height. With
// more heads than links that is: this node's own latest event, the events in
// after, the highest head, and the rest in an order that differs from node to
// node, so that concurrent publishers don't all merge the same heads.
func (c *Clock) chooseLinks(after []types.Head) ([]cid.Cid, uint64) {
	chosen := c.heads
	if len(c.heads) > types.MaxLinks {
		chosen = c.chooseAmongMany(after)
	}
	links := make([]cid.Cid, 0, len(chosen))
	var parents uint64
	for id, height := range chosen {
		links = append(links, id)
		parents = max(parents, height)
	}
	types.SortCIDs(links)
	return links, parents + 1
}

func (c *Clock) chooseAmongMany(after []types.Head) map[cid.Cid]uint64 {
	chosen := make(map[cid.Cid]uint64, types.MaxLinks)
	take := func(h types.Head) {
		if len(chosen) < types.MaxLinks {
			chosen[h.CID] = h.Height
		}
	}
	if tip := c.own.tip; tip.Seq > 0 {
		take(types.Head{CID: tip.CID, Height: tip.Height})
	}
	for _, h := range after {
		take(h)
	}
	take(c.top)
	for len(chosen) < types.MaxLinks {
		take(c.nextRanked())
	}
	return chosen
}

// raise notes a head. The highest event of all is always a head, as what links to
// it is higher.
func (c *Clock) raise(h types.Head) {
	if h.Height > c.top.Height || h.Height == c.top.Height && types.CompareCIDs(h.CID, c.top.CID) > 0 {
		c.top = h
	}
}

// maxRanked bounds the heads that are ranked at once. To rank them looks at all,
// and is done again when those are used up: under a storm of heads one append in
// thirty or so pays for it.
const maxRanked = 1024

// nextRanked returns another head to merge: those with the least sha2-256(own
// latest CID ‖ head) when they were ranked, in that order. There must be one.
func (c *Clock) nextRanked() types.Head {
	for {
		if len(c.ranked) == 0 {
			c.rank()
		}
		h := c.ranked[0]
		c.ranked = c.ranked[1:]
		if _, ok := c.heads[h.CID]; ok {
			return h
		}
	}
}

// rank ranks the heads anew.
func (c *Clock) rank() {
	type place struct {
		head types.Head
		rank [sha256.Size]byte
	}
	key := c.own.key()
	least := make([]place, 0, 2*maxRanked)
	worst := -1 // of the least, once there are enough
	order := func(a, b place) int { return bytes.Compare(a.rank[:], b.rank[:]) }
	for id, height := range c.heads {
		p := place{types.Head{CID: id, Height: height}, sha256.Sum256([]byte(key + id.KeyString()))}
		if worst >= 0 && order(p, least[worst]) > 0 {
			continue
		}
		if least = append(least, p); len(least) == cap(least) {
			slices.SortFunc(least, order)
			least, worst = least[:maxRanked], maxRanked-1
		}
	}
	slices.SortFunc(least, order)
	least = least[:min(len(least), maxRanked)]
	c.ranked = make([]types.Head, len(least))
	for i, p := range least {
		c.ranked[i] = p.head
	}
}
