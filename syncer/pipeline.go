package syncer

import (
	"context"
	"errors"
	"fmt"

	"golang.org/x/sync/errgroup"

	"github.com/cairn-p2p/cairn/types"
)

// A pipeline verifies and integrates what a pull reads, each stage in its own
// goroutine and one batch ahead of the next. At most five batches are held at a
// time: one in each stage and one between each two.
type pipeline struct {
	s       *Syncer
	replica *replica
	strict  bool // an event without its links is an offence

	filling  *batch      // owned by the first stage
	read     chan *batch // to be verified
	verified chan *batch // to be integrated

	items uint64 // log entries covered so far; owned by the last stage
	saved uint64 // of them, those whose position is durable
	held  uint64 // events that are integrated here, at least; owned by the last stage
	added int    // events integrated; owned by the last stage
}

// batch is a piece of a peer's log.
type batch struct {
	events []*types.Event // those missing here
	size   int            // their bytes
	items  int            // log entries that it completes
	at     *position      // after them; nil: the batch ends between two frames
	err    error          // what is wrong with the event after the last
}

func newPipeline(s *Syncer, r *replica, strict bool) *pipeline {
	return &pipeline{
		s:        s,
		replica:  r,
		strict:   strict,
		filling:  new(batch),
		read:     make(chan *batch, 1),
		verified: make(chan *batch, 1),
	}
}

// run runs all stages, of which read is the first. What was read is integrated
// even when reading fails. It returns the error of the later stages, if one
// failed, and else read's.
func (l *pipeline) run(ctx context.Context, c *client, read func(context.Context) error) error {
	g, ctx := errgroup.WithContext(ctx)
	st := c.stream
	stop := context.AfterFunc(ctx, func() { st.Reset() }) //nolint:errcheck // to wake the first stage
	var readErr error
	g.Go(func() error {
		defer close(l.read)
		if readErr = read(ctx); readErr != nil {
			return l.flush(ctx)
		}
		return nil
	})
	g.Go(func() error {
		defer close(l.verified)
		return l.verify(ctx)
	})
	g.Go(func() error {
		if err := l.integrate(ctx); err != nil {
			return err
		}
		stop() // the group's context ends with it, the stream need not
		return nil
	})
	if err := g.Wait(); err != nil {
		return err
	}
	return readErr
}

// add adds an event to the batch being filled.
func (l *pipeline) add(ctx context.Context, e *types.Event) error {
	b := l.filling
	if len(b.events) > 0 && (len(b.events) >= maxBatchEvents || b.size+e.Size() > types.MaxBatchSize) {
		if err := l.flush(ctx); err != nil {
			return err
		}
		b = l.filling
	}
	b.events = append(b.events, e)
	b.size += e.Size()
	return nil
}

// mark says that with what was added so far, items more entries of the log are
// complete, up to the position at.
func (l *pipeline) mark(ctx context.Context, at position, items int) error {
	l.filling.at = &at
	l.filling.items += items
	if l.filling.items >= rememberEvery { // nothing new for long: let it pass
		return l.flush(ctx)
	}
	return nil
}

// flush hands the batch being filled to the next stage.
func (l *pipeline) flush(ctx context.Context) error {
	b := l.filling
	l.filling = new(batch)
	select {
	case l.read <- b:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// verify is the second stage.
func (l *pipeline) verify(ctx context.Context) error {
	for b := range l.read {
		errs := l.s.local.Verify(ctx, b.events)
		for i, err := range errs {
			if err != nil {
				err = fmt.Errorf("verify event %s: %w", b.events[i].CID, err)
				b.err = blame(err, types.ErrBadWitness, types.ErrNotWriter, types.ErrInvalidEvent)
				b.events, b.at = b.events[:i], nil
				break
			}
		}
		select {
		case l.verified <- b:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// integrate is the last stage.
func (l *pipeline) integrate(ctx context.Context) error {
	topic, from := l.replica.topic.id, l.replica.peer.id
	for b := range l.verified {
		if len(b.events) > 0 {
			if err := l.s.local.Integrate(ctx, topic, from, b.events); err != nil {
				return l.failure(err)
			}
			l.added += len(b.events)
			l.held += uint64(len(b.events))
		}
		if b.err != nil {
			return b.err
		}
		if err := l.remember(b); err != nil {
			return err
		}
	}
	return ctx.Err()
}

// failure says whose fault it is that events could not be integrated.
func (l *pipeline) failure(err error) error {
	err = fmt.Errorf("integrate events: %w", err)
	if l.strict {
		return blame(err, types.ErrInvalidEvent, types.ErrUnlinked)
	}
	return blame(err, types.ErrInvalidEvent)
}

// blame makes err an offence if it is one of kinds.
func blame(err error, kinds ...error) error {
	for _, kind := range kinds {
		if errors.Is(err, kind) {
			return offencef("served as integrated: %v", err)
		}
	}
	return err
}

// remember moves the position remembered for the peer behind a batch that is
// integrated.
func (l *pipeline) remember(b *batch) error {
	if b.at == nil {
		return nil
	}
	topic := l.replica.topic.id
	if err := l.checkUnique(b); err != nil {
		return err
	}
	l.s.positions.note(topic, *b.at)
	if l.items-l.saved < rememberEvery {
		return nil
	}
	l.saved = l.items
	return l.s.positions.save(topic)
}

// checkUnique finds out a log that repeats itself, and would never end: all
// its entries so far are integrated here, so they cannot be more than this node
// has. That is looked up, with all the heads, only where those known of are not
// enough.
func (l *pipeline) checkUnique(b *batch) error {
	if l.items += uint64(b.items); l.items <= l.held {
		return nil
	}
	own, err := l.s.local.Heads(l.replica.topic.id)
	if err != nil {
		return fmt.Errorf("read own heads: %w", err)
	}
	if l.held = own.Events; l.items > l.held {
		return offencef("its log has an event twice: %d entries are %d events", l.items, own.Events)
	}
	return nil
}
