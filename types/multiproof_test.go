package types

import (
	"bytes"
	"errors"
	"slices"
	"testing"

	"github.com/ipfs/go-cid"
)

func cidsOf(events []*Event) []cid.Cid {
	cids := make([]cid.Cid, len(events))
	for i, e := range events {
		cids[i] = e.CID
	}
	return cids
}

// Every subtree of a batch of any size gives back the witnesses that it was made of.
func TestMultiproof(t *testing.T) {
	for n := 1; n <= 3*MultiproofSize+2; n++ {
		events := signedBatch(t, n)
		for first := range n {
			proof, count := NewMultiproof(events[first:])
			whole := min(MultiproofSize, n-first)
			if first%MultiproofSize != 0 || whole < 2 {
				whole = 0
			}
			if count != whole {
				t.Fatalf("a proof of %d events from index %d of %d, want %d", count, first, n, whole)
			}
			if count == 0 {
				continue
			}
			part := events[first : first+count]
			witnesses, err := OpenMultiproof(proof, cidsOf(part))
			if err != nil {
				t.Fatalf("index %d of %d: %v", first, n, err)
			}
			size := 0
			for i, e := range part {
				if !bytes.Equal(witnesses[i], e.Witness) {
					t.Errorf("witness %d of %d: %x, want %x", first+i, n, witnesses[i], e.Witness)
				}
				size += len(e.Witness)
			}
			if len(proof) >= size {
				t.Errorf("a proof of %d bytes for witnesses of %d", len(proof), size)
			}
		}
	}
}

// What is no whole subtree, or not of one tree, gets no proof.
func TestNoMultiproof(t *testing.T) {
	const n = 2*MultiproofSize + 5
	spoilt := func(spoil func(events []*Event)) []*Event {
		events := slices.Clone(signedBatch(t, n))
		for i, e := range events {
			copied := *e
			copied.Witness = slices.Clone(e.Witness)
			events[i] = &copied
		}
		spoil(events)
		return events
	}
	flip := func(at, byteAt int) func([]*Event) {
		return func(events []*Event) {
			w := events[at].Witness
			w[(byteAt+len(w))%len(w)] ^= 1
		}
	}
	for name, events := range map[string][]*Event{
		"none":                {},
		"cut":                 signedBatch(t, n)[:MultiproofSize-1],
		"single":              {signedSingle(t), signedSingle(t)},
		"swapped":             spoilt(func(e []*Event) { e[3], e[4] = e[4], e[3] }),
		"another index":       spoilt(flip(5, 2)),
		"another signature":   spoilt(flip(5, 10)),
		"path in the subtree": spoilt(flip(5, 3+signatureSize)),
		"path above it":       spoilt(flip(5, -1)),
		"the first's path":    spoilt(flip(0, 3+signatureSize)),
		"no witness":          spoilt(func(e []*Event) { e[7].Witness = nil }),
	} {
		if _, count := NewMultiproof(events); count != 0 {
			t.Errorf("%s: a proof of %d events", name, count)
		}
	}
}

func TestBadMultiproof(t *testing.T) {
	events := signedBatch(t, MultiproofSize+3)
	cids := cidsOf(events[:MultiproofSize])
	proof, _ := NewMultiproof(events)
	for name, b := range map[string]struct {
		proof []byte
		cids  []cid.Cid
	}{
		"empty":         {nil, cids},
		"cut":           {proof[:len(proof)-1], cids},
		"longer":        {append(slices.Clone(proof), 0), cids},
		"fewer events":  {proof, cids[:MultiproofSize-1]},
		"no events":     {proof, nil},
		"index":         {slices.Concat(proof[:1], []byte{1}, proof[2:]), cids},
		"beyond":        {slices.Concat(proof[:1], []byte{2 * MultiproofSize}, proof[2:]), cids},
		"long number":   {slices.Concat([]byte{proof[0] | 0x80, 0}, proof[1:]), cids},
		"huge batch":    {slices.Concat([]byte{0xff, 0xff, 0xff, 0x7f}, proof[1:]), cids},
		"another batch": {slices.Concat([]byte{100}, proof[1:]), cids},
	} {
		if _, err := OpenMultiproof(b.proof, b.cids); !errors.Is(err, ErrBadWitness) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
