package syncer_test

import (
	"math/rand/v2"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/cairn-p2p/cairn/syncer"
	"github.com/cairn-p2p/cairn/syncer/pb"
	"github.com/cairn-p2p/cairn/syncer/syncertest"
	"github.com/cairn-p2p/cairn/types"
)

// victim is a node whose only peer is a liar: an honest server with someone
// between it and the node who changes what it says.
type victim struct {
	*syncertest.Cluster // 0 is the victim, 1 the honest node behind the liar, 2 an honest one
	net                 *pipes
}

// newVictim builds a victim in virtual time. The liar has 2,000 events, of
// which the victim has the first own. Each frame that the liar's server sends
// passes through lie, whose result is sent in its place; nil hangs up.
func newVictim(t *testing.T, own int, lie func(*pb.Response) []*pb.Response) *victim {
	v := apart(t, own)
	v.net.relay = func(to types.PeerID, st syncer.Stream) syncer.Stream {
		if to != v.Locals[1].ID() {
			return st
		}
		return lying(st, lie)
	}
	v.Connect(0, 1)
	return v
}

// apart returns the nodes of newVictim before any of them is connected.
func apart(t *testing.T, own int) *victim {
	v := &victim{}
	v.Cluster, v.net = cluster(t, 3)
	events := v.Locals[1].Append(v.Topic, 2000, 16)
	if err := v.Locals[0].Integrate(t.Context(), v.Topic, "", events[:own]); err != nil {
		t.Fatal(err)
	}
	if err := v.Locals[2].Integrate(t.Context(), v.Topic, "", events); err != nil {
		t.Fatal(err)
	}
	return v
}

// lying returns a stream that carries st's frames through lie. Its server does
// not know Ancestors, so that the client pulls.
func lying(st syncer.Stream, lie func(*pb.Response) []*pb.Response) syncer.Stream {
	return between(st, func(m *pb.Request) {
		if m.GetAncestors() != nil {
			m.Request = nil
		}
	}, lie)
}

// between returns a stream that carries st's requests through change and its
// answers through lie.
func between(st syncer.Stream, change func(*pb.Request), lie func(*pb.Response) []*pb.Response) syncer.Stream {
	near, far := newPipe()
	go func() {
		defer st.CloseWrite()
		for {
			m := new(pb.Request)
			if readFrame(far, m) != nil {
				return
			}
			change(m)
			if writeFrame(st, m) != nil {
				return
			}
		}
	}()
	go func() {
		defer far.Reset()
		defer st.Reset()
		for {
			m := new(pb.Response)
			if readFrame(st, m) != nil {
				far.CloseWrite()
				return
			}
			answers := lie(m)
			if answers == nil {
				return
			}
			for _, a := range answers {
				if writeFrame(far, a) != nil {
					return
				}
			}
		}
	}()
	return near
}

func same(m *pb.Response) []*pb.Response { return []*pb.Response{m} }

// check lets ten minutes pass, and then holds the victim to having counted an
// offence, kept quiet and believed nothing; with an honest peer it catches up.
func (v *victim) check(t *testing.T, reason string) {
	t.Helper()
	after(10 * time.Minute)
	if n := len(v.net.sent()); n > 600 {
		t.Errorf("%d requests in 10 minutes with a liar", n)
	}
	st, err := v.Syncers()[0].Status(v.Topic)
	if err != nil {
		t.Fatal(err)
	}
	if reason != "" && (len(st.Offenders) != 1 || !strings.Contains(st.Offenders[0].Reason, reason)) {
		t.Errorf("offences %+v, want one with %q (last error %q)", st.Offenders, reason, st.LastError)
	}
	v.catchUp(t)
}

func (v *victim) catchUp(t *testing.T) {
	t.Helper()
	v.Connect(0, 2)
	after(time.Minute)
	if v.Hash(0) != v.Hash(2) {
		t.Errorf("%d events after a minute with an honest peer, want %d", v.Events(0), v.Events(2))
	}
}

// onPull and onEvents apply lie to answers of one kind.
func onPull(lie func(*pb.PullAnswer)) func(*pb.Response) []*pb.Response {
	return func(m *pb.Response) []*pb.Response {
		if a := m.GetPull(); a != nil {
			expand(a.Events, &a.Batches)
			lie(a)
		}
		return same(m)
	}
}

func onEvents(lie func([]*pb.Item)) func(*pb.Response) []*pb.Response {
	return func(m *pb.Response) []*pb.Response {
		if a := m.GetEvents(); a != nil {
			expandItems(a)
			lie(a.Items)
		}
		return same(m)
	}
}

