package syncer_test

import (
	"context"
	"errors"
	"io"
	"os"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/cairn-p2p/cairn/syncer"
	"github.com/cairn-p2p/cairn/syncer/pb"
	"github.com/cairn-p2p/cairn/syncer/syncertest"
	"github.com/cairn-p2p/cairn/types"
)

// served is a server with one topic, to which a test speaks by hand.
type served struct {
	t     *testing.T
	s     *syncer.Syncer
	local *syncertest.Local
	g     *types.Genesis
}

func newServed(t *testing.T, limits syncer.Limits) *served {
	g, err := types.NewOpen("served")
	if err != nil {
		t.Fatal(err)
	}
	v := &served{t: t, local: syncertest.NewLocal("served"), g: g}
	v.s = syncer.NewOn(syncer.Config{Local: v.local, Limits: limits}, func(context.Context, types.PeerID) (syncer.Stream, error) {
		return nil, errors.New("no way back")
	})
	v.s.Add(g.ID(), v.local.Join(g))
	v.local.OnChange(v.s.Changed)
	return v
}

// open opens a stream from a peer; its result comes when the server ends it.
func (v *served) open(peer string) (syncer.Stream, <-chan error) {
	near, far := newPipe()
	done := make(chan error, 1)
	go func() { done <- v.s.Serve(v.t.Context(), types.PeerID(peer), far) }()
	return near, done
}

// ask sends one request on a stream of its own and returns the frames that
// come back until the server closes it.
func (v *served) ask(m *pb.Request) []*pb.Response {
	v.t.Helper()
	st, done := v.open("peer")
	if err := writeFrame(st, m); err != nil {
		v.t.Fatal(err)
	}
	st.CloseWrite()
	var list []*pb.Response
	for {
		r := new(pb.Response)
		if err := readFrame(st, r); err != nil {
			if !errors.Is(err, io.EOF) {
				v.t.Fatal(err)
			}
			break
		}
		list = append(list, r)
	}
	if err := <-done; err != nil && list[len(list)-1].GetError() == nil {
		v.t.Fatal(err)
	}
	for i, r := range list {
		if r.More != (i < len(list)-1) {
			v.t.Errorf("frame %d of %d says more: %v", i, len(list), r.More)
		}
	}
	return list
}

func (v *served) askPull(m *pb.PullRequest) []*pb.Response {
	m.Topic = v.g.ID().Bytes()
	return v.ask(&pb.Request{Request: &pb.Request_Pull{Pull: m}})
}

// TestHeld: the answer has one bit for each CID, also for the 64th.
func TestHeld(t *testing.T) {
	v := newServed(t, syncer.Limits{})
	events := v.local.Append(v.g.ID(), 32, 16)
	m := &pb.HeldRequest{Topic: v.g.ID().Bytes()}
	for i, e := range events {
		m.Cids = append(m.Cids, types.SumCID([]byte{byte(i)}).Bytes(), e.CID.Bytes())
	}
	list := v.ask(&pb.Request{Request: &pb.Request_Held{Held: m}})
	if len(list) != 1 || list[0].GetHeld().GetBitmap() != 0xaaaa_aaaa_aaaa_aaaa {
		t.Errorf("answer %v, want every other event", list)
	}
	m.Topic = types.SumCID([]byte("another")).Bytes()
	if list := v.ask(&pb.Request{Request: &pb.Request_Held{Held: m}}); len(list) != 1 || list[0].GetError().GetCode() != pb.Error_CODE_NOT_FOUND {
		t.Errorf("answer %v about a topic that is not held", list)
	}
}

