package node

import (
	"fmt"
	"testing"

	"github.com/libp2p/go-libp2p/core/peer"
)

// When all streams are taken, a peer without one gets the place of another's newest,
// and one that has some does not; what leaves makes room.
func TestBrokerFull(t *testing.T) {
	n := open(t, Config{})
	b := &broker{n: n, streams: map[peer.ID][]*served{}}
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
	b.leave(s)
	b.leave(s)
	if b.total != brokerStreams-1 || b.streams["new"] != nil {
		t.Errorf("%d streams counted after one left twice", b.total)
	}
}
