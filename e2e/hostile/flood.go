package hostile

import (
	"bytes"
	"fmt"
	"slices"
	"time"

	"github.com/ipfs/go-cid"
	"google.golang.org/protobuf/proto"

	"github.com/cairn-p2p/cairn/broadcaster/gossip/pb"
	"github.com/cairn-p2p/cairn/types"
)

// echo says everybody's heads again, as its own.
func echo(p *hostilePeer) { p.answerAll(p.echo) }

// spoilCopies says what others say once more, with bad signatures of events that
// are as they should be.
func spoilCopies(p *hostilePeer) { p.answerAll(p.spoil) }

// answerAll answers what others say by gossip, as far as it keeps up, until the peer
// ends.
func (p *hostilePeer) answerAll(answer func(*pb.Message, *book)) {
	queue := make(chan heard, maxHeard)
	p.gossip.listenTo(func(h heard) {
		select {
		case queue <- h:
		default: // it cannot answer everything
		}
	})
	for {
		select {
		case <-p.ctx.Done():
			return
		case h := <-queue:
			var m pb.Message
			if proto.Unmarshal(h.data, &m) != nil || bytes.Equal(m.GetAnnouncer(), p.announcer()) {
				continue
			}
			if b := p.bookOf(m.GetTopic()); b != nil {
				answer(&m, b)
			}
		}
	}
}

func (p *hostilePeer) echo(m *pb.Message, b *book) {
	var heads []types.Head
	for _, c := range m.GetHeads() {
		if id, err := types.CastCID(c); err == nil {
			heads = append(heads, types.Head{CID: id, Height: 1})
		}
	}
	b.write(nil, heads)
	at := b.page()
	p.gossip.say(p.key, b.genesis, nil, types.Hash(m.GetHeadsHash()), at.someHeads())
	p.offer(b)
}

func (p *hostilePeer) spoil(m *pb.Message, b *book) {
	var copies []*types.Event
	for _, e := range m.GetEvents() {
		if c, err := types.DecodeEvent(e.GetBody(), e.GetWitness()); err == nil {
			c.Witness = spoilt(c.Witness, len(c.Witness)-1)
			copies = append(copies, c)
		}
	}
	if len(copies) == 0 {
		return
	}
	log := append(slices.Clone(b.page().log), entriesOf(copies)...)
	b.write(log[max(0, len(log)-maxHeard):], headsOf(copies))
	at := b.page()
	p.gossip.say(p.key, b.genesis, entriesOf(copies), at.hash, at.someHeads())
	p.offer(b)
}

// replayEvery is how often everything is sent again. Neighbours know a message
// for two minutes.
const replayEvery = time.Second

// replay sends what it heard again, as it was, and with the same heads but
// without events, which makes it another message.
func replay(p *hostilePeer) {
	for p.pause(replayEvery) {
		for _, h := range p.gossip.all() {
			p.gossip.publish(h.shard, h.data)
			var m pb.Message
			if proto.Unmarshal(h.data, &m) != nil || len(m.GetEvents()) == 0 {
				continue
			}
			m.Events = nil
			if data, err := (proto.MarshalOptions{Deterministic: true}).Marshal(&m); err == nil {
				p.gossip.publish(h.shard, data)
			}
		}
	}
}

// floodPause is the time between two topics of a flood.
const floodPause = 2 * time.Millisecond

func floodTopics(p *hostilePeer) {
	for n := range p.cfg.Count {
		g, err := types.NewOpen(fmt.Sprintf("flood %d", n))
		if err != nil {
			panic(err) // a mistake of this package
		}
		e := chain(p.evil, g, 1)
		p.gossip.say(p.key, g, entriesOf(e), headsTrie(headsOf(e)).Root(), nil)
		p.floodUnsupported(n)
		if !p.pause(floodPause) {
			return
		}
	}
}

// floodUnsupported tells of a topic whose rules nobody knows.
func (p *hostilePeer) floodUnsupported(n int) {
	rules := fmt.Appendf([]byte{0x83, 0x18, 0x63, 0, 0x58, 20}, "flood %014d", n) // [99, 0, …]
	m := &pb.Message{Topic: types.SumCID(rules).Bytes(), Genesis: rules, Start: 1, Sequence: uint64(n + 1), HeadsHash: make([]byte, 32)}
	p.gossip.publish(int(types.Shard(types.SumCID(rules), shards)), encodeSigned(m, p.key))
}

// crossTopics waits until it hears of an event of the second topic, and links
// to it in the first.
func crossTopics(p *hostilePeer) {
	first, second := p.cfg.Topics[0], p.cfg.Topics[1]
	var foreign []*types.Event
	for len(foreign) == 0 {
		if !p.pause(again) {
			return
		}
		foreign = p.gossip.events(second.ID())
	}
	p.pause(again) // until the victims have integrated it
	parent := foreign[0]
	e := many(p.evil, first, 1, 1, []cid.Cid{parent.CID}, parent.Height+1)
	p.lie(e)
	spread(p)
}
