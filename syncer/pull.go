package syncer

import (
	"context"
	"fmt"
	"math"

	"github.com/ipfs/go-cid"

	"github.com/cairn-p2p/cairn/syncer/pb"
	"github.com/cairn-p2p/cairn/types"
)

// puller reads a peer's delivery log from a position to the end that it had
// when the pull began, in as many answers as that takes, and feeds a pipeline.
type puller struct {
	s      *Syncer
	c      *client
	topic  types.TopicID
	asCIDs bool
	line   *pipeline

	at   position // after the last frame read
	end  uint64   // events in the log when the pull began
	know bool     // end is known
}

// run is the first stage of the pipeline.
func (p *puller) run(ctx context.Context) error {
	if p.asCIDs {
		a := &asker{puller: p, chunk: maxEventsAsked, ahead: requestsAhead}
		return a.run(ctx)
	}
	for {
		if err := p.ask(); err != nil {
			return err
		}
		if _, err := p.answer(ctx); err != nil {
			return err
		}
		if p.at.after.Number >= p.end {
			return p.line.flush(ctx)
		}
	}
}

func (p *puller) ask() error {
	q := pullRequest{topic: p.topic, logID: p.at.logID, after: p.at.after, cids: p.asCIDs}
	if p.asCIDs {
		q.limit = pullPage
	}
	return p.c.send(q.message())
}

// answer reads one answer. Events go to the pipeline, CIDs are returned.
func (p *puller) answer(ctx context.Context) ([]cid.Cid, error) {
	before := p.at.after.Number
	var cids []cid.Cid
	for first := true; ; first = false {
		m, err := p.c.next()
		if err != nil {
			return nil, err
		}
		page := m.GetPull()
		if page == nil {
			return nil, offencef("answer to Pull is of another kind")
		}
		if first {
			if err := p.opening(page); err != nil {
				return nil, err
			}
		} else if len(page.GetEvents())+len(page.GetCids()) == 0 {
			return nil, offencef("answer to Pull does not advance")
		}
		if err := p.advance(page); err != nil {
			return nil, err
		}
		more, err := p.take(ctx, page)
		if err != nil {
			return nil, err
		}
		if cids = append(cids, more...); len(cids) > pullPage {
			return nil, offencef("more CIDs than the %d asked for", pullPage)
		}
		if !m.GetMore() {
			break
		}
	}
	if p.at.after.Number == before && before < p.end {
		return nil, offencef("answer to Pull does not advance")
	}
	return cids, nil
}

// opening reads what only the first frame of an answer has.
func (p *puller) opening(page *pb.PullAnswer) error {
	logID, err := parseLogID(page.GetLogId())
	if err != nil {
		return err
	}
	if page.GetEnd() > math.MaxInt64 {
		return offencef("log of %d events", page.GetEnd())
	}
	if p.at.after.Number > 0 && logID != p.at.logID {
		return offencef("answer to Pull is of another log than asked for")
	}
	p.at.logID = logID
	if !p.know {
		p.know, p.end = true, page.GetEnd()
	}
	return nil
}

// advance holds a frame's position to what the frame carries.
func (p *puller) advance(page *pb.PullAnswer) error {
	events, cids := len(page.GetEvents()), len(page.GetCids())
	if events > maxPageEvents || cids > maxPageCIDs || p.asCIDs && events > 0 || !p.asCIDs && cids > 0 {
		return offencef("frame of %d events and %d CIDs", events, cids)
	}
	at, err := parseCursor(page.GetPosition())
	if err != nil {
		return err
	}
	if events+cids == 0 && at.Number == 0 {
		at = p.at.after // nothing lies behind it
	}
	if at.Number != p.at.after.Number+uint64(events+cids) {
		return offencef("position %d after %d and %d items", at.Number, p.at.after.Number, events+cids)
	}
	p.at.after = at
	return nil
}

