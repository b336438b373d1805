package types

import (
	"bytes"
	"encoding/binary"
	"errors"
	"testing"
)

// The fuzz tests begin with all the vectors, and with what testdata/fuzz keeps
// of inputs that fuzzing found.

func FuzzGenesis(f *testing.F) {
	for _, c := range genesisCases() {
		f.Add(c.wire.encode())
	}
	for _, v := range refusedGeneses(f).listed() {
		f.Add([]byte(v.Bytes))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		g, err := DecodeGenesis(b)
		if err != nil {
			if errors.Is(err, ErrInvalidGenesis) == errors.Is(err, ErrUnsupported) || errors.Is(err, ErrInvalidArgument) {
				t.Fatal(err)
			}
			return
		}
		if !bytes.Equal(g.Bytes(), b) || g.ID() != SumCID(b) {
			t.Fatalf("bytes %x, id %s", g.Bytes(), g.ID())
		}
		w := wireGenesis{Rules: Rules1, Mode: uint64(g.Mode), Name: g.Name}
		if g.Mode == Restricted {
			w.Owner, w.Nonce = g.Owner[:], b[len(b)-NonceSize:]
		}
		for _, p := range g.Writers {
			w.Writers = append(w.Writers, p[:])
		}
		if again, err := newGenesis(w); err != nil || !bytes.Equal(again.Bytes(), b) {
			t.Fatalf("made again: %v", err)
		}
		checkIPLD(t, b, g.ID(), nil)
	})
}

func FuzzEvent(f *testing.F) {
	for _, c := range bodyCases(f) {
		f.Add(c.event(f).Bytes())
	}
	for _, v := range refusedBodies(f).listed() {
		f.Add([]byte(v.Bytes))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		e, err := DecodeEvent(b, nil)
		if err != nil {
			if !errors.Is(err, ErrInvalidEvent) || errors.Is(err, ErrInvalidArgument) {
				t.Fatal(err)
			}
			return
		}
		again, err := NewEvent(e.Body)
		if err != nil || !bytes.Equal(again.Bytes(), b) || !bytes.Equal(e.Bytes(), b) {
			t.Fatalf("made again: %x, %v", again.Bytes(), err)
		}
		if e.CID != SumCID(b) || again.CID != e.CID {
			t.Fatalf("CID %s", e.CID)
		}
		checkIPLD(t, b, e.CID, append([]TopicID{e.Topic}, e.Links...))
	})
}

// FuzzWitness: no bytes make Verify panic, and the only ones it accepts are
// those that encode back to themselves.
func FuzzWitness(f *testing.F) {
	f.Add(signedSingle(f).Witness)
	for _, n := range []int{1, 2, 3, 8, 65} {
		f.Add(signedBatch(f, n)[0].Witness)
	}
	for _, v := range refusedWitnesses(f) {
		f.Add([]byte(v.Witness))
	}
	events := batchEvents(f, 1)
	warm := NewVerifier(8)
	f.Fuzz(func(t *testing.T, witness []byte) {
		e := *events[0]
		e.Witness = witness
		err := NewVerifier(1).Verify(&e)
		if again := warm.Verify(&e); (again == nil) != (err == nil) {
			t.Fatalf("new verifier: %v, warm verifier: %v", err, again)
		}
		if err != nil {
			if !errors.Is(err, ErrBadWitness) || errors.Is(err, ErrInvalidEvent) {
				t.Fatal(err)
			}
			return
		}
		if witness[0] == witnessSingle && len(witness) == 65 {
			return
		}
		w, err := decodeBatchWitness(witness[1:])
		if err != nil {
			t.Fatal(err)
		}
		b := binary.AppendUvarint([]byte{witnessBatch}, w.n)
		b = binary.AppendUvarint(b, w.index)
		b = append(append(b, w.signature...), w.path...)
		if !bytes.Equal(b, witness) || len(b) > MaxWitness {
			t.Fatalf("encoded again: %x", b)
		}
	})
}

func FuzzCursor(f *testing.F) {
	for _, s := range []string{"", "c", "cAGUbtu010WL8", "cARyhhgJLFZ_f", "cgAAAAAAAAAAAAA", "c\nAGUbtu010WL8", "now"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		c, err := ParseCursor(s)
		if err != nil {
			if !errors.Is(err, ErrInvalidCursor) {
				t.Fatal(err)
			}
			return
		}
		if c.String() != s {
			t.Fatalf("%q is read as %+v, which is written as %q", s, c, c)
		}
	})
}
