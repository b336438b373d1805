package node

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/ipfs/go-cid"

	"github.com/cairn-p2p/cairn/client/pb"
	"github.com/cairn-p2p/cairn/client/wire"
	"github.com/cairn-p2p/cairn/crdt"
	"github.com/cairn-p2p/cairn/types"
)

const (
	// deliverPage is the size in bytes at which a frame of entries is closed.
	deliverPage = 256 << 10
	// deliverSkip is what a filter passes over, in bytes with deliverLook for each
	// entry that is decoded, before it is charged and the subscriber is told how far it
	// has come.
	deliverSkip = 4 << 20
	deliverLook = 512
)

// Deliver answers a request of a light client, of /cairn/deliver/1, with the
// frames that it hands to send. It blocks until the answer is complete, which
// that to a subscription never is, or ctx ends, or send fails, whose error it
// returns. What goes wrong otherwise is a frame of the answer. Only topics that
// are joined here are served. It may be called concurrently.
func (n *Node) Deliver(ctx context.Context, m *pb.Request, send func(*pb.Response) error) error {
	return n.deliver(ctx, m, send, func(context.Context, int) error { return nil })
}

// deliver is Deliver for one who charges for work that no frame shows, in bytes; its
// charge may block.
func (n *Node) deliver(ctx context.Context, m *pb.Request, send func(*pb.Response) error, charge func(context.Context, int) error) error {
	a := &answerer{n: n, send: send, charge: charge}
	var err error
	switch r := m.GetRequest().(type) {
	case *pb.Request_Subscribe:
		err = a.subscribe(ctx, r.Subscribe)
	case *pb.Request_Heads:
		err = a.heads(r.Heads)
	case *pb.Request_Events:
		err = a.events(r.Events)
	case *pb.Request_Submit:
		err = a.submit(ctx, r.Submit)
	default:
		err = &answerError{pb.Error_CODE_UNSUPPORTED, "this release does not know the request"}
	}
	return a.end(ctx, err)
}

// answerer answers one request.
type answerer struct {
	n      *Node
	send   func(*pb.Response) error
	charge func(context.Context, int) error
	lost   error // send failed
}

// answerError ends an answer with a frame that says why.
type answerError struct {
	code   pb.Error_Code
	reason string
}

func (e *answerError) Error() string { return e.reason }

func malformed(format string, args ...any) error {
	return &answerError{pb.Error_CODE_MALFORMED, fmt.Sprintf(format, args...)}
}

// write sends a frame and remembers why it could not.
func (a *answerer) write(m *pb.Response) error {
	if err := a.send(m); err != nil {
		a.lost = err
	}
	return a.lost
}

// end tells the client what ended its answer. It keeps the text of what went
// wrong here to itself: it may name files.
func (a *answerer) end(ctx context.Context, err error) error {
	var why *answerError
	switch {
	case err == nil || a.lost != nil:
		return a.lost
	case ctx.Err() != nil:
		why = &answerError{pb.Error_CODE_CLOSED, "the broker stops"}
	case errors.As(err, &why):
	case errors.Is(err, types.ErrNotFound):
		why = &answerError{pb.Error_CODE_NOT_FOUND, "the topic is not replicated here"}
	case errors.Is(err, types.ErrInvalidCursor):
		why = &answerError{pb.Error_CODE_INVALID_CURSOR, "the cursor is of another log"}
	default:
		a.n.cfg.Log.Error("serve light client", "err", err)
		why = &answerError{pb.Error_CODE_INTERNAL, "the broker failed"}
	}
	reason := why.reason[:min(len(why.reason), wire.MaxReason)]
	return a.send(&pb.Response{Answer: &pb.Response_Error{Error: &pb.Error{Code: why.code, Reason: reason}}})
}

// topic returns the topic of an id if it is replicated here.
func (a *answerer) topic(id []byte) (*Topic, error) {
	c, err := types.CastCID(id)
	if err != nil {
		return nil, malformed("topic: %v", err)
	}
	return syncLocal{a.n}.topic(c)
}

// filter is which events a subscriber asked for.
type filter struct {
	tags       []string
	publishers []types.Publisher
}

