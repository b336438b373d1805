package delivery

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/ipfs/go-cid"

	"github.com/cairn-p2p/cairn/types"
)

// Consumer is a named, durable place in a topic's delivery log. Its methods are
// safe for concurrent use: subscribers that share one share the events.
//
// Besides those that a method names, every one may fail with types.ErrNotFound
// after the consumer was removed or its topic went, types.ErrInvalidCursor when the
// log is another than before, until Reset, types.ErrClosed, types.ErrDiskFull, and
// types.ErrStore, after which what was to be done may or may not have been.
type Consumer struct {
	set      *Consumers
	settings Settings

	mu      sync.Mutex
	loaded  *loaded // nil while idle
	users   int     // calls of Next and Stream
	usedAt  int64   // when last, in Unix milliseconds
	removed bool
	wake    chan struct{} // closes when something may have become deliverable; nil while nobody waits
	saving  chan struct{} // closes at the end of the save under way; nil: none
}

// loaded is a consumer's state in memory. It is guarded by the consumer's mutex
// and dropped when a write fails: then the records say what is true.
type loaded struct {
	*window
	log        Log
	feed       *feed
	validator  Validator // or nil
	epoch      uint64
	dead       uint64
	suppressed uint64
	dropped    error // set once it is no longer the consumer's

	version   uint64         // grows with each change
	saved     uint64         // the version that is durable
	savedScan uint64         // how far the log was scanned then
	extra     []types.Record // to be written with the next save
}

// Settings returns what the consumer was made with, defaults filled in. The
// caller must not change the slices.
func (c *Consumer) Settings() Settings { return c.settings }

// lock takes the mutex and returns the state in memory. On an error the mutex
// is not held.
func (c *Consumer) lock() (*loaded, error) {
	c.mu.Lock()
	l, err := c.load()
	if err != nil {
		c.mu.Unlock()
		return nil, fmt.Errorf("consumer %q: %w", c.settings.Name, err)
	}
	return l, nil
}

// load returns the state in memory, and puts it there if it is not.
func (c *Consumer) load() (*loaded, error) {
	for c.loaded == nil && c.saving != nil {
		c.awaitSave() // the records have all that was acknowledged then
	}
	switch {
	case c.set.isClosed():
		return nil, types.ErrClosed
	case c.removed:
		return nil, types.ErrNotFound
	}
	c.usedAt = c.set.now()
	if c.loaded != nil {
		return c.loaded, nil
	}
	log, err := c.set.cfg.Topic(c.settings.Topic)
	if err != nil {
		return nil, err
	}
	b, err := c.set.cfg.Records.Meta(progressPrefix + c.settings.Name)
	if err != nil {
		return nil, err
	}
	p, err := decodeProgress(b)
	if err != nil {
		return nil, err
	}
	l := &loaded{
		window: newWindow(&c.settings, p.floor), log: log, feed: c.set.enter(c),
		epoch: p.epoch, dead: p.dead, suppressed: p.suppressed, savedScan: p.scanned.Number,
	}
	if c.set.cfg.Validator != nil {
		l.validator = c.set.cfg.Validator(c.settings.Topic)
	}
	if err := c.rebuild(l, p); err != nil {
		c.set.leave(c)
		return nil, err
	}
	c.loaded = l
	return l, nil
}

// rebuild makes the window what it was when p was written, from the log. It
// checks that the log is the same.
func (c *Consumer) rebuild(l *loaded, p *progress) error {
	runs, was := p.runs, p.delivered
	at := p.floor
	for at.Number < p.scanned.Number {
		events, err := l.feed.read(l.log, at)
		if err != nil {
			return err
		}
		if len(events) == 0 {
			return fmt.Errorf("%w: the log ends before event %d", types.ErrInvalidCursor, p.scanned.Number)
		}
		for _, e := range events[:min(uint64(len(events)), p.scanned.Number-at.Number)] {
			settled := false
			if len(runs) > 0 {
				if r := &runs[0]; r.unsettled > 0 {
					r.unsettled--
				} else {
					settled = true
					if r.settled--; r.settled == 0 {
						runs = runs[1:]
					}
				}
			}
			it := l.add(e.cursor, types.Digest(e.CID), e.Links, !settled)
			if it != nil {
				it.size = uint32(e.Size())
			}
			if len(was) > 0 && was[0].number == e.cursor.Number {
				if it == nil || it.state != ready {
					return corrupt("event %d was delivered, and is settled or held back", e.cursor.Number)
				}
				l.restore(it, was[0].attempts, was[0].deadline)
				was = was[1:]
			}
			at = e.cursor
		}
	}
	if len(was) > 0 {
		return corrupt("event %d was delivered and not scanned", was[0].number)
	}
	if at != p.scanned {
		return fmt.Errorf("%w: the log differs before event %d", types.ErrInvalidCursor, p.scanned.Number+1)
	}
	if p.scanned == p.floor { // nothing was read that would have shown it
		if _, err := l.feed.read(l.log, p.floor); err != nil {
			return err
		}
	}
	return c.rebuildRequeued(l, p)
}

