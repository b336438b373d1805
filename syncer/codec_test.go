package syncer

import (
	"bytes"
	"errors"
	"io"
	"slices"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/cairn-p2p/cairn/syncer/pb"
	"github.com/cairn-p2p/cairn/types"
)

func TestFrameRoundTrip(t *testing.T) {
	var b []byte
	for size := range 300 {
		m := &pb.Request{Request: &pb.Request_Events{Events: &pb.EventsRequest{Topic: make([]byte, size)}}}
		frame, err := encodeFrame(m, maxRequest)
		if err != nil {
			t.Fatal(err)
		}
		b = append(b, frame...)
	}
	r := newFrameReader(bytes.NewReader(b), maxRequest)
	for size := range 300 {
		frame, err := r.next()
		if err != nil {
			t.Fatal(err)
		}
		m, err := decodeRequest(frame)
		if err != nil || len(m.GetEvents().GetTopic()) != size {
			t.Fatalf("request %d: %v, %v", size, m, err)
		}
	}
	if _, err := r.next(); err != io.EOF {
		t.Errorf("at the end: %v, want io.EOF", err)
	}
	if r.read != len(b) {
		t.Errorf("read %d bytes of %d", r.read, len(b))
	}
}

func TestFrameErrors(t *testing.T) {
	for name, tt := range map[string]struct {
		b       []byte
		offence bool
	}{
		"too long":            {[]byte{0x81, 0x80, 0x02}, true},
		"length of 10 bytes":  {bytes.Repeat([]byte{0xff}, 10), true},
		"length not shortest": {[]byte{0x81, 0x00, 0}, true},
		"cut in the length":   {[]byte{0x81}, false},
		"cut in the frame":    {[]byte{3, 1, 2}, false},
	} {
		_, err := newFrameReader(bytes.NewReader(tt.b), maxRequest).next()
		if isOffence(err) != tt.offence || !tt.offence && !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestFieldsBounded: two bytes on the wire must not become a hundred in memory.
func TestFieldsBounded(t *testing.T) {
	items := bytes.Repeat([]byte{1<<3 | 2, 0}, 500<<10)
	frame := append([]byte{5<<3 | 2, 0x80, 0x80, 0x40 - 0x02 + 0x02}, items...) // EventsAnswer of empty items
	frame[1], frame[2], frame[3] = byte(len(items))|0x80, byte(len(items)>>7)|0x80, byte(len(items)>>14)
	allocated := testing.AllocsPerRun(1, func() {
		if _, err := decodeResponse(frame); !isOffence(err) {
			t.Errorf("a frame of 512,000 items: %v", err)
		}
	})
	if allocated > 100 {
		t.Errorf("%v allocations to refuse it", allocated)
	}
}

func TestPositionsRoundTrip(t *testing.T) {
	list := []position{
		{peer: "a", logID: types.LogID{1}, after: types.Cursor{Number: 5, Hash: [8]byte{7}}},
		{peer: "another peer", after: types.Cursor{Number: 1 << 60}},
	}
	b := encodePositions(list)
	got := decodePositions(b)
	if len(got) != 2 || got[0] != list[0] || got[1] != list[1] {
		t.Errorf("got %+v, want %+v", got, list)
	}
	for n := range b {
		if got := decodePositions(b[:n]); len(got) > 1 {
			t.Errorf("%d of %d bytes give %d positions", n, len(b), len(got))
		}
	}
}

// seeds are one message of each kind.
func requestSeeds() []*pb.Request {
	id := types.SumCID([]byte("topic")).Bytes()
	hash := id[4:]
	return []*pb.Request{
		{Request: &pb.Request_Status{Status: &pb.StatusRequest{}}},
		{Request: &pb.Request_Changes{Changes: &pb.ChangesRequest{ChangeId: id[:16], Since: 7}}},
		{Request: &pb.Request_Digest{Digest: &pb.DigestRequest{Subtrees: []*pb.Subtree{{Prefix: []byte{1, 15}, Bitmap: 1 << 9, Hashes: hash}}}}},
		{Request: &pb.Request_Heads{Heads: &pb.HeadsRequest{Queries: []*pb.HeadsQuery{{Topic: id, OwnHash: hash, Genesis: true}}}}},
		{Request: &pb.Request_Events{Events: &pb.EventsRequest{Topic: id, Cids: [][]byte{id, id}}}},
		{Request: &pb.Request_Pull{Pull: &pb.PullRequest{Topic: id, LogId: id[:16], After: &pb.Position{Number: 7, Hash: id[:8]}, Cids: true, Limit: 9}}},
		{Request: &pb.Request_Ancestors{Ancestors: &pb.AncestorsRequest{Topic: id, Wants: [][]byte{id}, Stops: [][]byte{id, id}}}},
		{Request: &pb.Request_Held{Held: &pb.HeldRequest{Topic: id, Cids: [][]byte{id, id}}}},
		{Request: &pb.Request_Locate{Locate: &pb.LocateRequest{Topic: id, Nonce: id[:16], Hops: 4}}},
		{Request: &pb.Request_Offer{Offer: &pb.Offer{Topic: id, HeadsHash: hash, Heads: [][]byte{id}}}},
	}
}

func responseSeeds() []*pb.Response {
	id := types.SumCID([]byte("topic")).Bytes()
	hash, at := id[4:], &pb.Position{Number: 7, Hash: id[:8]}
	event := &pb.Event{Body: []byte("body"), Witness: []byte("witness")}
	return []*pb.Response{
		{Answer: &pb.Response_Error{Error: &pb.Error{Code: pb.Error_CODE_INTERNAL, Reason: "why"}}},
		{Answer: &pb.Response_Status{Status: &pb.StatusAnswer{Root: hash, LogId: id[:16], Topics: 1, ChangeNumber: 7, ChangeId: id[:16]}}},
		{More: true, Answer: &pb.Response_Changes{Changes: &pb.ChangesAnswer{ChangeNumber: 9, Leaves: []*pb.Leaf{{Key: hash, HeadsHash: hash}, {Key: hash}}}}},
		{Answer: &pb.Response_Digest{Digest: &pb.DigestAnswer{Subtrees: []*pb.Subtree{
			{Prefix: []byte{1}, Bitmap: 1, Hashes: hash}, {Prefix: []byte{hash[0] >> 4}, Leaves: []*pb.Leaf{{Key: hash, HeadsHash: hash}}},
		}}}},
		{Answer: &pb.Response_Heads{Heads: &pb.HeadsAnswer{Topic: id, State: pb.HeadsAnswer_STATE_PAUSED, HeadsHash: hash, Events: 7, LogId: id[:16], End: at, Heads: []*pb.Head{{Cid: id, Height: 3}}}}},
		{Answer: &pb.Response_Events{Events: &pb.EventsAnswer{Items: []*pb.Item{{Outcome: pb.Item_OUTCOME_SENT, Event: event}, {Outcome: pb.Item_OUTCOME_ABSENT}}}}},
		{Answer: &pb.Response_Ancestors{Ancestors: &pb.AncestorsAnswer{Events: []*pb.Event{event}}}},
		{Answer: &pb.Response_Held{Held: &pb.HeldAnswer{Bitmap: 5}}},
		{Answer: &pb.Response_Locate{Locate: &pb.LocateAnswer{Holders: []*pb.Holder{{Peer: append([]byte{0x12, 0x20}, hash...), Addrs: [][]byte{{4, 127, 0, 0, 1, 6, 1, 0}}}}}}},
		{Answer: &pb.Response_Ancestors{Ancestors: &pb.AncestorsAnswer{UsePull: true}}},
		{Answer: &pb.Response_Pull{Pull: &pb.PullAnswer{LogId: id[:16], End: 9, Position: at, Events: []*pb.Event{event}}}},
		{Answer: &pb.Response_Pull{Pull: &pb.PullAnswer{LogId: id[:16], End: 9, Position: at, Cids: [][]byte{id}}}},
	}
}

// FuzzRequest holds the decoders of a server to never panicking, and to
// reading back what was decoded.
func FuzzRequest(f *testing.F) {
	for _, m := range requestSeeds() {
		b, err := encodeFrame(m, maxRequest)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		r := newFrameReader(bytes.NewReader(b), maxRequest)
		for {
			frame, err := r.next()
			if err != nil {
				return
			}
			m, err := decodeRequest(frame)
			if err != nil {
				continue
			}
			parseRequest(t, m)
			again, err := encodeFrame(m, 2*maxRequest)
			if err != nil {
				t.Fatal(err)
			}
			_, n := frameStart(again)
			back, err := decodeRequest(again[n:])
			if err != nil || !proto.Equal(m, back) {
				t.Fatalf("read back %v, %v; want %v", back, err, m)
			}
		}
	})
}

func frameStart(b []byte) (size uint64, n int) {
	for i, c := range b {
		size |= uint64(c&0x7f) << (7 * i)
		if c < 0x80 {
			return size, i + 1
		}
	}
	return 0, 0
}

// parseRequest runs every parser that a server would, and encodes back what it
// gives.
func parseRequest(t *testing.T, m *pb.Request) {
	if q, err := parsePullRequest(m.GetPull()); err == nil {
		back, err := parsePullRequest(q.message().GetPull())
		if err != nil || back != q {
			t.Fatalf("pull %+v reads back as %+v, %v", q, back, err)
		}
	}
	if queries, err := parseHeadsRequest(m.GetHeads()); err == nil {
		for _, q := range queries {
			if back, err := parseHeadsRequest(&pb.HeadsRequest{Queries: []*pb.HeadsQuery{q.message()}}); err != nil || len(back) != 1 {
				t.Fatalf("query %+v reads back as %+v, %v", q, back, err)
			}
		}
	}
	if q, err := parseAncestorsRequest(m.GetAncestors()); err == nil {
		back, err := parseAncestorsRequest(q.message().GetAncestors())
		if err != nil || back.topic != q.topic || !slices.Equal(back.wants, q.wants) || !slices.Equal(back.stops, q.stops) {
			t.Fatalf("ancestors %+v reads back as %+v, %v", q, back, err)
		}
	}
	if q, err := parseHeldRequest(m.GetHeld()); err == nil {
		if back, err := parseHeldRequest(q.message().GetHeld()); err != nil || back.topic != q.topic || !slices.Equal(back.cids, q.cids) {
			t.Fatalf("held %+v reads back as %+v, %v", q, back, err)
		}
	}
	if q, err := parseLocateRequest(m.GetLocate()); err == nil {
		if back, err := parseLocateRequest(q.message().GetLocate()); err != nil || back != q {
			t.Fatalf("locate %+v reads back as %+v, %v", q, back, err)
		}
	}
	if o, err := parseOffer(m.GetOffer()); err == nil {
		if !bytes.Equal(o.message().GetOffer().GetTopic(), m.GetOffer().GetTopic()) {
			t.Fatal("offer of another topic")
		}
	}
	if at, err := parseChangesRequest(m.GetChanges()); err == nil {
		if back, err := parseChangesRequest(at.message().GetChanges()); err != nil || back != at {
			t.Fatalf("changes since %+v reads back as %+v, %v", at, back, err)
		}
	}
	if list, err := parseDigestRequest(m.GetDigest()); err == nil {
		for i := range list {
			checkSubtree(t, &list[i])
		}
	}
	parseCIDs(m.GetEvents().GetCids(), maxEventsAsked) //nolint:errcheck // no panic is all that is asked
	parseCID(m.GetEvents().GetTopic())                 //nolint:errcheck // the same
}

func checkSubtree(t *testing.T, s *subtree) {
	back, err := parseSubtree(s.message(), true)
	same := samePrefix(back.prefix, s.prefix) && back.bitmap == s.bitmap && back.hashes == s.hashes
	if err != nil || !same || !slices.Equal(back.leaves, s.leaves) {
		t.Fatalf("subtree %+v reads back as %+v, %v", s, back, err)
	}
}

// FuzzResponse does the same for the decoders of a client.
func FuzzResponse(f *testing.F) {
	for _, m := range responseSeeds() {
		b, err := encodeFrame(m, maxResponse)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	topic := types.SumCID([]byte("topic"))
	f.Fuzz(func(t *testing.T, b []byte) {
		r := newFrameReader(bytes.NewReader(b), maxResponse)
		for {
			frame, err := r.next()
			if err != nil {
				return
			}
			m, err := decodeResponse(frame)
			if err != nil {
				continue
			}
			parseResponse(t, m, topic)
			again, err := proto.Marshal(m)
			if err != nil {
				t.Fatal(err)
			}
			if back, err := decodeResponse(again); err != nil || !proto.Equal(m, back) {
				t.Fatalf("read back %v, %v; want %v", back, err, m)
			}
		}
	})
}

func parseResponse(t *testing.T, m *pb.Response, topic types.TopicID) {
	parseHeadsAnswer(m.GetHeads()) //nolint:errcheck // no panic is all that is asked
	parseStatus(m.GetStatus())     //nolint:errcheck // the same
	for _, part := range m.GetDigest().GetSubtrees() {
		if s, err := parseSubtree(part, true); err == nil {
			checkSubtree(t, &s)
		}
	}
	if holders, err := parseHolders(m.GetLocate().GetHolders()); err == nil {
		for _, info := range holders {
			back, err := parseHolders([]*pb.Holder{holderMessage(info)})
			if err != nil || back[0].String() != info.String() {
				t.Fatalf("holder %v reads back as %v, %v", info, back, err)
			}
		}
	}
	if leaves, err := parseLeaves(m.GetChanges().GetLeaves(), maxPageLeaves, true); err == nil {
		for i, l := range leaves {
			if back, err := parseLeaves([]*pb.Leaf{l.message()}, 1, true); err != nil || back[0] != leaves[i] {
				t.Fatalf("leaf %+v reads back as %+v, %v", l, back, err)
			}
		}
	}
	parseLogID(m.GetPull().GetLogId())      //nolint:errcheck // the same
	parseCursor(m.GetPull().GetPosition())  //nolint:errcheck // the same
	parseCIDs(m.GetPull().GetCids(), 1<<20) //nolint:errcheck // the same
	for _, page := range []interface {
		GetEvents() []*pb.Event
		GetBatches() [][]byte
	}{m.GetAncestors(), m.GetPull()} {
		parseEvents(page.GetEvents(), page.GetBatches(), topic) //nolint:errcheck // the same
	}
	for _, i := range m.GetEvents().GetItems() {
		parseEvents([]*pb.Event{i.GetEvent()}, m.GetEvents().GetBatches(), topic) //nolint:errcheck // the same
	}
}

// FuzzPositions: what is stored of peers' positions is read as far as it can be,
// and what was read comes back when it is written and read again.
func FuzzPositions(f *testing.F) {
	f.Add([]byte{})
	f.Add(encodePositions([]position{{peer: "peer", logID: types.LogID{1}, after: types.Cursor{Number: 7, Hash: [8]byte{2}}}, {peer: ""}}))
	f.Fuzz(func(t *testing.T, b []byte) {
		list := decodePositions(b)
		if len(list) > maxPositions {
			t.Errorf("%d positions", len(list))
		}
		if again := decodePositions(encodePositions(list)); !slices.Equal(again, list) {
			t.Errorf("%+v reads back as %+v", list, again)
		}
	})
}