// expand gives the events of a frame's whole batches their witnesses, so that a
// lie about one event is about no other.
func expand(list []*pb.Event, signatures *[][]byte) {
	batches := make([][]*types.Event, len(*signatures))
	messages := map[*types.Event]*pb.Event{}
	for _, m := range list {
		if m.GetBatch() > 0 {
			e := &types.Event{CID: types.SumCID(m.GetBody())}
			batches[m.GetBatch()-1] = append(batches[m.GetBatch()-1], e)
			messages[e] = m
		}
	}
	for i, batch := range batches {
		if err := types.RebuildWitnesses([64]byte((*signatures)[i]), batch); err != nil {
			panic(err) // an honest server's
		}
	}
	for e, m := range messages {
		m.Witness, m.Batch = e.Witness, 0
	}
	*signatures = nil
}

func expandItems(a *pb.EventsAnswer) {
	var list []*pb.Event
	for _, i := range a.Items {
		list = append(list, i.GetEvent())
	}
	expand(list, &a.Batches)
}

func onHeads(lie func(*pb.HeadsAnswer)) func(*pb.Response) []*pb.Response {
	return func(m *pb.Response) []*pb.Response {
		if a := m.GetHeads(); a != nil {
			lie(a)
		}
		return same(m)
	}
}

// TestLiars guards against defect 5, received bytes that are never hashed: every lie ends the exchange with an offence and harms no one else.
// Own is the number of events that the victim has: 0 makes it pull events, 1500
// CIDs.
func TestLiars(t *testing.T) {
	other := otherTopicsEvent(t)
	for _, tt := range []struct {
		name   string
		own    int
		lie    func(*pb.Response) []*pb.Response
		reason string
	}{
		{"wrong bytes under a CID", 1500, onEvents(func(items []*pb.Item) {
			items[0].Event.Body = items[len(items)-1].Event.Body
		}), "other bytes"},
		{"withheld event", 1500, onEvents(func(items []*pb.Item) {
			items[3].Outcome, items[3].Event = pb.Item_OUTCOME_ABSENT, nil
		}), "does not serve"},
		{"event after one over budget", 1500, onEvents(func(items []*pb.Item) {
			items[3].Outcome = pb.Item_OUTCOME_OVER_BUDGET
		}), "after one that was over budget"},
		{"all over budget", 1500, onEvents(func(items []*pb.Item) {
			for _, i := range items {
				i.Outcome, i.Event = pb.Item_OUTCOME_OVER_BUDGET, nil
			}
		}), "0 events"},
		{"unknown outcome", 1500, onEvents(func(items []*pb.Item) { items[0].Outcome = 9 }), "outcome 9"},
		{"bad witness by CID", 1500, onEvents(func(items []*pb.Item) { items[0].Event.Witness[5] ^= 1 }), "bad witness"},
		{"bad witness", 0, onPull(func(a *pb.PullAnswer) { a.Events[7].Witness[5] ^= 1 }), "bad witness"},
		{"event without its links", 0, onPull(func(a *pb.PullAnswer) { a.Events[7] = a.Events[6] }), "links that are not integrated"},
		{"not an event", 0, onPull(func(a *pb.PullAnswer) { a.Events[7].Body = []byte{1, 2, 3} }), "invalid event"},
		{"event of another topic", 0, onPull(func(a *pb.PullAnswer) { a.Events[7] = other }), "is of topic"},
		{"position that skips", 0, onPull(func(a *pb.PullAnswer) { a.Position.Number++ }), "position"},
		{"answer that does not advance", 0, onPull(func(a *pb.PullAnswer) {
			*a = pb.PullAnswer{LogId: a.LogId, End: 1 << 40} //nolint:govet // a message of the test's own
		}), "does not advance"},
		{"log of 2^63 events", 0, onPull(func(a *pb.PullAnswer) { a.End = 1 << 63 }), "log of"},
		{"events when asked for CIDs", 1500, onPull(func(a *pb.PullAnswer) { a.Events = []*pb.Event{other} }), "frame of 1 events"},
		{"malformed CIDs", 1500, onPull(func(a *pb.PullAnswer) { a.Cids[0] = a.Cids[0][:20] }), "no CID"},
		{"heads that are not sorted", 0, onHeads(func(a *pb.HeadsAnswer) {
			if a.Heads != nil {
				a.Heads = append(a.Heads, &pb.Head{Cid: types.SumCID(nil).Bytes()}, a.Heads[0], a.Heads[0])
				a.Heads[0] = &pb.Head{Cid: types.CIDOf(types.Hash{0: 0xff}).Bytes()}
			}
		}), "not sorted"},
		{"heads hash without heads", 0, onHeads(func(a *pb.HeadsAnswer) { a.Heads = nil }), "without its heads"},
		{"heads of another topic", 0, onHeads(func(a *pb.HeadsAnswer) { a.Topic = types.SumCID(nil).Bytes() }), "another topic"},
		{"another answer than asked for", 0, func(m *pb.Response) []*pb.Response {
			if m.GetHeads() != nil {
				m.Answer = &pb.Response_Events{Events: &pb.EventsAnswer{}}
			}
			return same(m)
		}, "another kind"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				v := newVictim(t, tt.own, tt.lie)
				v.check(t, tt.reason)
			})
		})
	}
}

