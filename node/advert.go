package node

import (
	"fmt"

	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/cairn-p2p/cairn/syncer/discovery"
	"github.com/cairn-p2p/cairn/types"
)

// advert remembers what decided, for all topics, which of them the DHT is told
// of.
type advert struct {
	full, overQuota bool // nothing can be stored; nothing more of strangers; owned by tend
}

// directory is where this node says which topics it replicates: its discovery.
type directory interface {
	Provide(topic types.TopicID)
	Unprovide(topic types.TopicID)
}

func (n *Node) openDiscovery() error {
	var bootstrap []peer.AddrInfo
	for _, a := range n.cfg.Bootstrap {
		info, err := parsePeer(a)
		if err != nil {
			return err
		}
		bootstrap = append(bootstrap, *info)
	}
	d, err := discovery.Open(n.running, discovery.Config{
		Host:      n.host,
		Network:   n.cfg.Network,
		Mode:      n.cfg.DHT,
		Bootstrap: bootstrap,
		Archive:   n.cfg.Archive,
		Log:       n.cfg.Log,
		Tuning:    n.cfg.DHTTuning.Tuning,
	})
	if err != nil {
		return fmt.Errorf("open node's discovery: %w", err)
	}
	n.discovery, n.directory = d, d
	n.onClose(d.Close)
	return nil
}

// advertise tells the DHT whether this node is to be found as a replica of t:
// while it replicates it and is not paused.
func (n *Node) advertise(t *Topic) {
	if t.pausedBy() == nil {
		n.directory.Provide(t.id)
	} else {
		n.directory.Unprovide(t.id)
	}
}

// advertiseAnew goes through the topics when what pauses many at once has
// changed. It is called every second.
func (n *Node) advertiseAnew() {
	full, overQuota := n.store.Writable() != nil, false
	if n.topics.adopted.Load() > 0 {
		overQuota = !n.withinQuota()
	}
	now := advert{full: full, overQuota: overQuota}
	if n.advert == now {
		return
	}
	n.advert = now
	n.topics.joining.Lock() // so that no topic is left in between
	defer n.topics.joining.Unlock()
	for _, t := range n.topics.all() {
		n.advertise(t)
		if t.Joined() && t.pausedBy() == nil {
			n.syncer.Resume(t.id)
		}
	}
}
