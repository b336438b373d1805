package syncer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/cairn-p2p/cairn/syncer/pb"
	"github.com/cairn-p2p/cairn/types"
)

// server answers the requests of one stream, one after the other.
type server struct {
	s         *Syncer
	peer      types.PeerID
	stream    stream
	frames    *frameReader
	allowance *allowance
}

// serve answers requests until the stream ends. It returns errQuota, with
// nothing read, when the peer has too many streams. It closes the stream.
func (s *Syncer) serve(ctx context.Context, from types.PeerID, st stream) error {
	a, err := s.quota.enter(from, func() { st.Reset() }) //nolint:errcheck // nothing left to do
	if err != nil {
		s.note(from, types.TopicID{}, err)
		st.Reset() //nolint:errcheck // nothing left to do
		return err
	}
	defer a.leave()
	stop := context.AfterFunc(ctx, func() { st.Reset() }) //nolint:errcheck // nothing left to do
	defer stop()
	bytes := counted{st, &s.count}
	v := &server{s: s, peer: from, stream: bytes, frames: newFrameReader(bytes, maxRequest), allowance: a}
	err = v.run(ctx)
	if errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		st.Close() //nolint:errcheck // all answers are written
		return nil
	}
	s.refuse(ctx, v, err)
	return err
}

// refuse ends a stream that broke the protocol with an answer that says so,
// and any other at once.
func (s *Syncer) refuse(ctx context.Context, v *server, err error) {
	s.note(v.peer, types.TopicID{}, err)
	var o *offence
	if errors.As(err, &o) && v.fail(ctx, pb.Error_CODE_MALFORMED, o.reason) == nil {
		v.stream.Close() //nolint:errcheck // the reason is sent; nothing more was promised
		return
	}
	v.stream.Reset() //nolint:errcheck // nothing left to do
}

// run answers requests until there is an error; io.EOF is the orderly end.
func (v *server) run(ctx context.Context) error {
	for {
		if err := v.stream.SetReadDeadline(time.Now().Add(v.s.iv.Idle)); err != nil {
			return fmt.Errorf("read request: %w", err)
		}
		b, err := v.frames.next()
		if err != nil {
			return err
		}
		if err := v.allowance.spend(ctx, requestCost+len(b)); err != nil {
			return err
		}
		m, err := decodeRequest(b)
		if err != nil {
			return err
		}
		if m.GetNetwork() != v.s.net {
			return v.turnAway(ctx)
		}
		if err := v.answer(ctx, m); err != nil {
			return err
		}
	}
}

// turnAway ends the stream of a peer of another network: topics of one name
// have one id in every network, and would be merged.
func (v *server) turnAway(ctx context.Context) error {
	if err := v.fail(ctx, pb.Error_CODE_UNSUPPORTED, "this node is of another network"); err != nil {
		return err
	}
	return io.EOF
}

func (v *server) answer(ctx context.Context, m *pb.Request) error {
	switch r := m.GetRequest().(type) {
	case *pb.Request_Status:
		return v.status(ctx)
	case *pb.Request_Heads:
		return v.heads(ctx, r.Heads)
	case *pb.Request_Events:
		return v.events(ctx, r.Events)
	case *pb.Request_Pull:
		return v.pull(ctx, r.Pull)
	case *pb.Request_Changes:
		return v.changes(ctx, r.Changes)
	case *pb.Request_Digest:
		return v.digest(ctx, r.Digest)
	case *pb.Request_Ancestors:
		return v.ancestors(ctx, r.Ancestors)
	case *pb.Request_Held:
		return v.held(ctx, r.Held)
	case *pb.Request_Locate:
		return v.locate(ctx, r.Locate)
	case *pb.Request_Offer:
		return v.offer(r.Offer)
	}
	return v.fail(ctx, pb.Error_CODE_UNSUPPORTED, "this release does not know the request")
}

