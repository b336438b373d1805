package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/ipfs/go-cid"
	"github.com/libp2p/go-libp2p/core/network"

	"github.com/cairn-p2p/cairn/client/pb"
	"github.com/cairn-p2p/cairn/client/wire"
	"github.com/cairn-p2p/cairn/crdt"
	"github.com/cairn-p2p/cairn/keyfile"
	"github.com/cairn-p2p/cairn/node"
	"github.com/cairn-p2p/cairn/types"
)

// take returns the next n deliveries of a subscription.
func take(t testing.TB, b Broker, s Subscription, seen *Seen, n int) []Delivery {
	t.Helper()
	var list []Delivery
	for d, err := range Subscribe(testContext(t), b, s, seen) {
		if err != nil {
			t.Fatal(err)
		}
		if list = append(list, d); len(list) == n {
			if err := seen.Take(d); err != nil {
				t.Fatal(err)
			}
			break
		}
	}
	return list
}

func appendMany(t testing.TB, topic *node.Topic, n int, tags ...string) {
	t.Helper()
	for n > 0 {
		part := min(n, 1000)
		var drafts []crdt.Draft
		for i := range part {
			drafts = append(drafts, crdt.Draft{Payload: fmt.Append(nil, i), Tags: tags})
		}
		if _, err := topic.AppendBatch(testContext(t), drafts); err != nil {
			t.Fatal(err)
		}
		n -= part
	}
}

// A subscription goes on where its set ends, over connections that are cut in the
// middle of frames: each event once, in the order of the log.
func TestSubscribeResumes(t *testing.T) {
	n, topic := openBroker(t, "t")
	appendMany(t, topic, 3000)
	path := filepath.Join(t.TempDir(), "seen")
	s := Subscription{Topic: topic.ID()}
	b := dialed(t, n)
	var got []cid.Cid
	for round := 0; len(got) < 3000; round++ {
		seen, err := OpenSeen(path, s)
		if err != nil {
			t.Fatal(err)
		}
		if round%2 == 0 { // enough, in the middle of a frame
			for _, d := range take(t, b, s, seen, 101) {
				got = append(got, d.CID)
			}
		} else {
			frames := 0
			cut := &faulty{Broker: b, answer: func(*pb.Request, *pb.Response) error {
				if frames++; frames == 4 {
					return errCut
				}
				return nil
			}}
			for d, err := range Subscribe(testContext(t), cut, s, seen) {
				if errors.Is(err, errCut) {
					break
				}
				if err != nil {
					t.Fatal(err)
				}
				if got = append(got, d.CID); len(got) == 3000 {
					break
				}
			}
		}
		if err := seen.Close(); err != nil {
			t.Fatal(err)
		}
	}
	var want []cid.Cid
	for d, err := range topic.Subscribe(testContext(t), types.Cursor{}) {
		if err != nil {
			t.Fatal(err)
		}
		if want = append(want, d.CID); len(want) == 3000 {
			break
		}
	}
	if diff := cmp.Diff(want, got, cmp.Comparer(func(a, b cid.Cid) bool { return a == b })); diff != "" {
		t.Error(diff)
	}
}