func (c *Consumer) rebuildRequeued(l *loaded, p *progress) error {
	was := make(map[uint64]delivered, len(p.again))
	for _, d := range p.again {
		was[d.number] = d
	}
	for record, err := range c.set.records(below(againPrefix, c.settings.Name), "") {
		if err != nil {
			return err
		}
		n, err := decodeNote(record)
		if err != nil {
			return err
		}
		it := l.requeue(n.cursor, n.digest, n.attempts)
		if d, ok := was[n.cursor.Number]; ok {
			if d.attempts <= n.attempts {
				return corrupt("event %d was delivered %d times, and %d before it was requeued", d.number, d.attempts, n.attempts)
			}
			l.restore(it, d.attempts, d.deadline)
		}
	}
	return nil
}

// drop gives up a state in memory. Who works with it gets why, or loads anew.
func (c *Consumer) drop(l *loaded, why error) {
	if l.dropped != nil || c.loaded != l {
		return
	}
	l.dropped = why
	c.loaded = nil
	c.set.leave(c)
	c.signal()
}

// signal wakes those who wait for something to deliver.
func (c *Consumer) signal() {
	if c.wake != nil {
		close(c.wake)
		c.wake = nil
	}
}

// woken returns a channel that closes at the next signal.
func (c *Consumer) woken() <-chan struct{} {
	if c.wake == nil {
		c.wake = make(chan struct{})
	}
	return c.wake
}

// maxExtra bounds the records that a save writes beside the progress: a
// transaction of the store takes so many with the longest reasons.
const maxExtra = 1000

// save returns once all that was changed in l so far is durable. It is called,
// and returns, with the mutex held, which it lets go of meanwhile. Callers that
// come during a write share the next one. On an error l is dropped.
func (c *Consumer) save(l *loaded) error {
	want := l.version
	for l.saved < want {
		switch {
		case l.dropped != nil:
			return l.dropped
		case c.saving == nil:
			c.write(l)
		default:
			c.awaitSave()
		}
	}
	return nil
}

// write makes l durable as it is.
func (c *Consumer) write(l *loaded) {
	version, scanned, extra := l.version, l.scanned().Number, l.extra
	p := l.progress()
	p.epoch, p.dead, p.suppressed = l.epoch, l.dead, l.suppressed
	l.extra = nil
	c.saving = make(chan struct{})
	c.mu.Unlock()
	err := c.writeRecords(append(extra, types.Record{Key: progressPrefix + c.settings.Name, Value: p.encode()}))
	c.mu.Lock()
	close(c.saving)
	c.saving = nil
	if err != nil {
		c.drop(l, err)
		return
	}
	l.saved, l.savedScan = version, scanned
}

// writeRecords writes records in as few transactions as take them, the last of
// them last. A crash in between leaves notes of events whose progress does not
// know of them yet; they come to the same end again, under the same keys.
func (c *Consumer) writeRecords(records []types.Record) error {
	for len(records) > maxExtra+1 {
		if err := c.set.cfg.Records.SetMetas(records[:maxExtra]...); err != nil {
			return err
		}
		records = records[maxExtra:]
	}
	return c.set.cfg.Records.SetMetas(records...)
}

// awaitSave lets go of the mutex until the save under way has ended.
func (c *Consumer) awaitSave() {
	done := c.saving
	c.mu.Unlock()
	<-done
	c.mu.Lock()
}

// unload frees the memory of the consumer if may agrees, once all is durable.
func (c *Consumer) unload(may func(*Consumer) bool) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	l := c.loaded
	if l == nil || !may(c) {
		return nil
	}
	if l.scanned().Number != l.savedScan {
		l.version++
	}
	err := c.save(l)
	if may(c) {
		c.drop(l, types.ErrClosed)
	}
	return err
}

// Info says where the consumer stands.
func (c *Consumer) Info() (Info, error) {
	l, err := c.lock()
	if err != nil {
		return Info{}, err
	}
	defer c.mu.Unlock()
	if err := c.expire(l); err != nil {
		return Info{}, err
	}
	end, err := l.log.End()
	if err != nil {
		return Info{}, fmt.Errorf("consumer %q: %w", c.settings.Name, err)
	}
	return Info{
		Name:        c.settings.Name,
		TopicID:     c.settings.Topic,
		AckFloor:    l.floor,
		Pending:     l.delivered,
		Waiting:     l.waiting,
		Redelivered: l.redelivered,
		Dead:        l.dead,
		Suppressed:  l.suppressed,
		Lag:         end.Number - min(end.Number, l.scanned().Number) + uint64(l.waiting+l.ready.Len()),
	}, nil
}