func parseFilter(m *pb.SubscribeRequest) (filter, error) {
	if len(m.GetTags()) > wire.MaxTags || len(m.GetPublishers()) > wire.MaxPublishers {
		return filter{}, malformed("filter of %d tags and %d publishers", len(m.GetTags()), len(m.GetPublishers()))
	}
	f := filter{tags: m.GetTags()}
	for _, p := range m.GetPublishers() {
		if len(p) != len(types.Publisher{}) {
			return filter{}, malformed("publisher of %d bytes", len(p))
		}
		f.publishers = append(f.publishers, types.Publisher(p))
	}
	return f, nil
}

// all reports whether every event matches.
func (f *filter) all() bool { return len(f.tags) == 0 && len(f.publishers) == 0 }

func (f *filter) matches(e *types.Event) bool {
	return (len(f.publishers) == 0 || slices.Contains(f.publishers, e.Publisher)) &&
		(len(f.tags) == 0 || slices.ContainsFunc(e.Tags, func(t string) bool { return slices.Contains(f.tags, t) }))
}

func (a *answerer) subscribe(ctx context.Context, m *pb.SubscribeRequest) error {
	f, err := parseFilter(m)
	if err != nil {
		return err
	}
	after, err := wire.Cursor(m.GetAfter())
	if err != nil {
		return malformed("%v", err)
	}
	t, err := a.topic(m.GetTopic())
	if err != nil {
		return err
	}
	if m.GetNow() {
		if after, err = t.End(); err != nil {
			return err
		}
	} else if err := t.CheckCursor(after); err != nil {
		return err
	}
	opened := &pb.Opened{Genesis: t.Genesis().Bytes(), Position: wire.Position(after)}
	if err := a.write(&pb.Response{Answer: &pb.Response_Opened{Opened: opened}}); err != nil {
		return err
	}
	return a.follow(ctx, t, after, f)
}