// Filters leave out, and links to what they leave out are unverified; a subscriber
// is told how far it is behind, and a place in the log where nothing matched.
func TestSubscribeFilter(t *testing.T) {
	n, topic := openBroker(t, "t")
	appendMany(t, topic, 2, "a", "x")
	appendMany(t, topic, 3)
	appendMany(t, topic, 2, "b")
	p := openPublisher(t, newKeyPath(t))
	defer p.Close() //nolint:errcheck // the test is over
	b := dialed(t, n)
	if _, err := p.Publish(testContext(t), b, topic.ID(), Draft{Payload: []byte("own"), Tags: []string{"a"}}); err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		s          Subscription
		unverified []int
	}{
		"a tag":       {Subscription{Tags: []string{"a"}}, []int{0, 0, 1}},
		"either tag":  {Subscription{Tags: []string{"a", "b"}}, []int{0, 0, 1, 0, 0}},
		"a publisher": {Subscription{Publishers: []types.Publisher{p.ID()}}, []int{1}},
		"both":        {Subscription{Tags: []string{"a"}, Publishers: []types.Publisher{n.Publisher()}}, []int{0, 0}},
		"everything":  {Subscription{}, []int{0, 0, 0, 0, 0, 0, 0, 0}},
	} {
		test.s.Topic = topic.ID()
		seen, err := OpenSeen("", test.s)
		if err != nil {
			t.Fatal(err)
		}
		var got []int
		list := take(t, b, test.s, seen, len(test.unverified))
		for _, d := range list {
			got = append(got, len(d.Unverified))
			if d.Lag != 8-d.Cursor.Number || d.Gap || d.Fork.Defined() {
				t.Errorf("%s: entry %d has lag %d, gap %t, fork %s", name, d.Cursor.Number, d.Lag, d.Gap, d.Fork)
			}
		}
		if diff := cmp.Diff(test.unverified, got); diff != "" {
			t.Errorf("%s: unverified links: %s", name, diff)
		}
		if err := seen.Close(); err != nil {
			t.Fatal(err)
		}
	}
	// From a cursor, and from now.
	seen, err := OpenSeen("", Subscription{Topic: topic.ID(), Now: true})
	if err != nil {
		t.Fatal(err)
	}
	defer seen.Close() //nolint:errcheck // it is temporary
	s := Subscription{Topic: topic.ID(), Now: true}
	opened := false
	now := &faulty{Broker: b, answer: func(_ *pb.Request, r *pb.Response) error {
		if r.GetOpened() != nil && !opened {
			opened = true
			appendMany(t, topic, 1)
		}
		return nil
	}}
	if d := take(t, now, s, seen, 1)[0]; d.Cursor.Number != 9 || len(d.Unverified) != 1 {
		t.Errorf("from now: %+v", d)
	}
	bad := Subscription{Topic: topic.ID(), After: types.Cursor{Number: 3, Hash: [8]byte{1}}}
	other, err := OpenSeen("", bad)
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close() //nolint:errcheck // as above
	for _, err := range Subscribe(testContext(t), b, bad, other) {
		if !errors.Is(err, types.ErrInvalidCursor) {
			t.Error(err)
		}
	}
}

// The event at which a loop is left comes again, unless the loop took it up.
func TestSubscribeLeft(t *testing.T) {
	n, topic := openBroker(t, "t")
	appendMany(t, topic, 3)
	s := Subscription{Topic: topic.ID()}
	seen, err := OpenSeen("", s)
	if err != nil {
		t.Fatal(err)
	}
	defer seen.Close() //nolint:errcheck // it is temporary
	var got []uint64
	for _, takes := range []bool{false, true, false} {
		for d, err := range Subscribe(testContext(t), dialed(t, n), s, seen) {
			if err != nil {
				t.Fatal(err)
			}
			if got = append(got, d.Cursor.Number); takes {
				for range 2 { // the second time to no effect
					if err := seen.Take(d); err != nil {
						t.Fatal(err)
					}
				}
			}
			if d.Cursor.Number > 1 || !takes {
				break
			}
		}
	}
	if diff := cmp.Diff([]uint64{1, 1, 2, 3}, got); diff != "" {
		t.Error(diff)
	}
	if seen.Events() != 2 {
		t.Errorf("%d events were taken up", seen.Events())
	}
}

