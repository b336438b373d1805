package delivery

import (
	"context"
	"iter"
	"time"
)

// How many events a stream takes at a time: from 1, up to streamBatch for a
// subscriber that handles a batch within streamPace. What is taken for one
// cannot be given to another.
const (
	streamBatch = 256
	streamPace  = 20 * time.Millisecond
)

// Stream yields events as Next returns them, waits for more, and ends with ctx,
// without an error, or after one. The time to settle an event runs from when it
// is yielded. What is not settled when the loop ends is delivered again in its time.
func (c *Consumer) Stream(ctx context.Context) iter.Seq2[Delivery, error] {
	return func(yield func(Delivery, error) bool) {
		defer c.use()()
		size := 1
		for {
			ds, change, err := c.poll(ctx, size, true, true)
			if err == nil && len(ds) == 0 {
				_, err = change.wait(ctx, c.set, nil)
			}
			if ctx.Err() != nil {
				c.giveBack(ds)
				return
			}
			if err != nil {
				yield(Delivery{}, err)
				return
			}
			begin := c.set.cfg.Now()
			for i, d := range ds {
				if ctx.Err() != nil {
					c.giveBack(ds[i:])
					return
				}
				if ok, err := c.handOut(d.Token); err != nil {
					yield(Delivery{}, err)
					return
				} else if ok && !yield(d, nil) {
					c.giveBack(ds[i+1:])
					return
				}
			}
			if c.set.cfg.Now().Sub(begin) > streamPace {
				size = max(1, size/2)
			} else if len(ds) == size {
				size = min(2*size, streamBatch)
			}
		}
	}
}

// handOut reports whether the delivery is still the last one of its event, which is
// not settled; if so, its time runs from now.
func (c *Consumer) handOut(t Token) (bool, error) {
	l, err := c.lock()
	if err != nil {
		return false, err
	}
	defer c.mu.Unlock()
	it, refused := l.check(t)
	if refused != "" {
		return false, nil
	}
	l.handOut(it, c.set.now())
	l.version++
	return true, nil
}

// giveBack undoes deliveries that nobody has seen. What cannot be undone is
// delivered again later.
func (c *Consumer) giveBack(ds []Delivery) {
	if len(ds) == 0 {
		return
	}
	l, err := c.lock()
	if err != nil {
		return
	}
	defer c.mu.Unlock()
	for _, d := range ds {
		if it, refused := l.check(d.Token); refused == "" && it.held {
			l.giveBack(it, c.set.now())
			l.version++
		}
	}
	c.signal()
	if err := c.save(l); err != nil {
		c.set.cfg.Log.Warn("give back what was not handed out", "consumer", c.settings.Name, "err", err)
	}
}
