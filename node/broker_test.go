package node

import (
	"context"
	"fmt"
	"testing"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/cairn-p2p/cairn/client/pb"
)

// A filter that matches nothing is charged for what it passes over, and says how far
// it has come.
func TestFilterIsCharged(t *testing.T) {
	n := open(t, Config{})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	topic, err := n.Join(ctx, "t")
	if err != nil {
		t.Fatal(err)
	}
	const events, payload = 40, 512 << 10
	for range events {
		if _, err := topic.Append(ctx, make([]byte, payload)); err != nil {
			t.Fatal(err)
		}
	}
	charged, frames, at := 0, 0, uint64(0)
	m := &pb.Request{Request: &pb.Request_Subscribe{Subscribe: &pb.SubscribeRequest{Topic: topic.ID().Bytes(), Tags: []string{"x"}}}}
	send := func(r *pb.Response) error {
		for _, e := range r.GetEntries().GetEntries() {
			if frames++; len(e.GetBody()) > 0 || e.GetPosition().GetNumber() <= at {
				t.Errorf("behind %d comes %v", at, e.GetPosition())
			}
			if at = e.GetPosition().GetNumber(); at == events {
				cancel()
			}
		}
		return nil
	}
	charge := func(_ context.Context, bytes int) error {
		if charged += bytes; bytes > deliverSkip+2*payload {
			t.Errorf("%d bytes were passed over at once", bytes)
		}
		return nil
	}
	if err := n.deliver(ctx, m, send, charge); err != nil || at != events {
		t.Errorf("it came to %d: %v", at, err)
	}
	if charged < events*(payload+deliverLook) || frames < events*payload/(deliverSkip+payload) {
		t.Errorf("%d bytes charged, %d frames", charged, frames)
	}
}

// What no honest client submits costs the one that does a second.
func TestRefusedIsCharged(t *testing.T) {
	n := open(t, Config{})
	topic, err := n.Join(t.Context(), "t")
	if err != nil {
		t.Fatal(err)
	}
	e, err := topic.Append(t.Context(), []byte("x"))
	if err != nil {
		t.Fatal(err)
	}
	for witness, want := range map[string]int{string(e.Witness): 0, "\x01" + string(make([]byte, 64)): brokerRate} {
		charged := 0
		m := &pb.SubmitRequest{Topic: topic.ID().Bytes(), Events: []*pb.Event{{Body: e.Bytes(), Witness: []byte(witness)}}}
		charge := func(_ context.Context, bytes int) error {
			charged += bytes
			return nil
		}
		err := n.deliver(t.Context(), &pb.Request{Request: &pb.Request_Submit{Submit: m}}, func(*pb.Response) error { return nil }, charge)
		if err != nil || charged != want {
			t.Errorf("witness %.2x: %d bytes charged, want %d: %v", witness, charged, want, err)
		}
	}
}

// When all streams are taken, a peer without one gets the place of another's newest,
// and one that has some does not; what leaves makes room.
func TestBrokerFull(t *testing.T) {
	n := open(t, Config{})
	b := &n.broker
	b.n, b.streams = n, map[peer.ID][]*served{}
	kicked := ""
	enter := func(p string, i int) (*served, error) {
		name := fmt.Sprint(p, i)
		return b.enter(peer.ID(p), func() { kicked = name })
	}
	var last *served
	for i := range brokerStreams / brokerStreamsPerPeer {
		for j := range brokerStreamsPerPeer {
			s, err := enter(fmt.Sprint("peer", i, "-"), j)
			if err != nil {
				t.Fatal(err)
			}
			last = s
		}
	}
	if _, err := enter("peer0-", 8); err != errBusy { //nolint:errorlint // as it is
		t.Errorf("one peer too many: %v", err)
	}
	b.leave(last)
	if _, err := enter("peer31-", 7); err != nil {
		t.Errorf("after one left: %v", err)
	}
	s, err := enter("new", 0)
	if err != nil || kicked == "" || kicked[len(kicked)-1] != '7' {
		t.Errorf("a new peer: %v, kicked %q", err, kicked)
	}
	if n.host.ConnManager().IsProtected("new", "") {
		t.Error("the connection of a stranger is protected")
	}
	if _, err := enter("new", 1); err != errBusy { //nolint:errorlint // as it is
		t.Errorf("its second stream: %v", err)
	}
	if b.total != brokerStreams {
		t.Errorf("%d streams counted", b.total)
	}
	want(t, gather(t, n), brokerStreams, lightStreams)
	b.leave(s)
	b.leave(s)
	if b.total != brokerStreams-1 || b.streams["new"] != nil {
		t.Errorf("%d streams counted after one left twice", b.total)
	}
}
