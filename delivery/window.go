package delivery

import (
	"slices"

	"github.com/ipfs/go-cid"

	"github.com/cairn-p2p/cairn/types"
)

// maxDeps bounds the unsettled events that an entry of the log remembers to
// depend on. One with more waits for all unsettled ones before it.
const maxDeps = 64

// state is what is to become of an event that matches and is not settled.
type state uint8

const (
	waiting state = iota // held back: an ancestor is not settled
	ready                // to be delivered, for the first time or since it was requeued
	pending              // delivered, and its deadline lies ahead
	due                  // delivered, and to be delivered again
)

// item is an event that matches and is not settled.
type item struct {
	cursor   types.Cursor // behind the event: its number is the event's
	digest   types.Hash   // of its CID
	state    state
	requeued bool         // from the dead letters: nothing depends on it
	held     bool         // taken for a stream that has not handed it out yet
	given    bool         // given back by one that never handed it out
	counted  bool         // that counts among the attempts
	size     uint32       // of the event, bytes
	attempts uint64       // deliveries so far
	base     uint64       // of these, before it was requeued last
	deadline int64        // of its next delivery, in Unix milliseconds, unless waiting or ready
	event    *types.Event // from the scan to the first delivery, when that follows at once; else nil

	needs   deps    // while waiting: what may be unsettled yet
	waiters []*item // that wait for this one; each waits for one at a time
	at      int     // place in its queue
}

// count is how often the event was delivered since it was requeued.
func (it *item) count() int { return int(it.attempts - it.base) }

// deps are unsettled events: those up to the number bound, and those of numbers,
// which are sorted and above it. They are shared and never change.
type deps struct {
	bound   uint64
	numbers []uint64
}

// entry is an event of the log above the floor, matching or not.
type entry struct {
	hash   [8]byte    // of the cursor behind it
	digest types.Hash // of its CID; with causal only
	item   *item      // while it matches and is not settled
	deps   *deps      // of one without an item: what its descendants inherit
}

// window is what a consumer knows of the log above its ack floor: which
// events match, which are settled, and which depend on which. It decides, and
// does nothing: no I/O, no clock, no lock. It holds log numbers, not
// bodies, and at most MaxAhead entries.
type window struct {
	settings *Settings

	floor   types.Cursor // all up to here is settled or does not match
	entries []entry      // those above it, as far as the log was scanned; the first has an item
	index   map[types.Hash]uint64
	again   map[uint64]*item // those requeued, wherever they lie

	ready    queue // by number
	due      queue // by number
	pending  queue // by deadline
	barriers queue // of the waiting, those that only a bound holds back

	seen uint64 // the greatest number of an event that was handed out, since the window is in memory

	delivered   int // items delivered and not settled
	redelivered int // of these, more than once
	waiting     int
}

func newWindow(s *Settings, floor types.Cursor) *window {
	return &window{
		settings: s,
		floor:    floor,
		index:    map[types.Hash]uint64{},
		again:    map[uint64]*item{},
		ready:    queue{less: byNumber},
		due:      queue{less: byNumber},
		pending:  queue{less: byDeadline},
		barriers: queue{less: byBound},
	}
}

// scanned is the position up to which the log was looked at.
func (w *window) scanned() types.Cursor {
	if len(w.entries) == 0 {
		return w.floor
	}
	return types.Cursor{Number: w.floor.Number + uint64(len(w.entries)), Hash: w.entries[len(w.entries)-1].hash}
}

// full reports whether no further entry may be added.
func (w *window) full() bool { return len(w.entries) >= MaxAhead }

// entry returns the entry of a number, nil unless it lies above the floor.
func (w *window) entry(number uint64) *entry {
	if number <= w.floor.Number || number > w.floor.Number+uint64(len(w.entries)) {
		return nil
	}
	return &w.entries[number-w.floor.Number-1]
}

// add takes up the next entry of the log, and returns its item if it
// matches: ready, or waiting.
func (w *window) add(c types.Cursor, digest types.Hash, links []cid.Cid, matches bool) *item {
	e := entry{hash: c.Hash}
	if w.settings.CausalAcks {
		e.digest, e.deps = digest, w.inherit(c.Number, links)
		if matches || e.deps != nil {
			w.index[digest] = c.Number
		}
	}
	if matches {
		e.item = &item{cursor: c, digest: digest}
		if e.deps != nil {
			e.item.needs, e.deps = *e.deps, nil
		}
	}
	w.entries = append(w.entries, e)
	if matches {
		w.waiting++
		w.admit(e.item)
	}
	w.advance()
	return e.item
}