func TestPullPages(t *testing.T) {
	v := newServed(t, syncer.Limits{})
	events := v.local.Append(v.g.ID(), 5000, 100)
	for _, asCIDs := range []bool{false, true} {
		got, position := 0, uint64(0)
		for _, r := range v.askPull(&pb.PullRequest{Cids: asCIDs}) {
			a := r.GetPull()
			for _, e := range a.Events {
				if types.SumCID(e.Body) != events[got].CID {
					t.Fatalf("event %d is another", got)
				}
				got++
			}
			for _, c := range a.Cids {
				if string(c) != events[got].CID.KeyString() {
					t.Fatalf("CID %d is another", got)
				}
				got++
			}
			position = a.Position.Number
			if size := proto.Size(r); size > 300<<10 {
				t.Errorf("frame of %d bytes", size)
			}
		}
		if got != 5000 || position != 5000 {
			t.Errorf("%d events up to %d, want 5000", got, position)
		}
	}
}

// A frame of Pull or Ancestors ends between two batches, so that none has to be
// sent with a path of hashes for each of its events.
func TestWholeBatchesAreSent(t *testing.T) {
	v := newServed(t, syncer.Limits{})
	events := v.local.Append(v.g.ID(), 2000, 500)
	last := &pb.AncestorsRequest{Topic: v.g.ID().Bytes(), Wants: [][]byte{events[len(events)-1].CID.Bytes()}}
	for name, frames := range map[string][]*pb.Response{
		"Pull":      v.askPull(&pb.PullRequest{}),
		"Ancestors": v.ask(&pb.Request{Request: &pb.Request_Ancestors{Ancestors: last}}),
	} {
		if len(frames) < 3 {
			t.Errorf("%s: %d frames, want several", name, len(frames))
		}
		bodies, bytes, got, paths := 0, 0, 0, 0
		for _, f := range frames {
			bytes += proto.Size(f)
			for _, e := range append(f.GetPull().GetEvents(), f.GetAncestors().GetEvents()...) {
				got++
				bodies += len(e.Body)
				if len(e.Witness) > 0 {
					paths++
				}
			}
		}
		if got != len(events) || paths > 0 {
			t.Errorf("%s: %d events of %d, %d of them with witnesses", name, got, len(events), paths)
		}
		if goal := (bodies + 65*len(events)) * 11 / 10; bytes > goal {
			t.Errorf("%s: %d bytes for %d bytes of bodies, want at most %d", name, bytes, bodies, goal)
		}
	}
}

func TestPullPosition(t *testing.T) {
	v := newServed(t, syncer.Limits{})
	v.local.Append(v.g.ID(), 10, 16)
	first := v.askPull(&pb.PullRequest{Limit: 4})[0].GetPull()
	if len(first.Events) != 4 || first.End != 10 || first.Position.Number != 4 {
		t.Fatalf("limited pull gives %d events to %d of %d", len(first.Events), first.Position.Number, first.End)
	}
	rest := v.askPull(&pb.PullRequest{LogId: first.LogId, After: first.Position})[0].GetPull()
	if len(rest.Events) != 6 {
		t.Errorf("resumed pull gives %d events, want 6", len(rest.Events))
	}
	none := v.askPull(&pb.PullRequest{LogId: first.LogId, After: rest.Position})[0].GetPull()
	if len(none.Events) != 0 || none.Position.Number != 10 {
		t.Errorf("pull from the end gives %d events to %d", len(none.Events), none.Position.Number)
	}
	unknown := map[string]*pb.PullRequest{
		"log id":   {LogId: make([]byte, 16), After: first.Position},
		"hash":     {LogId: first.LogId, After: &pb.Position{Number: 4, Hash: make([]byte, 8)}},
		"past end": {LogId: first.LogId, After: &pb.Position{Number: 11, Hash: make([]byte, 8)}},
		"huge":     {LogId: first.LogId, After: &pb.Position{Number: 1 << 63, Hash: make([]byte, 8)}},
	}
	for name, m := range unknown {
		if e := v.askPull(m)[0].GetError(); e.GetCode() != pb.Error_CODE_UNKNOWN_POSITION {
			t.Errorf("%s: answer %v, want unknown position", name, e)
		}
	}
}

