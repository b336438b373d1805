package client

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"iter"
	"slices"

	"github.com/ipfs/go-cid"

	"github.com/cairn-p2p/cairn/client/pb"
	"github.com/cairn-p2p/cairn/client/wire"
	"github.com/cairn-p2p/cairn/types"
)

// Subscription says what to subscribe to. Without tags, publishers, Now and After
// it is of every event from the start, and complete: then an event is handed on
// only behind all that it links to.
type Subscription struct {
	Topic      types.TopicID
	After      types.Cursor      // behind this place in the broker's log; zero: the start
	Now        bool              // in place of After: the end of the log
	Tags       []string          // only events with one of them; none: all
	Publishers []types.Publisher // only events of one of them; none: all
}

// Complete reports whether the subscription shows every ancestor of each event.
func (s *Subscription) Complete() bool {
	return !s.filtered() && !s.Now && s.After == (types.Cursor{})
}

func (s *Subscription) filtered() bool { return len(s.Tags)+len(s.Publishers) > 0 }

// digest names the subscription. Where it begins counts only as complete or not:
// a set of seen events goes on from its own end.
func (s *Subscription) digest() types.Hash {
	b := append([]byte("cairn/subscription/1\x00"), s.Topic.Bytes()...)
	if s.Complete() {
		b = append(b, 1)
	}
	tags := slices.Clone(s.Tags)
	slices.Sort(tags)
	for _, t := range slices.Compact(tags) {
		b = append(binary.AppendUvarint(append(b, 't'), uint64(len(t))), t...)
	}
	publishers := slices.Clone(s.Publishers)
	slices.SortFunc(publishers, func(a, b types.Publisher) int { return slices.Compare(a[:], b[:]) })
	for _, p := range slices.Compact(publishers) {
		b = append(append(b, 'p'), p[:]...)
	}
	return sha256.Sum256(b)
}

// matches reports whether the subscription asks for the event.
func (s *Subscription) matches(e *types.Event) bool {
	return (len(s.Publishers) == 0 || slices.Contains(s.Publishers, e.Publisher)) &&
		(len(s.Tags) == 0 || slices.ContainsFunc(e.Tags, func(t string) bool { return slices.Contains(s.Tags, t) }))
}

// request asks for what is behind a place, or with now behind the log's end.
func (s *Subscription) request(after types.Cursor, now bool) *pb.Request {
	m := &pb.SubscribeRequest{Topic: s.Topic.Bytes(), After: wire.Position(after), Now: now, Tags: s.Tags}
	for _, p := range s.Publishers {
		m.Publishers = append(m.Publishers, p[:])
	}
	return &pb.Request{Request: &pb.Request_Subscribe{Subscribe: m}}
}

// Delivery is a verified event.
type Delivery struct {
	*types.Event
	Genesis *types.Genesis // of the topic
	Cursor  types.Cursor   // the position after the event in the broker's log
	// Unverified are the links to events that were not seen before: whether these
	// are there is not known. There are none in a complete subscription.
	Unverified []cid.Cid
	// Fork is another event of the same publisher with the same seq: together they
	// prove that two have its key. Undefined: there is none.
	Fork cid.Cid
	// Gap says, in a complete subscription, that the publisher's previous seq was
	// not seen before the event: it was given up, or what followed was rolled back.
	Gap bool
	// Lag is how many events the broker's log had behind this one.
	Lag uint64
}

// Subscribe yields the events of a subscription in the broker's order, each once
// verified, and takes it up in seen when the loop asks for the next. The one at which
// the loop is left, on an error of its own or with a break, comes again unless the
// loop takes it up itself, with seen.Take. It goes on
// behind the last event in seen, if there is one, or else where the subscription
// began that seen was last used for. It does not end but with an
// error: a *Violation, ErrUnreachable, ErrBusy, types.ErrNotFound,
// ErrInvalidCursor, ErrUnsupported, or that of ctx. After one that is no verdict,
// call it again with the same seen.
func Subscribe(ctx context.Context, b Broker, s Subscription, seen *Seen) iter.Seq2[Delivery, error] {
	return func(yield func(Delivery, error) bool) {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		c := &checker{source: newSource(b, s.Topic), sub: s, seen: seen, at: s.After, now: s.Now}
		if begin, ok := seen.begin(); ok {
			c.at, c.now = begin, false
		}
		err := c.run(ctx, func(d Delivery) bool { return yield(d, nil) })
		if err != nil {
			yield(Delivery{}, err)
		}
	}
}

// checker verifies what one subscription brings.
type checker struct {
	*source
	sub  Subscription
	seen *Seen
	at   types.Cursor // behind the last entry
	now  bool         // begin at the end of the log, in place of at
}

