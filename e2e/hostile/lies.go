package hostile

import (
	"bytes"
	"slices"
	"time"

	"github.com/ipfs/go-cid"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/cairn-p2p/cairn/syncer/pb"
	"github.com/cairn-p2p/cairn/types"
)

// chainLength is the length of the short logs that most lies are about.
const chainLength = 4

// Each of these fills the peer's book of the first topic with a lie.

func wrongBytes(p *hostilePeer) error {
	real := chain(p.honest, p.cfg.Topics[0], chainLength)
	log := entriesOf(real)
	for i := range log {
		log[i].id = nothing("wrong bytes", uint64(i))
	}
	p.books[0].write(log, []types.Head{{CID: log[len(log)-1].id, Height: chainLength}})
	return nil
}

func badWitness(p *hostilePeer) error {
	events := chain(p.evil, p.cfg.Topics[0], chainLength)
	for _, e := range events {
		e.Witness = spoilt(e.Witness, len(e.Witness)-1)
	}
	p.lie(events)
	return nil
}

func swappedWitnesses(p *hostilePeer) error {
	events := chain(p.evil, p.cfg.Topics[0], chainLength)
	for i := 0; i+1 < len(events); i += 2 {
		events[i].Witness, events[i+1].Witness = events[i+1].Witness, events[i].Witness
	}
	p.lie(events)
	return nil
}

// signatureAt is where the signature is in the witness of a small batch.
const signatureAt = 3

func badBatchSignature(p *hostilePeer) error {
	events := chain(p.honest, p.cfg.Topics[0], chainLength)
	for _, e := range events[1:] {
		e.Witness = spoilt(e.Witness, signatureAt)
		p.forge(e.CID)
	}
	p.lie(events)
	return nil
}

func withheldAncestors(p *hostilePeer) error {
	events := chain(p.evil, p.cfg.Topics[0], 2)
	p.lie(events[1:])
	return nil
}

func forgedHeights(p *hostilePeer) error {
	g := p.cfg.Topics[0]
	root := chain(p.honest, g, 1)[0]
	child := made(p.evil, g, 1, []cid.Cid{root.CID}, 1000)
	grandchild := made(p.evil, g, 2, []cid.Cid{child.CID}, 1001)
	types.SignEvents(p.evil, []*types.Event{child, grandchild})
	p.lie([]*types.Event{root, child, grandchild})
	return nil
}

func nonCanonical(p *hostilePeer) error {
	e := chain(p.evil, p.cfg.Topics[0], 1)[0]
	// An array of 11 elements, its length in a byte more than it takes.
	return p.lieAbout(append([]byte{0x98, 11}, e.Bytes()[1:]...), nil)
}

func smallOrderKey(p *hostilePeer) error {
	e := chain(p.evil, p.cfg.Topics[0], 1)[0]
	own := types.PublisherOf(p.evil)
	return p.lieAbout(bytes.Replace(e.Bytes(), own[:], smallOrder[:], 1), trivialWitness())
}

// lieAbout makes the book hold a body that is no event's, with a signature by
// the key of forged events if there is no witness.
func (p *hostilePeer) lieAbout(body, witness []byte) error {
	e := &types.Event{CID: types.SumCID(body), Witness: witness}
	if witness == nil {
		types.SignEvents(p.evil, []*types.Event{e})
	}
	p.forge(e.CID)
	p.books[0].write([]entry{{e.CID, body, e.Witness}}, []types.Head{{CID: e.CID, Height: 1}})
	return nil
}

// lie makes the book hold events, with the last as its head.
func (p *hostilePeer) lie(events []*types.Event) {
	p.books[0].write(entriesOf(events), headsOf(events[len(events)-1:]))
}

// forge notes an event that no correct node may integrate.
func (p *hostilePeer) forge(id cid.Cid) { p.forged[id] = true }

func claimChain(p *hostilePeer) error {
	events := chain(p.honest, p.cfg.Topics[0], chainLength)
	p.lie(events)
	return nil
}

