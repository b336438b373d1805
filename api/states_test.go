package api

import (
	"context"
	"net/http"
	"reflect"
	"testing"
	"time"

	"github.com/cairn-p2p/cairn/node"
)

// everything is a status with something in each of its fields.
func everything(state string) *TopicStatus {
	at := Time{time.Unix(1e9, 5).UTC()}
	asked := []Asked{{Peer: "peer", Answer: "absent"}}
	return &TopicStatus{
		Topic: "t", TopicID: "id", State: state, Reason: "why it is " + state, Events: 1, Heads: []string{"head"}, HeadsHash: "00", Pending: 2,
		Missing:   []Missing{{CID: "cid", Since: at, Asked: asked}},
		Peers:     []Replica{{Peer: "peer", InSync: true, LastSync: at, HeadsHash: "01", Paused: true, Unproven: true}},
		Fetching:  "peer",
		LastError: "peer: it hung up",
		Rungs:     []Rung{{Name: "flood", Found: "1 found", Asked: asked}},
		Climbed:   at,
		Offenders: []Offender{{Peer: "peer", Count: 3, Reason: "bad witness", Last: at, TopicID: "id"}},
	}
}

// TestStatesCross: every state, with all that a status says, crosses the API
// unchanged, and has its names in JSON.
func TestStatesCross(t *testing.T) {
	for _, state := range []string{node.Synced, node.Syncing, node.Behind, node.Stalled, node.Alone, node.Paused, node.Unsupported} {
		want := everything(state)
		wantFull(t, reflect.ValueOf(*want))
		c, _ := serve(t, &fake{topicStatus: func(context.Context) (*TopicStatus, error) { return want, nil }})
		got, err := c.TopicStatus(soon(t), "t")
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: got %+v, %v", state, got, err)
		}
		var answer struct{ Status map[string]any }
		if code := post(t, c, "GetTopicStatus", `{"topic":"t"}`, &answer); code != http.StatusOK {
			t.Fatalf("%s: %d", state, code)
		}
		s := answer.Status
		if s["state"] != state || s["reason"] != want.Reason || s["climbed"] != "2001-09-09T01:46:40.000000005Z" {
			t.Errorf("%s: JSON %v", state, s)
		}
		for _, list := range []string{"missing", "peers", "rungs", "offenders"} {
			if all, ok := s[list].([]any); !ok || len(all) != 1 {
				t.Errorf("%s: %s in JSON are %v", state, list, s[list])
			}
		}
	}
}

// TestPeersCross: so does what a peer did.
func TestPeersCross(t *testing.T) {
	want := []Peer{
		{
			Peer: "a", Addrs: []string{"/ip4/127.0.0.1"}, Direction: "inbound", LatencyMS: 1, Topics: 2,
			Offences: 3, LastOffence: "bad witness", LastOffenceTime: Time{time.Unix(1e9, 0).UTC()},
		},
		{Peer: "b", Addrs: []string{}, Direction: "outbound"},
	}
	wantFull(t, reflect.ValueOf(want[0]))
	c, _ := serve(t, &fake{peers: func(context.Context) ([]Peer, error) { return want, nil }})
	if got, err := c.Peers(soon(t)); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, %v", got, err)
	}
}

// wantFull fails the test if a field of v is zero: what it would not show.
func wantFull(t *testing.T, v reflect.Value) {
	t.Helper()
	for i := range v.NumField() {
		f := v.Field(i)
		if f.IsZero() {
			t.Errorf("%s.%s is zero: the test does not show that it crosses", v.Type(), v.Type().Field(i).Name)
		}
		if f.Kind() == reflect.Slice && f.Type().Elem().Kind() == reflect.Struct {
			for j := range f.Len() {
				wantFull(t, f.Index(j))
			}
		}
	}
}