// inherit returns what an entry with these links depends on: of each link
// itself if it is unsettled, else what that depends on. A link at or below the floor,
// or before the start, blocks nothing. It is nil for nothing.
func (w *window) inherit(number uint64, links []cid.Cid) *deps {
	var only *deps // when a single link has any
	var bound uint64
	var numbers []uint64
	parts := 0
	for _, link := range links {
		n, ok := w.index[types.Digest(link)]
		if !ok {
			continue
		}
		e := w.entry(n)
		if e.item != nil {
			numbers = append(numbers, n)
			parts++
			continue
		}
		if e.deps = w.prune(e.deps); e.deps != nil {
			only = e.deps
			bound = max(bound, e.deps.bound)
			numbers = append(numbers, e.deps.numbers...)
			parts++
		}
	}
	if parts == 0 {
		return nil
	}
	if parts == 1 && only != nil {
		return only
	}
	slices.Sort(numbers)
	numbers = slices.Compact(numbers)
	above, _ := slices.BinarySearch(numbers, bound+1)
	if numbers = numbers[above:]; len(numbers) > maxDeps {
		return &deps{bound: number - 1}
	}
	return &deps{bound: bound, numbers: numbers}
}

// prune returns what of d is unsettled still: d itself if all is.
func (w *window) prune(d *deps) *deps {
	if d == nil {
		return nil
	}
	left := 0
	for _, n := range d.numbers {
		if w.unsettled(n) != nil {
			left++
		}
	}
	held := d.bound > w.floor.Number
	switch {
	case left == len(d.numbers) && (held || d.bound == 0):
		return d
	case left == 0 && !held:
		return nil
	}
	pruned := &deps{numbers: make([]uint64, 0, left)}
	if held {
		pruned.bound = d.bound
	}
	for _, n := range d.numbers {
		if w.unsettled(n) != nil {
			pruned.numbers = append(pruned.numbers, n)
		}
	}
	return pruned
}

// unsettled returns the item of a number that others may depend on.
func (w *window) unsettled(number uint64) *item {
	if e := w.entry(number); e != nil {
		return e.item
	}
	return nil
}

// admit makes a waiting item ready, unless something that it needs is not
// settled: then it waits for that.
func (w *window) admit(it *item) {
	for i, n := range it.needs.numbers {
		if other := w.unsettled(n); other != nil {
			it.needs.numbers = it.needs.numbers[i:]
			other.waiters = append(other.waiters, it)
			return
		}
	}
	it.needs.numbers = nil
	if it.needs.bound > w.floor.Number {
		w.barriers.push(it)
		return
	}
	w.waiting--
	w.makeReady(it)
}

func (w *window) makeReady(it *item) {
	it.state = ready
	w.ready.push(it)
}

// advance moves the floor over what needs nothing any more.
func (w *window) advance() {
	for len(w.entries) > 0 && w.entries[0].item == nil {
		e := &w.entries[0]
		w.floor = types.Cursor{Number: w.floor.Number + 1, Hash: e.hash}
		if w.settings.CausalAcks {
			delete(w.index, e.digest)
		}
		w.entries = w.entries[1:]
	}
	for it := w.barriers.first(); it != nil && it.needs.bound <= w.floor.Number; it = w.barriers.first() {
		w.admit(w.barriers.pop())
	}
}

// requeuedSize stands for the size of an event that was requeued, which no record
// has.
const requeuedSize = 64 << 10

// requeue makes an event deliverable that was given up; base is how often it
// has been delivered so far. Nothing depends on it, and it on nothing.
func (w *window) requeue(c types.Cursor, digest types.Hash, base uint64) *item {
	it := &item{cursor: c, digest: digest, requeued: true, size: requeuedSize, attempts: base, base: base}
	w.again[c.Number] = it
	w.makeReady(it)
	return it
}

// restore says of a ready item that it was delivered before a restart.
func (w *window) restore(it *item, attempts uint64, deadline int64) {
	w.ready.remove(it)
	it.attempts, it.deadline, it.state = attempts, deadline, pending
	w.pending.push(it)
	w.countDelivered(it, 1)
}

// countDelivered counts an item in or out (by 1 or -1) among the delivered.
func (w *window) countDelivered(it *item, by int) {
	if it.count() > 0 {
		w.delivered += by
	}
	if it.count() > 1 {
		w.redelivered += by
	}
}

// available is how many events take would return if asked for all.
func (w *window) available() int {
	return w.due.Len() + min(w.ready.Len(), w.room())
}

// room is how many events may be delivered that are not yet.
func (w *window) room() int { return w.settings.MaxPending - w.delivered }