// An event that comes behind one that links to it is out of order in a subscription
// of any kind.
func TestSubscribeOrderOfParts(t *testing.T) {
	n, topic := openBroker(t, "t")
	appendMany(t, topic, 1, "x")
	first, err := topic.End()
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		appendMany(t, topic, 1, "x")
	}
	good := dialed(t, n)
	liar := &faulty{Broker: good, answer: func(_ *pb.Request, r *pb.Response) error {
		if list := r.GetEntries().GetEntries(); len(list) >= 3 {
			a, b := list[len(list)-3], list[len(list)-2]
			a.Body, a.Witness, b.Body, b.Witness = b.GetBody(), b.GetWitness(), a.GetBody(), a.GetWitness()
		}
		return nil
	}}
	for name, s := range map[string]Subscription{
		"from a cursor": {After: first},
		"filtered":      {Tags: []string{"x"}},
	} {
		s.Topic = topic.ID()
		seen, err := OpenSeen("", s)
		if err != nil {
			t.Fatal(err)
		}
		var v *Violation
		for d, err := range Subscribe(testContext(t), liar, s, seen) {
			if err == nil && d.Cursor.Number < 3 {
				continue
			}
			if !errors.As(err, &v) || v.Kind != KindOrder || v.Number != 3 {
				t.Errorf("%s: %+v, %v", name, d, err)
			}
			break
		}
		if err := seen.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// A subscription from now that is cut before its first event goes on where it
// began: what came meanwhile is not lost, in an empty log either.
func TestSubscribeFromNowResumes(t *testing.T) {
	for _, before := range []int{0, 3} {
		n, topic := openBroker(t, "t")
		appendMany(t, topic, before)
		s := Subscription{Topic: topic.ID(), Now: true}
		seen, err := OpenSeen("", s)
		if err != nil {
			t.Fatal(err)
		}
		defer seen.Close() //nolint:errcheck // it is temporary
		b := dialed(t, n)
		cut := &faulty{Broker: b, answer: func(_ *pb.Request, r *pb.Response) error {
			if r.GetOpened() == nil {
				return errCut
			}
			appendMany(t, topic, 1)
			return nil
		}}
		for d, err := range Subscribe(testContext(t), cut, s, seen) {
			if !errors.Is(err, errCut) {
				t.Fatal(d, err)
			}
		}
		appendMany(t, topic, 1)
		list := take(t, b, s, seen, 2)
		if list[0].Cursor.Number != uint64(before)+1 || list[1].Cursor.Number != uint64(before)+2 {
			t.Errorf("behind %d: %d and %d", before, list[0].Cursor.Number, list[1].Cursor.Number)
		}
	}
}

// Two events of one seq, and a seq that was left out, are the publisher's doing:
// they are delivered, and pointed out.
func TestSubscribeForks(t *testing.T) {
	n, topic := openBroker(t, "t")
	key, err := keyfile.New()
	if err != nil {
		t.Fatal(err)
	}
	made := func(seq uint64, payload string, links ...*types.Event) *types.Event {
		body := types.Body{Topic: topic.ID(), Publisher: types.PublisherOf(key), Seq: seq, Height: 1, Payload: []byte(payload)}
		for _, l := range links {
			body.Links, body.Height = []cid.Cid{l.CID}, l.Height+1
		}
		e, err := types.NewEvent(body)
		if err != nil {
			t.Fatal(err)
		}
		types.SignEvents(key, []*types.Event{e})
		return e
	}
	first := made(1, "a")
	events := []*types.Event{first, made(1, "b"), made(2, "c", first), made(5, "d", first)}
	src := newSource(dialed(t, n), topic.ID())
	if answer, err := src.submit(testContext(t), events); err != nil || answer.refused != nil || answer.missing != nil {
		t.Fatal(answer, err)
	}
	s := Subscription{Topic: topic.ID()}
	seen, err := OpenSeen("", s)
	if err != nil {
		t.Fatal(err)
	}
	defer seen.Close() //nolint:errcheck // it is temporary
	for i, d := range take(t, src.broker, s, seen, 4) {
		if d.CID != events[i].CID || d.Fork.Defined() != (i == 1) || d.Gap != (i == 3) {
			t.Errorf("event %d: fork %s, gap %t", i, d.Fork, d.Gap)
		}
	}
	// The publisher itself is told too: the broker's tip is another event of a seq
	// that it acknowledged, or one that it never signed.
	state := &topicState{Spent: 1, Last: ownEvent{Seq: 1, CID: events[1].CID.String(), Height: 1}}
	if err := state.compare(events[0]); !errors.Is(err, types.ErrForkedKey) {
		t.Error(err)
	}
	if err := state.compare(events[2]); !errors.Is(err, ErrUnknownEvents) {
		t.Error(err)
	}
}

// An event of one who is no writer is the broker's fault, and so is a topic whose
// rules nobody knows yet not.
func TestCheckPublisher(t *testing.T) {
	key, err := keyfile.New()
	if err != nil {
		t.Fatal(err)
	}
	stranger, err := keyfile.New()
	if err != nil {
		t.Fatal(err)
	}
	g, err := types.NewRestricted("r", types.PublisherOf(key), nil)
	if err != nil {
		t.Fatal(err)
	}
	s := newSource(&Remote{}, g.ID())
	if err := s.learn(g.Bytes()); err != nil {
		t.Fatal(err)
	}
	e, err := types.NewEvent(types.Body{Topic: g.ID(), Publisher: types.PublisherOf(stranger), Seq: 1, Height: 1})
	if err != nil {
		t.Fatal(err)
	}
	types.SignEvents(stranger, []*types.Event{e})
	var v *Violation
	if _, err := s.check(e.Bytes(), e.Witness); !errors.As(err, &v) || v.Kind != KindPublisher || v.CID != e.CID.String() {
		t.Error(err)
	}
	unknown := []byte{0x82, 0x02, 0x00}
	if err := newSource(&Remote{}, types.SumCID(unknown)).learn(unknown); !errors.Is(err, types.ErrUnsupported) || errors.As(err, &v) {
		t.Error(err)
	}
}

// A subscriber that does not read delays neither another one nor the node, and gets
// everything once it does.
func TestSlowSubscriber(t *testing.T) {
	const events = 30_000 // some 11 MB: more than a stream's window
	n, topic := openBroker(t, "t")
	s := Subscription{Topic: topic.ID()}
	open := func() *Seen {
		seen, err := OpenSeen("", s)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { seen.Close() }) //nolint:errcheck // it is temporary
		return seen
	}
	appendMany(t, topic, 1)
	hold, begun, slow := make(chan struct{}), make(chan struct{}), make(chan int, 1)
	go func() {
		count := 0
		for _, err := range Subscribe(testContext(t), dialed(t, n), s, open()) {
			if err != nil {
				t.Error(err)
				break
			}
			if count++; count == 1 {
				close(begun)
				<-hold
			}
			if count == events {
				break
			}
		}
		slow <- count
	}()
	<-begun
	appendMany(t, topic, events-1)
	if got := take(t, dialed(t, n), s, open(), events); got[0].Lag != events-1 || got[events-1].Lag != 0 {
		t.Errorf("lag of %d at first and %d at last", got[0].Lag, got[events-1].Lag)
	}
	close(hold)
	if got := <-slow; got != events {
		t.Errorf("the slow one got %d", got)
	}
}

