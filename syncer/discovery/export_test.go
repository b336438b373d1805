package discovery

import (
	"context"
	"encoding/base32"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/cairn-p2p/cairn/types"
)

// OnPeer calls do for each peer that enters the routing table. To be called
// before the host has connections.
func (d *Discovery) OnPeer(do func(peer.ID)) {
	table := d.dht.RoutingTable()
	before := table.PeerAdded
	table.PeerAdded = func(id peer.ID) {
		before(id)
		do(id)
	}
}

// OnRecord calls do for each record that is left here. To be called before the
// host has connections.
func (d *Discovery) OnRecord(do func(digest types.Hash, from peer.ID)) {
	d.records.stored = func(key, from string) {
		digest, err := digestOf(decode(key))
		if err != nil {
			panic(err)
		}
		do(digest, peer.ID(decode(from)))
	}
}

func decode(s string) []byte {
	b, err := base32.StdEncoding.WithPadding(base32.NoPadding).DecodeString(s)
	if err != nil {
		panic(err)
	}
	return b
}

// Size returns how many keys are provided.
func (d *Discovery) Size() int { return d.keys.len() }

// Leave leaves a record with d, as a provider does.
func (d *Discovery) Leave(ctx context.Context, digest types.Hash, from peer.AddrInfo) error {
	return d.dht.ProviderStore().AddProvider(ctx, multihashOf(digest), from)
}
