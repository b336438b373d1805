package delivery

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"time"

	"github.com/ipfs/go-cid"

	"github.com/cairn-p2p/cairn/types"
)

// records yields the records below a prefix and behind a key, which it reads in
// pages: the loop's body may change them.
func (cs *Consumers) records(prefix, after string) iter.Seq2[types.Record, error] {
	return func(yield func(types.Record, error) bool) {
		for {
			page, err := cs.cfg.Records.Metas(prefix, after, recordsPage)
			if err != nil {
				yield(types.Record{}, err)
				return
			}
			for _, r := range page {
				if !yield(r, nil) {
					return
				}
				after = r.Key
			}
			if len(page) < recordsPage {
				return
			}
		}
	}
}

// settleDue makes the records say what became of deliveries until now.
func (c *Consumer) settleDue() error {
	l, err := c.lock()
	if err != nil {
		return err
	}
	defer c.mu.Unlock()
	err = c.expire(l)
	if err == nil && l.version > l.saved {
		err = c.save(l)
	}
	if err != nil {
		return fmt.Errorf("consumer %q: %w", c.settings.Name, err)
	}
	return nil
}

// notes yields a consumer's notes of one kind, of events behind the number after.
func (c *Consumer) notes(prefix string, after uint64) iter.Seq2[*note, error] {
	return func(yield func(*note, error) bool) {
		if err := c.settleDue(); err != nil && !errors.Is(err, types.ErrInvalidCursor) { // with that, they are as they were
			yield(nil, err)
			return
		}
		for record, err := range c.set.records(below(prefix, c.settings.Name), numberKey(prefix, c.settings.Name, after)) {
			var n *note
			if err == nil {
				n, err = decodeNote(record)
			}
			if err != nil {
				yield(nil, fmt.Errorf("consumer %q: %w", c.settings.Name, err))
				return
			}
			if !yield(n, nil) {
				return
			}
		}
	}
}

// Dead yields the dead letters behind a log number, 0 for all, by number. It
// ends after an error. Those of a consumer that must be reset are what they were:
// Reset forgets them.
func (c *Consumer) Dead(after uint64) iter.Seq2[Dead, error] {
	return func(yield func(Dead, error) bool) {
		for n, err := range c.notes(deadPrefix, after) {
			if err != nil {
				yield(Dead{}, err)
				return
			}
			d := Dead{CID: types.CIDOf(n.digest), Cursor: n.cursor, Count: int(n.count), Reason: n.reason, Time: time.UnixMilli(n.millis)}
			if !yield(d, nil) {
				return
			}
		}
	}
}

// Suppressed yields the events behind a log number, 0 for all, that the validator keeps from
// being delivered, by number. It ends after an error.
func (c *Consumer) Suppressed(after uint64) iter.Seq2[Suppressed, error] {
	return func(yield func(Suppressed, error) bool) {
		for n, err := range c.notes(suppressedPrefix, after) {
			if err != nil {
				yield(Suppressed{}, err)
				return
			}
			if !yield(Suppressed{CID: types.CIDOf(n.digest), Cursor: n.cursor, Reason: n.reason}, nil) {
				return
			}
		}
	}
}

// maxRequeued bounds the events that are requeued and not settled: they are all in
// memory.
const maxRequeued = MaxAhead

// Requeue makes dead letters deliverable again, all of them if none is named,
// and returns how many. Each is delivered as if for the first time, before what
// is new, and nothing waits for it. It is durable when it returns. CIDs that are
// no dead letters are types.ErrNotFound, and none is requeued. At most 65,536
// are requeued and not settled: the others stay where they are.
func (c *Consumer) Requeue(ctx context.Context, cids ...cid.Cid) (int, error) {
	wanted := make(map[types.Hash]bool, len(cids))
	for _, id := range cids {
		wanted[types.Digest(id)] = true
	}
	if err := c.settleDue(); err != nil {
		return 0, err
	}
	var chosen []*note
	for n, err := range c.notes(deadPrefix, 0) {
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return 0, err
		}
		if len(cids) > 0 && !wanted[n.digest] {
			continue
		}
		delete(wanted, n.digest)
		if chosen = append(chosen, n); len(cids) == 0 && len(chosen) == maxRequeued {
			break
		}
	}
	for digest := range wanted {
		return 0, fmt.Errorf("consumer %q: %w: %s is no dead letter", c.settings.Name, types.ErrNotFound, types.CIDOf(digest))
	}
	done := 0
	for len(chosen) > 0 {
		part := chosen[:min(len(chosen), maxExtra/2)]
		chosen = chosen[len(part):]
		n, err := c.requeue(part)
		done += n
		if err != nil {
			return done, err
		}
	}
	return done, nil
}

