package syncer

import (
	"context"
	"errors"
	"time"

	"github.com/ipfs/go-cid"

	"github.com/cairn-p2p/cairn/syncer/pb"
	"github.com/cairn-p2p/cairn/types"
)

// eventRoom is what an event's message takes beside body and witness.
const eventRoom = 16

// pageRoom is what a frame takes beside its events.
const pageRoom = 256

func eventMessage(body, witness []byte) *pb.Event { return &pb.Event{Body: body, Witness: witness} }

// events answers Events: items in the order asked, until one does not fit the
// budget.
func (v *server) events(ctx context.Context, m *pb.EventsRequest) error {
	topic, err := parseCID(m.GetTopic())
	if err != nil {
		return err
	}
	cids, err := parseCIDs(m.GetCids(), maxEventsAsked)
	if err != nil {
		return err
	}
	if len(cids) == 0 {
		return offencef("Events without a CID")
	}
	if err := v.allowance.spend(ctx, itemCost*len(cids)); err != nil {
		return err
	}
	w := &itemWriter{server: v, budget: eventsBudget}
	for len(cids) > 0 && !w.over {
		n := min(len(cids), getChunk)
		found, err := v.s.local.Get(topic, cids[:n])
		if err != nil {
			return v.failed(ctx, topic, err)
		}
		for _, e := range found {
			if err := w.add(ctx, e); err != nil {
				return err
			}
		}
		cids = cids[n:]
	}
	for range cids {
		w.page = append(w.page, &pb.Item{Outcome: pb.Item_OUTCOME_OVER_BUDGET})
	}
	return w.flush(ctx, false)
}

// itemWriter writes the frames of an answer to Events.
type itemWriter struct {
	*server
	budget int  // bytes left
	over   bool // an event did not fit
	any    bool // an event was sent: the first always is
	page   []*pb.Item
	sent   []*pb.Event // in page
	size   int         // bytes of page
}

// add writes the item of e, or of an absent event if e is nil.
func (w *itemWriter) add(ctx context.Context, e *types.Event) error {
	switch {
	case w.over:
		w.page = append(w.page, &pb.Item{Outcome: pb.Item_OUTCOME_OVER_BUDGET})
		return nil
	case e == nil:
		w.page = append(w.page, &pb.Item{Outcome: pb.Item_OUTCOME_ABSENT})
		return nil
	case w.any && e.Size() > w.budget:
		w.over = true
		w.page = append(w.page, &pb.Item{Outcome: pb.Item_OUTCOME_OVER_BUDGET})
		return nil
	}
	if w.size > 0 && w.size+e.Size() > pageSize {
		if err := w.flush(ctx, true); err != nil {
			return err
		}
	}
	event := eventMessage(e.Bytes(), e.Witness)
	w.page = append(w.page, &pb.Item{Outcome: pb.Item_OUTCOME_SENT, Event: event})
	w.sent = append(w.sent, event)
	w.size += e.Size() + eventRoom
	w.budget -= e.Size()
	w.any = true
	return nil
}

func (w *itemWriter) flush(ctx context.Context, more bool) error {
	a := &pb.EventsAnswer{Items: w.page, Batches: share(w.sent)}
	w.page, w.sent, w.size = nil, nil, 0
	return w.write(ctx, &pb.Response{More: more, Answer: &pb.Response_Events{Events: a}})
}

// pull answers Pull from the delivery log, a frame at a time.
func (v *server) pull(ctx context.Context, m *pb.PullRequest) error {
	q, err := parsePullRequest(m)
	if err != nil {
		return err
	}
	h, err := v.s.local.Heads(q.topic, 0)
	if err != nil {
		return v.failed(ctx, q.topic, err)
	}
	logID := v.s.local.LogID()
	if q.after.Number > 0 && q.logID != logID || q.after.Number > h.Events {
		return v.fail(ctx, pb.Error_CODE_UNKNOWN_POSITION, "the position is of another log")
	}
	w := &pageWriter{server: v, cids: q.cids, until: time.Now().Add(pullTimeout)}
	w.page = &pb.PullAnswer{LogId: logID[:], End: h.Events, Position: positionMessage(q.after)}
	left := h.Events - q.after.Number
	if q.limit > 0 {
		left = min(left, q.limit)
	}
	for entry, err := range v.s.local.Log(q.topic, q.after) {
		if errors.Is(err, types.ErrInvalidCursor) {
			return v.fail(ctx, pb.Error_CODE_UNKNOWN_POSITION, "the position is of another log")
		}
		if err != nil {
			return v.failed(ctx, q.topic, err)
		}
		if left == 0 || w.spent() {
			break
		}
		left--
		if err := w.add(ctx, entry); err != nil {
			return err
		}
	}
	return w.flush(ctx, false)
}

// pageWriter writes the frames of an answer to Pull. It holds one frame.
type pageWriter struct {
	*server
	cids  bool
	until time.Time // when the answer ends early

	page   *pb.PullAnswer
	events eventFrame // of page
	sent   int        // bytes of events read for this answer
}

// spent reports whether the answer has used up its budget.
func (w *pageWriter) spent() bool {
	return w.sent > pullBudget || w.sent > 0 && time.Now().After(w.until)
}

func (w *pageWriter) add(ctx context.Context, e types.Entry) error {
	size := len(e.Body) + len(e.Witness)
	if len(w.page.Cids) == maxPageCIDs || w.events.full(size) {
		if err := w.flush(ctx, true); err != nil {
			return err
		}
		w.page = &pb.PullAnswer{}
	}
	if w.cids {
		w.page.Cids = append(w.page.Cids, cidBytes(e.CID()))
	} else {
		w.events.add(e.Body, e.Witness)
	}
	w.page.Position = positionMessage(e.Cursor)
	w.sent += size
	return nil
}

func (w *pageWriter) flush(ctx context.Context, more bool) error {
	if w.cids {
		if err := w.allowance.spend(ctx, itemCost*len(w.page.Cids)); err != nil {
			return err
		}
	}
	w.page.Events, w.page.Batches = w.events.take()
	return w.write(ctx, &pb.Response{More: more, Answer: &pb.Response_Pull{Pull: w.page}})
}

// eventFrame gathers the events of one frame.
type eventFrame struct {
	events  []*pb.Event
	sharing sharing
	size    int // their bytes, as they are
	least   int // the same, if all batches become whole
}

// full reports whether an event, of so many bytes of body and witness, is for
// the next frame. A batch that has begun is made whole if it can be.
func (f *eventFrame) full(size int) bool {
	size += eventRoom
	switch {
	case len(f.events) == maxPageEvents:
		return true
	case f.size == 0:
		return false
	case f.sharing.open > 0:
		return f.size+size > maxResponse-pageRoom
	default:
		return f.least+size > pageSize || f.size+size > maxResponse-pageRoom
	}
}

func (f *eventFrame) add(body, witness []byte) {
	event := eventMessage(body, witness)
	f.events = append(f.events, event)
	size := len(body) + len(witness) + eventRoom
	f.size += size
	f.least += size - f.sharing.add(event)
}

// take returns what the frame carries, with the signatures of its whole batches.
// The frame is then empty.
func (f *eventFrame) take() ([]*pb.Event, [][]byte) {
	events, batches := f.events, f.sharing.share()
	*f = eventFrame{}
	return events, batches
}

func cidBytes(c cid.Cid) []byte { return []byte(c.KeyString()) }
