package delivery

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/cairn-p2p/cairn/types"
)

// Ack settles events: they are never delivered again. That is durable when it
// returns. Tokens that are refused are TokenErrors; the others are carried out.
// Many tokens, or many callers, share a commit.
func (c *Consumer) Ack(ctx context.Context, tokens ...Token) error {
	return c.each(ctx, tokens, true, func(l *loaded, it *item) {
		c.settle(l, it)
		c.set.counters.acked.Add(1)
	})
}

// Nak asks for events to be delivered again after a delay, of at most MaxDelay, or
// to go to the dead letters if they were delivered MaxDeliver times. It is
// durable when it returns. For the errors see Ack.
func (c *Consumer) Nak(ctx context.Context, delay time.Duration, tokens ...Token) error {
	if delay < 0 || delay > MaxDelay {
		return fmt.Errorf("consumer %q: %w: delay %v, want 0 to %v", c.settings.Name, types.ErrInvalidArgument, delay, MaxDelay)
	}
	return c.each(ctx, tokens, true, func(l *loaded, it *item) {
		if l.spent(it) {
			c.bury(l, it, fmt.Sprintf("delivered %d times and refused", it.count()))
			return
		}
		l.nak(it, c.set.now()+delay.Milliseconds())
		l.version++
		c.signal()
	})
}

// Progress says that events are being worked on: the time to settle them runs
// from now. A restart forgets it. For the errors see Ack.
func (c *Consumer) Progress(ctx context.Context, tokens ...Token) error {
	return c.each(ctx, tokens, false, func(l *loaded, it *item) {
		l.extend(it, c.set.now())
		l.version++
	})
}

// Term settles events that are not to be delivered again although nobody
// acknowledges them. With a reason they go to the dead letters, without one
// they are gone. It is durable when it returns. For the errors see Ack.
func (c *Consumer) Term(ctx context.Context, reason string, tokens ...Token) error {
	return c.each(ctx, tokens, true, func(l *loaded, it *item) {
		if reason == "" {
			c.settle(l, it)
		} else {
			c.bury(l, it, reason)
		}
		c.set.counters.terminated.Add(1)
	})
}

// each does something to the event of every token that is not refused, and then
// saves if asked to. What a token was refused for is durable too.
func (c *Consumer) each(ctx context.Context, tokens []Token, save bool, do func(*loaded, *item)) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	l, err := c.lock()
	if err != nil {
		return err
	}
	defer c.mu.Unlock()
	var refusals []error
	for _, t := range tokens {
		it, refused := l.check(t)
		if refused != "" {
			refusals = append(refusals, &TokenError{Token: t, Reason: refused})
			c.set.counters.refused.Add(1)
			continue
		}
		do(l, it)
	}
	if save {
		if err := c.save(l); err != nil {
			return fmt.Errorf("consumer %q: commit: %w", c.settings.Name, err)
		}
	}
	return errors.Join(refusals...)
}

// check returns the item that a token names, or why it is refused.
func (l *loaded) check(t Token) (it *item, refused string) {
	if t.Epoch != l.epoch {
		return nil, ReasonStale
	}
	it, refused = l.find(t.Number, t.Attempt)
	if it != nil && tokenHash(it) != t.Hash {
		return nil, ReasonUnknown
	}
	return it, refused
}

// token names the last delivery of an item.
func (l *loaded) token(it *item) Token {
	return Token{Epoch: l.epoch, Number: it.cursor.Number, Attempt: it.attempts, Hash: tokenHash(it)}
}

func tokenHash(it *item) [4]byte { return [4]byte(it.cursor.Hash[:4]) }

// settle is the end of an event.
func (c *Consumer) settle(l *loaded, it *item) {
	if it.requeued {
		l.extra = append(l.extra, types.Record{Key: numberKey(againPrefix, c.settings.Name, it.cursor.Number)})
	}
	l.settle(it)
	l.version++
	c.signal()
}

// bury settles an event as a dead letter.
func (c *Consumer) bury(l *loaded, it *item, reason string) {
	n := note{
		cursor: it.cursor, digest: it.digest, attempts: it.attempts, count: uint64(it.count()),
		millis: c.set.now(), reason: cut(reason),
	}
	l.extra = append(l.extra, types.Record{Key: numberKey(deadPrefix, c.settings.Name, it.cursor.Number), Value: n.encode()})
	l.dead++
	c.set.counters.dead.Add(1)
	c.settle(l, it)
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
			return err
		}
	}
}
