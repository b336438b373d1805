package delivery

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/ipfs/go-cid"

	"github.com/cairn-p2p/cairn/types"
)

// Next returns up to batch events, at least 1 and at most MaxBatch, and of about
// MaxBatchSize bytes, that are due: those whose time to be settled has passed, then
// new ones. While there are none it waits for one, up to wait, and then returns none.
// Their counts are durable when it returns. Their events are shared: do not change them.
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
		return nil, change{}, fmt.Errorf("consumer %q: %w", c.settings.Name, err)
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
	first := 0
	for i := range ds {
		if ds[i].Count == 1 {
			first++
		}
	}
	c.set.counters.first.Add(uint64(first))
	c.set.counters.again.Add(uint64(len(ds) - first))
	return ds, ch, nil
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
			Token:  l.token(it),
		}
		if it.event == nil {
			missing = append(missing, types.CIDOf(it.digest))
			continue
		}
		l.kept -= it.event.Size()
		it.event = nil
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
