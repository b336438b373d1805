package client

import (
	"context"
	"errors"
	"fmt"
	"iter"

	"github.com/ipfs/go-cid"

	"github.com/cairn-p2p/cairn/client/pb"
	"github.com/cairn-p2p/cairn/types"
)

// Broker answers the requests of /cairn/deliver/1. *Remote and *api.Client are
// ones.
type Broker interface {
	// Deliver sends a request and yields the frames of the answer as they come. It
	// ends with the answer, or after the first error. The frames are the caller's.
	Deliver(ctx context.Context, m *pb.Request) iter.Seq2[*pb.Response, error]
	// String says who the broker is, for people and in evidence.
	String() string
}

// Errors that callers branch on, beside those of package types.
var (
	// ErrUnreachable: no broker answers, or it went away during the answer.
	ErrUnreachable = errors.New("broker is unreachable")
	// ErrBusy: the broker serves as many as it can.
	ErrBusy = errors.New("broker is busy")
	// ErrNotServed: the node is no broker, is of another network, or does not know
	// the request.
	ErrNotServed = errors.New("not served")
	// ErrUnknownEvents: the broker has events of the key that its state file does
	// not know of: the file is missing or an old copy, or somebody else has the key.
	ErrUnknownEvents = errors.New("the key has events that its state file does not know of")
	// ErrRefused: the broker does not take the events.
	ErrRefused = errors.New("broker refused the events")
)

// errAnswer: frames that are no answer to the request.
var errAnswer = errors.New("not an answer to what was asked")

// ask yields the frames of an answer, but for the one that is an error.
func ask(ctx context.Context, b Broker, m *pb.Request) iter.Seq2[*pb.Response, error] {
	return func(yield func(*pb.Response, error) bool) {
		for r, err := range b.Deliver(ctx, m) {
			if e := r.GetError(); err == nil && e != nil {
				err = fmt.Errorf("broker %s: %w: %.200q", b, answerError(e.GetCode()), e.GetReason())
			}
			if !yield(r, err) || err != nil {
				return
			}
		}
	}
}

func answerError(code pb.Error_Code) error {
	switch code {
	case pb.Error_CODE_UNSUPPORTED:
		return ErrNotServed
	case pb.Error_CODE_MALFORMED:
		return types.ErrInvalidArgument
	case pb.Error_CODE_NOT_FOUND:
		return types.ErrNotFound
	case pb.Error_CODE_INVALID_CURSOR:
		return types.ErrInvalidCursor
	case pb.Error_CODE_BUSY:
		return ErrBusy
	case pb.Error_CODE_CLOSED:
		return types.ErrClosed
	}
	return errors.New("it failed")
}

// source is a topic at a broker: it makes violations of what it checks.
type source struct {
	broker  Broker
	topic   types.TopicID
	genesis *types.Genesis // nil until it is known
	witness *types.Verifier
}

// rememberedRoots bounds the batch roots that need no second signature check.
const rememberedRoots = 4096

func newSource(b Broker, topic types.TopicID) *source {
	return &source{broker: b, topic: topic, witness: types.NewVerifier(rememberedRoots)}
}

// violation returns the error of a broken rule; e may be nil.
func (s *source) violation(kind Kind, e *types.Event, format string, args ...any) *Violation {
	v := &Violation{Kind: kind, Broker: s.broker.String(), Topic: s.topic.String(), Reason: fmt.Sprintf(format, args...)}
	if e != nil {
		v.CID, v.Body, v.Witness = e.CID.String(), e.Bytes(), e.Witness
	}
	return v
}

// learn takes the genesis that the broker gave.
func (s *source) learn(b []byte) error {
	if id := types.SumCID(b); id != s.topic {
		v := s.violation(KindGenesis, nil, "the genesis is that of %s", id)
		v.Genesis = b
		return v
	}
	g, err := types.DecodeGenesis(b)
	if err != nil {
		return fmt.Errorf("topic %s: %w", s.topic, err)
	}
	s.genesis = g
	return nil
}

// check returns the event of what was served if that proves itself: everything
// but its links and place.
func (s *source) check(body, witness []byte) (*types.Event, error) {
	e, err := types.DecodeEvent(body, witness)
	if err != nil {
		v := s.violation(KindEncoding, nil, "%v", err)
		v.CID, v.Body, v.Witness = types.SumCID(body).String(), body, witness
		return nil, v
	}
	if e.Topic != s.topic {
		return nil, s.violation(KindTopic, e, "the event is of topic %s", e.Topic)
	}
	if !s.genesis.MayPublish(e.Publisher) {
		return nil, s.violation(KindPublisher, e, "%s may not publish to %q", e.Publisher, s.genesis.Name)
	}
	if err := s.witness.Verify(e); err != nil {
		return nil, s.violation(KindWitness, e, "%v", err)
	}
	return e, nil
}

// answered is the error of an answer that is none.
func (s *source) answered(format string, args ...any) error {
	return s.violation(KindAnswer, nil, "%v: %s", errAnswer, fmt.Sprintf(format, args...))
}

// standing is what a broker says of a topic to one who is about to publish.
type standing struct {
	events  uint64
	own     *types.Event // the publisher's with the greatest seq; proven; nil: none
	heads   []types.Head // unproven
	syncing bool         // it may lack events of the publisher that nodes connected to it have
}