// write sends one frame. It blocks while the peer is over its allowance, and
// fails when the peer does not read.
func (v *server) write(ctx context.Context, m *pb.Response) error {
	b, err := encodeFrame(m, maxResponse)
	if err != nil {
		return fmt.Errorf("encode answer: %w", err)
	}
	if err := v.allowance.spend(ctx, min(len(b), maxResponse)); err != nil {
		return err
	}
	if err := v.stream.SetWriteDeadline(time.Now().Add(v.s.iv.Frame)); err != nil {
		return fmt.Errorf("write answer: %w", err)
	}
	if _, err := v.stream.Write(b); err != nil {
		return fmt.Errorf("write answer: %w", err)
	}
	return nil
}

func (v *server) fail(ctx context.Context, code pb.Error_Code, reason string) error {
	e := &pb.Error{Code: code, Reason: reason[:min(len(reason), maxReason)]}
	return v.write(ctx, &pb.Response{Answer: &pb.Response_Error{Error: e}})
}

// failed answers with what went wrong here. It keeps the text to itself: it may
// name files.
func (v *server) failed(ctx context.Context, topic types.TopicID, err error) error {
	if errors.Is(err, types.ErrNotFound) {
		return v.fail(ctx, pb.Error_CODE_NOT_FOUND, "the topic is not replicated here")
	}
	v.s.log.Error("serve topic", "peer", v.peer, "topic", topic, "err", err)
	return v.fail(ctx, pb.Error_CODE_INTERNAL, "the server failed")
}

// heads answers for each topic asked about.
func (v *server) heads(ctx context.Context, m *pb.HeadsRequest) error {
	queries, err := parseHeadsRequest(m)
	if err != nil {
		return err
	}
	if len(queries) == 0 {
		return offencef("Heads without a topic")
	}
	for i, q := range queries {
		if err := v.headsOf(ctx, q, i < len(queries)-1); err != nil {
			return err
		}
	}
	return nil
}

// headsOf answers for one topic; more says that another follows.
func (v *server) headsOf(ctx context.Context, q headsQuery, more bool) error {
	h, err := v.s.local.Heads(q.topic, maxPageHeads)
	a := &pb.HeadsAnswer{Topic: q.topic.Bytes(), State: pb.HeadsAnswer_STATE_NOT_HELD}
	if errors.Is(err, types.ErrNotFound) {
		return v.write(ctx, &pb.Response{More: more, Answer: &pb.Response_Heads{Heads: a}})
	}
	if err != nil {
		return v.failed(ctx, q.topic, err)
	}
	v.s.learned(v.peer, q.topic, q.own, v.s.iv.Compare)
	logID := v.s.local.LogID()
	a.State, a.HeadsHash, a.Events = pb.HeadsAnswer_STATE_REPLICATED, h.Hash[:], h.Events
	a.LogId, a.End = logID[:], positionMessage(h.End)
	if h.Paused {
		a.State = pb.HeadsAnswer_STATE_PAUSED
	}
	if q.genesis && h.Genesis != nil {
		a.Genesis = h.Genesis.Bytes()
	}
	switch {
	case q.knows(h.Hash):
	case h.Count > maxPageHeads:
		a.Many = true
	default:
		a.Heads = headMessages(h.Heads)
	}
	return v.write(ctx, &pb.Response{More: more, Answer: &pb.Response_Heads{Heads: a}})
}

func headMessages(heads []types.Head) []*pb.Head {
	list := make([]*pb.Head, 0, len(heads))
	for _, h := range heads {
		list = append(list, &pb.Head{Cid: h.CID.Bytes(), Height: h.Height})
	}
	return list
}

// offer notes that a peer has heads, which the comparison that follows fetches
// if they are missing.
func (v *server) offer(m *pb.Offer) error {
	o, err := parseOffer(m)
	if err != nil {
		return err
	}
	missing, err := v.s.local.Missing(o.topic, o.heads)
	if err != nil || len(missing) == 0 {
		return nil // not replicated here, or not news: an offer has no answer
	}
	v.s.learned(v.peer, o.topic, &o.hash, v.s.iv.Offer)
	return nil
}