// take hands a frame's events to the pipeline, or returns its CIDs.
func (p *puller) take(ctx context.Context, page *pb.PullAnswer) ([]cid.Cid, error) {
	if p.asCIDs {
		return parseCIDs(page.GetCids(), maxPageCIDs)
	}
	events, err := parseEvents(page.GetEvents(), page.GetBatches(), p.topic)
	if err != nil {
		return nil, err
	}
	missing, err := p.s.missingOf(p.topic, events)
	if err != nil {
		return nil, err
	}
	for _, e := range missing {
		if err := p.line.add(ctx, e); err != nil {
			return nil, err
		}
	}
	return nil, p.line.mark(ctx, p.at, len(events))
}

// missingOf returns those of events that are not integrated here, in order.
func (s *Syncer) missingOf(topic types.TopicID, events []*types.Event) ([]*types.Event, error) {
	missing, err := s.local.MissingOf(topic, events)
	if err != nil {
		return nil, fmt.Errorf("look for events: %w", err)
	}
	s.count.events.Add(uint64(len(events)))
	s.count.redundant.Add(uint64(len(events) - len(missing)))
	return missing, nil
}

func (s *Syncer) wanted(topic types.TopicID, cids []cid.Cid) (map[cid.Cid]bool, error) {
	missing, err := s.local.Missing(topic, cids)
	if err != nil {
		return nil, fmt.Errorf("look for events: %w", err)
	}
	wanted := make(map[cid.Cid]bool, len(missing))
	for _, c := range missing {
		wanted[c] = true
	}
	return wanted, nil
}

// asker reads the log as CIDs and fetches the events that are missing here, in
// log order. Requests for CIDs and for events are under way together, so that
// neither waits for the other's round trip.
type asker struct {
	*puller
	chunk int // CIDs a request for events
	ahead int // requests under way at a time

	pages    []logPage   // read, and not all of their missing events received
	list     []cid.Cid   // missing, and not yet asked for
	listed   uint64      // missing events of all pages so far
	received uint64      // of them
	underWay [][]cid.Cid // what was asked for and not answered: events, or nil for a page
	asking   bool        // a page is under way
}

// logPage is a piece of the log that was read as CIDs.
type logPage struct {
	at    position // after it
	items int
	upTo  uint64 // missing events of all pages up to it
}

func (a *asker) run(ctx context.Context) error {
	for {
		if err := a.send(); err != nil {
			return err
		}
		if len(a.underWay) == 0 {
			return a.line.flush(ctx)
		}
		cids := a.next()
		if cids == nil {
			if err := a.page(ctx); err != nil {
				return err
			}
			continue
		}
		begin := a.c.frames.read
		got, err := a.receive(ctx, cids, false)
		if err != nil {
			return err
		}
		a.ahead = max(requestsAhead, min(maxRequestsAhead, eventsBudget/(a.c.frames.read-begin)))
		a.received += uint64(got)
		if err := a.mark(ctx); err != nil {
			return err
		}
		if got < len(cids) {
			if err := a.again(ctx, cids[got:]); err != nil {
				return err
			}
			a.chunk = got
		}
	}
}

// send sends as many requests as may be under way.
func (a *asker) send() error {
	for len(a.underWay) < a.ahead {
		switch {
		case !a.asking && len(a.list) <= pullPage/2 && (!a.know || a.at.after.Number < a.end):
			a.asking = true
			a.underWay = append(a.underWay, nil)
			if err := a.ask(); err != nil {
				return err
			}
		case len(a.list) > 0:
			n := min(a.chunk, len(a.list))
			if err := a.askEvents(a.list[:n:n]); err != nil {
				return err
			}
			a.list = a.list[n:]
		default:
			return nil
		}
	}
	return nil
}

func (a *asker) askEvents(cids []cid.Cid) error {
	a.underWay = append(a.underWay, cids)
	m := &pb.EventsRequest{Topic: a.topic.Bytes()}
	for _, c := range cids {
		m.Cids = append(m.Cids, c.Bytes())
	}
	return a.c.send(&pb.Request{Request: &pb.Request_Events{Events: m}})
}

// next takes the oldest of what is under way.
func (a *asker) next() []cid.Cid {
	cids := a.underWay[0]
	a.underWay = a.underWay[1:]
	return cids
}

