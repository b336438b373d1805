package node

import (
	"errors"
	"testing"

	"github.com/multiformats/go-multiaddr"

	"github.com/cairn-p2p/cairn/types"
)

// failing returns the names of the checks that fail, and the first error.
func failing(n *Node) (names string, first error) {
	for _, c := range n.Checks() {
		if c.Err != nil {
			names += c.Name + " "
			first = errors.Join(first, c.Err)
		}
	}
	return names, first
}

func TestChecks(t *testing.T) {
	n := open(t, loopback(t.TempDir()))
	if names, err := failing(n); names != "" { // alone, and content
		t.Errorf("alone: %s: %v", names, err)
	}
	for _, a := range n.host.Network().ListenAddresses() {
		closeListener(t, n, a)
	}
	if names, err := failing(n); names != "listeners " {
		t.Errorf("without a listener: %s: %v", names, err)
	}
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
	if names, err := failing(n); !errors.Is(err, types.ErrClosed) {
		t.Errorf("closed: %s: %v", names, err)
	}

	cfg := loopback(t.TempDir())
	cfg.MinFree = 1 << 60
	if names, err := failing(open(t, cfg)); names != "disk " || !errors.Is(err, types.ErrDiskFull) {
		t.Errorf("little free disk: %s: %v", names, err)
	}
}

func closeListener(t *testing.T, n *Node, a multiaddr.Multiaddr) {
	t.Helper()
	s, ok := n.host.Network().(interface {
		ListenClose(...multiaddr.Multiaddr)
	})
	if !ok {
		t.Fatal("the host's network cannot close a listener")
	}
	s.ListenClose(a)
}