// expire takes note of the deadlines that have passed. It lets go of the mutex.
func (c *Consumer) expire(l *loaded) error {
	for {
		dead := l.expire(c.set.now(), maxExtra)
		for _, it := range dead {
			c.bury(l, it, fmt.Sprintf("delivered %d times and not settled in time", it.count()))
		}
		if len(dead) == 0 {
			return nil
		}
		if err := c.save(l); err != nil {
			return fmt.Errorf("consumer %q: %w", c.settings.Name, err)
		}
	}
}

// bury settles an event as a dead letter.
func (c *Consumer) bury(l *loaded, it *item, reason string) {
	n := note{
		cursor: it.cursor, digest: it.digest, attempts: it.attempts, count: uint64(it.count()),
		millis: c.set.now(), reason: cut(reason),
	}
	l.extra = append(l.extra, types.Record{Key: numberKey(deadPrefix, c.settings.Name, it.cursor.Number), Value: n.encode()})
	l.dead++
	c.settle(l, it)
}

// settle is the end of an event.
func (c *Consumer) settle(l *loaded, it *item) {
	if it.requeued {
		l.extra = append(l.extra, types.Record{Key: numberKey(againPrefix, c.settings.Name, it.cursor.Number)})
	}
	l.settle(it)
	l.version++
	c.signal()
}

// Next returns up to batch events, at least 1 and at most MaxBatch, and of
// about MaxBatchSize bytes, that are due: those whose time to be settled has passed, then new ones. While there are none it
// waits for one, up to wait, and then returns none. Their
// counts are durable when it returns. Their events are shared: do not change them.
func (c *Consumer) Next(ctx context.Context, batch int, wait time.Duration) ([]Delivery, error) {
	if batch < 1 || batch > MaxBatch {
		return nil, fmt.Errorf("consumer %q: %w: batch of %d, want 1 to %d", c.settings.Name, types.ErrInvalidArgument, batch, MaxBatch)
	}
	defer c.use()()
	var timeout <-chan time.Time
	if wait > 0 {
		timer := time.NewTimer(wait)
		defer timer.Stop()
		timeout = timer.C
	}
	for {
		ds, change, err := c.poll(ctx, batch, false, wait > 0)
		if err != nil || len(ds) > 0 || wait <= 0 {
			return ds, err
		}
		if over, err := change.wait(ctx, c.set, timeout); over || err != nil {
			return nil, err
		}
	}
}

// use counts a call in, and returns what counts it out.
func (c *Consumer) use() (done func()) {
	c.mu.Lock()
	c.users++
	c.mu.Unlock()
	return func() {
		c.mu.Lock()
		c.users--
		c.usedAt = c.set.now()
		c.mu.Unlock()
	}
}

// change is what may make something deliverable.
type change struct {
	committed, woken <-chan struct{}
	deadline         time.Duration // until the next event is due again; negative: none
}

// wait returns when something may have changed, or, over, after timeout.
func (ch change) wait(ctx context.Context, set *Consumers, timeout <-chan time.Time) (over bool, err error) {
	var due <-chan time.Time
	if ch.deadline >= 0 {
		timer := time.NewTimer(ch.deadline)
		defer timer.Stop()
		due = timer.C
	}
	select {
	case <-ch.committed:
	case <-ch.woken:
	case <-due:
	case <-timeout:
		return true, nil
	case <-ctx.Done():
		return true, ctx.Err()
	case <-set.closed:
		return true, types.ErrClosed
	}
	return false, nil
}

// poll delivers what is due now. Without any it says what to wait for, if
// asked to.
func (c *Consumer) poll(ctx context.Context, batch int, hold, waits bool) ([]Delivery, change, error) {
	for {
		if err := ctx.Err(); err != nil {
			return nil, change{}, err
		}
		ds, ch, err := c.pollOnce(ctx, batch, hold, waits)
		if !errors.Is(err, errDropped) {
			return ds, ch, err
		}
	}
}

// errDropped: another call's write failed meanwhile, and nothing of this one's
// was lost.
var errDropped = errors.New("consumer was loaded again")