func TestEventsBudget(t *testing.T) {
	v := newServed(t, syncer.Limits{})
	m := &pb.EventsRequest{Topic: v.g.ID().Bytes()}
	for _, e := range v.local.Append(v.g.ID(), 20, types.MaxPayload) {
		m.Cids = append(m.Cids, e.CID.Bytes())
	}
	m.Cids[2] = types.SumCID(nil).Bytes()
	var outcomes []pb.Item_Outcome
	for _, r := range v.ask(&pb.Request{Request: &pb.Request_Events{Events: m}}) {
		for _, i := range r.GetEvents().GetItems() {
			outcomes = append(outcomes, i.Outcome)
		}
	}
	want := slices.Repeat([]pb.Item_Outcome{pb.Item_OUTCOME_SENT}, 8)
	want[2] = pb.Item_OUTCOME_ABSENT
	want = append(want, slices.Repeat([]pb.Item_Outcome{pb.Item_OUTCOME_OVER_BUDGET}, 12)...)
	if !slices.Equal(outcomes, want) {
		t.Errorf("outcomes %v, want %v", outcomes, want)
	}
}

// TestManyHeads: heads are listed up to a limit, and left out beyond it and
// where their hash is known.
func TestManyHeads(t *testing.T) {
	v := newServed(t, syncer.Limits{})
	grow := func(n int) syncer.Heads {
		for range n {
			other := syncertest.NewLocal(time.Now().String())
			other.Join(v.g)
			if err := v.local.Integrate(t.Context(), v.g.ID(), "", other.Append(v.g.ID(), 1, 16)); err != nil {
				t.Fatal(err)
			}
		}
		h, err := v.local.Heads(v.g.ID(), 0)
		if err != nil {
			t.Fatal(err)
		}
		return h
	}
	h := grow(1024)
	query := &pb.HeadsQuery{Topic: v.g.ID().Bytes(), Genesis: true}
	unheld := &pb.HeadsQuery{Topic: types.SumCID(nil).Bytes()}
	known := &pb.HeadsQuery{Topic: v.g.ID().Bytes(), KnownHash: h.Hash[:]}
	list := v.ask(&pb.Request{Request: &pb.Request_Heads{Heads: &pb.HeadsRequest{Queries: []*pb.HeadsQuery{query, unheld, known}}}})
	if len(list) != 3 {
		t.Fatalf("%d frames, want 3", len(list))
	}
	if a := list[0].GetHeads(); len(a.Heads) != 1024 || a.Many {
		t.Errorf("%d heads of 1024, many %v", len(a.Heads), a.Many)
	}
	if g, err := types.DecodeGenesis(list[0].GetHeads().Genesis); err != nil || g.ID() != v.g.ID() {
		t.Errorf("genesis: %v", err)
	}
	if s := list[1].GetHeads().GetState(); s != pb.HeadsAnswer_STATE_NOT_HELD {
		t.Errorf("state of an unknown topic is %s", s)
	}
	if a := list[2].GetHeads(); len(a.Heads) != 0 || a.Many {
		t.Errorf("%d heads although their hash is known, many %v", len(a.Heads), a.Many)
	}
	grow(1)
	list = v.ask(&pb.Request{Request: &pb.Request_Heads{Heads: &pb.HeadsRequest{Queries: []*pb.HeadsQuery{query}}}})
	if a := list[0].GetHeads(); len(list) != 1 || len(a.Heads) != 0 || !a.Many {
		t.Errorf("%d frames, %d heads of 1025, many %v", len(list), len(a.Heads), a.Many)
	}
}