// A peer has so many streams and no more; what is no request is told so.
func TestBrokerLimits(t *testing.T) {
	n, topic := openBroker(t, "t")
	b := dialed(t, n)
	s := Subscription{Topic: topic.ID()}
	ctx, cancel := context.WithCancel(testContext(t))
	defer cancel()
	opened := make(chan struct{})
	ended := make(chan error)
	for range 8 {
		go func() {
			for r, err := range ask(ctx, b, s.request(types.Cursor{}, false)) {
				if err != nil {
					ended <- err
					return
				}
				if r.GetOpened() != nil {
					opened <- struct{}{}
				}
			}
		}()
		<-opened
	}
	if _, err := newSource(b, topic.ID()).heads(ctx, n.Publisher()); !errors.Is(err, ErrBusy) {
		t.Errorf("ninth stream: %v", err)
	}
	if _, err := newSource(dialed(t, n), topic.ID()).heads(ctx, n.Publisher()); err != nil {
		t.Errorf("another peer: %v", err)
	}
	cancel()
	for range 8 {
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	}
	ctx = testContext(t)
	b = dialed(t, n)
	many := make([][]byte, wire.MaxAsked+1)
	for i := range many {
		many[i] = topic.ID().Bytes()
	}
	for name, m := range map[string]*pb.Request{
		"no topic":       {Request: &pb.Request_Subscribe{Subscribe: &pb.SubscribeRequest{}}},
		"cursor":         {Request: &pb.Request_Subscribe{Subscribe: &pb.SubscribeRequest{Topic: topic.ID().Bytes(), After: &pb.Position{Number: 1}}}},
		"publisher":      {Request: &pb.Request_Subscribe{Subscribe: &pb.SubscribeRequest{Topic: topic.ID().Bytes(), Publishers: [][]byte{{1}}}}},
		"tags":           {Request: &pb.Request_Subscribe{Subscribe: &pb.SubscribeRequest{Topic: topic.ID().Bytes(), Tags: make([]string, wire.MaxTags+1)}}},
		"nobody's heads": {Request: &pb.Request_Heads{Heads: &pb.HeadsRequest{Topic: topic.ID().Bytes()}}},
		"no events":      {Request: &pb.Request_Events{Events: &pb.EventsRequest{Topic: topic.ID().Bytes()}}},
		"many events":    {Request: &pb.Request_Events{Events: &pb.EventsRequest{Topic: topic.ID().Bytes(), Cids: many}}},
		"bad CID":        {Request: &pb.Request_Events{Events: &pb.EventsRequest{Topic: topic.ID().Bytes(), Cids: [][]byte{{1}}}}},
		"nothing to do":  {Request: &pb.Request_Submit{Submit: &pb.SubmitRequest{Topic: topic.ID().Bytes()}}},
		"a long chain":   {Request: &pb.Request_Submit{Submit: &pb.SubmitRequest{Topic: topic.ID().Bytes(), Events: make([]*pb.Event, wire.MaxChain+1)}}},
	} {
		if m.GetSubmit() != nil {
			for i := range m.GetSubmit().GetEvents() {
				m.GetSubmit().Events[i] = &pb.Event{}
			}
		}
		var last error
		for _, err := range ask(ctx, b, m) {
			last = err
		}
		if !errors.Is(last, types.ErrInvalidArgument) {
			t.Errorf("%s: %v", name, last)
		}
	}
	for _, err := range ask(ctx, b, &pb.Request{}) {
		if !errors.Is(err, ErrNotServed) {
			t.Errorf("unknown request: %v", err)
		}
	}
	st, err := b.host.NewStream(network.WithNoDial(ctx, "test"), b.broker, wire.Protocol)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := st.Write([]byte{0xff, 0xff, 0xff, 0xff, 1}); err != nil {
		t.Fatal(err)
	}
	answer := new(pb.Response)
	if err := wire.NewReader(st).Read(answer); err != nil || answer.GetError().GetCode() != pb.Error_CODE_MALFORMED {
		t.Errorf("no frame: %v, %v", answer, err)
	}
}