func (c *Consumer) pollOnce(ctx context.Context, batch int, hold, waits bool) ([]Delivery, change, error) {
	l, err := c.lock()
	if err != nil {
		return nil, change{}, err
	}
	defer c.mu.Unlock()
	ch := change{deadline: -1}
	if waits { // before looking: nothing is missed
		ch.woken, ch.committed = c.woken(), l.log.Committed()
	}
	if err := c.expire(l); err != nil {
		return nil, change{}, err
	}
	if l.dropped != nil {
		return nil, change{}, errDropped
	}
	if err := c.scan(ctx, l, batch); err != nil {
		return nil, change{}, err
	}
	items := l.take(c.set.now(), batch, hold)
	if len(items) == 0 {
		if at, ok := l.nextDeadline(); ok {
			ch.deadline = time.Duration(max(0, at-c.set.now())) * time.Millisecond
		}
		return nil, ch, nil
	}
	l.version++
	ds, err := c.deliveries(l, items)
	if err != nil {
		c.drop(l, err) // nobody will see what was taken
		return nil, change{}, err
	}
	if err := c.save(l); err != nil {
		return nil, change{}, fmt.Errorf("consumer %q: commit deliveries: %w", c.settings.Name, err)
	}
	return ds, ch, nil
}

// scanSave is how many entries are scanned for nothing before that is saved.
const scanSave = 4096

// slowPayload is the size in bytes above which a validator may take its time over
// a payload: the mutex is let go of behind such an event.
const slowPayload = 4 << 10

// scan looks at the log until batch events can be delivered, or as many as may
// be. It lets go of the mutex between the pieces of the log.
func (c *Consumer) scan(ctx context.Context, l *loaded, batch int) error {
	size := 0
	for !l.enough(batch, size) {
		events, err := l.feed.read(l.log, l.scanned())
		if err != nil {
			return fmt.Errorf("consumer %q: %w", c.settings.Name, err)
		}
		if len(events) == 0 {
			return nil
		}
		for _, e := range events {
			if l.enough(batch, size) {
				break
			}
			size += c.look(l, e)
			if l.validator != nil && len(e.Payload) > slowPayload {
				break
			}
		}
		if len(l.extra) >= maxExtra || l.scanned().Number-l.savedScan >= scanSave && c.saving == nil {
			l.version++
			if err := c.save(l); err != nil {
				return fmt.Errorf("consumer %q: commit what was scanned: %w", c.settings.Name, err)
			}
		}
		c.mu.Unlock() // let others at it
		c.mu.Lock()
		if l.dropped != nil {
			return errDropped
		}
		if err := ctx.Err(); err != nil {
			return err
		}
	}
	return nil
}

// enough reports whether more of the log is of no use: batch events can be
// delivered, or ones of enough bytes, or no more than there are, or the window is
// full.
func (l *loaded) enough(batch, size int) bool {
	return l.available() >= batch || size >= MaxBatchSize || l.ready.Len() >= l.room() || l.full()
}

// look takes up the next event of the log, and returns its size if it can be
// delivered now.
func (c *Consumer) look(l *loaded, e logged) (size int) {
	matches := c.settings.matches(e.Event)
	if matches && l.validator != nil {
		if reason := l.validator.Check(e.Event); reason != "" {
			matches = false
			n := note{cursor: e.cursor, digest: types.Digest(e.CID), reason: cut(reason)}
			l.extra = append(l.extra, types.Record{Key: numberKey(suppressedPrefix, c.settings.Name, e.cursor.Number), Value: n.encode()})
			l.suppressed++
			l.version++
		}
	}
	it := l.add(e.cursor, types.Digest(e.CID), e.Links, matches)
	if it == nil {
		return 0
	}
	it.size = uint32(e.Size())
	if it.state != ready {
		return 0
	}
	it.event = e.Event // it is taken now
	return e.Size()
}

// deliveries are what was taken, with the events.
func (c *Consumer) deliveries(l *loaded, items []*item) ([]Delivery, error) {
	ds := make([]Delivery, len(items))
	var missing []cid.Cid
	for i, it := range items {
		ds[i] = Delivery{
			Event:  it.event,
			Cursor: it.cursor,
			Count:  it.count(),
			Token:  Token{Epoch: l.epoch, Number: it.cursor.Number, Attempt: it.attempts},
		}
		it.event = nil
		if ds[i].Event == nil {
			missing = append(missing, types.CIDOf(it.digest))
		}
	}
	if len(missing) == 0 {
		return ds, nil
	}
	events, err := l.log.Get(missing...)
	if err != nil {
		return nil, fmt.Errorf("consumer %q: %w", c.settings.Name, err)
	}
	for i := range ds {
		if ds[i].Event != nil {
			continue
		}
		if events[0] == nil {
			return nil, corrupt("event %d of the log is gone", ds[i].Cursor.Number)
		}
		ds[i].Event, events = events[0], events[1:]
	}
	return ds, nil
}
