package node

import (
	"errors"
	"fmt"

	"github.com/cairn-p2p/cairn/types"
)

// Check is one thing that a node needs in order to serve.
type Check struct {
	Name string
	Err  error // nil: it is as it should be
}

// Checks returns what the node needs in order to serve its users, and whether
// it has it: a store that can be written, a disk above Config.MinFree, and its
// listeners. Peers and syncs are no part of it: a node alone serves.
func (n *Node) Checks() []Check {
	store, disk := n.store.Writable(), error(nil)
	if errors.Is(store, types.ErrDiskFull) {
		store, disk = nil, store
	}
	return []Check{{"store", store}, {"disk", disk}, {"listeners", n.checkListeners()}, {"node", n.checkRunning()}}
}

// checkListeners reports listeners that were closed: one whose accept fails is
// not opened again.
func (n *Node) checkListeners() error {
	if up := len(n.host.Network().ListenAddresses()); up < len(n.cfg.Listen) {
		return fmt.Errorf("%d of %d are up", up, len(n.cfg.Listen))
	}
	return nil
}

// checkRunning reports that the node stops, or that a part of it failed.
func (n *Node) checkRunning() error {
	if n.running.Err() != nil {
		return types.ErrClosed
	}
	return nil
}
