package node

import (
	"context"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
)

const (
	// enoughReplicas is the number of connected replicas of a topic from which
	// on no others are looked for.
	enoughReplicas = 3
	// findFirst is the time from one round of lookups to the next when a topic
	// was joined; each is twice the one before, up to DHTTuning.Lookup.
	findFirst = time.Second
	// findAtOnce bounds the lookups that run at once, findInRound those of a
	// round; the topics take turns.
	findAtOnce  = 4
	findInRound = 32
)

// finder connects the node to replicas of its topics that the DHT knows, while
// few are connected.
type finder struct {
	n      *Node
	joined chan struct{} // holds one when a topic was joined
	turn   int           // where the next round begins; owned by run
}

func newFinder(n *Node) *finder { return &finder{n: n, joined: make(chan struct{}, 1)} }

// hurry makes the next round come soon, since a topic was joined.
func (f *finder) hurry() {
	select {
	case f.joined <- struct{}{}:
	default:
	}
}

// run looks for replicas until ctx ends.
func (f *finder) run(ctx context.Context) error {
	if f.n.cfg.DHT == DHTOff {
		return nil
	}
	longest := f.n.cfg.DHTTuning.Lookup
	wait := min(findFirst, longest)
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-f.joined:
			wait = min(findFirst, longest)
			timer.Reset(0)
		case <-timer.C:
			f.round(ctx)
			timer.Reset(wait)
			wait = min(2*wait, longest)
		}
	}
}

// round looks for replicas of some topics of which few are connected.
func (f *finder) round(ctx context.Context) {
	var group sync.WaitGroup
	defer group.Wait()
	slots := make(chan struct{}, findAtOnce)
	topics := f.n.Topics()
	looked := 0
	for i := range topics {
		t := topics[(f.turn+i)%len(topics)]
		if !f.wants(t) {
			continue
		}
		if looked++; looked > findInRound {
			f.turn += i
			return
		}
		slots <- struct{}{}
		group.Go(func() {
			defer func() { <-slots }()
			f.find(ctx, t)
		})
	}
}

// wants reports whether replicas of a topic are to be looked for.
func (f *finder) wants(t *Topic) bool {
	if t.pausedBy() != nil {
		return false
	}
	s, err := f.n.syncer.Status(t.id)
	return err == nil && len(s.Replicas) < enoughReplicas
}

// find connects to the replicas of a topic that a lookup tells of.
func (f *finder) find(ctx context.Context, t *Topic) {
	found, err := f.n.discovery.Providers(ctx, t.id)
	if err != nil {
		f.n.cfg.Log.Debug("replicas not looked up", "topic", t.Name(), "err", err)
		return
	}
	for _, info := range found {
		if f.n.host.Network().Connectedness(info.ID) == network.Connected {
			continue
		}
		if err := f.n.peers.dial(ctx, info); err != nil {
			f.n.cfg.Log.Debug("replica not reached", "topic", t.Name(), "peer", info.ID, "err", err)
		}
	}
}
