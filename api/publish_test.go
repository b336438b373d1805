package api

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"testing"

	cairnv1 "github.com/cairn-p2p/cairn/api/cairn/v1"
	"github.com/cairn-p2p/cairn/types"
)

// numbers returns drafts with the payloads from to to.
func numbers(from, to int) []Draft {
	var drafts []Draft
	for i := from; i < to; i++ {
		drafts = append(drafts, Draft{Payload: []byte(fmt.Sprint(i))})
	}
	return drafts
}

// echo publishes nothing: an event's CID is its payload.
func echo(_ context.Context, _ string, drafts []Draft) ([]string, error) {
	return each(drafts, func(d Draft) string { return string(d.Payload) }), nil
}

// publishAll sends batches and returns what was acknowledged.
func publishAll(t *testing.T, c *Client, batches ...[]Draft) ([]string, error) {
	t.Helper()
	drafts := make(chan []Draft, len(batches))
	for _, b := range batches {
		drafts <- b
	}
	close(drafts)
	var cids []string
	err := c.PublishStream(soon(t), "t", drafts, func(acked []string) error {
		cids = append(cids, acked...)
		return nil
	})
	return cids, err
}

func TestPublishStream(t *testing.T) {
	c, _ := serve(t, &fake{publish: echo})
	const total = 5000
	var batches [][]Draft
	for i := 0; i < total; i += 7 {
		batches = append(batches, numbers(i, min(i+7, total)))
	}
	cids, err := publishAll(t, c, batches...)
	if err != nil {
		t.Fatal(err)
	}
	want, _ := echo(t.Context(), "t", numbers(0, total))
	if !slices.Equal(cids, want) {
		t.Errorf("%d acknowledgements, not in the order of the %d drafts", len(cids), total)
	}
}

func TestPublishStreamOfNothingJoins(t *testing.T) {
	c := serveNode(t)
	if cids, err := publishAll(t, c); err != nil || len(cids) != 0 {
		t.Fatalf("published %v, %v", cids, err)
	}
	if _, err := c.Heads(soon(t), "t"); err != nil {
		t.Errorf("topic after an empty stream: %v", err)
	}
}

// TestPublishStreamStops shows that the drafts before a bad one are published,
// and that it is named.
func TestPublishStreamStops(t *testing.T) {
	c := serveNode(t)
	bad := Draft{Tags: []string{""}}
	cids, err := publishAll(t, c, numbers(0, 10), append(numbers(10, 15), bad), numbers(16, 20))
	var failed *DraftError
	if !errors.As(err, &failed) || failed.Index != 15 || !errors.Is(err, types.ErrInvalidArgument) {
		t.Errorf("error %v, want draft 15 and %v", err, types.ErrInvalidArgument)
	}
	if len(cids) != 15 {
		t.Errorf("%d acknowledged, want 15", len(cids))
	}
	if heads, err := c.Heads(soon(t), "t"); err != nil || heads.Events != 15 {
		t.Errorf("heads %+v, %v; want 15 events", heads, err)
	}
}

func TestPublishStreamFails(t *testing.T) {
	c, _ := serve(t, &fake{publish: func(ctx context.Context, topic string, drafts []Draft) ([]string, error) {
		if len(drafts) > 0 && string(drafts[0].Payload) == "2" {
			return nil, fmt.Errorf("append: %w", types.ErrDiskFull)
		}
		return echo(ctx, topic, drafts)
	}})
	drafts := make(chan []Draft) // stays open: the failure must end the call
	var cids []string
	next := make(chan struct{}, 1)
	next <- struct{}{}
	done := make(chan error, 1)
	go func() {
		done <- c.PublishStream(soon(t), "t", drafts, func(acked []string) error {
			cids = append(cids, acked...)
			next <- struct{}{}
			return nil
		})
	}()
	for i := range 3 {
		<-next
		drafts <- numbers(i, i+1)
	}
	err := <-done
	var failed *DraftError
	if !errors.As(err, &failed) || failed.Index != 2 || !errors.Is(err, types.ErrDiskFull) {
		t.Errorf("error %v, want draft 2 and %v", err, types.ErrDiskFull)
	}
	if len(cids) != 2 {
		t.Errorf("acknowledged %v, want 2", cids)
	}
}

func TestPublishStreamStoppedByCaller(t *testing.T) {
	c, _ := serve(t, &fake{publish: echo})
	drafts := make(chan []Draft, 1)
	drafts <- numbers(0, 1)
	broken := errors.New("broken pipe")
	err := c.PublishStream(soon(t), "t", drafts, func([]string) error { return broken })
	wantErr(t, err, broken)
}

// scripted is a publishStream whose requests are all there.
type scripted struct {
	requests []*cairnv1.PublishStreamRequest
	sent     [][]string
}

func (s *scripted) Receive() (*cairnv1.PublishStreamRequest, error) {
	if len(s.requests) == 0 {
		return nil, io.EOF
	}
	r := s.requests[0]
	s.requests = s.requests[1:]
	return r, nil
}

func (s *scripted) Send(r *cairnv1.PublishStreamResponse) error {
	s.sent = append(s.sent, r.GetCids())
	return nil
}

// TestGather shows that what has come is published together, within bounds.
func TestGather(t *testing.T) {
	stream := &scripted{}
	total := 0
	request := func(topic string, drafts []Draft) {
		stream.requests = append(stream.requests, &cairnv1.PublishStreamRequest{Topic: topic, Events: each(drafts, draftToProto)})
		total += len(drafts)
	}
	request("t", nil)
	for i := range 2*maxGather + 10 {
		request("", numbers(i, i+1))
	}
	request("t", []Draft{{Payload: make([]byte, types.MaxPayload)}})
	request("", []Draft{{Payload: make([]byte, types.MaxPayload)}, {Payload: make([]byte, types.MaxPayload)}})
	request("", numbers(0, 1))
	var sizes []int
	p := newPublication(&fake{publish: func(ctx context.Context, topic string, drafts []Draft) ([]string, error) {
		sizes = append(sizes, len(drafts))
		return echo(ctx, topic, drafts)
	}}, stream)
	received := make(chan error, 1)
	go func() {
		received <- p.receive(t.Context())
		close(p.requests)
	}()
	if err := p.publish(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := <-received; err != nil {
		t.Fatal(err)
	}
	acked := 0
	for i, n := range sizes {
		if n > maxGather {
			t.Errorf("call %d published %d drafts, limit %d", i, n, maxGather)
		}
		acked += n
	}
	if acked != total || p.count != uint64(total) {
		t.Errorf("published %d and counted %d of %d drafts", acked, p.count, total)
	}
	if !p.ahead.TryAcquire(maxAhead) {
		t.Error("bytes of published drafts are still held")
	}
}

func TestOneTopicForAStream(t *testing.T) {
	for name, requests := range map[string][]*cairnv1.PublishStreamRequest{
		"none":    {{}},
		"another": {{Topic: "t"}, {Topic: "u"}},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPublication(&fake{publish: echo}, &scripted{requests: requests})
			if err := p.receive(t.Context()); err != nil {
				t.Fatal(err)
			}
			close(p.requests)
			wantErr(t, p.publish(t.Context()), types.ErrInvalidArgument)
		})
	}
}