// TestBatchLiars: what a frame says of its whole batches proves nothing by
// itself.
func TestBatchLiars(t *testing.T) {
	for _, tt := range []struct {
		name   string
		lie    func(*pb.PullAnswer)
		reason string
	}{
		{"another signature", func(a *pb.PullAnswer) { a.Batches[0][5] ^= 1 }, "bad witness"},
		{"the signature of another batch", func(a *pb.PullAnswer) { a.Batches[0], a.Batches[1] = a.Batches[1], a.Batches[0] }, "bad witness"},
		{"two events change places", func(a *pb.PullAnswer) { a.Events[0], a.Events[1] = a.Events[1], a.Events[0] }, "bad witness"},
		{"an event is left out", func(a *pb.PullAnswer) { a.Events = a.Events[1:]; a.Position.Number-- }, "bad witness"},
		{"an event of the next batch", func(a *pb.PullAnswer) { a.Events[64].Batch = 1 }, "bad witness"},
		{"a batch that is not there", func(a *pb.PullAnswer) { a.Events[3].Batch = 1 << 31 }, "event of batch"},
		{"a witness beside the batch", func(a *pb.PullAnswer) { a.Events[3].Witness = []byte{1} }, "event of batch"},
		{"a short signature", func(a *pb.PullAnswer) { a.Batches[0] = a.Batches[0][:63] }, "signature of 63 bytes"},
		{"a batch without events", func(a *pb.PullAnswer) { a.Batches = append(a.Batches, a.Batches[0]) }, "a batch of 0 events"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				v := newVictim(t, 0, func(m *pb.Response) []*pb.Response {
					if a := m.GetPull(); a != nil && len(a.Events) > 0 {
						tt.lie(a)
					}
					return same(m)
				})
				v.check(t, tt.reason)
			})
		})
	}
}

func otherTopicsEvent(t *testing.T) *pb.Event {
	g, err := types.NewOpen("other")
	if err != nil {
		t.Fatal(err)
	}
	l := syncertest.NewLocal("other")
	l.Join(g)
	e := l.Append(g.ID(), 1, 16)[0]
	return &pb.Event{Body: e.Bytes(), Witness: e.Witness}
}

// TestUnprovenClaim guards against defect 3: 300 heads that nobody has lock
// nothing up, change no state, and are listed in status with who claimed them.
func TestUnprovenClaim(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		claims := make([]*pb.Head, 300)
		for i := range claims {
			claims[i] = &pb.Head{Cid: types.CIDOf(types.Hash{0: byte(i >> 8), 1: byte(i)}).Bytes(), Height: 1 << 40}
		}
		v := newVictim(t, 1500, onHeads(func(a *pb.HeadsAnswer) {
			a.Heads, a.HeadsHash = claims, append([]byte{1, 2}, a.HeadsHash[2:]...)
		}))
		after(time.Minute)
		st, err := v.Syncers()[0].Status(v.Topic)
		if err != nil {
			t.Fatal(err)
		}
		if len(st.Missing) != 64 || len(st.Missing[0].Asked) != 1 || st.Missing[0].Asked[0].Peer != v.Locals[1].ID() {
			t.Errorf("%d missing, want 64 with the claimant's answer", len(st.Missing))
		}
		v.Connect(0, 2)
		after(time.Second)
		st, err = v.Syncers()[0].Status(v.Topic)
		if err != nil || st.State != syncer.StateSynced || v.Hash(0) != v.Hash(2) {
			t.Errorf("state %s (%s) beside an unproven claim, want synced; %v", st.State, st.Reason, err)
		}
		v.Locals[2].Append(v.Topic, 100, 16)
		after(3 * time.Second)
		if v.Hash(0) != v.Hash(2) {
			t.Error("an unproven claim keeps the topic from syncing")
		}
		v.check(t, "does not serve")
	})
}