// A client that leaves its side of answered streams open takes no place with them,
// over either transport.
func TestAnsweredStreamsAreFree(t *testing.T) {
	for _, listen := range []string{"/ip4/127.0.0.1/tcp/0", "/ip4/127.0.0.1/udp/0/quic-v1"} {
		ctx := testContext(t)
		n, err := node.Open(ctx, node.Config{Role: node.RoleBroker, Listen: []string{listen}, DHT: node.DHTOff})
		if err != nil {
			t.Fatal(err)
		}
		defer n.Close() //nolint:errcheck // the test is over
		topic, err := n.Join(ctx, "t")
		if err != nil {
			t.Fatal(err)
		}
		b := dialed(t, n)
		self := n.Publisher()
		m := &pb.Request{Network: n.Network(), Request: &pb.Request_Heads{Heads: &pb.HeadsRequest{Topic: topic.ID().Bytes(), Publisher: self[:]}}}
		for i := range 20 {
			st, err := b.open(ctx)
			if err != nil {
				t.Fatal(err)
			}
			if err := send(st, m); err != nil {
				t.Fatal(err)
			}
			answer, r := new(pb.Response), wire.NewReader(st)
			if err := r.Read(answer); err != nil || answer.GetHeads() == nil {
				t.Fatalf("%s: answer %d: %v, %v", listen, i, answer, err)
			}
			if err := r.Read(answer); !errors.Is(err, io.EOF) {
				t.Errorf("%s: behind the answer: %v", listen, err)
			}
		}
	}
}

