package syncer

import (
	"encoding/binary"
	"fmt"
	"slices"
	"sync"

	"github.com/ipfs/go-cid"

	"github.com/cairn-p2p/cairn/types"
)

// position is a place in a peer's delivery log of a topic: all before it is
// integrated here. The zero place is the start.
type position struct {
	peer  types.PeerID
	logID types.LogID
	after types.Cursor
}

// positions remembers for each topic where the last pulls ended, for the peers
// last pulled from. They are read from the store when first needed.
type positions struct {
	local Local

	mu     sync.Mutex
	topics map[types.TopicID][]position // the last used last
	shared map[types.TopicID]map[types.PeerID][]cid.Cid
}

func newPositions(local Local) *positions {
	return &positions{
		local:  local,
		topics: make(map[types.TopicID][]position),
		shared: make(map[types.TopicID]map[types.PeerID][]cid.Cid),
	}
}

// share remembers heads that the peer and this node have both integrated, until
// the process ends or others were shared.
func (p *positions) share(topic types.TopicID, peer types.PeerID, heads []cid.Cid) {
	p.mu.Lock()
	defer p.mu.Unlock()
	peers := p.shared[topic]
	if peers == nil {
		peers = make(map[types.PeerID][]cid.Cid)
		p.shared[topic] = peers
	}
	if _, known := peers[peer]; !known && len(peers) >= maxPositions {
		for other := range peers { // whichever
			delete(peers, other)
			break
		}
	}
	peers[peer] = slices.Clone(heads[:min(len(heads), maxShared)])
}

// sharedWith returns the heads last shared with the peer.
func (p *positions) sharedWith(topic types.TopicID, peer types.PeerID) []cid.Cid {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.shared[topic][peer]
}

// positionsKey is the key of a topic's positions in the store.
func positionsKey(topic types.TopicID) string { return "sync/pull/" + topic.KeyString() }

// of returns the position remembered for a peer, or the start.
func (p *positions) of(topic types.TopicID, peer types.PeerID) (position, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	list, err := p.load(topic)
	if err != nil {
		return position{}, err
	}
	if i := slices.IndexFunc(list, func(e position) bool { return e.peer == peer }); i >= 0 {
		return list[i], nil
	}
	return position{peer: peer}, nil
}

// note remembers a position in memory.
func (p *positions) note(topic types.TopicID, at position) {
	p.mu.Lock()
	defer p.mu.Unlock()
	list, err := p.load(topic)
	if err != nil {
		return // then the next pull starts earlier
	}
	list = slices.DeleteFunc(list, func(e position) bool { return e.peer == at.peer })
	if len(list) >= maxPositions {
		list = slices.Delete(list, 0, len(list)-maxPositions+1)
	}
	p.topics[topic] = append(list, at)
}

// forget makes the next pull from a peer start at the beginning.
func (p *positions) forget(topic types.TopicID, peer types.PeerID) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.topics[topic] = slices.DeleteFunc(p.topics[topic], func(e position) bool { return e.peer == peer })
}

// drop frees what is held in memory of a topic.
func (p *positions) drop(topic types.TopicID) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.topics, topic)
	delete(p.shared, topic)
}

// save makes the topic's positions durable.
func (p *positions) save(topic types.TopicID) error {
	p.mu.Lock()
	b := encodePositions(p.topics[topic])
	p.mu.Unlock()
	if err := p.local.SetMeta(positionsKey(topic), b); err != nil {
		return fmt.Errorf("save positions: %w", err)
	}
	return nil
}

// load returns the topic's positions. The caller holds p.mu.
func (p *positions) load(topic types.TopicID) ([]position, error) {
	if list, ok := p.topics[topic]; ok {
		return list, nil
	}
	b, err := p.local.Meta(positionsKey(topic))
	if err != nil {
		return nil, fmt.Errorf("load positions: %w", err)
	}
	list := decodePositions(b)
	p.topics[topic] = list
	return list, nil
}

// A stored position is its peer id with a length byte before it, the log id,
// the number big endian, and the hash.

func encodePositions(list []position) []byte {
	var b []byte
	for _, e := range list {
		if len(e.peer) > 255 {
			continue // no libp2p peer id is so long
		}
		b = append(b, byte(len(e.peer)))
		b = append(b, e.peer...)
		b = append(b, e.logID[:]...)
		b = binary.BigEndian.AppendUint64(b, e.after.Number)
		b = append(b, e.after.Hash[:]...)
	}
	return b
}

// decodePositions reads what it can: what is lost costs a longer pull.
func decodePositions(b []byte) []position {
	const fixed = len(types.LogID{}) + 8 + len(types.Cursor{}.Hash)
	var list []position
	for len(b) > 0 && len(list) < maxPositions {
		size := int(b[0])
		if len(b) < 1+size+fixed {
			break
		}
		e := position{peer: types.PeerID(b[1 : 1+size])}
		b = b[1+size:]
		b = b[copy(e.logID[:], b):]
		e.after.Number = binary.BigEndian.Uint64(b)
		b = b[8:]
		b = b[copy(e.after.Hash[:], b):]
		list = append(list, e)
	}
	return list
}
