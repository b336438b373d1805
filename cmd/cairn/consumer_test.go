package main

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/cairn-p2p/cairn/api"
	"github.com/cairn-p2p/cairn/delivery"
	"github.com/cairn-p2p/cairn/types"
)

// scriptedConsumer is the service of a node that has one consumer.
type scriptedConsumer struct {
	api.Service
	next    func(batch int, wait time.Duration) ([]api.ConsumerDelivery, error)
	settled [][]string // the tokens of each call
}

func (s *scriptedConsumer) Next(_ context.Context, _ string, batch int, wait time.Duration) ([]api.ConsumerDelivery, error) {
	return s.next(batch, wait)
}

func (s *scriptedConsumer) Settle(_ context.Context, _ string, settlement api.Settlement) ([]api.Settled, error) {
	s.settled = append(s.settled, settlement.Tokens)
	var out []api.Settled
	for i, t := range settlement.Tokens {
		out = append(out, api.Settled{Token: t})
		if i == 0 {
			out[i].Refused = delivery.ReasonStale
		}
	}
	return out, nil
}

// serveScripted serves svc until the test ends.
func serveScripted(t *testing.T, svc api.Service) testNode {
	t.Helper()
	l, err := api.Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- api.Serve(ctx, l, svc, nil) }()
	t.Cleanup(func() {
		cancel()
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	return testNode{api: l.Addr().String()}
}

// TestLogReplaced shows that next fails with 1, not with 2 as for a cursor that was
// typed, and says what to do.
func TestLogReplaced(t *testing.T) {
	n := serveScripted(t, &scriptedConsumer{next: func(int, time.Duration) ([]api.ConsumerDelivery, error) {
		return nil, fmt.Errorf("%w: %w", api.ErrLogReplaced, types.ErrInvalidCursor)
	}})
	if code, stderr := n.fails(t, "consumer", "next", "c"); code != exitFailed || !strings.Contains(stderr, "consumer reset NAME --from") {
		t.Errorf("code %d, %s", code, stderr)
	}
}

// TestNextGathers shows that a batch larger than one call's is asked for in several,
// of which only the first waits, and that it ends where there is no more.
func TestNextGathers(t *testing.T) {
	var asked []int
	given := 0
	n := serveScripted(t, &scriptedConsumer{next: func(batch int, wait time.Duration) ([]api.ConsumerDelivery, error) {
		asked = append(asked, batch)
		if (wait > 0) != (len(asked) == 1) {
			t.Errorf("call %d waits %s", len(asked), wait)
		}
		ds := make([]api.ConsumerDelivery, min(batch, 600, 1500-given))
		given += len(ds)
		return ds, nil
	}})
	if rows := strings.Count(n.cairn(t, "consumer", "next", "c", "--batch", "2000", "--wait", "1h", "-o", "ndjson"), "\n"); rows != 1500 {
		t.Errorf("%d rows, want 1500", rows)
	}
	if want := []int{1000, 1000, 800, 500}; !slices.Equal(asked, want) {
		t.Errorf("asked for %v, want %v", asked, want)
	}
}

// TestSettleChunks shows that any number of tokens are settled, and that each one
// that is refused is named.
func TestSettleChunks(t *testing.T) {
	svc := &scriptedConsumer{}
	n := serveScripted(t, svc)
	args := []string{"consumer", "ack", "c"}
	for i := range api.MaxSettle + 10 {
		args = append(args, delivery.Token{Number: uint64(i), Attempt: 1}.String())
	}
	code, stderr := n.fails(t, args...)
	if code != exitFailed || strings.Count(stderr, "is refused: stale: the event was delivered again") != 2 {
		t.Errorf("code %d, %s", code, stderr)
	}
	if len(svc.settled) != 2 || !slices.Equal(slices.Concat(svc.settled...), args[3:]) {
		t.Errorf("settled in %d calls", len(svc.settled))
	}
}

// brokenPipe takes so many rows and then no more.
type brokenPipe struct{ rows int }

func (p *brokenPipe) Write(b []byte) (int, error) {
	if p.rows == 0 {
		return 0, syscall.EPIPE
	}
	p.rows--
	return len(b), nil
}

// TestAckAutoFollowsTheRow shows that 'sub --ack auto' acknowledges nothing that it
// could not print.
func TestAckAutoFollowsTheRow(t *testing.T) {
	const events, printed = 10, 3
	n := startNode(t)
	n.cairn(t, "consumer", "create", "c", "t")
	for range events {
		n.cairn(t, "pub", "t", "x")
	}
	getenv := func(string) string { return n.api }
	var stderr bytes.Buffer
	code := run([]string{"sub", "t", "--consumer", "c", "--ack", "auto", "-o", "ndjson"}, nil, &brokenPipe{printed}, &stderr, getenv)
	if code != exitFailed || !strings.Contains(stderr.String(), "write output") {
		t.Errorf("code %d, %s", code, stderr.String())
	}
	c := wantShape[consumerShape](t, n.cairn(t, "consumer", "info", "c", "-o", "json"))
	if left := c.Pending + int(c.Lag); left < events-printed {
		t.Errorf("%d of %d events are left, of which %d were printed", left, events, printed)
	}
}