// What is handed over and cannot be taken is refused, with the reason, and nothing
// of it is stored.
func TestSubmitRefuses(t *testing.T) {
	n, topic := openBroker(t, "t")
	_, foreign := openBroker(t, "other")
	restricted, err := n.Create(testContext(t), "r", types.Publisher{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	appendMany(t, topic, 1)
	heads, err := topic.Heads(testContext(t))
	if err != nil {
		t.Fatal(err)
	}
	key, err := keyfile.New()
	if err != nil {
		t.Fatal(err)
	}
	made := func(in *node.Topic, height uint64, links ...cid.Cid) *types.Event {
		e, err := types.NewEvent(types.Body{Topic: in.ID(), Publisher: types.PublisherOf(key), Seq: 1, Height: height, Links: links})
		if err != nil {
			t.Fatal(err)
		}
		types.SignEvents(key, []*types.Event{e})
		return e
	}
	unsigned := made(topic, 1)
	unsigned.Witness = append([]byte{1}, make([]byte, 64)...)
	for name, test := range map[string]struct {
		to     *node.Topic
		event  *types.Event
		reason string
	}{
		"witness":       {topic, unsigned, "bad_witness"},
		"writer":        {restricted, made(restricted, 1), "not_writer"},
		"another topic": {topic, made(foreign, 1), "invalid_event"},
		"height":        {topic, made(topic, 7, heads[0].CID), "invalid_event"},
	} {
		answer, err := newSource(dialed(t, n), test.to.ID()).submit(testContext(t), []*types.Event{test.event})
		if err != nil || answer.refused.GetReason() != test.reason || answer.refused.GetLater() {
			t.Errorf("%s: %+v, %v", name, answer, err)
		}
		if got, err := test.to.Get(test.event.CID); err != nil || got[0] != nil {
			t.Errorf("%s: it is stored: %v", name, err)
		}
	}
	// Of events with a link that is missing, those that are not behind it are taken.
	lone, gap := made(topic, 1), made(topic, 3, types.SumCID([]byte("nothing")))
	behind := made(topic, 4, gap.CID)
	answer, err := newSource(dialed(t, n), topic.ID()).submit(testContext(t), []*types.Event{gap, behind, lone})
	if err != nil || len(answer.missing) != 1 || answer.missing[0] != gap.Links[0] {
		t.Errorf("%+v, %v", answer, err)
	}
	got, err := topic.Get(lone.CID, gap.CID, behind.CID)
	if err != nil || got[0] == nil || got[1] != nil || got[2] != nil {
		t.Errorf("taken: %v, %v", got, err)
	}
}

// A broker keeps what it has of a topic that it left, and serves it to nobody.
func TestLeftTopicIsNotServed(t *testing.T) {
	n, topic := openBroker(t, "t")
	appendMany(t, topic, 1)
	heads, err := topic.Heads(testContext(t))
	if err != nil {
		t.Fatal(err)
	}
	all, err := topic.Get(heads[0].CID)
	if err != nil {
		t.Fatal(err)
	}
	if err := n.Leave(testContext(t), "t"); err != nil {
		t.Fatal(err)
	}
	from := newSource(dialed(t, n), topic.ID())
	if _, err := from.submit(testContext(t), all); !errors.Is(err, types.ErrNotFound) {
		t.Errorf("submit: %v", err)
	}
	s := Subscription{Topic: topic.ID()}
	seen, err := OpenSeen("", s)
	if err != nil {
		t.Fatal(err)
	}
	defer seen.Close() //nolint:errcheck // it is temporary
	for d, err := range Subscribe(testContext(t), dialed(t, n), s, seen) {
		if !errors.Is(err, types.ErrNotFound) {
			t.Fatalf("event %v, %v", d.Event, err)
		}
		break
	}
}

// Where some links are unknown, an event is still higher than those that are known.
func TestHeightAboveKnownLinks(t *testing.T) {
	s := Subscription{Topic: types.SumCID([]byte("topic")), Now: true}
	seen, err := OpenSeen("", s)
	if err != nil {
		t.Fatal(err)
	}
	defer seen.Close()    //nolint:errcheck // it is temporary
	known := seenEvent(4) // of height 5
	if err := seen.Take(Delivery{Event: known, Cursor: types.Cursor{Number: 1}}); err != nil {
		t.Fatal(err)
	}
	c := &checker{source: newSource(&Remote{}, s.Topic), sub: s, seen: seen}
	links := []cid.Cid{known.CID, types.SumCID([]byte("unknown"))}
	types.SortCIDs(links)
	for height, want := range map[uint64]Kind{4: KindHeight, 5: KindHeight, 6: "", 60: ""} {
		e, err := types.NewEvent(types.Body{Topic: s.Topic, Seq: 1, Height: height, Links: links})
		if err != nil {
			t.Fatal(err)
		}
		var v *Violation
		if err := c.place(&Delivery{Event: e}); errors.As(err, &v) != (want != "") || v != nil && v.Kind != want {
			t.Errorf("height %d: %v", height, err)
		}
	}
}