// follow sends the delivery log behind a cursor for as long as ctx lives.
func (a *answerer) follow(ctx context.Context, t *Topic, after types.Cursor, f filter) error {
	sub := a.n.metrics.subscribers.add(t, after.Number)
	defer a.n.metrics.subscribers.remove(sub)
	p := &entryPage{answerer: a, topic: t, filter: f, at: after}
	for {
		committed := t.replica.Committed() // before reading: no commit is missed
		for more := true; more; {
			var err error
			if more, err = p.fill(ctx); err != nil {
				return err
			}
			if err := p.flush(ctx); err != nil {
				return err
			}
		}
		sub.at.Store(p.at.Number)
		select {
		case <-committed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// entryPage is a frame of entries that is being filled.
type entryPage struct {
	*answerer
	topic  *Topic
	filter filter

	at      types.Cursor // behind the last entry that was looked at
	entries []*pb.Entry
	size    int
	skipped int // of what was passed over, as deliverSkip counts it
}

// fill reads the log until the page is full, and reports whether there may be
// more. It gives up its place in the log: while a frame waits for its subscriber, nothing
// of the log but the frame is held.
func (p *entryPage) fill(ctx context.Context) (more bool, err error) {
	for entry, err := range p.topic.replica.Log(p.at) {
		if err == nil {
			err = ctx.Err()
		}
		if err == nil {
			more, err = p.add(entry)
		}
		if more || err != nil {
			return more, err
		}
	}
	return false, nil
}

// add takes up the next entry, and reports whether the page is full: then perhaps
// without it.
func (p *entryPage) add(e types.Entry) (full bool, err error) {
	size := len(e.Body) + len(e.Witness) + wire.EntryRoom
	if len(p.entries) > 0 && p.size+size > deliverPage {
		return true, nil
	}
	if !p.filter.all() {
		event, err := e.Event()
		if err != nil {
			return false, fmt.Errorf("%w: entry %d: %w", types.ErrCorrupt, e.Cursor.Number, err)
		}
		if !p.filter.matches(event) {
			p.at = e.Cursor
			p.skipped += size + deliverLook
			return p.skipped >= deliverSkip, nil
		}
	}
	p.entries = append(p.entries, &pb.Entry{Position: wire.Position(e.Cursor), Body: e.Body, Witness: e.Witness})
	p.at = e.Cursor
	p.size += size
	return len(p.entries) == wire.MaxEntries, nil
}

// flush charges for what was passed over, sends the page, if there is anything in
// it, and empties it.
func (p *entryPage) flush(ctx context.Context) error {
	if p.skipped > 0 {
		if err := p.charge(ctx, p.skipped); err != nil {
			return err
		}
	}
	if n := len(p.entries); p.skipped > 0 && (n == 0 || p.entries[n-1].GetPosition().GetNumber() < p.at.Number) {
		p.entries = append(p.entries, &pb.Entry{Position: wire.Position(p.at)})
	}
	if len(p.entries) == 0 {
		return nil
	}
	m := &pb.Entries{Entries: p.entries, End: max(p.topic.events.Load(), p.at.Number)}
	p.entries, p.size, p.skipped = nil, 0, 0
	return p.write(&pb.Response{Answer: &pb.Response_Entries{Entries: m}})
}

// heads answers with all heads and the publisher's own latest event.
func (a *answerer) heads(m *pb.HeadsRequest) error {
	if len(m.GetPublisher()) != len(types.Publisher{}) {
		return malformed("publisher of %d bytes", len(m.GetPublisher()))
	}
	t, err := a.topic(m.GetTopic())
	if err != nil {
		return err
	}
	compared := a.n.syncer.Compared(t.id) // before reading: what was integrated by then is told
	state, err := a.n.store.Load(t.id, types.Publisher(m.GetPublisher()))
	if err != nil {
		return err
	}
	answer := &pb.HeadsAnswer{Genesis: t.Genesis().Bytes(), Events: state.Events, Syncing: !compared}
	if state.Tip.Seq > 0 {
		own, err := t.replica.Get(state.Tip.CID)
		if err != nil {
			return err
		}
		answer.Own = &pb.Event{Body: own[0].Bytes(), Witness: own[0].Witness}
	}
	for heads := highest(state.Heads, wire.MaxHeads); ; answer = new(pb.HeadsAnswer) {
		n := min(len(heads), wire.MaxHeadsFrame)
		for _, h := range heads[:n] {
			answer.Heads = append(answer.Heads, &pb.Head{Cid: h.CID.Bytes(), Height: h.Height})
		}
		if err := a.write(&pb.Response{Answer: &pb.Response_Heads{Heads: answer}}); err != nil {
			return err
		}
		if heads = heads[n:]; len(heads) == 0 {
			return nil
		}
	}
}

// highest returns all heads, or the highest of them if there are more than limit.
func highest(heads []types.Head, limit int) []types.Head {
	if len(heads) <= limit {
		return heads
	}
	heads = slices.Clone(heads)
	slices.SortFunc(heads, func(a, b types.Head) int {
		return cmp.Or(cmp.Compare(b.Height, a.Height), types.CompareCIDs(a.CID, b.CID))
	})
	return heads[:limit]
}

func (a *answerer) events(m *pb.EventsRequest) error {
	t, err := a.topic(m.GetTopic())
	if err != nil {
		return err
	}
	if len(m.GetCids()) == 0 || len(m.GetCids()) > wire.MaxAsked {
		return malformed("%d events asked for, limit %d", len(m.GetCids()), wire.MaxAsked)
	}
	answer, size := &pb.EventsAnswer{}, 0
	for _, b := range m.GetCids() {
		id, err := types.CastCID(b)
		if err != nil {
			return malformed("event: %v", err)
		}
		found, err := t.replica.Get(id) // one at a time: each may have half a megabyte
		if err != nil {
			return err
		}
		event := &pb.Event{}
		if e := found[0]; e != nil {
			event.Body, event.Witness = e.Bytes(), e.Witness
		}
		next := len(event.Body) + len(event.Witness) + wire.EntryRoom
		if size > 0 && size+next > deliverPage {
			if err := a.write(&pb.Response{Answer: &pb.Response_Events{Events: answer}}); err != nil {
				return err
			}
			answer, size = &pb.EventsAnswer{}, 0
		}
		answer.Events = append(answer.Events, event)
		size += next
	}
	return a.write(&pb.Response{Answer: &pb.Response_Events{Events: answer}})
}

// submit integrates events that a client signed, and answers once they are
// durable.
func (a *answerer) submit(ctx context.Context, m *pb.SubmitRequest) error {
	ctx, cancel := context.WithTimeout(ctx, wire.SubmitTimeout)
	defer cancel()
	t, err := a.topic(m.GetTopic())
	if err != nil {
		return err
	}
	if len(m.GetEvents()) == 0 || len(m.GetEvents()) > wire.MaxChain {
		return malformed("%d events submitted, want 1 to %d", len(m.GetEvents()), wire.MaxChain)
	}
	answer, err := a.n.take(ctx, t, m.GetEvents())
	if err != nil {
		return err
	}
	if r := answer.GetRefused(); r != nil && !r.GetLater() { // no honest client comes here
		if err := a.charge(ctx, brokerRate); err != nil {
			return err
		}
	}
	return a.write(&pb.Response{Answer: &pb.Response_Submit{Submit: answer}})
}

// take integrates those of the events whose links are all here or among them,
// once every one has been checked.
func (n *Node) take(ctx context.Context, t *Topic, list []*pb.Event) (*pb.SubmitAnswer, error) {
	events := make([]*types.Event, len(list))
	for i, m := range list {
		e, err := types.DecodeEvent(m.GetBody(), m.GetWitness())
		if err == nil && e.Topic != t.id {
			err = fmt.Errorf("%w: it is of topic %s", types.ErrInvalidEvent, e.Topic)
		}
		if err != nil {
			return refusal("invalid_event", err, false), nil
		}
		events[i] = e
	}
	for _, err := range (syncLocal{n}).Verify(ctx, events) {
		switch {
		case errors.Is(err, types.ErrNotWriter):
			return refusal("not_writer", err, false), nil
		case errors.Is(err, types.ErrBadWitness):
			return refusal("bad_witness", err, false), nil
		case errors.Is(err, types.ErrInvalidEvent):
			return refusal("invalid_event", err, false), nil
		case err != nil:
			return nil, err
		}
	}
	if err := t.pausedBy(); err != nil {
		return refusal("paused", err, true), nil
	}
	ready, missing, err := n.linked(t.id, events)
	if err != nil {
		return nil, err
	}
	t.touch()
	if len(ready) > 0 {
		err = t.replica.Submit(ctx, "", ready)
	}
	switch {
	case crdt.IsRefusal(err):
		return refusal("invalid_event", err, false), nil
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case err != nil:
		n.cfg.Log.Error("store what a light client submitted", "topic", t.Name(), "err", err)
		return refusal("store", errors.New("the broker's store failed"), true), nil
	case len(missing) > 0:
		return &pb.SubmitAnswer{Missing: missing[:min(len(missing), wire.MaxMissing)]}, nil
	}
	answer := &pb.SubmitAnswer{}
	for _, e := range events {
		answer.Stored = append(answer.Stored, e.CID.Bytes())
	}
	return answer, nil
}

// linked returns the events whose links are integrated, or earlier among those
// that it returns, and the links of the others that are neither.
func (n *Node) linked(topic types.TopicID, events []*types.Event) (ready []*types.Event, missing [][]byte, err error) {
	var ids []cid.Cid
	for _, e := range events {
		ids = append(append(ids, e.CID), e.Links...)
	}
	here, err := n.store.Heights(topic, ids)
	if err != nil {
		return nil, nil, fmt.Errorf("look up links: %w", err)
	}
	behind := map[cid.Cid]bool{} // neither here nor ready
	for _, e := range events {
		if here[e.CID] > 0 {
			continue
		}
		ok := true
		for _, l := range e.Links {
			if _, known := here[l]; known { // 0 for one of another topic, which the replica refuses
				continue
			}
			if ok = false; !behind[l] {
				behind[l] = true
				missing = append(missing, l.Bytes())
			}
		}
		if !ok {
			behind[e.CID] = true
			continue
		}
		here[e.CID] = e.Height
		ready = append(ready, e)
	}
	return ready, missing, nil
}

func refusal(reason string, err error, later bool) *pb.SubmitAnswer {
	text := err.Error()
	return &pb.SubmitAnswer{Refused: &pb.Refusal{Reason: reason, Text: text[:min(len(text), wire.MaxReason)], Later: later}}
}