// heads asks where the topic stands, for a publisher.
func (s *source) heads(ctx context.Context, p types.Publisher) (*standing, error) {
	var at *standing
	m := &pb.Request{Request: &pb.Request_Heads{Heads: &pb.HeadsRequest{Topic: s.topic.Bytes(), Publisher: p[:]}}}
	for r, err := range ask(ctx, s.broker, m) {
		if err != nil {
			return nil, err
		}
		h := r.GetHeads()
		if h == nil || at != nil && len(h.GetHeads()) == 0 { // which could go on for ever
			return nil, s.answered("no heads")
		}
		if at == nil {
			at = &standing{events: h.GetEvents(), syncing: h.GetSyncing()}
			if err := s.learn(h.GetGenesis()); err != nil {
				return nil, err
			}
			if h.GetOwn() != nil {
				if at.own, err = s.check(h.GetOwn().GetBody(), h.GetOwn().GetWitness()); err != nil {
					return nil, err
				}
				if at.own.Publisher != p {
					return nil, s.violation(KindAnswer, at.own, "the event is of %s, not of the publisher asked about", at.own.Publisher)
				}
			}
		}
		for _, h := range h.GetHeads() {
			id, err := types.CastCID(h.GetCid())
			if err != nil || h.GetHeight() == 0 || len(at.heads) == maxHeads {
				return nil, s.answered("head %x of height %d after %d others", h.GetCid(), h.GetHeight(), len(at.heads))
			}
			if h.GetHeight() > maxHeight {
				v := s.violation(KindHeads, nil, "it names the head %s of height %d, which no log has", id, h.GetHeight())
				v.Link = id.String()
				return nil, v
			}
			at.heads = append(at.heads, types.Head{CID: id, Height: h.GetHeight()})
		}
	}
	if at == nil {
		return nil, s.answered("nothing")
	}
	return at, nil
}

// prove demands that heads that the broker told of are events of the topic with
// the heights that it gave.
func (s *source) prove(ctx context.Context, heads []types.Head) error {
	for len(heads) > 0 {
		n := min(len(heads), maxAsked)
		if err := s.proveSome(ctx, heads[:n]); err != nil {
			return err
		}
		heads = heads[n:]
	}
	return nil
}

func (s *source) proveSome(ctx context.Context, heads []types.Head) error {
	q := &pb.EventsRequest{Topic: s.topic.Bytes()}
	for _, h := range heads {
		q.Cids = append(q.Cids, h.CID.Bytes())
	}
	for r, err := range ask(ctx, s.broker, &pb.Request{Request: &pb.Request_Events{Events: q}}) {
		if err != nil {
			return err
		}
		if n := len(r.GetEvents().GetEvents()); n == 0 || n > len(heads) {
			return s.answered("%d events where %d are missing", n, len(heads))
		}
		for _, m := range r.GetEvents().GetEvents() {
			if err := s.proveHead(heads[0], m); err != nil {
				return err
			}
			heads = heads[1:]
		}
	}
	if len(heads) > 0 {
		return s.answered("%d events too few", len(heads))
	}
	return nil
}

func (s *source) proveHead(h types.Head, m *pb.Event) error {
	if len(m.GetBody()) == 0 {
		v := s.violation(KindHeads, nil, "it names the head %s and does not serve it", h.CID)
		v.Link = h.CID.String()
		return v
	}
	e, err := s.check(m.GetBody(), m.GetWitness())
	var v *Violation
	if errors.As(err, &v) {
		v.Kind, v.Reason, v.Link = KindHeads, fmt.Sprintf("head %s: %s: %s", h.CID, v.Kind, v.Reason), h.CID.String()
		return v
	}
	if err != nil {
		return err
	}
	if e.CID != h.CID || e.Height != h.Height {
		v := s.violation(KindHeads, e, "head %s of height %d is served as %s of height %d", h.CID, h.Height, e.CID, e.Height)
		v.Link = h.CID.String()
		return v
	}
	return nil
}

// submitted is a broker's answer to events handed over: stored, if the rest is
// zero.
type submitted struct {
	missing []cid.Cid
	refused *pb.Refusal
}

// submit hands events over.
func (s *source) submit(ctx context.Context, events []*types.Event) (submitted, error) {
	q := &pb.SubmitRequest{Topic: s.topic.Bytes()}
	for _, e := range events {
		q.Events = append(q.Events, &pb.Event{Body: e.Bytes(), Witness: e.Witness})
	}
	var answer *pb.SubmitAnswer
	for r, err := range ask(ctx, s.broker, &pb.Request{Request: &pb.Request_Submit{Submit: q}}) {
		if err != nil {
			return submitted{}, err
		}
		if answer != nil || r.GetSubmit() == nil {
			return submitted{}, s.answered("no one verdict")
		}
		answer = r.GetSubmit()
	}
	switch {
	case answer.GetRefused() != nil:
		return submitted{refused: answer.GetRefused()}, nil
	case len(answer.GetMissing()) > 0:
		return s.parseMissing(answer.GetMissing(), events)
	case len(answer.GetStored()) != len(events):
		return submitted{}, s.answered("%d events stored of %d", len(answer.GetStored()), len(events))
	}
	for i, e := range events {
		if string(answer.GetStored()[i]) != e.CID.KeyString() {
			return submitted{}, s.answered("event %d stored as %x, which is %s", i, answer.GetStored()[i], e.CID)
		}
	}
	return submitted{}, nil
}

// parseMissing reads what the broker says it lacks: only a link of what it was
// given, that it was not given, can be missing.
func (s *source) parseMissing(list [][]byte, events []*types.Event) (submitted, error) {
	links := map[cid.Cid]bool{}
	for _, e := range events {
		for _, l := range e.Links {
			links[l] = true
		}
	}
	for _, e := range events {
		delete(links, e.CID)
	}
	var missing []cid.Cid
	for _, b := range list {
		id, err := types.CastCID(b)
		if err != nil || !links[id] {
			return submitted{}, s.answered("%x missing, which is no link of what was submitted", b)
		}
		missing = append(missing, id)
	}
	return submitted{missing: missing}, nil
}