// TestUnsupported: a request of a later release gets a clear answer, and the
// stream goes on.
func TestUnsupported(t *testing.T) {
	v := newServed(t, syncer.Limits{})
	st, _ := v.open("peer")
	defer st.Close()
	for range 3 {
		if _, err := st.Write([]byte{3, 15<<3 | 2, 1, 0}); err != nil { // field 15, of one byte
			t.Fatal(err)
		}
		m := new(pb.Response)
		if err := readFrame(st, m); err != nil || m.GetError().GetCode() != pb.Error_CODE_UNSUPPORTED {
			t.Fatalf("answer %v, %v; want unsupported", m, err)
		}
	}
}

// TestBadRequests: a request that breaks a limit is answered and ends the
// stream.
func TestBadRequests(t *testing.T) {
	v := newServed(t, syncer.Limits{})
	topic := v.g.ID().Bytes()
	cids := slices.Repeat([][]byte{topic}, 257)
	for name, m := range map[string]*pb.Request{
		"too many CIDs":       {Request: &pb.Request_Events{Events: &pb.EventsRequest{Topic: topic, Cids: cids}}},
		"no CIDs":             {Request: &pb.Request_Events{Events: &pb.EventsRequest{Topic: topic}}},
		"no topic":            {Request: &pb.Request_Events{Events: &pb.EventsRequest{Cids: cids[:1]}}},
		"short CID":           {Request: &pb.Request_Events{Events: &pb.EventsRequest{Topic: topic, Cids: [][]byte{topic[:35]}}}},
		"too many topics":     {Request: &pb.Request_Heads{Heads: &pb.HeadsRequest{Queries: slices.Repeat([]*pb.HeadsQuery{{Topic: topic}}, 65)}}},
		"no topics":           {Request: &pb.Request_Heads{Heads: &pb.HeadsRequest{}}},
		"short hash":          {Request: &pb.Request_Heads{Heads: &pb.HeadsRequest{Queries: []*pb.HeadsQuery{{Topic: topic, OwnHash: []byte{1}}}}}},
		"short change id":     {Request: &pb.Request_Changes{Changes: &pb.ChangesRequest{ChangeId: topic[:15]}}},
		"no subtrees":         {Request: &pb.Request_Digest{Digest: &pb.DigestRequest{}}},
		"too many subtrees":   {Request: &pb.Request_Digest{Digest: &pb.DigestRequest{Subtrees: slices.Repeat([]*pb.Subtree{{}}, 33)}}},
		"no nibble":           {Request: &pb.Request_Digest{Digest: &pb.DigestRequest{Subtrees: []*pb.Subtree{{Prefix: []byte{16}}}}}},
		"long prefix":         {Request: &pb.Request_Digest{Digest: &pb.DigestRequest{Subtrees: []*pb.Subtree{{Prefix: make([]byte, 63)}}}}},
		"missing hashes":      {Request: &pb.Request_Digest{Digest: &pb.DigestRequest{Subtrees: []*pb.Subtree{{Bitmap: 3, Hashes: topic[:32]}}}}},
		"leaves in a request": {Request: &pb.Request_Digest{Digest: &pb.DigestRequest{Subtrees: []*pb.Subtree{{Leaves: []*pb.Leaf{{Key: topic[:32], HeadsHash: topic[:32]}}}}}}},
		"position, no log id": {Request: &pb.Request_Pull{Pull: &pb.PullRequest{Topic: topic, After: &pb.Position{Number: 1, Hash: topic[:8]}}}},
		"position, no hash":   {Request: &pb.Request_Pull{Pull: &pb.PullRequest{Topic: topic, LogId: topic[:16], After: &pb.Position{Number: 1}}}},
		"no wants":            {Request: &pb.Request_Ancestors{Ancestors: &pb.AncestorsRequest{Topic: topic}}},
		"too many wants":      {Request: &pb.Request_Ancestors{Ancestors: &pb.AncestorsRequest{Topic: topic, Wants: cids[:33]}}},
		"too many stops":      {Request: &pb.Request_Ancestors{Ancestors: &pb.AncestorsRequest{Topic: topic, Wants: cids[:1], Stops: cids[:65]}}},
		"none held":           {Request: &pb.Request_Held{Held: &pb.HeldRequest{Topic: topic}}},
		"too many held":       {Request: &pb.Request_Held{Held: &pb.HeldRequest{Topic: topic, Cids: cids[:65]}}},
		"too many hops":       {Request: &pb.Request_Locate{Locate: &pb.LocateRequest{Topic: topic, Nonce: topic[:16], Hops: 5}}},
		"short nonce":         {Request: &pb.Request_Locate{Locate: &pb.LocateRequest{Topic: topic, Nonce: topic[:15]}}},
		"too many heads":      {Request: &pb.Request_Offer{Offer: &pb.Offer{Topic: topic, HeadsHash: topic[:32], Heads: cids[:33]}}},
	} {
		list := v.ask(m)
		if len(list) != 1 || list[0].GetError().GetCode() != pb.Error_CODE_MALFORMED || list[0].GetError().GetReason() == "" {
			t.Errorf("%s: answer %v, want malformed", name, list)
		}
	}
}

