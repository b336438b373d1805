package delivery

import (
	"context"
	"fmt"

	"github.com/cairn-p2p/cairn/types"
)

// scanSave is how many entries are scanned for nothing before that is saved.
const scanSave = 4096

// scan looks at the log until batch events can be delivered, or as many as may
// be. It lets go of the mutex between the pieces of the log, and while the
// validator is at work, which may take its time over strangers' events.
func (c *Consumer) scan(ctx context.Context, l *loaded, batch int) error {
	for !l.enough(batch) {
		if c.judging != nil { // another call scans: go on where it ends
			if err := c.awaitJudging(ctx); err != nil {
				return err
			}
			if l.dropped != nil {
				return errDropped
			}
			continue
		}
		events, err := l.feed.read(l.log, l.scanned())
		if err != nil {
			return fmt.Errorf("consumer %q: %w", c.settings.Name, err)
		}
		if len(events) == 0 {
			return nil
		}
		if l.validator != nil {
			events = c.judge(ctx, l.validator, events, min(batch-l.available(), l.room()-l.ready.Len()))
			if l.dropped != nil {
				return errDropped
			}
		}
		for _, e := range events {
			if l.enough(batch) {
				break
			}
			c.look(l, e)
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

// judge lets the validator look at events until it has found wanted ones to
// deliver, and returns those that it came to, with its verdicts. It lets go of the
// mutex meanwhile, and ends with ctx after the event that it is at.
func (c *Consumer) judge(ctx context.Context, v Validator, events []logged, wanted int) (judged []logged) {
	done := make(chan struct{})
	c.judging = done
	c.mu.Unlock()
	defer func() { // even when the validator panics
		c.mu.Lock()
		c.judging = nil
		close(done)
	}()
	for _, e := range events { // a copy: others share them
		if c.settings.matches(e.Event) {
			if e.reason = v.Check(e.Event); e.reason == "" {
				wanted--
			}
		}
		if judged = append(judged, e); wanted <= 0 || ctx.Err() != nil {
			break
		}
	}
	return judged
}

// awaitJudging lets go of the mutex until the validator is done.
func (c *Consumer) awaitJudging(ctx context.Context) error {
	done := c.judging
	c.mu.Unlock()
	defer c.mu.Lock()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// enough reports whether more of the log is of no use: batch events can be
// delivered, or ones of enough bytes, or no more than there are, or the window is
// full.
func (l *loaded) enough(batch int) bool {
	return l.available() >= batch || l.kept >= MaxBatchSize || l.ready.Len() >= l.room() || l.full()
}

// look takes up the next event of the log, and keeps it if it can be delivered
// now.
func (c *Consumer) look(l *loaded, e logged) {
	matches := e.reason == "" && c.settings.matches(e.Event)
	if e.reason != "" {
		n := note{cursor: e.cursor, digest: types.Digest(e.CID), reason: cut(e.reason)}
		l.extra = append(l.extra, types.Record{Key: numberKey(suppressedPrefix, c.settings.Name, e.cursor.Number), Value: n.encode()})
		l.suppressed++
		c.set.counters.suppressed.Add(1)
		l.version++
	}
	it := l.add(e.cursor, types.Digest(e.CID), e.Links, matches)
	if it == nil {
		return
	}
	it.size = uint32(e.Size())
	if it.state == ready {
		it.event = e.Event // it is taken now, or, when the call ends before, soon
		l.kept += e.Size()
	}
}
