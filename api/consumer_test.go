package api

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/cairn-p2p/cairn/api/cairn/v1/cairnv1connect"
	"github.com/cairn-p2p/cairn/delivery"
	"github.com/cairn-p2p/cairn/node"
	"github.com/cairn-p2p/cairn/store/badger"
	"github.com/cairn-p2p/cairn/types"
)

// next returns n deliveries of a consumer.
func next(t *testing.T, c ConsumerService, name string, n int) []ConsumerDelivery {
	t.Helper()
	ds, err := c.Next(soon(t), name, n, 0)
	if err != nil || len(ds) != n {
		t.Fatalf("%d deliveries, want %d: %v", len(ds), n, err)
	}
	return ds
}

func tokens(ds []ConsumerDelivery) []string {
	return each(ds, func(d ConsumerDelivery) string { return d.Token })
}

// settleAll settles deliveries, which must not be refused.
func settleAll(t *testing.T, c ConsumerService, name string, s Settlement) {
	t.Helper()
	settled, err := c.Settle(soon(t), name, s)
	if err != nil || len(settled) != len(s.Tokens) {
		t.Fatalf("settled %v: %v", settled, err)
	}
	for _, one := range settled {
		if one.Refused != "" {
			t.Errorf("%s of %s is refused: %s", s.Kind, one.Token, one.Refused)
		}
	}
}

// TestConsumer takes a consumer of a real node through its life.
func TestConsumer(t *testing.T) {
	c, ctx := serveNode(t), soon(t)
	const events = 5
	cids, err := c.Publish(ctx, "t", numbers(0, events))
	if err != nil {
		t.Fatal(err)
	}
	asked := ConsumerSettings{Name: "c", Topic: "t", BackOff: []time.Duration{time.Hour}}
	made, err := c.CreateConsumer(ctx, asked)
	if err != nil {
		t.Fatal(err)
	}
	want := ConsumerSettings{
		Name: "c", Topic: "t", Tags: []string{}, Publishers: []string{}, From: FromStart,
		AckWait: 30 * time.Second, MaxPending: 1024, BackOff: []time.Duration{time.Hour},
	}
	if diff := cmp.Diff(want, made.Settings); diff != "" {
		t.Errorf("settings (-want +got):\n%s", diff)
	}
	again, err := c.CreateConsumer(ctx, made.Settings)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(made, again); diff != "" {
		t.Errorf("created again with the settings that it has:\n%s", diff)
	}
	asked.MaxDeliver = 1
	_, err = c.CreateConsumer(ctx, asked)
	wantErr(t, err, ErrConsumerDiffers)

	ds := next(t, c, "c", 4)
	for i, d := range ds {
		e, err := c.Event(ctx, cids[i])
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(*e, d.Event); diff != "" || d.Count != 1 || d.Cursor == "" {
			t.Errorf("delivery %d of count %d with cursor %q:\n%s", i, d.Count, d.Cursor, diff)
		}
	}
	settleAll(t, c, "c", Settlement{Kind: Ack, Tokens: tokens(ds[:1])})
	settleAll(t, c, "c", Settlement{Kind: Progress, Tokens: tokens(ds[1:2])})
	settleAll(t, c, "c", Settlement{Kind: Nak, Tokens: tokens(ds[2:3])})
	settleAll(t, c, "c", Settlement{Kind: Term, Tokens: tokens(ds[3:]), Reason: "why not"})
	if redelivered := next(t, c, "c", 2); redelivered[0].CID != cids[2] || redelivered[0].Count != 2 || redelivered[1].CID != cids[4] {
		t.Errorf("after a nak came %+v", redelivered)
	}
	never := delivery.Token{Number: 1, Attempt: 1}.String() // of no epoch
	settled, err := c.Settle(ctx, "c", Settlement{Kind: Ack, Tokens: []string{ds[0].Token, ds[1].Token, ds[2].Token, never, ds[1].Token}})
	if err != nil {
		t.Fatal(err)
	}
	refusals := []Settled{{ds[0].Token, "settled"}, {ds[1].Token, ""}, {ds[2].Token, "stale"}, {never, "stale"}, {ds[1].Token, ""}}
	if diff := cmp.Diff(refusals, settled); diff != "" {
		t.Errorf("settled (-want +got):\n%s", diff)
	}

	dead := collect(t, c.Dead(ctx, "c", ""))
	if len(dead) != 1 || dead[0].CID != cids[3] || dead[0].Reason != "why not" || dead[0].Count != 1 || dead[0].Time.IsZero() || dead[0].Cursor != ds[3].Cursor {
		t.Errorf("dead letters %+v", dead)
	}
	if info, err := c.Consumer(ctx, "c"); err != nil || info.Pending != 2 || info.Redelivered != 1 || info.Dead != 1 || info.Lag != 0 || info.AckFloor != ds[1].Cursor {
		t.Errorf("%+v, %v; want 2 pending behind %s", info, err, ds[1].Cursor)
	}
	_, err = c.Requeue(ctx, "c", []string{cids[3], cids[0]}) // one of which is no dead letter
	wantErr(t, err, types.ErrNotFound)
	if n, err := c.Requeue(ctx, "c", nil); err != nil || n != 1 {
		t.Errorf("requeued %d, %v", n, err)
	}
	if d := next(t, c, "c", 1)[0]; d.CID != cids[3] {
		t.Errorf("requeued %s, and got %s", cids[3], d.CID)
	}

	if reset, err := c.ResetConsumer(ctx, "c", ds[2].Cursor); err != nil || reset.Pending != 0 || reset.AckFloor != ds[2].Cursor {
		t.Errorf("after the reset: %+v, %v", reset, err)
	}
	if d := next(t, c, "c", 2); d[0].CID != cids[3] || d[1].CID != cids[4] || d[0].Count != 1 {
		t.Errorf("after the reset came %+v", d)
	}
	if rows, err := c.Consumers(ctx); err != nil || len(rows) != 1 || rows[0].Name != "c" || rows[0].Topic != "t" {
		t.Errorf("consumers %+v, %v", rows, err)
	}
	if err := c.RemoveConsumer(ctx, "c"); err != nil {
		t.Fatal(err)
	}
	_, err = c.Consumer(ctx, "c")
	wantErr(t, err, types.ErrNotFound)
	wantErr(t, c.RemoveConsumer(ctx, "c"), types.ErrNotFound)
}

