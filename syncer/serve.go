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
	size   int // bytes of page
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
	item := &pb.Item{Outcome: pb.Item_OUTCOME_SENT, Event: eventMessage(e.Bytes(), e.Witness)}
	w.page = append(w.page, item)
	w.size += e.Size() + eventRoom
	w.budget -= e.Size()
	w.any = true
	return nil
}

func (w *itemWriter) flush(ctx context.Context, more bool) error {
	a := &pb.EventsAnswer{Items: w.page}
	w.page, w.size = nil, 0
	return w.write(ctx, &pb.Response{More: more, Answer: &pb.Response_Events{Events: a}})
}

// pull answers Pull from the delivery log, a frame at a time.
func (v *server) pull(ctx context.Context, m *pb.PullRequest) error {
	q, err := parsePullRequest(m)
	if err != nil {
		return err
	}
	h, err := v.s.local.Heads(q.topic)
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

	page *pb.PullAnswer
	size int // bytes of page
	sent int // bytes of events read for this answer
}

// spent reports whether the answer has used up its budget.
func (w *pageWriter) spent() bool {
	return w.sent > pullBudget || w.sent > 0 && time.Now().After(w.until)
}

func (w *pageWriter) add(ctx context.Context, e types.Entry) error {
	size := len(e.Body) + len(e.Witness) + eventRoom
	count, most := len(w.page.Events), maxPageEvents
	if w.cids {
		size = types.CIDSize
		count, most = len(w.page.Cids), maxPageCIDs
	}
	if count == most || count > 0 && w.size+size > pageSize {
		if err := w.flush(ctx, true); err != nil {
			return err
		}
		w.page = &pb.PullAnswer{}
	}
	if w.cids {
		w.page.Cids = append(w.page.Cids, cidBytes(e.CID()))
	} else {
		w.page.Events = append(w.page.Events, eventMessage(e.Body, e.Witness))
	}
	w.page.Position = positionMessage(e.Cursor)
	w.size += size
	w.sent += len(e.Body) + len(e.Witness)
	return nil
}

func (w *pageWriter) flush(ctx context.Context, more bool) error {
	if w.cids {
		if err := w.allowance.spend(ctx, itemCost*len(w.page.Cids)); err != nil {
			return err
		}
	}
	w.size = 0
	return w.write(ctx, &pb.Response{More: more, Answer: &pb.Response_Pull{Pull: w.page}})
}

func cidBytes(c cid.Cid) []byte { return []byte(c.KeyString()) }
