package e2e

import (
	"fmt"
	"slices"
	"testing"

	"github.com/ipfs/go-cid"

	"github.com/cairn-p2p/cairn/delivery"
	"github.com/cairn-p2p/cairn/types"
)

// An event that a rule of one node suppresses is not given to its consumers, and
// listed with the reason; it counts as delivered for what links to it. It stays in
// the DAG all the same: whoever reads the topic sees it, and another node, whose
// rules are none, gets it from this one.
func TestSuppressedEventIsEvidence(t *testing.T) {
	schema, err := delivery.ParseSchema([]byte(`{"type": "object"}`))
	if err != nil {
		t.Fatal(err)
	}
	cfg := config(t.TempDir())
	cfg.Validator = func(types.TopicID) delivery.Validator { return &delivery.Rules{Schema: schema} }
	strict := start(t, cfg)
	var events []*types.Event
	for i, payload := range []string{`{"a": 1}`, `no JSON`, `{"a": 2}`} { // a chain
		e, err := strict.Append(t.Context(), []byte(payload))
		if err != nil {
			t.Fatal(err)
		}
		if i > 0 && !slices.Contains(e.Links, events[i-1].CID) {
			t.Fatal("the events make no chain")
		}
		events = append(events, e)
	}
	good, bad := []cid.Cid{events[0].CID, events[2].CID}, events[1].CID

	for _, causal := range []bool{false, true} {
		name := fmt.Sprint("causal-", causal)
		c, err := strict.node.CreateConsumer(t.Context(), topicName, delivery.Settings{Name: name, CausalAcks: causal})
		if err != nil {
			t.Fatal(err)
		}
		var got []cid.Cid
		for range 2 { // with causal acks the second waits for the first
			got = append(got, acknowledged(t, c)...)
		}
		if !slices.Equal(got, good) {
			t.Errorf("%s: the consumer was given %v, want %v", name, got, good)
		}
		listed := 0
		for s, err := range c.Suppressed(0) {
			if err != nil {
				t.Fatal(err)
			}
			listed++
			if want := "payload: it is no JSON: invalid character 'o' in literal null (expecting 'u')"; s.CID != bad || s.Reason != want {
				t.Errorf("%s: suppressed %s, %q, want %s, %q", name, s.CID, s.Reason, bad, want)
			}
		}
		info, err := c.Info()
		if err != nil {
			t.Fatal(err)
		}
		if end := endOf(t, strict); listed != 1 || info.Suppressed != 1 || info.Lag != 0 || info.Pending != 0 || info.AckFloor != end {
			t.Errorf("%s: %d suppressed events are listed; it stands at %+v of %v", name, listed, info, end)
		}
	}

	// Plain reads see all of it, and so does another node, to whose consumers it
	// is as good as any.
	checkOrder(t, strict, 3)
	queried := 0
	for _, err := range strict.Query(types.Query{}) {
		if err != nil {
			t.Fatal(err)
		}
		queried++
	}
	if queried != 3 {
		t.Errorf("a query yields %d events of 3", queried)
	}
	other := start(t, config(""))
	connect(t, other.node, strict.node)
	converge(t, []member{strict, other}, 3)
	c, err := other.node.CreateConsumer(t.Context(), topicName, delivery.Settings{Name: "all"})
	if err != nil {
		t.Fatal(err)
	}
	if got := acknowledged(t, c); !slices.Equal(got, []cid.Cid{events[0].CID, bad, events[2].CID}) {
		t.Errorf("without rules a consumer is given %v", got)
	}
}

// acknowledged takes what a consumer has for now, and acknowledges it.
func acknowledged(t *testing.T, c *delivery.Consumer) []cid.Cid {
	t.Helper()
	ds, err := c.Next(t.Context(), 100, 0)
	if err != nil {
		t.Fatal(err)
	}
	var cids []cid.Cid
	var tokens []delivery.Token
	for _, d := range ds {
		cids, tokens = append(cids, d.CID), append(tokens, d.Token)
	}
	if err := c.Ack(t.Context(), tokens...); err != nil {
		t.Fatal(err)
	}
	return cids
}

func endOf(t *testing.T, m member) types.Cursor {
	t.Helper()
	end, err := m.End()
	if err != nil {
		t.Fatal(err)
	}
	return end
}
