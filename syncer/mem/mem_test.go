package mem_test

import (
	"testing"

	"go.uber.org/goleak"

	"github.com/cairn-p2p/cairn/syncer/mem"
	"github.com/cairn-p2p/cairn/syncer/syncertest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type network struct {
	mem.Network
	list []*mem.Syncer
}

func (n *network) Syncers() []syncertest.Syncer {
	var list []syncertest.Syncer
	for _, s := range n.list {
		list = append(list, s)
	}
	return list
}

func (n *network) Connect(i, j int)    { n.Network.Connect(n.list[i], n.list[j]) }
func (n *network) Disconnect(i, j int) { n.Network.Disconnect(n.list[i], n.list[j]) }

func TestSyncer(t *testing.T) {
	syncertest.Run(t, func(_ *testing.T, locals []*syncertest.Local) syncertest.Network {
		n := new(network)
		for _, l := range locals {
			n.list = append(n.list, n.Network.New(l.ID(), l))
		}
		return n
	})
}
