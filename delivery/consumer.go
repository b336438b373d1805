package delivery

import (
	"fmt"
	"sync"

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
	judging chan struct{} // closes when the validator has looked at what a scan goes on with; nil: no scan waits for it
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
	kept       int   // bytes of the events that were kept from the scan and not delivered yet

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
	p, err := c.progress()
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

// progress reads where the consumer stands.
func (c *Consumer) progress() (*progress, error) {
	b, err := c.set.cfg.Records.Meta(progressPrefix + c.settings.Name)
	if err != nil {
		return nil, err
	}
	p, err := decodeProgress(b)
	if err == nil && p.incarnation != c.set.incarnation {
		err = fmt.Errorf("%w: the node's data was restored from an older copy, in which the ack floor is %s", types.ErrInvalidCursor, Start{Cursor: p.floor})
	}
	return p, err
}

// rebuild makes the window what it was when p was written, from the log. It
// checks that the log is the same.
func (c *Consumer) rebuild(l *loaded, p *progress) error {
	runs, was := p.runs, p.delivered
	at, now := p.floor, c.set.now()
	if p.at > now {
		l.version++ // the deadlines move back once, not with each load
	}
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
				l.restore(it, was[0].attempts, p.deadline(was[0], now))
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
	return c.rebuildRequeued(l, p, now)
}

func (c *Consumer) rebuildRequeued(l *loaded, p *progress, now int64) error {
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
			l.restore(it, d.attempts, p.deadline(d, now))
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