func headsStorm(p *hostilePeer) error {
	events := many(p.honest, p.cfg.Topics[0], 1, p.cfg.Count, nil, 1)
	p.books[0].write(entriesOf(events), headsOf(events))
	return nil
}

func fanOut(p *hostilePeer) error {
	g := p.cfg.Topics[0]
	root := chain(p.honest, g, 1)
	leaves := many(p.honest, g, 2, p.cfg.Count, []cid.Cid{root[0].CID}, 2)
	events := slices.Concat(root, leaves)
	heads := leaves
	for n := 0; n+types.MaxLinks <= len(leaves)/4; n += types.MaxLinks {
		var links []cid.Cid
		for _, e := range leaves[n : n+types.MaxLinks] {
			links = append(links, e.CID)
		}
		top := many(p.honest, g, uint64(len(events)+1), 1, links, 3)
		events, heads = append(events, top...), append(slices.Clone(heads[types.MaxLinks:]), top...)
	}
	p.books[0].write(entriesOf(events), headsOf(heads))
	return nil
}

func unknownHeads(p *hostilePeer) error {
	var heads []types.Head
	for i := range p.cfg.Count {
		heads = append(heads, types.Head{CID: nothing("unknown head", uint64(i)), Height: 1 << 40})
	}
	p.books[0].write(nil, heads)
	return nil
}

// again is how often a lie is repeated.
const again = 250 * time.Millisecond

// spread gossips all of the first book's events, and its heads, again and again.
func spread(p *hostilePeer) {
	b := p.books[0]
	for {
		at := b.page()
		for _, part := range messages(at.log) {
			p.gossip.say(p.key, b.genesis, part, at.hash, at.someHeads())
		}
		p.offer(b)
		if !p.pause(again) {
			return
		}
	}
}

// announceOnce gossips the first book's heads: the events are many, and served.
func announceOnce(p *hostilePeer) {
	b := p.books[0]
	at := b.page()
	p.gossip.say(p.key, b.genesis, nil, at.hash, at.someHeads())
	p.offer(b)
}

// offer tells every victim of a book's heads.
func (p *hostilePeer) offer(b *book) {
	at := b.page()
	p.onEach(func(v peer.ID) {
		m := &pb.Offer{Topic: b.genesis.ID().Bytes(), HeadsHash: at.hash[:]}
		for _, h := range at.someHeads() {
			m.Heads = append(m.Heads, h.Bytes())
		}
		p.send(v, &pb.Request{Request: &pb.Request_Offer{Offer: m}})
	})
}

// spreadBadly is spread, with every second message in an encoding that is not
// the only one.
func spreadBadly(p *hostilePeer) {
	p.gossip.spoil = func(data []byte) []byte { return append(data, 0x78, 0) } // field 15 is 0
	spread(p)
}

func gossipUnknownHeads(p *hostilePeer) {
	b := p.books[0]
	for n := uint64(1); ; n++ {
		var heads []cid.Cid
		for i := range uint64(types.MaxLinks) {
			heads = append(heads, nothing("gossiped head", n*types.MaxLinks+i))
		}
		types.SortCIDs(heads)
		p.gossip.say(newKey(), b.genesis, nil, types.Hash{byte(n)}, heads)
		if !p.pause(again / 5) {
			return
		}
	}
}

// orphansPause is the time between two messages of orphans: a little less than
// the 256 events in one take of a victim's budget of 40,000 checks a second.
const orphansPause = 5 * time.Millisecond

func orphans(p *hostilePeer) {
	g := p.cfg.Topics[0]
	for n := 0; n < p.cfg.Count; {
		var events []*types.Event
		key := p.evil
		for len(events) < min(messageEvents, p.cfg.Count-n) {
			events = append(events, made(key, g, uint64(n+len(events)+1), []cid.Cid{nothing("orphan", p.rng.Uint64())}, 2))
		}
		types.SignEvents(key, events)
		n += len(events)
		for _, part := range messages(entriesOf(events)) {
			p.gossip.say(p.key, g, part, types.Hash{}, nil)
			if !p.pause(orphansPause) {
				return
			}
		}
	}
}
