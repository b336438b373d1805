package api

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect"
	"github.com/google/go-cmp/cmp"

	"github.com/cairn-p2p/cairn/types"
)

// collect returns all that seq yields, which must be no error.
func collect[T any](t *testing.T, seq iter.Seq2[T, error]) []T {
	t.Helper()
	var all []T
	for v, err := range seq {
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, v)
	}
	return all
}

// TestClient talks to a real node through every call.
func TestClient(t *testing.T) {
	c, ctx := serveNode(t), soon(t)
	status, err := c.Status(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if status.PeerID == "" || status.Version != "v0" || len(status.Addrs) != 1 || len(status.PublicKey) != 32 {
		t.Errorf("status %+v", status)
	}
	topic, err := c.Join(ctx, "t")
	if err != nil {
		t.Fatal(err)
	}
	if !topic.Joined || topic.Events != 0 || topic.Heads == nil || len(topic.Heads) != 0 {
		t.Errorf("joined and empty topic %+v", topic)
	}
	cids, err := c.Publish(ctx, "t", []Draft{{Payload: []byte("a"), Tags: []string{"y", "x"}}, {}})
	if err != nil {
		t.Fatal(err)
	}
	byID := "id:" + topic.TopicID
	events := collect(t, c.Query(ctx, byID, Query{}))
	if len(events) != 2 || events[0].CID != cids[0] || events[1].CID != cids[1] {
		t.Fatalf("query returned %v, published %v", events, cids)
	}
	want := Event{
		CID: cids[0], Topic: "t", TopicID: topic.TopicID, Publisher: status.PeerID, Seq: 1, Height: 1,
		Time: events[0].Time, Links: []string{}, Tags: []string{"x", "y"}, Payload: []byte("a"),
	}
	if diff := cmp.Diff(want, events[0]); diff != "" {
		t.Errorf("event (-want +got):\n%s", diff)
	}
	one, err := c.Event(ctx, cids[1])
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(events[1], *one); diff != "" {
		t.Errorf("the event from query and alone:\n%s", diff)
	}
	heads, err := c.Heads(ctx, "t")
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(heads.Heads, cids[1:]) || heads.Events != 2 || len(heads.HeadsHash) != 64 {
		t.Errorf("heads %+v", heads)
	}
	topicStatus, err := c.Wait(ctx, "t", Until{Events: 2})
	if err != nil {
		t.Fatal(err)
	}
	if topicStatus.State != "alone" || topicStatus.HeadsHash != heads.HeadsHash || topicStatus.Missing == nil || topicStatus.Peers == nil {
		t.Errorf("status %+v", topicStatus)
	}
	if left, err := c.Leave(ctx, "t"); err != nil || left.Joined {
		t.Errorf("left topic %+v, %v", left, err)
	}
	if topics, err := c.Topics(ctx); err != nil || len(topics) != 1 || topics[0].Events != 2 {
		t.Errorf("topics %+v, %v", topics, err)
	}
	if peers, err := c.Peers(ctx); err != nil || len(peers) != 0 {
		t.Errorf("peers %+v, %v", peers, err)
	}
}

// TestClientErrors shows that what a caller branches on survives the way.
func TestClientErrors(t *testing.T) {
	c, ctx := serveNode(t), soon(t)
	if _, err := c.Join(ctx, "t"); err != nil {
		t.Fatal(err)
	}
	absent := types.SumCID(nil).String()
	last := func(seq iter.Seq2[Event, error]) error {
		var last error
		for _, err := range seq {
			last = err
		}
		return last
	}
	for name, test := range map[string]struct {
		want error
		call func() error
	}{
		"topic not held":  {types.ErrNotFound, func() error { _, err := c.Heads(ctx, "none"); return err }},
		"topic malformed": {types.ErrInvalidArgument, func() error { _, err := c.Heads(ctx, "id:x"); return err }},
		"topic empty":     {types.ErrInvalidArgument, func() error { _, err := c.Join(ctx, ""); return err }},
		"id not held":     {types.ErrNotFound, func() error { _, err := c.Join(ctx, "id:"+absent); return err }},
		"event absent":    {types.ErrNotFound, func() error { _, err := c.Event(ctx, absent); return err }},
		"event malformed": {types.ErrInvalidArgument, func() error { _, err := c.Event(ctx, "x"); return err }},
		"after absent":    {types.ErrNotFound, func() error { return last(c.Query(ctx, "t", Query{After: absent})) }},
		"bad publisher":   {types.ErrInvalidArgument, func() error { return last(c.Query(ctx, "t", Query{Publisher: "x"})) }},
		"bad address":     {types.ErrInvalidArgument, func() error { return c.Connect(ctx, "/ip4/127.0.0.1") }},
		"payload too large": {types.ErrInvalidArgument, func() error {
			_, err := c.Publish(ctx, "t", []Draft{{Payload: make([]byte, types.MaxPayload+1)}})
			return err
		}},
		"request too large": {types.ErrInvalidArgument, func() error {
			_, err := c.Publish(ctx, "t", []Draft{{Payload: make([]byte, maxRequest)}})
			return err
		}},
		"foreign cursor": {types.ErrInvalidCursor, func() error {
			for _, err := range c.Subscribe(ctx, "t", types.Cursor{Number: 1, Hash: [8]byte{1}}.String()) {
				if err != nil {
					return err
				}
			}
			return nil
		}},
	} {
		t.Run(name, func(t *testing.T) { wantErr(t, test.call(), test.want) })
	}
}

// TestSentinels sends each sentinel through the API and back.
func TestSentinels(t *testing.T) {
	var answer error
	c, _ := serve(t, &fake{status: func(context.Context) (*Status, error) { return nil, answer }})
	for _, r := range reasons {
		answer = fmt.Errorf("some step: %w", r.err)
		_, err := c.Status(soon(t))
		wantErr(t, err, r.err)
		if err != nil && err.Error() != answer.Error() {
			t.Errorf("text %q, want %q", err, answer)
		}
	}
	answer = errors.New("something else")
	if _, err := c.Status(soon(t)); err == nil || err.Error() != answer.Error() || errors.Is(err, ErrUnreachable) {
		t.Errorf("error %v, want %v", err, answer)
	}
}

// TestTimeouts tells the end of the caller's time from the end of some other.
func TestTimeouts(t *testing.T) {
	c, _ := serve(t, &fake{
		status: func(context.Context) (*Status, error) { return nil, fmt.Errorf("dial: %w", context.DeadlineExceeded) },
		wait:   func(ctx context.Context) (*TopicStatus, error) { <-ctx.Done(); return nil, ctx.Err() },
	})
	if _, err := c.Status(soon(t)); err == nil || errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a failed dial: error %v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err := c.Wait(ctx, "t", Until{})
	wantErr(t, err, context.DeadlineExceeded)
}

func TestUnreachable(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	l.Close() //nolint:errcheck // it only reserved a port
	c, err := NewClient(address)
	if err != nil {
		t.Fatal(err)
	}
	_, err = c.Status(soon(t))
	wantErr(t, err, ErrUnreachable)
	err = c.PublishStream(soon(t), "t", make(chan []Draft), nil)
	wantErr(t, err, ErrUnreachable)
	for _, err := range c.Subscribe(soon(t), "t", FromNow) {
		wantErr(t, err, ErrUnreachable)
	}
}

func TestNewClient(t *testing.T) {
	for _, address := range []string{"127.0.0.1:1", "http://127.0.0.1:1", "http://localhost:1/", "[::1]:1"} {
		if _, err := NewClient(address); err != nil {
			t.Errorf("%q: %v", address, err)
		}
	}
	for _, address := range []string{"", "http://", "https://127.0.0.1:1", "http://a@127.0.0.1:1", "http://127.0.0.1:1/x", "http://127.0.0.1:1?x", ":1", "\x00"} {
		_, err := NewClient(address)
		wantErr(t, err, types.ErrInvalidArgument)
	}
}

func TestSubscribe(t *testing.T) {
	c, ctx := serveNode(t), soon(t)
	if _, err := c.Publish(ctx, "t", []Draft{{Payload: []byte("a")}, {Payload: []byte("b")}}); err != nil {
		t.Fatal(err)
	}
	var cursor string
	take := func(from string, want ...string) {
		t.Helper()
		for d, err := range c.Subscribe(ctx, "t", from) {
			if err != nil {
				t.Fatal(err)
			}
			if d.CID == "" { // the subscription stands
				if len(want) == 0 {
					cursor = d.Cursor
					return
				}
				continue
			}
			if string(d.Payload) != want[0] {
				t.Fatalf("payload %q, want %q", d.Payload, want[0])
			}
			cursor, want = d.Cursor, want[1:]
			if len(want) == 0 {
				return
			}
		}
	}
	take(FromStart, "a")
	take(cursor, "b")
	take(FromNow)
	if _, err := c.Publish(ctx, "t", []Draft{{Payload: []byte("c")}}); err != nil {
		t.Fatal(err)
	}
	take(cursor, "c") // what came while nobody was there
}

// TestProtocols calls over gRPC and gRPC-Web as well, streams included.
func TestProtocols(t *testing.T) {
	for name, option := range map[string]connect.ClientOption{"grpc": connect.WithGRPC(), "grpc-web": connect.WithGRPCWeb()} {
		t.Run(name, func(t *testing.T) {
			c, ctx := serveNode(t), soon(t)
			c.useProtocol(option)
			var cids []string
			drafts := make(chan []Draft, 1)
			drafts <- []Draft{{Payload: []byte("a")}, {Payload: []byte("b")}}
			close(drafts)
			err := c.PublishStream(ctx, "t", drafts, func(acked []string) error {
				cids = append(cids, acked...)
				return nil
			})
			if err != nil || len(cids) != 2 {
				t.Fatalf("published %v, %v", cids, err)
			}
			if events := collect(t, c.Query(ctx, "t", Query{Reverse: true})); len(events) != 2 || events[0].CID != cids[1] {
				t.Errorf("query returned %+v", events)
			}
			_, err = c.Heads(ctx, "none")
			wantErr(t, err, types.ErrNotFound)
		})
	}
}

// TestQueryOfManyEvents crosses the bounds of a chunk by number and by size.
func TestQueryOfManyEvents(t *testing.T) {
	const events = 2*maxChunk + 1
	payload := []byte(strings.Repeat("x", 1000))
	c, _ := serve(t, &fake{query: func(_ context.Context, q Query) iter.Seq2[Event, error] {
		return func(yield func(Event, error) bool) {
			for i := range events {
				e := Event{CID: fmt.Sprint(i)}
				if i%3 == 0 {
					e.Payload = payload
				}
				if !yield(e, nil) {
					return
				}
			}
		}
	}})
	got := collect(t, c.Query(soon(t), "t", Query{}))
	if len(got) != events {
		t.Fatalf("%d events, want %d", len(got), events)
	}
	for i, e := range got {
		if e.CID != fmt.Sprint(i) {
			t.Fatalf("event %d is %q", i, e.CID)
		}
	}
}