// expire moves what was not settled in time to the events to be delivered
// again, and returns those that were delivered too often for that, which the
// caller is to settle: at most limit.
func (w *window) expire(now int64, limit int) (dead []*item) {
	for it := w.pending.first(); it != nil && it.deadline <= now && len(dead) < limit; it = w.pending.first() {
		switch {
		case !w.spent(it):
			w.pending.pop()
			it.state = due
			w.due.push(it)
		case it.held: // nobody has seen its last delivery
			w.extend(it, now)
		default:
			w.pending.pop()
			dead = append(dead, it)
			it.state = due // which needs a queue until it is settled
			w.due.push(it)
		}
	}
	return dead
}

// spent reports whether an item may not be delivered again.
func (w *window) spent(it *item) bool {
	return w.settings.MaxDeliver > 0 && it.count() >= w.settings.MaxDeliver
}

// nextDeadline returns the time of the next expiry, and whether there is one.
func (w *window) nextDeadline() (int64, bool) {
	if it := w.pending.first(); it != nil {
		return it.deadline, true
	}
	return 0, false
}

// take delivers up to n events, and of about MaxBatchSize bytes: those due again
// first, then the ready ones, in the order of the log. With hold they are not handed out yet: see handOut.
func (w *window) take(now int64, n int, hold bool) []*item {
	n = min(n, w.available())
	if n <= 0 {
		return nil
	}
	taken := make([]*item, 0, n)
	for size := 0; len(taken) < n && size < MaxBatchSize; {
		q := &w.due
		if q.Len() == 0 {
			q = &w.ready
		}
		it := q.pop()
		w.countDelivered(it, -1)
		if it.attempts++; it.given && it.count() == 1 && it.cursor.Number < w.seen && !w.settings.CausalAcks {
			// Others have seen what is behind it: this comes out of the log's order, as
			// only a redelivery may. So the delivery that nobody saw counts after all.
			it.attempts, it.counted = it.attempts+1, true
		}
		it.given = false
		w.countDelivered(it, 1)
		if it.held = hold; !hold {
			w.see(it)
		}
		w.postpone(it, now)
		taken = append(taken, it)
		size += int(it.size)
	}
	return taken
}

// postpone puts an item that is in no queue among the pending.
func (w *window) postpone(it *item, now int64) {
	it.state, it.deadline = pending, now+w.settings.delay(it.count()).Milliseconds()
	w.pending.push(it)
}

// extend puts the deadline of a delivered item off, as if it had been
// delivered now.
func (w *window) extend(it *item, now int64) {
	w.unqueue(it)
	w.postpone(it, now)
}

// nak asks for the next delivery of a delivered item at a time.
func (w *window) nak(it *item, at int64) {
	w.unqueue(it)
	it.held = false
	it.state, it.deadline = pending, at
	w.pending.push(it)
}

// handOut gives a held item to its subscriber, from which moment its time
// runs.
func (w *window) handOut(it *item, now int64) {
	it.held, it.counted = false, false
	w.see(it)
	w.extend(it, now)
}

// see notes that a subscriber has an item.
func (w *window) see(it *item) {
	if !it.requeued {
		w.seen = max(w.seen, it.cursor.Number)
	}
}

// giveBack undoes the delivery of a held item, which nobody has seen.
func (w *window) giveBack(it *item, now int64) {
	w.unqueue(it)
	w.countDelivered(it, -1)
	it.held, it.given = false, true
	if it.attempts--; it.counted {
		it.attempts, it.counted = it.attempts-1, false
	}
	w.countDelivered(it, 1)
	if it.count() == 0 {
		w.makeReady(it)
		return
	}
	it.state, it.deadline = due, now
	w.due.push(it)
}

// settle is the end of an item.
func (w *window) settle(it *item) {
	w.unqueue(it)
	w.countDelivered(it, -1)
	if it.requeued {
		delete(w.again, it.cursor.Number)
		return
	}
	w.entry(it.cursor.Number).item = nil
	if w.settings.CausalAcks {
		delete(w.index, it.digest)
	}
	waiters := it.waiters
	it.waiters = nil
	for _, other := range waiters {
		w.admit(other)
	}
	w.advance()
}

// unqueue takes an item out of its queue.
func (w *window) unqueue(it *item) {
	switch it.state {
	case ready:
		w.ready.remove(it)
	case pending:
		w.pending.remove(it)
	case due:
		w.due.remove(it)
	}
}

// find returns the item that a token's number and attempt name, or why it is
// refused.
func (w *window) find(number, attempt uint64) (it *item, refused string) {
	it = w.again[number]
	switch e := w.entry(number); {
	case it != nil:
	case e != nil:
		it = e.item
	case number > w.floor.Number || number == 0:
		return nil, ReasonUnknown
	}
	switch {
	case it == nil:
		return nil, ReasonSettled
	case attempt == 0 || attempt > it.attempts:
		return nil, ReasonUnknown
	case attempt < it.attempts || it.state < pending:
		return nil, ReasonStale
	}
	return it, ""
}
