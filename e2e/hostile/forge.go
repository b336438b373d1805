package hostile

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/binary"
	"slices"

	"github.com/ipfs/go-cid"

	"github.com/cairn-p2p/cairn/types"
)

// chain returns n events of a topic, each linking to the one before, signed
// together.
func chain(key ed25519.PrivateKey, g *types.Genesis, n int) []*types.Event {
	var events []*types.Event
	for i := range n {
		var links []cid.Cid
		if i > 0 {
			links = []cid.Cid{events[i-1].CID}
		}
		events = append(events, made(key, g, uint64(i+1), links, uint64(i+1)))
	}
	types.SignEvents(key, events)
	return events
}

// made returns an event without a witness. What only its ancestors could tell
// is as the caller says.
func made(key ed25519.PrivateKey, g *types.Genesis, seq uint64, links []cid.Cid, height uint64) *types.Event {
	types.SortCIDs(links)
	e, err := types.NewEvent(types.Body{
		Topic: g.ID(), Publisher: types.PublisherOf(key), Seq: seq, Links: links, Height: height,
		Payload: binary.BigEndian.AppendUint64(nil, seq),
	})
	if err != nil {
		panic(err) // a mistake of this package
	}
	return e
}

// signedTogether is how many events of a large attack have one signature: most
// of what batches gain, with short paths.
const signedTogether = 64

// many returns n events without links, or behind links of a height, signed in
// batches. Their seqs begin with first.
func many(key ed25519.PrivateKey, g *types.Genesis, first uint64, n int, links []cid.Cid, height uint64) []*types.Event {
	events := make([]*types.Event, 0, n)
	for i := range n {
		events = append(events, made(key, g, first+uint64(i), slices.Clone(links), height))
	}
	for part := range slices.Chunk(events, signedTogether) {
		types.SignEvents(key, part)
	}
	return events
}

func headsOf(events []*types.Event) []types.Head {
	heads := make([]types.Head, len(events))
	for i, e := range events {
		heads[i] = types.Head{CID: e.CID, Height: e.Height}
	}
	return heads
}

// nothing returns an id that nothing has.
func nothing(salt string, n uint64) cid.Cid {
	return types.CIDOf(sha256.Sum256(binary.BigEndian.AppendUint64([]byte(salt), n)))
}

// spoilt returns b with one bit changed.
func spoilt(b []byte, at int) []byte {
	b = slices.Clone(b)
	b[at] ^= 1
	return b
}

// smallOrder is the neutral element of the curve as a key: a signature of R = A
// and s = 0 satisfies the equation for every message.
var smallOrder = types.Publisher{0: 1}

// trivialWitness is a witness of the first type with that signature.
func trivialWitness() []byte {
	w := make([]byte, 1+ed25519.SignatureSize)
	w[0], w[1] = 1, 1
	return w
}
