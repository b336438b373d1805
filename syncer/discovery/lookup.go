package discovery

import (
	"context"
	"errors"
	"fmt"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/cairn-p2p/cairn/types"
)

// What a lookup fails with before it has begun.
var (
	errOff    = errors.New("the DHT is off")
	errNoPeer = errors.New("no peer of the DHT is known")
)

// Providers returns peers that say they replicate the topic, in no order, with
// addresses; at most 16, and never this node. It blocks until it has them, the
// lookup is through, or 20 seconds are over, which is no error.
func (d *Discovery) Providers(ctx context.Context, topic types.TopicID) ([]peer.AddrInfo, error) {
	found, err := d.find(ctx, TopicKey(topic))
	if err != nil {
		return nil, fmt.Errorf("look up providers of topic %s: %w", topic, err)
	}
	return found, nil
}

// Archives returns peers that say they keep every topic of the network, as
// Providers does.
func (d *Discovery) Archives(ctx context.Context) ([]peer.AddrInfo, error) {
	found, err := d.find(ctx, ArchiveKey(d.cfg.Network))
	if err != nil {
		return nil, fmt.Errorf("look up archive nodes: %w", err)
	}
	return found, nil
}

func (d *Discovery) find(ctx context.Context, digest types.Hash) ([]peer.AddrInfo, error) {
	if d.dht == nil {
		return nil, errOff
	}
	select {
	case d.lookups <- struct{}{}:
		defer func() { <-d.lookups }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if d.dht.RoutingTable().Size() == 0 {
		return nil, errNoPeer
	}
	within, cancel := context.WithTimeout(ctx, lookupTimeout)
	defer cancel()
	found := d.collect(within, digest)
	reachable := found[:0]
	for _, info := range found {
		// A record outlives its addresses by a day, unless the provider renews
		// it; what this node knows of it may still do.
		if len(info.Addrs) == 0 {
			info.Addrs = d.cfg.Host.Peerstore().Addrs(info.ID)
		}
		if len(info.Addrs) > 0 {
			info.Addrs = info.Addrs[:min(len(info.Addrs), maxAddrs)]
			reachable = append(reachable, info)
		}
	}
	return reachable, ctx.Err()
}

// collect returns what a lookup finds until ctx ends.
func (d *Discovery) collect(ctx context.Context, digest types.Hash) []peer.AddrInfo {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var found []peer.AddrInfo
	at := map[peer.ID]int{}
	answers := d.dht.FindProvidersAsync(ctx, cidOf(digest), maxProviders+1) // one may be this node
	for info := range answers {
		i, known := at[info.ID]
		switch {
		case info.ID == d.cfg.Host.ID():
		case known: // told again, now with addresses
			found[i] = info
		case len(found) < maxProviders:
			at[info.ID] = len(found)
			found = append(found, info)
		}
	}
	return found
}