// TestConsumerErrors shows that what a caller branches on survives the way.
func TestConsumerErrors(t *testing.T) {
	c, ctx := serveNode(t), soon(t)
	if _, err := c.CreateConsumer(ctx, ConsumerSettings{Name: "c", Topic: "t"}); err != nil {
		t.Fatal(err)
	}
	foreign := types.Cursor{Number: 1, Hash: [8]byte{1}}.String()
	token := delivery.Token{Number: 1, Attempt: 1}.String()
	create := func(s ConsumerSettings) func() error {
		return func() error { _, err := c.CreateConsumer(ctx, s); return err }
	}
	for name, test := range map[string]struct {
		want error
		call func() error
	}{
		"no name":          {types.ErrInvalidArgument, create(ConsumerSettings{Topic: "u"})},
		"no topic":         {types.ErrInvalidArgument, create(ConsumerSettings{Name: "d"})},
		"negative":         {types.ErrInvalidArgument, create(ConsumerSettings{Name: "d", Topic: "u", MaxPending: -1})},
		"bad publisher":    {types.ErrInvalidArgument, create(ConsumerSettings{Name: "d", Topic: "u", Publishers: []string{"x"}})},
		"bad start":        {types.ErrInvalidCursor, create(ConsumerSettings{Name: "d", Topic: "u", From: "x"})},
		"of another topic": {ErrConsumerDiffers, create(ConsumerSettings{Name: "c", Topic: "u"})},
		"foreign cursor":   {types.ErrInvalidCursor, create(ConsumerSettings{Name: "d", Topic: "u", From: foreign})},
		"unknown next":     {types.ErrNotFound, func() error { _, err := c.Next(ctx, "x", 1, 0); return err }},
		"negative wait":    {types.ErrInvalidArgument, func() error { _, err := c.Next(ctx, "c", 1, -1); return err }},
		"unknown settle":   {types.ErrNotFound, func() error { _, err := c.Settle(ctx, "x", Settlement{Kind: Ack, Tokens: []string{token}}); return err }},
		"no tokens":        {types.ErrInvalidArgument, func() error { _, err := c.Settle(ctx, "c", Settlement{Kind: Ack}); return err }},
		"malformed token":  {types.ErrInvalidArgument, func() error { _, err := c.Settle(ctx, "c", Settlement{Kind: Ack, Tokens: []string{"x"}}); return err }},
		"unknown dead":     {types.ErrNotFound, func() error { return firstErr(c.Dead(ctx, "x", "")) }},
		"malformed page":   {types.ErrInvalidCursor, func() error { return firstErr(c.Suppressed(ctx, "c", "x")) }},
		"malformed CID":    {types.ErrInvalidArgument, func() error { _, err := c.Requeue(ctx, "c", []string{"x"}); return err }},
		"reset to nowhere": {types.ErrInvalidCursor, func() error { _, err := c.ResetConsumer(ctx, "c", ""); return err }},
		"reset elsewhere":  {types.ErrInvalidCursor, func() error { _, err := c.ResetConsumer(ctx, "c", foreign); return err }},
	} {
		t.Run(name, func(t *testing.T) { wantErr(t, test.call(), test.want) })
	}
	_, err := c.Heads(ctx, "u")
	wantErr(t, err, types.ErrNotFound) // what is refused joins nothing
}

