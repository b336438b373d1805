package api

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	cairnv1 "github.com/cairn-p2p/cairn/api/cairn/v1"
	"github.com/cairn-p2p/cairn/types"
)

// endless is a ConsumerService whose consumers always have more, but for the
// names in stuck, for which Next waits, and absent.
type endless struct {
	Service
	stuck, absent string
	full          bool // of what the consumers look at

	mu      sync.Mutex
	given   map[string]int
	settled [][]string // the tokens of each call of Settle
}

func (e *endless) Next(ctx context.Context, name string, batch int, wait time.Duration) ([]ConsumerDelivery, error) {
	switch name {
	case e.absent:
		return nil, fmt.Errorf("consumer %q: %w", name, types.ErrNotFound)
	case e.stuck:
		select {
		case <-time.After(wait):
			return nil, nil
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	var out []ConsumerDelivery
	for range batch {
		e.given[name]++
		out = append(out, ConsumerDelivery{Token: fmt.Sprint(e.given[name])})
	}
	return out, nil
}

// Consumer says that a consumer lags by what it was given, and a million.
func (e *endless) Consumer(_ context.Context, name string) (*Consumer, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return &Consumer{Name: name, Lag: 1_000_000 + uint64(e.given[name]), Full: e.full, Settings: ConsumerSettings{MaxPending: 1 << 20}}, nil
}

func (e *endless) Settle(_ context.Context, name string, s Settlement) ([]Settled, error) {
	if name == e.absent {
		return nil, types.ErrNotFound
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.settled = append(e.settled, s.Tokens)
	return each(s.Tokens, func(t string) Settled { return Settled{Token: t} }), nil
}

// wire is a consumeStream in memory, whose client is the test.
type wire struct {
	requests chan *cairnv1.ConsumeRequest
	stopped  chan struct{}

	sent func(*cairnv1.ConsumeResponse) // what the client does when it has received it, before Send returns; or nil

	mu        sync.Mutex
	responses []*cairnv1.ConsumeResponse
}

func (w *wire) Receive() (*cairnv1.ConsumeRequest, error) {
	select {
	case m, ok := <-w.requests:
		if !ok {
			return nil, io.EOF
		}
		return m, nil
	case <-w.stopped:
		return nil, errors.New("read after the end")
	}
}

func (w *wire) Send(m *cairnv1.ConsumeResponse) error {
	if w.sent != nil {
		defer w.sent(m)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.responses = append(w.responses, m)
	return nil
}

// of returns what was sent of a consumer.
func (w *wire) of(name string) (deliveries int, settled []string, lags []uint64, ended []string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, m := range w.responses {
		if m.GetName() != name {
			continue
		}
		deliveries += len(m.GetDeliveries())
		for _, s := range m.GetSettled() {
			settled = append(settled, s.GetToken())
		}
		if m.GetLagged() != nil {
			lags = append(lags, m.GetLagged().GetLag())
		}
		if m.GetEnded() != nil {
			ended = append(ended, m.GetEnded().GetReason())
		}
	}
	return deliveries, settled, lags, ended
}

// consumption runs a test with a stream of svc in virtual time. end ends it and
// returns its error.
func consumptionTest(t *testing.T, svc *endless, test func(t *testing.T, w *wire, end func() error)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		svc.given = map[string]int{}
		w := &wire{requests: make(chan *cairnv1.ConsumeRequest), stopped: make(chan struct{})}
		ran := make(chan error, 1)
		go func() { ran <- newConsumption(svc, w).run(t.Context(), func() { close(w.stopped) }) }()
		ended := false
		end := func() error {
			ended = true
			close(w.requests)
			return <-ran
		}
		test(t, w, end)
		if !ended {
			if err := end(); err != nil {
				t.Error(err)
			}
		}
	})
}

func credit(name string, n uint64) *cairnv1.ConsumeRequest {
	return &cairnv1.ConsumeRequest{Name: name, Credit: n}
}

func settle(name, kind string, tokens ...string) *cairnv1.ConsumeRequest {
	return &cairnv1.ConsumeRequest{Name: name, Settle: &cairnv1.Settlement{Kind: kind, Tokens: tokens}}
}

// TestCredit shows that a consumer is sent what it has credit for and no more.
func TestCredit(t *testing.T) {
	consumptionTest(t, &endless{}, func(t *testing.T, w *wire, _ func() error) {
		sent := 0
		for _, n := range []uint64{1, 10, 5000} {
			w.requests <- credit("a", n)
			sent += int(n)
			time.Sleep(time.Minute) // virtual
			if got, _, _, _ := w.of("a"); got != sent {
				t.Errorf("%d deliveries with credit for %d", got, sent)
			}
		}
		w.mu.Lock()
		defer w.mu.Unlock()
		for _, m := range w.responses {
			if len(m.GetDeliveries()) > maxChunk {
				t.Errorf("a response has %d deliveries, limit %d", len(m.GetDeliveries()), maxChunk)
			}
		}
	})
}

// TestStalledConsumers shows that neither a consumer without credit nor one whose
// log gives nothing keeps another from its deliveries, and that the first
// is told how far it lags, once for each growth.
func TestStalledConsumers(t *testing.T) {
	const total = 10_000
	svc := &endless{stuck: "stuck"}
	consumptionTest(t, svc, func(t *testing.T, w *wire, _ func() error) {
		begun := time.Now()
		w.requests <- credit("slow", 1)
		w.requests <- credit("stuck", 100)
		w.requests <- credit("fast", total)
		synctest.Wait()
		if got, _, _, _ := w.of("fast"); got != total {
			t.Errorf("%d deliveries beside the stalled, want %d", got, total)
		}
		if time.Since(begun) != 0 {
			t.Errorf("it waited %s for the stalled", time.Since(begun))
		}
		if got, _, lags, _ := w.of("slow"); got != 1 || len(lags) > 0 {
			t.Errorf("slow has %d deliveries and was told of %v before it stalled", got, lags)
		}
		time.Sleep(10 * lagInterval)
		if _, _, lags, ended := w.of("slow"); !slices.Equal(lags, []uint64{1_000_001}) || len(ended) > 0 {
			t.Errorf("slow was told that it lags by %v and has ended %v, want once by 1000001", lags, ended)
		}
		svc.mu.Lock()
		svc.given["slow"] += 5 // its log grows
		svc.mu.Unlock()
		time.Sleep(10 * lagInterval)
		if _, _, lags, _ := w.of("slow"); !slices.Equal(lags, []uint64{1_000_001, 1_000_006}) {
			t.Errorf("slow was told that it lags by %v", lags)
		}
		for _, name := range []string{"stuck", "fast"} {
			if _, _, lags, _ := w.of(name); name == "stuck" && len(lags) > 0 {
				t.Errorf("%s was told that it lags by %v, though not by its own doing", name, lags)
			}
		}
		w.requests <- credit("slow", 3)
		synctest.Wait()
		if got, _, _, _ := w.of("slow"); got != 4 {
			t.Errorf("slow has %d deliveries after more credit, want 4", got)
		}
	})
}

// TestSlowIsTold shows that a consumer that moves, and falls behind all the same for
// want of credit, is told so once a second.
func TestSlowIsTold(t *testing.T) {
	const seconds = 10
	consumptionTest(t, &endless{}, func(t *testing.T, w *wire, _ func() error) {
		for range 10 * seconds {
			w.requests <- credit("slow", 1)
			time.Sleep(lagInterval / 10)
		}
		synctest.Wait()
		got, _, lags, _ := w.of("slow")
		if got != 10*seconds || len(lags) < seconds-1 || len(lags) > seconds || !slices.IsSorted(lags) {
			t.Errorf("%d deliveries in %d seconds, told that it lags by %v", got, seconds, lags)
		}
	})
}

// TestFullIsTold shows that a consumer which looks no further ahead until
// something is settled is told that it lags, although it has credit.
func TestFullIsTold(t *testing.T) {
	consumptionTest(t, &endless{stuck: "a", full: true}, func(t *testing.T, w *wire, _ func() error) {
		w.requests <- credit("a", 100)
		time.Sleep(10 * lagInterval)
		if _, _, lags, _ := w.of("a"); !slices.Equal(lags, []uint64{1_000_000}) {
			t.Errorf("told that it lags by %v", lags)
		}
	})
}

// TestSettledInOrder shows that settlements are answered, each token in its order,
// and that those of one kind share a call within its limit.
func TestSettledInOrder(t *testing.T) {
	svc := &endless{}
	consumptionTest(t, svc, func(t *testing.T, w *wire, end func() error) {
		var want []string
		for i := range 3 {
			var tokens []string
			for j := range MaxSettle/2 + 1 {
				tokens = append(tokens, fmt.Sprint(i, "/", j))
			}
			want = append(want, tokens...)
			w.requests <- settle("a", Ack, tokens...)
		}
		w.requests <- settle("a", Term, "last")
		if err := end(); err != nil {
			t.Fatal(err)
		}
		if _, settled, _, ended := w.of("a"); !slices.Equal(settled, append(want, "last")) || !slices.Equal(ended, []string{""}) {
			t.Errorf("%d settled, not in the order of %d, and ended %q", len(settled), len(want)+1, ended)
		}
		for _, tokens := range svc.settled {
			if len(tokens) > MaxSettle {
				t.Errorf("%d tokens at once", len(tokens))
			}
		}
	})
}

func TestMerge(t *testing.T) {
	s := func(kind string, tokens ...string) Settlement { return Settlement{Kind: kind, Tokens: tokens} }
	late := Settlement{Kind: Nak, Tokens: []string{"g"}, Delay: time.Second}
	got := merge([]Settlement{s(Ack, "a"), s(Ack, "b", "c"), s(Nak, "d"), s(Nak, "e"), late, s(Ack, "h")})
	want := []Settlement{s(Ack, "a", "b", "c"), s(Nak, "d", "e"), late, s(Ack, "h")}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("merged to %v, want %v", got, want)
	}
}

// TestStop shows that a consumer that was stopped is handed nothing more, still
// settles, and opens again.
func TestStop(t *testing.T) {
	consumptionTest(t, &endless{stuck: "a"}, func(t *testing.T, w *wire, _ func() error) {
		w.requests <- credit("a", 5)
		w.requests <- &cairnv1.ConsumeRequest{Name: "a", Close: true}
		synctest.Wait()
		if _, _, _, ended := w.of("a"); !slices.Equal(ended, []string{""}) {
			t.Fatalf("ended %q", ended)
		}
		w.requests <- settle("a", Ack, "x")
		synctest.Wait()
		if _, settled, _, _ := w.of("a"); !slices.Equal(settled, []string{"x"}) {
			t.Errorf("settled %q after the stop", settled)
		}
		w.requests <- credit("a", 1)
		w.requests <- &cairnv1.ConsumeRequest{Name: "a", Close: true}
		synctest.Wait()
		if _, _, _, ended := w.of("a"); len(ended) != 2 {
			t.Errorf("ended %q, want twice", ended)
		}
	})
}

// TestOpenAtOnce shows that a consumer which its client opens again as soon as it
// reads that it has ended is handed out.
func TestOpenAtOnce(t *testing.T) {
	consumptionTest(t, &endless{}, func(t *testing.T, w *wire, _ func() error) {
		w.sent = func(m *cairnv1.ConsumeResponse) {
			if m.GetEnded() != nil {
				w.sent = nil
				w.requests <- credit("a", 3)
				w.requests <- settle("b", Ack, "x") // the request before it was carried out
			}
		}
		w.requests <- &cairnv1.ConsumeRequest{Name: "a", Close: true}
		synctest.Wait()
		if got, _, _, _ := w.of("a"); got != 3 {
			t.Errorf("opened again it has %d deliveries, want 3", got)
		}
	})
}

// TestOneFailsAlone shows that what ends one consumer of a stream is said, and ends
// no other.
func TestOneFailsAlone(t *testing.T) {
	consumptionTest(t, &endless{absent: "absent"}, func(t *testing.T, w *wire, _ func() error) {
		w.requests <- credit("absent", 1)
		synctest.Wait()
		w.requests <- settle("absent", Ack, "x")
		w.requests <- credit("a", 7)
		synctest.Wait()
		if got, settled, _, ended := w.of("absent"); got != 0 || len(settled) > 0 || !slices.Equal(ended, []string{"not_found"}) {
			t.Errorf("absent has %d deliveries, settled %q, ended %q", got, settled, ended)
		}
		if got, _, _, _ := w.of("a"); got != 7 {
			t.Errorf("the other has %d deliveries, want 7", got)
		}
	})
}

// TestConsumeRefuses shows that a request outside the limits ends the stream.
func TestConsumeRefuses(t *testing.T) {
	many := make([]*cairnv1.ConsumeRequest, maxConsumers+1)
	for i := range many {
		many[i] = credit(fmt.Sprint(i), 1)
	}
	for name, requests := range map[string][]*cairnv1.ConsumeRequest{
		"no name":         {credit("", 1)},
		"many consumers":  many,
		"much credit":     {credit("stuck", maxCredit+1)},
		"credit in sum":   {credit("stuck", maxCredit), credit("stuck", 1)},
		"no tokens":       {settle("a", Ack)},
		"unknown kind":    {settle("a", "eat", "x")},
		"too many tokens": {settle("a", Ack, make([]string, MaxSettle+1)...)},
	} {
		t.Run(name, func(t *testing.T) {
			consumptionTest(t, &endless{stuck: "stuck"}, func(t *testing.T, w *wire, end func() error) {
				for _, r := range requests {
					select {
					case w.requests <- r:
					case <-w.stopped:
					}
				}
				wantErr(t, end(), types.ErrInvalidArgument)
			})
		})
	}
}
