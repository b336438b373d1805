package types

import (
	"bytes"
	"errors"
	"slices"
	"testing"
)

func digestsOf(events []*Event) []Hash {
	digests := make([]Hash, len(events))
	for i, e := range events {
		digests[i] = Digest(e.CID)
	}
	return digests
}

// Every subtree of a batch of any size gives back the witnesses that it was made of,
// and what is no subtree is none.
func TestMultiproof(t *testing.T) {
	for n := 1; n <= 3*MultiproofSize+2; n++ {
		events := signedBatch(t, n)
		for first := range n {
			whole := 0
			if first%MultiproofSize == 0 {
				whole = min(MultiproofSize, n-first)
			}
			part, ok := PartOfBatch(events[first].Witness)
			if !ok || part.SubtreeSize() != whole {
				t.Fatalf("a subtree of %d from index %d of %d, want %d", part.SubtreeSize(), first, n, whole)
			}
			for count := 1; count <= min(MultiproofSize+1, n-first); count++ {
				checkMultiproof(t, events[first:first+count], count == whole)
			}
		}
	}
}

func checkMultiproof(t *testing.T, events []*Event, want bool) {
	t.Helper()
	proof, ok := EncodeMultiproof(events)
	if ok != want {
		t.Fatalf("a proof of %d events: %t, want %t", len(events), ok, want)
	}
	if !ok {
		return
	}
	m, err := OpenMultiproof(proof, digestsOf(events))
	if err != nil {
		t.Fatal(err)
	}
	for i, e := range events {
		if w := m.Witness(i); !bytes.Equal(w, e.Witness) {
			t.Errorf("witness %d of %d: %x, want %x", i, len(events), w, e.Witness)
		}
	}
	if len(events) > 1 && len(proof) >= len(events[0].Witness) {
		t.Errorf("a proof of %d bytes, one witness has %d", len(proof), len(events[0].Witness))
	}
}

// Events that are not all of one subtree, or not of one tree, have no proof.
func TestNoMultiproof(t *testing.T) {
	const n = 2*MultiproofSize + 5
	spoilt := func(spoil func(events []*Event)) []*Event {
		events := slices.Clone(signedBatch(t, n)[:MultiproofSize])
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
	checkMultiproof(t, spoilt(func([]*Event) {}), true)
	for name, events := range map[string][]*Event{
		"none":                {},
		"single":              {signedSingle(t), signedSingle(t)},
		"swapped":             spoilt(func(e []*Event) { e[3], e[4] = e[4], e[3] }),
		"another index":       spoilt(flip(5, 2)),
		"another signature":   spoilt(flip(5, 10)),
		"path in the subtree": spoilt(flip(5, 3+signatureSize)),
		"path above it":       spoilt(flip(5, -1)),
		"the first's path":    spoilt(flip(0, 3+signatureSize)),
		"no witness":          spoilt(func(e []*Event) { e[7].Witness = nil }),
	} {
		if _, ok := EncodeMultiproof(events); ok {
			t.Errorf("%s: there is a proof", name)
		}
	}
}

func TestBadMultiproof(t *testing.T) {
	events := signedBatch(t, MultiproofSize+3)[:MultiproofSize]
	digests := digestsOf(events)
	proof, _ := EncodeMultiproof(events)
	for name, b := range map[string]struct {
		proof   []byte
		digests []Hash
	}{
		"empty":         {nil, digests},
		"cut":           {proof[:len(proof)-1], digests},
		"longer":        {append(slices.Clone(proof), 0), digests},
		"fewer events":  {proof, digests[:MultiproofSize-1]},
		"no events":     {proof, nil},
		"index":         {slices.Concat(proof[:1], []byte{1}, proof[2:]), digests},
		"beyond":        {slices.Concat(proof[:1], []byte{2 * MultiproofSize}, proof[2:]), digests},
		"long number":   {slices.Concat([]byte{proof[0] | 0x80, 0}, proof[1:]), digests},
		"huge batch":    {slices.Concat([]byte{0xff, 0xff, 0xff, 0x7f}, proof[1:]), digests},
		"another batch": {slices.Concat([]byte{100}, proof[1:]), digests},
	} {
		if _, err := OpenMultiproof(b.proof, b.digests); !errors.Is(err, ErrBadWitness) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