// TestEndlessPull: a log that repeats itself is found out as soon as it has
// more entries than the victim has events.
func TestEndlessPull(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := newVictim(t, 0, func(m *pb.Response) []*pb.Response {
			a := m.GetPull()
			if a == nil || len(a.Events) == 0 { // as CIDs, once some events came
				return same(m)
			}
			expand(a.Events, &a.Batches)
			a.Events, a.End, a.Position.Number = a.Events[:min(500, len(a.Events))], 1<<40, 0
			list := make([]*pb.Response, 0, 200)
			for range cap(list) {
				m = proto.CloneOf(m)
				m.More = true
				m.GetPull().Position.Number += 500
				list = append(list, m)
			}
			return list
		})
		v.check(t, "twice")
	})
}

// TestSlowLoris: a peer that does not answer, or drips, is given up after the
// frame's deadline. That is a failure and no offence.
func TestSlowLoris(t *testing.T) {
	for name, wait := range map[string]time.Duration{"silent": time.Hour, "drip": 15 * time.Second} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var pulls atomic.Int32
				v := newVictim(t, 1500, func(m *pb.Response) []*pb.Response {
					a := m.GetEvents()
					if a == nil {
						return same(m)
					}
					expandItems(a)
					pulls.Add(1)
					time.Sleep(wait)
					for _, i := range a.Items[1:] { // one event an answer
						i.Outcome, i.Event = pb.Item_OUTCOME_OVER_BUDGET, nil
					}
					return same(m)
				})
				after(3 * time.Minute)
				st, err := v.Syncers()[0].Status(v.Topic)
				if err != nil || len(st.Offenders) != 0 || st.LastError == "" {
					t.Errorf("status %+v, %v; want an error and no offence", st, err)
				}
				if n := pulls.Load(); n > 40 {
					t.Errorf("%d answers taken from a slow peer", n)
				}
				v.Connect(0, 2)
				after(2 * time.Minute) // its turn comes when the slow one is given up
				if v.Hash(0) != v.Hash(2) {
					t.Error("a slow peer keeps an honest one from its turn")
				}
				v.Disconnect(0, 1)
				after(2 * time.Hour) // the sleepers of this test
			})
		})
	}
}

// TestGarbage: what is no frame is an offence, in any length.
func TestGarbage(t *testing.T) {
	garbage := make([]byte, 4096)
	rand.NewChaCha8([32]byte{}).Read(garbage) //nolint:errcheck // it never fails
	for i := range 4 {
		garbage[i] |= 0x80 // no length that a frame can have
	}
	for name, b := range map[string][]byte{
		"huge length":         {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01},
		"length over a frame": {0x81, 0x80, 0x40},
		"random bytes":        garbage,
		"a string":            []byte(strings.Repeat("GET / HTTP/1.1\r\n\r\n", 100)),
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				v := newVictim(t, 0, same)
				v.net.mu.Lock()
				v.net.relay = func(to types.PeerID, st syncer.Stream) syncer.Stream {
					if to != v.Locals[1].ID() {
						return st
					}
					st.Reset()
					near, far := newPipe()
					far.Write(b) //nolint:errcheck // into the buffer
					return near
				}
				v.net.mu.Unlock()
				v.Disconnect(0, 1)
				v.Connect(0, 1)
				after(time.Minute)
				st, err := v.Syncers()[0].Status(v.Topic)
				if err != nil || len(st.Offenders) != 1 || st.Offenders[0].Count < 2 {
					t.Errorf("offences %+v, %v; want one offender", st.Offenders, err)
				}
				v.catchUp(t)
			})
		})
	}
}

// TestFlapping: a stream that dies in the middle of a pull costs only what had
// not been integrated: the next one resumes.
func TestFlapping(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var n atomic.Int32
		v := newVictim(t, 0, func(m *pb.Response) []*pb.Response {
			if m.GetPull() == nil {
				return same(m)
			}
			if n.Add(1)%3 == 0 {
				return nil
			}
			return same(m)
		})
		v.Locals[1].Append(v.Topic, 20_000, 64)
		after(5 * time.Minute)
		if v.Hash(0) != v.Hash(1) {
			t.Errorf("%d events of 22,000", v.Events(0))
		}
		if verified := v.Locals[0].Verified(); verified > 60_000 {
			t.Errorf("%d events verified to get 22,000", verified)
		}
	})
}