// page reads a page and lists what is missing of it.
func (a *asker) page(ctx context.Context) error {
	a.asking = false
	cids, err := a.answer(ctx)
	if err != nil {
		return err
	}
	wanted, err := a.s.wanted(a.topic, cids)
	if err != nil {
		return err
	}
	for _, c := range cids {
		if wanted[c] {
			a.list = append(a.list, c)
			a.listed++
			delete(wanted, c) // a log has each event once
		}
	}
	a.pages = append(a.pages, logPage{at: a.at, items: len(cids), upTo: a.listed})
	return a.mark(ctx)
}

// mark says which pages are complete.
func (a *asker) mark(ctx context.Context) error {
	for len(a.pages) > 0 && a.pages[0].upTo <= a.received {
		if err := a.line.mark(ctx, a.pages[0].at, a.pages[0].items); err != nil {
			return err
		}
		a.pages = a.pages[1:]
	}
	return nil
}

// again lists rest, which was over budget, anew, and the events under way: they
// come too early to be integrated, and are read to no use.
func (a *asker) again(ctx context.Context, rest []cid.Cid) error {
	for len(a.underWay) > 0 {
		cids := a.next()
		if cids == nil {
			if err := a.page(ctx); err != nil {
				return err
			}
			continue
		}
		if _, err := a.receive(ctx, cids, true); err != nil {
			return err
		}
		rest = append(rest, cids...)
	}
	a.list = append(rest, a.list...)
	return nil
}

// receive reads the answer to a request for cids and returns how many of them,
// from the first on, were sent.
func (a *asker) receive(ctx context.Context, cids []cid.Cid, discard bool) (int, error) {
	items, got := 0, 0
	for {
		m, err := a.c.next()
		if err != nil {
			return 0, err
		}
		page := m.GetEvents()
		if page == nil || len(page.GetItems()) == 0 || items+len(page.GetItems()) > len(cids) {
			return 0, offencef("answer to Events of another kind or length")
		}
		events, err := a.parse(page)
		if err != nil {
			return 0, err
		}
		a.s.count.events.Add(uint64(len(events)))
		if discard { // they come once more
			a.s.count.redundant.Add(uint64(len(events)))
		}
		for _, item := range page.GetItems() {
			sent, err := checkItem(item, cids[items], got == items)
			if err != nil {
				return 0, err
			}
			if items++; !sent {
				continue
			}
			got++
			if e := events[0]; e.CID != cids[items-1] {
				return 0, offencef("served other bytes as %s", cids[items-1])
			} else if !discard {
				if err := a.line.add(ctx, e); err != nil {
					return 0, err
				}
			}
			events = events[1:]
		}
		if !m.GetMore() {
			break
		}
	}
	if items != len(cids) || got == 0 {
		return 0, offencef("answer to Events has %d of %d items and %d events", items, len(cids), got)
	}
	return got, nil
}

// parse decodes the events of a frame.
func (a *asker) parse(page *pb.EventsAnswer) ([]*types.Event, error) {
	var sent []*pb.Event
	for _, item := range page.GetItems() {
		if item.GetOutcome() == pb.Item_OUTCOME_SENT {
			sent = append(sent, item.GetEvent())
		}
	}
	return parseEvents(sent, page.GetBatches(), a.topic)
}

// checkItem reports whether the item that was asked for as want was sent. Of
// what a peer's log lists it is to send every event, up to the first that is
// over budget; open says that there was none so far.
func checkItem(item *pb.Item, want cid.Cid, open bool) (sent bool, err error) {
	switch item.GetOutcome() {
	case pb.Item_OUTCOME_OVER_BUDGET:
		return false, nil
	case pb.Item_OUTCOME_SENT:
		if !open {
			return false, offencef("sent an event after one that was over budget")
		}
		return true, nil
	case pb.Item_OUTCOME_ABSENT:
		return false, offencef("does not serve %s, which its log lists", want)
	default:
		return false, offencef("event with outcome %d", item.GetOutcome())
	}
}