func firstErr[T any](rows iter.Seq2[T, error]) error {
	for _, err := range rows {
		return err
	}
	return nil
}

// TestConsumerJSON uses consumers with nothing but net/http and encoding/json.
func TestConsumerJSON(t *testing.T) {
	c := serveNode(t)
	const service = cairnv1connect.ConsumerServiceName + "/"
	post(t, c, "Publish", `{"topic":"t","events":[{"payload":"YQ=="},{"payload":"Yg=="},{"payload":"Yw=="}]}`, &struct{}{})
	var made struct {
		Consumer struct {
			Settings struct {
				AckWait    string `json:"ack_wait"`
				MaxPending string `json:"max_pending"`
			}
			AckFloor string `json:"ack_floor"`
			Lag      string
		}
	}
	if code := postTo(t, c, service+"CreateConsumer", `{"settings":{"name":"c","topic":"t"}}`, &made); code != http.StatusOK ||
		made.Consumer.Settings.AckWait != "30s" || made.Consumer.Settings.MaxPending != "1024" || made.Consumer.AckFloor != "start" || made.Consumer.Lag != "3" {
		t.Fatalf("create: %d, %+v", code, made)
	}
	var failure struct {
		Code    string
		Details []struct{ Debug struct{ Reason string } }
	}
	if code := postTo(t, c, service+"CreateConsumer", `{"settings":{"name":"c","topic":"t","causal_acks":true}}`, &failure); code != http.StatusConflict ||
		failure.Code != "already_exists" || failure.Details[0].Debug.Reason != "consumer_differs" {
		t.Errorf("other settings: %d, %+v", code, failure)
	}
	var got struct {
		Deliveries []struct {
			Event         struct{ Payload string }
			DeliveryCount string `json:"delivery_count"`
			AckToken      string `json:"ack_token"`
		}
	}
	if code := postTo(t, c, service+"NextDeliveries", `{"name":"c","batch":10,"wait":"1s"}`, &got); code != http.StatusOK || len(got.Deliveries) != 3 ||
		got.Deliveries[2].Event.Payload != "Yw==" || got.Deliveries[2].DeliveryCount != "1" {
		t.Fatalf("next: %d, %+v", code, got)
	}
	body := fmt.Sprintf(`{"name":"c","settlement":{"kind":"term","tokens":[%q,%q,%q],"reason":"r"}}`,
		got.Deliveries[0].AckToken, got.Deliveries[1].AckToken, got.Deliveries[2].AckToken)
	for _, want := range []string{"", "settled"} {
		var settled struct{ Settled []Settled }
		if code := postTo(t, c, service+"Settle", body, &settled); code != http.StatusOK || len(settled.Settled) != 3 || settled.Settled[1].Refused != want {
			t.Errorf("term: %d, %+v, want refused: %q", code, settled, want)
		}
	}
	var dead []string
	after := ""
	for range 3 {
		var page struct {
			Dead []struct{ Reason, Cursor string }
			Next string
		}
		if code := postTo(t, c, service+"ListDead", fmt.Sprintf(`{"name":"c","limit":2,"after":%q}`, after), &page); code != http.StatusOK {
			t.Fatalf("dead: %d", code)
		}
		for _, d := range page.Dead {
			dead = append(dead, d.Cursor)
		}
		if after = page.Next; after == "" {
			break
		}
	}
	if len(dead) != 3 || len(slices.Compact(dead)) != 3 {
		t.Errorf("pages of dead letters have %v", dead)
	}
}