// requeue makes some dead letters deliverable, and returns how many.
func (c *Consumer) requeue(notes []*note) (int, error) {
	l, err := c.lock()
	if err != nil {
		return 0, err
	}
	defer c.mu.Unlock()
	done := 0
	for _, n := range notes {
		dead := numberKey(deadPrefix, c.settings.Name, n.cursor.Number)
		if b, err := c.set.cfg.Records.Meta(dead); err != nil {
			return 0, fmt.Errorf("consumer %q: %w", c.settings.Name, err)
		} else if b == nil || l.again[n.cursor.Number] != nil || len(l.again) == maxRequeued {
			continue // another call was faster, or there is no room
		}
		again := note{cursor: n.cursor, digest: n.digest, attempts: n.attempts}
		l.extra = append(l.extra,
			types.Record{Key: numberKey(againPrefix, c.settings.Name, n.cursor.Number), Value: again.encode()},
			types.Record{Key: dead}) // last: see writeRecords
		l.requeue(n.cursor, n.digest, n.attempts)
		l.dead--
		l.version++
		done++
	}
	c.signal()
	if err := c.save(l); err != nil {
		return 0, fmt.Errorf("consumer %q: commit: %w", c.settings.Name, err)
	}
	return done, nil
}

// errReset is what those get who were at work when the consumer was reset.
var errReset = fmt.Errorf("%w: the consumer was reset", ErrToken)

// Reset lets the consumer begin anew, durably, as if it had just been made: its
// dead letters and all it knows are gone, and its tokens stale. It is what
// types.ErrInvalidCursor asks for. After an error, or a crash before it returns, it
// may stand where it stood, without some records of dead letters and suppressed events.
func (c *Consumer) Reset(ctx context.Context, from Start) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	err := c.reset(from)
	if err != nil {
		return fmt.Errorf("reset consumer %q: %w", c.settings.Name, err)
	}
	return nil
}

func (c *Consumer) reset(from Start) error {
	switch {
	case c.set.isClosed():
		return types.ErrClosed
	case c.removed:
		return types.ErrNotFound
	case from.Now && from.Cursor != types.Cursor{}:
		return fmt.Errorf("%w: from now and from a cursor", types.ErrInvalidArgument)
	}
	first, err := c.set.begin(c.settings.Topic, from)
	if err != nil {
		return err
	}
	c.halt(errReset)
	return c.set.forget(c.settings.Name, types.Record{Key: progressPrefix + c.settings.Name, Value: first.encode()})
}

// remove deletes the consumer's records but for its notes.
func (c *Consumer) remove() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.halt(types.ErrNotFound)
	err := c.set.cfg.Records.SetMetas(types.Record{Key: progressPrefix + c.settings.Name}, types.Record{Key: settingsPrefix + c.settings.Name})
	if err == nil {
		c.removed = true
		c.signal()
	}
	return err
}

// halt gives up the state in memory, after the save under way.
func (c *Consumer) halt(why error) {
	for c.saving != nil {
		c.awaitSave()
	}
	if c.loaded != nil {
		c.drop(c.loaded, why)
	}
}

// forget deletes the notes of the consumer called name and then writes last.
// Nobody may load it meanwhile.
func (cs *Consumers) forget(name string, last ...types.Record) error {
	for _, prefix := range []string{deadPrefix, againPrefix, suppressedPrefix} {
		for after := ""; ; {
			page, err := cs.cfg.Records.Metas(below(prefix, name), after, maxExtra)
			if err != nil {
				return err
			}
			if len(page) == 0 {
				break
			}
			for i := range page {
				page[i].Value = nil
			}
			if err := cs.cfg.Records.SetMetas(page...); err != nil {
				return err
			}
			after = page[len(page)-1].Key
		}
	}
	if len(last) == 0 {
		return nil
	}
	return cs.cfg.Records.SetMetas(last...)
}
