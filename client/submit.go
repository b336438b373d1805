package client

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/ipfs/go-cid"

	"github.com/cairn-p2p/cairn/types"
)

// submit hands unsent events to the broker until it has them, and takes note of
// that once Stored was told. durable is whether it has them.
func (p *Publisher) submit(ctx context.Context, s *source, t *topicState, events []*types.Event) (durable bool, err error) {
	kept, err := t.events(t.Kept)
	if err != nil {
		return false, err
	}
	if err := p.insist(ctx, s, kept, events); err != nil {
		return false, err
	}
	if p.Stored != nil {
		if err := p.Stored(events); err != nil {
			return true, err
		}
	}
	t.acknowledge(events, s.broker.String())
	p.dirty = true
	return true, nil
}

// insist submits events until the broker has them. Where it lacks some of kept, it
// gets them, once; where it lacks others, it is given time.
func (p *Publisher) insist(ctx context.Context, s *source, kept, events []*types.Event) error {
	given := false // kept, which it acknowledged
	for wait := retryFirst; ; wait = min(2*wait, retryLongest) {
		answer, err := s.submit(ctx, events)
		if err != nil {
			return err
		}
		own := lacked(kept, answer.missing)
		switch {
		case answer.refused != nil && !answer.refused.GetLater():
			return fmt.Errorf("%w: broker %s: %w: %.200q", ErrRefused, s.broker, refusedBy(answer.refused.GetReason()), answer.refused.GetText())
		case answer.refused != nil:
			p.warn(fmt.Errorf("waiting: broker %s takes nothing now: %.200q", s.broker, answer.refused.GetText()))
		case len(answer.missing) == 0:
			return nil
		case own != nil && given:
			return s.violation(KindLost, own, "it acknowledges seq %d, and lacks it for what links to it", own.Seq)
		case own != nil:
			if err := p.insist(ctx, s, nil, kept); err != nil {
				return err
			}
			given = true
			continue
		default:
			p.warn(fmt.Errorf("waiting: broker %s has not got %s yet, and %d more", s.broker, answer.missing[0], len(answer.missing)-1))
		}
		if err := pause(ctx, wait); err != nil {
			return err
		}
	}
}

// lacked returns the first of the events that is missing, or nil.
func lacked(events []*types.Event, missing []cid.Cid) *types.Event {
	i := slices.IndexFunc(events, func(e *types.Event) bool { return slices.Contains(missing, e.CID) })
	if i < 0 {
		return nil
	}
	return events[i]
}

func refusedBy(reason string) error {
	switch reason {
	case "not_writer":
		return types.ErrNotWriter
	case "bad_witness":
		return types.ErrBadWitness
	}
	return types.ErrInvalidEvent
}

// pause waits, or returns why ctx ended.
func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