// run checks frame after frame; nil: yield has had enough.
func (c *checker) run(ctx context.Context, yield func(Delivery) bool) error {
	for r, err := range ask(ctx, c.broker, c.sub.request(c.at, c.now)) {
		if err != nil {
			return err
		}
		if c.genesis == nil {
			if err := c.open(r.GetOpened()); err != nil {
				return err
			}
			continue
		}
		if len(r.GetEntries().GetEntries()) == 0 {
			return c.answered("no entries")
		}
		for _, entry := range r.GetEntries().GetEntries() {
			d, err := c.entry(entry)
			if err != nil {
				return err
			}
			if d.Event == nil {
				continue
			}
			d.Lag = max(r.GetEntries().GetEnd(), d.Cursor.Number) - d.Cursor.Number
			if !yield(d) {
				return c.seen.Flush()
			}
			if err := c.seen.Take(d); err != nil {
				return err
			}
		}
		if err := c.seen.Flush(); err != nil {
			return err
		}
	}
	return fmt.Errorf("%w: %s ended the subscription", ErrUnreachable, c.broker)
}

func (c *checker) open(m *pb.Opened) error {
	if m == nil {
		return c.answered("no first frame")
	}
	begin, err := wire.Cursor(m.GetPosition())
	if err != nil {
		return c.answered("%v", err)
	}
	if !c.now && begin != c.at {
		return c.violation(KindPosition, nil, "asked to begin behind %d, it begins behind %d", c.at.Number, begin.Number)
	}
	c.at = begin
	c.seen.began = &begin
	return c.learn(m.GetGenesis())
}

// entry verifies an entry; the delivery of one that is a position alone has no
// event.
func (c *checker) entry(m *pb.Entry) (Delivery, error) {
	at, err := wire.Cursor(m.GetPosition())
	if err != nil {
		return Delivery{}, c.answered("%v", err)
	}
	if at.Number <= c.at.Number || !c.sub.filtered() && at.Number != c.at.Number+1 {
		v := c.violation(KindPosition, nil, "entry %d comes behind %d", at.Number, c.at.Number)
		v.Body, v.Witness = m.GetBody(), m.GetWitness()
		return Delivery{}, c.placed(v, at)
	}
	if len(m.GetBody()) == 0 && c.sub.filtered() {
		c.at = at
		return Delivery{}, nil
	}
	e, err := c.check(m.GetBody(), m.GetWitness())
	if err != nil {
		return Delivery{}, c.placed(err, at)
	}
	d := Delivery{Event: e, Genesis: c.genesis, Cursor: at}
	if err := c.place(&d); err != nil {
		return Delivery{}, c.placed(err, at)
	}
	c.at = at
	return d, nil
}

// placed adds to a violation where in the stream it was.
func (c *checker) placed(err error, at types.Cursor) error {
	if v, ok := err.(*Violation); ok { //nolint:errorlint // made here
		v.Number, v.Seen, v.Last = at.Number, c.seen.Events(), cidText(c.seen.event)
	}
	return err
}

// place checks an event against those that came before.
func (c *checker) place(d *Delivery) error {
	if !c.sub.matches(d.Event) {
		return c.violation(KindFilter, d.Event, "the event has neither a tag nor a publisher that was asked for")
	}
	before, err := c.seen.height(d.CID)
	if err != nil {
		return err
	}
	if before > 0 {
		return c.violation(KindRepeated, d.Event, "the event came before")
	}
	late, err := c.seen.linked(d.CID)
	if err != nil {
		return err
	}
	if late {
		return c.violation(KindOrder, d.Event, "the event comes behind one that links to it")
	}
	var parents uint64
	for _, l := range d.Links {
		height, err := c.seen.height(l)
		if err != nil {
			return err
		}
		if height == 0 && c.sub.Complete() {
			v := c.violation(KindOrder, d.Event, "the event comes without %s, which it links to, before it: that is withheld or comes later", l)
			v.Link = l.String()
			return v
		}
		if height == 0 {
			d.Unverified = append(d.Unverified, l)
		}
		parents = max(parents, height)
	}
	if d.Height <= parents || len(d.Unverified) == 0 && d.Height != parents+1 {
		return c.violation(KindHeight, d.Event, "height %d above links of height %d", d.Height, parents)
	}
	if d.Fork, err = c.seen.bySeq(d.Publisher, d.Seq); err != nil {
		return err
	}
	if c.sub.Complete() && d.Seq > 1 {
		previous, err := c.seen.bySeq(d.Publisher, d.Seq-1)
		if err != nil {
			return err
		}
		d.Gap = !previous.Defined()
	}
	return nil
}
