package sim

import (
	"bytes"
	"crypto/sha256"
	"fmt"

	"github.com/ipfs/go-cid"

	"github.com/cairn-p2p/cairn/types"
)

// A witness is modelled by a hash: of the publisher and the CID for a single
// event; for one of a batch of the publisher and all CIDs, behind the number of
// events and the event's own. It is bound to what it proves as a signature is,
// and nobody here forges one. The clock does not read them.
const (
	singleWitness = 1
	batchWitness  = 2
	rootAt        = 3 // where the hash of a batch begins
)

// batch is what the world knows of a root: a verifier is given a path.
type batch struct {
	publisher types.Publisher
	cids      []cid.Cid
}

func witnessOf(kind byte, p types.Publisher, cids []cid.Cid) []byte {
	h := sha256.New()
	h.Write([]byte{kind})
	h.Write(p[:])
	for _, id := range cids {
		h.Write(id.Bytes())
	}
	return h.Sum(nil)
}

// sign gives events of one publisher their witnesses, each its own or together.
func (w *world) sign(events []*types.Event) {
	if len(events) < 2 || len(events) > 255 || w.rng.IntN(2) == 0 {
		for _, e := range events {
			e.Witness = append([]byte{singleWitness}, witnessOf(singleWitness, e.Publisher, []cid.Cid{e.CID})...)
		}
		return
	}
	for i, b := range w.signTogether(events) {
		events[i].Witness = b
	}
	w.report.Together++
}

// signTogether returns the witnesses of a batch, in its order.
func (w *world) signTogether(events []*types.Event) [][]byte {
	b := batch{publisher: events[0].Publisher}
	for _, e := range events {
		b.cids = append(b.cids, e.CID)
	}
	root := witnessOf(batchWitness, b.publisher, b.cids)
	w.batches[string(root)] = b
	witnesses := make([][]byte, len(events))
	for i := range events {
		witnesses[i] = append([]byte{batchWitness, byte(len(events)), byte(i)}, root...)
	}
	return witnesses
}

// prove checks that an event's witness is one of it.
func (w *world) prove(e *types.Event) error {
	ok := false
	switch {
	case len(e.Witness) < rootAt:
	case e.Witness[0] == singleWitness:
		ok = bytes.Equal(e.Witness[1:], witnessOf(singleWitness, e.Publisher, []cid.Cid{e.CID}))
	case e.Witness[0] == batchWitness:
		b, i := w.batches[string(e.Witness[rootAt:])], int(e.Witness[2])
		ok = b.publisher == e.Publisher && len(b.cids) == int(e.Witness[1]) && i < len(b.cids) && b.cids[i] == e.CID
	}
	if !ok {
		return fmt.Errorf("the witness of %s does not prove it", w.name(e.CID))
	}
	return nil
}

// transfer is what arrives of events that a server sends from its log: a whole
// batch without its witnesses, which the receiver makes anew from the root and
// the CIDs; of a part of one each event with its own.
func (w *world) transfer(events []*types.Event) []*types.Event {
	arrived := make([]*types.Event, 0, len(events))
	for len(events) > 0 {
		n := wholeBatch(events)
		var made [][]byte
		if n > 1 {
			w.report.WholeBatches++
			made = w.signTogether(events[:n])
		} else if events[0].Witness[0] == batchWitness {
			w.report.BatchParts++
		}
		for i, e := range events[:n] {
			e := *e
			if made != nil {
				e.Witness = made[i]
			}
			arrived = append(arrived, &e)
		}
		events = events[n:]
	}
	return arrived
}

// wholeBatch returns the length of the batch that events begin with, all of it
// in its order; 1: they begin with none.
func wholeBatch(events []*types.Event) int {
	first := events[0].Witness
	if first[0] != batchWitness || first[2] != 0 || int(first[1]) > len(events) {
		return 1
	}
	for i, e := range events[:first[1]] {
		if e.Witness[0] != batchWitness || int(e.Witness[2]) != i || !bytes.Equal(e.Witness[rootAt:], first[rootAt:]) {
			return 1
		}
	}
	return int(first[1])
}

// proveAll checks that a disk holds each event with a witness of it.
func (w *world) proveAll(d *disk) error {
	for _, e := range d.log {
		if err := w.prove(e); err != nil {
			return err
		}
	}
	return nil
}