// TestServerDeadlines: neither a peer that sends nothing or half a request, nor
// one that does not read, holds a stream for long.
func TestServerDeadlines(t *testing.T) {
	for name, speak := range map[string]func(v *served, st syncer.Stream){
		"silent":       func(*served, syncer.Stream) {},
		"half a frame": func(_ *served, st syncer.Stream) { st.Write([]byte{100, 1, 2}) }, //nolint:errcheck // into the buffer
		"slow reader": func(v *served, st syncer.Stream) {
			m := &pb.PullRequest{Topic: v.g.ID().Bytes()}
			writeFrame(st, &pb.Request{Request: &pb.Request_Pull{Pull: m}}) //nolint:errcheck // into the buffer
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				v := newServed(t, syncer.Limits{})
				v.local.Append(v.g.ID(), 3000, 1000)
				st, done := v.open("peer")
				speak(v, st)
				start := time.Now()
				if err := <-done; !errors.Is(err, os.ErrDeadlineExceeded) {
					t.Errorf("stream ends with %v, want a deadline", err)
				}
				if d := time.Since(start); d > time.Minute+time.Second {
					t.Errorf("stream was held for %s", d)
				}
			})
		})
	}
}

// TestStreamCaps: one peer cannot take all streams, nor all peers more than
// there are.
func TestStreamCaps(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := newServed(t, syncer.Limits{StreamsPerPeer: 2, Streams: 3})
		var ends []<-chan error
		for _, peer := range []string{"a", "a", "a", "b", "b"} {
			_, done := v.open(peer)
			synctest.Wait()
			ends = append(ends, done)
		}
		for i, done := range ends {
			refused := false
			select {
			case <-done:
				refused = true
			default:
			}
			if want := i == 2 || i == 4; refused != want { // a's third, and the fourth of all
				t.Errorf("stream %d refused: %v", i, refused)
			}
		}
		after(2 * time.Minute) // idle: all are free again
		st, _ := v.open("a")
		defer st.Close()
		writeFrame(st, &pb.Request{Request: &pb.Request_Status{Status: &pb.StatusRequest{}}}) //nolint:errcheck // see below
		if err := readFrame(st, new(pb.Response)); err != nil {
			t.Errorf("no answer after the streams were freed: %v", err)
		}
	})
}

// TestByteCap: a peer gets its allowance a second and no more, over all of its
// streams.
func TestByteCap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := newServed(t, syncer.Limits{BytesPerSecond: 100 << 10})
		v.local.Append(v.g.ID(), 4000, 1000) // more than 4 MiB, and a burst of 2
		start := time.Now()
		v.askPull(&pb.PullRequest{})
		if d := time.Since(start); d < 15*time.Second || d > 40*time.Second {
			t.Errorf("4.5 MB at 100 KiB/s after a burst of 2 MiB took %s", d)
		}
	})
}