// TestConsumeStream has two consumers on one stream of a real node: one that has
// credit for one delivery, and one that reads all; and one that is not there.
func TestConsumeStream(t *testing.T) {
	c, ctx := serveNode(t), soon(t)
	const events = 2000
	if _, err := c.Publish(ctx, "t", numbers(0, events)); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"slow", "fast"} {
		if _, err := c.CreateConsumer(ctx, ConsumerSettings{Name: name, Topic: "t"}); err != nil {
			t.Fatal(err)
		}
	}
	stream, err := c.Consume(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer stream.Close()
	for name, credit := range map[string]int{"slow": 1, "fast": 100, "absent": 1} {
		if err := stream.Credit(name, credit); err != nil {
			t.Fatal(err)
		}
	}
	var slow []ConsumerDelivery
	seen, settled, lag, absent := 0, 0, uint64(0), error(nil)
	for seen < events || settled < events || lag == 0 || absent == nil {
		m, err := stream.Receive()
		switch {
		case err != nil:
			t.Fatal(err)
		case m.Name == "absent" && m.Ended:
			absent = m.Err
		case m.Ended:
			t.Fatalf("%s ended: %v", m.Name, m.Err)
		case m.Lag > 0 && m.Name == "slow":
			lag = m.Lag
		case m.Name == "slow":
			slow = append(slow, m.Deliveries...)
		}
		if m.Name != "fast" {
			continue
		}
		for _, d := range m.Deliveries {
			if string(d.Payload) != fmt.Sprint(seen) {
				t.Fatalf("payload %s, want %d", d.Payload, seen)
			}
			seen++
		}
		if settled += len(m.Settled); len(m.Deliveries) > 0 {
			if err := errors.Join(
				stream.Settle("fast", Settlement{Kind: Ack, Tokens: tokens(m.Deliveries)}),
				stream.Credit("fast", len(m.Deliveries)),
			); err != nil {
				t.Fatal(err)
			}
		}
	}
	wantErr(t, absent, types.ErrNotFound)
	if len(slow) != 1 || lag != events-1 {
		t.Errorf("slow has %d deliveries and lags by %d, want 1 and %d", len(slow), lag, events-1)
	}
	// It ends when its client does, with all answers.
	if err := errors.Join(stream.Settle("slow", Settlement{Kind: Ack, Tokens: tokens(slow)}), stream.End()); err != nil {
		t.Fatal(err)
	}
	for answered := 0; ; {
		m, err := stream.Receive()
		if errors.Is(err, io.EOF) {
			if answered != 1 {
				t.Errorf("%d acknowledgements of slow", answered)
			}
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if m.Name == "slow" {
			answered += len(m.Settled)
		}
	}
	for name, pending := range map[string]int{"slow": 0, "fast": 0} {
		if info, err := c.Consumer(ctx, name); err != nil || info.Pending != pending {
			t.Errorf("%s: %+v, %v", name, info, err)
		}
	}
}

// TestConsumeEndsWithServer shows that a stream that waits does not keep the server
// from stopping, and says why it ends.
func TestConsumeEndsWithServer(t *testing.T) {
	n, err := node.Open(t.Context(), node.Config{Listen: []string{"/ip4/127.0.0.1/tcp/0"}})
	if err != nil {
		t.Fatal(err)
	}
	defer n.Close() //nolint:errcheck // it was only read
	c, stop := serve(t, NewLocal(n, "v0"))
	ctx := soon(t)
	if _, err := c.CreateConsumer(ctx, ConsumerSettings{Name: "c", Topic: "t"}); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Publish(ctx, "t", numbers(0, 1)); err != nil {
		t.Fatal(err)
	}
	stream, err := c.Consume(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer stream.Close()
	if err := stream.Credit("c", 2); err != nil {
		t.Fatal(err)
	}
	if m, err := stream.Receive(); err != nil || len(m.Deliveries) != 1 {
		t.Fatalf("received %+v, %v", m, err)
	}
	stop()
	for {
		m, err := stream.Receive()
		if err != nil {
			wantErr(t, err, types.ErrClosed)
			break
		}
		if !m.Ended {
			t.Errorf("received %+v", m)
		}
	}
}

// TestNextEndsWithItsCaller shows that a wait ends with the caller's patience.
func TestNextEndsWithItsCaller(t *testing.T) {
	c := serveNode(t)
	if _, err := c.CreateConsumer(soon(t), ConsumerSettings{Name: "c", Topic: "t"}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(soon(t), callTime)
	defer cancel()
	_, err := c.Next(ctx, "c", 1, time.Hour)
	wantErr(t, err, context.DeadlineExceeded)
}

// TestCorruptConsumer shows that a consumer whose record is damaged fails alone, and
// that the list has it, and the others.
func TestCorruptConsumer(t *testing.T) {
	cfg := node.Config{Dir: t.TempDir(), Listen: []string{"/ip4/127.0.0.1/tcp/0"}}
	open := func() (*Client, *node.Node) {
		n, err := node.Open(t.Context(), cfg)
		if err != nil {
			t.Fatal(err)
		}
		c, _ := serve(t, NewLocal(n, "v0"))
		return c, n
	}
	c, n := open()
	for _, name := range []string{"bad", "good"} {
		if _, err := c.CreateConsumer(soon(t), ConsumerSettings{Name: name, Topic: "t"}); err != nil {
			t.Fatal(err)
		}
	}
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
	store, err := badger.Open(filepath.Join(cfg.Dir, "store"), badger.Options{Network: node.DefaultNetwork})
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(store.SetMetas(types.Record{Key: "consumer/progress/bad", Value: []byte{1, 2}}), store.Close()); err != nil {
		t.Fatal(err)
	}
	c, n = open()
	defer n.Close() //nolint:errcheck // it was only read
	_, err = c.Next(soon(t), "bad", 1, 0)
	wantErr(t, err, types.ErrCorrupt)
	next(t, c, "good", 0)
	all, err := c.Consumers(soon(t))
	if err != nil || len(all) != 2 || all[0].Name != "bad" || all[0].AckFloor != "" || all[1].AckFloor != FromStart {
		t.Errorf("consumers %+v, %v", all, err)
	}
	if _, err := c.ResetConsumer(soon(t), "bad", FromStart); err != nil {
		t.Error(err)
	}
	next(t, c, "bad", 0)
}
