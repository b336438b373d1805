package syncer

import (
	"encoding/binary"
	"fmt"
	"slices"
	"sync"

	"github.com/hashicorp/golang-lru/v2/simplelru"
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

// positions remembers, for the topics last fetched or compared, where the last
// pulls ended and which heads were shared, with the peers last spoken to. Where
// pulls ended is read from the store when it is needed again; all that is lost
// with a topic that falls out is what was not saved, which costs a longer fetch.
type positions struct {
	local Local

	mu     sync.Mutex
	topics *simplelru.LRU[types.TopicID, *remembered]
}

// remembered is what is remembered of one topic.
type remembered struct {
	read   bool       // list was read from the store
	list   []position // the last used last
	shared map[types.PeerID][]cid.Cid
}

func newPositions(local Local) *positions {
	topics, err := simplelru.NewLRU[types.TopicID, *remembered](maxRemembered, nil)
	if err != nil {
		panic(err) // only for a size that is not positive
	}
	return &positions{local: local, topics: topics}
}

// in returns what is remembered of a topic, to be changed. The caller holds
// p.mu.
func (p *positions) in(topic types.TopicID) *remembered {
	r, ok := p.topics.Get(topic)
	if !ok {
		r = new(remembered)
		p.topics.Add(topic, r)
	}
	return r
}

// share remembers heads that the peer and this node have both integrated, until
// the topic falls out or others were shared.
func (p *positions) share(topic types.TopicID, peer types.PeerID, heads []cid.Cid) {
	p.mu.Lock()
	defer p.mu.Unlock()
	r := p.in(topic)
	if r.shared == nil {
		r.shared = make(map[types.PeerID][]cid.Cid)
	}
	if _, known := r.shared[peer]; !known && len(r.shared) >= maxPositions {
		for other := range r.shared { // whichever
			delete(r.shared, other)
			break
		}
	}
	r.shared[peer] = slices.Clone(heads[:min(len(heads), maxShared)])
}

// sharedWith returns the heads last shared with the peer.
func (p *positions) sharedWith(topic types.TopicID, peer types.PeerID) []cid.Cid {
	p.mu.Lock()
	defer p.mu.Unlock()
	if r, ok := p.topics.Get(topic); ok {
		return r.shared[peer]
	}
	return nil
}

// positionsKey is the key of a topic's positions in the store.
func positionsKey(topic types.TopicID) string { return "sync/pull/" + topic.KeyString() }

// of returns the position remembered for a peer, or the start.
func (p *positions) of(topic types.TopicID, peer types.PeerID) (position, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	r, err := p.load(topic)
	if err != nil {
		return position{}, err
	}
	if i := slices.IndexFunc(r.list, func(e position) bool { return e.peer == peer }); i >= 0 {
		return r.list[i], nil
	}
	return position{peer: peer}, nil
}

// note remembers a position in memory.
func (p *positions) note(topic types.TopicID, at position) {
	p.mu.Lock()
	defer p.mu.Unlock()
	r, err := p.load(topic)
	if err != nil {
		return // then the next pull starts earlier
	}
	r.remove(at.peer)
	if len(r.list) >= maxPositions {
		r.list = slices.Delete(r.list, 0, len(r.list)-maxPositions+1)
	}
	r.list = append(r.list, at)
}

// forget makes the next pull from a peer start at the beginning.
func (p *positions) forget(topic types.TopicID, peer types.PeerID) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if r, err := p.load(topic); err == nil {
		r.remove(peer)
	}
}

func (r *remembered) remove(peer types.PeerID) {
	r.list = slices.DeleteFunc(r.list, func(e position) bool { return e.peer == peer })
}

// drop frees what is held in memory of a topic.
func (p *positions) drop(topic types.TopicID) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.topics.Remove(topic)
}

// save makes the topic's positions durable.
func (p *positions) save(topic types.TopicID) error {
	p.mu.Lock()
	r, err := p.load(topic)
	if err != nil {
		p.mu.Unlock()
		return err
	}
	b := encodePositions(r.list)
	p.mu.Unlock()
	if err := p.local.SetMeta(positionsKey(topic), b); err != nil {
		return fmt.Errorf("save positions: %w", err)
	}
	return nil
}

// load returns what is remembered of the topic, with its positions. The caller
// holds p.mu.
func (p *positions) load(topic types.TopicID) (*remembered, error) {
	r := p.in(topic)
	if r.read {
		return r, nil
	}
	b, err := p.local.Meta(positionsKey(topic))
	if err != nil {
		return nil, fmt.Errorf("load positions: %w", err)
	}
	r.list, r.read = decodePositions(b), true
	return r, nil
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
