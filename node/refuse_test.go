package node

import (
	"context"
	"testing"
	"time"

	"github.com/cairn-p2p/cairn/types"
)

// A node that refuses its peers loses their connections and gets no new ones,
// whoever dials; afterwards both sides heal. A peer that is not refused stays.
func TestRefuse(t *testing.T) {
	a, b, c := open(t, loopback("")), open(t, loopback("")), open(t, loopback(""))
	ta, tb := join(t, a, "topic"), join(t, b, "topic")
	connect(t, a, b)
	connect(t, a, c)
	a.Refuse(func(id types.PeerID) bool { return id == b.ID() })
	for _, info := range a.Peers() {
		if info.ID == b.ID() {
			t.Error("still connected to a refused peer")
		}
	}
	if peers := a.Peers(); len(peers) != 1 || peers[0].ID != c.ID() {
		t.Errorf("peers %v, want only the one that is not refused", peers)
	}
	if err := a.Connect(t.Context(), b.Addrs()[0]); err == nil {
		t.Error("connected to a refused peer")
	}
	// The dialler may believe for a moment that it is connected.
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	b.Connect(ctx, a.Addrs()[0]) //nolint:errcheck // refused, at once or after a moment
	for _, topic := range []*Topic{ta, tb} {
		if _, err := topic.Append(t.Context(), []byte("while apart")); err != nil {
			t.Fatal(err)
		}
	}
	if peers := a.Peers(); len(peers) != 1 || peers[0].ID != c.ID() {
		t.Errorf("peers %v after being dialled by a refused one", peers)
	}

	a.Refuse(nil)
	connect(t, a, b)
	for _, topic := range []*Topic{ta, tb} {
		if _, err := topic.Wait(t.Context(), func(s Status) bool { return s.Events == 2 }); err != nil {
			t.Fatal(err)
		}
	}
}
