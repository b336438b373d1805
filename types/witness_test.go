package types

import (
	"bytes"
	"crypto/ed25519"
	"encoding/binary"
	"errors"
	"math/big"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
)

// refusedWitness is a valid body with a witness that does not prove it.
type refusedWitness struct {
	Comment string   `json:"comment"`
	Body    hexBytes `json:"body"`
	Witness hexBytes `json:"witness"`
}

// signedSingle and signedBatch return events of batchEvents, signed.
func signedSingle(t testing.TB) *Event {
	events := batchEvents(t, 1)
	SignEvents(testKey(1), events)
	return events[0]
}

func signedBatch(t testing.TB, n int) []*Event {
	events := batchEvents(t, n)
	signBatch(testKey(1), events)
	return events
}

// plusOrder returns an Ed25519 signature with the group's order added to its
// second half: the same number to whoever does not look.
func plusOrder(sig []byte) []byte {
	order, _ := new(big.Int).SetString("7237005577332262213973186563042994240857116359379907606001950938285454250989", 10)
	b := slices.Clone(sig[32:])
	slices.Reverse(b)
	s := new(big.Int).SetBytes(b)
	b = s.Add(s, order).FillBytes(b)
	slices.Reverse(b)
	return slices.Concat(sig[:32], b)
}

func flipped(b []byte, i int) []byte {
	b = slices.Clone(b)
	b[i] ^= 1
	return b
}

func refusedWitnesses(t testing.TB) []refusedWitness {
	var cases []refusedWitness
	add := func(comment string, e *Event, witness []byte) {
		cases = append(cases, refusedWitness{comment, e.Bytes(), witness})
	}
	single := signedSingle(t)
	sig := single.Witness[1:]
	add("empty", single, []byte{})
	add("type 0", single, append([]byte{0}, sig...))
	add("type 3", single, append([]byte{3}, sig...))
	add("a type alone", single, []byte{1})
	add("a signature of 63 bytes", single, single.Witness[:64])
	add("a signature of 65 bytes", single, append(slices.Clone(single.Witness), 0))
	add("the first half of the signature corrupted", single, flipped(single.Witness, 1))
	add("the second half of the signature corrupted", single, flipped(single.Witness, 33))
	add("s of the signature not below the group's order", single, append([]byte{1}, plusOrder(sig)...))
	add("a signature by another key", single, append([]byte{1}, ed25519.Sign(testKey(2), append([]byte(domainEvent), single.CID.Bytes()...))...))
	add("a signature of the CID without the domain", single, append([]byte{1}, ed25519.Sign(testKey(1), single.CID.Bytes())...))
	add("a signature of the domain without its zero byte", single, append([]byte{1}, ed25519.Sign(testKey(1), append([]byte("cairn/event/1"), single.CID.Bytes()...))...))
	add("another event's witness", batchEvents(t, 2)[1], single.Witness)
	add("type 1's signature as a batch of one", single, slices.Concat([]byte{2, 1, 0}, sig))

	eight := signedBatch(t, 8)
	w := eight[3].Witness // type, n, index, signature, path of three hashes
	add("batch: a type alone", eight[3], w[:1])
	add("batch: ends after n", eight[3], w[:2])
	add("batch: ends after the index", eight[3], w[:3])
	add("batch: n of 0", eight[3], slices.Concat([]byte{2, 0, 0}, w[3:67]))
	add("batch: index n", eight[3], slices.Concat([]byte{2, 8, 8}, w[3:]))
	one := signedBatch(t, 1)[0]
	add("batch: index 1 of 1", one, slices.Concat([]byte{2, 1, 1}, one.Witness[3:]))
	add("batch: n over the limit", eight[3], slices.Concat([]byte{2}, binary.AppendUvarint(nil, MaxBatchWitness+1), w[2:67], make([]byte, 17*hashSize)))
	add("batch: n in two bytes", eight[3], slices.Concat([]byte{2, 0x88, 0}, w[2:]))
	add("batch: index in two bytes", eight[3], slices.Concat([]byte{2, 8, 0x83, 0}, w[3:]))
	add("batch: n that never ends", eight[3], append([]byte{2}, bytes.Repeat([]byte{0x80}, 20)...))
	add("batch: n of more than 64 bits", eight[3], slices.Concat([]byte{2}, bytes.Repeat([]byte{0x80}, 9), []byte{2}, w[2:]))
	add("batch: another n with as long a path", eight[3], slices.Concat([]byte{2, 7}, w[2:]))
	add("batch: another index", eight[3], slices.Concat([]byte{2, 8, 2}, w[3:]))
	add("batch: path a byte short", eight[3], w[:len(w)-1])
	add("batch: path a byte long", eight[3], append(slices.Clone(w), 0))
	add("batch: path a hash short", eight[3], w[:len(w)-hashSize])
	add("batch: path a hash long", eight[3], append(slices.Clone(w), make([]byte, hashSize)...))
	add("batch: path corrupted", eight[3], flipped(w, len(w)-1))
	add("batch: signature corrupted", eight[3], flipped(w, 3))
	add("batch: s of the signature not below the group's order", eight[3], slices.Concat(w[:3], plusOrder(w[3:67]), w[67:]))
	add("batch: the witness of another of its events", eight[3], eight[4].Witness)
	add("batch: the hash of an inner node for a leaf", eight[3], slices.Concat([]byte{2, 4, 1}, w[3:67], w[67+hashSize:]))
	add("batch: the root's signature as type 1", eight[3], append([]byte{1}, w[3:67]...))
	other := batchEvents(t, 8)
	signBatch(testKey(2), other)
	add("batch: signed by another key", eight[3], other[3].Witness)
	last := signedBatch(t, 3)[2] // its path is one hash shorter than the others'
	add("batch: a hash too many for an odd last event", last, append(slices.Clone(last.Witness), make([]byte, hashSize)...))
	return cases
}

// TestRefusedWitnesses gives each bad witness to a new verifier and to one that
// remembers the good roots.
func TestRefusedWitnesses(t *testing.T) {
	warm := NewVerifier(10)
	for _, e := range slices.Concat(signedBatch(t, 8), signedBatch(t, 3), signedBatch(t, 1)) {
		if err := warm.Verify(e); err != nil {
			t.Fatal(err)
		}
	}
	for _, v := range golden(t, "refused_witnesses.json", refusedWitnesses(t)) {
		e, err := DecodeEvent(v.Body, v.Witness)
		if err != nil {
			t.Fatal(err)
		}
		for name, verifier := range map[string]*Verifier{"new": NewVerifier(1), "warm": warm} {
			if err := verifier.Verify(e); !errors.Is(err, ErrBadWitness) || errors.Is(err, ErrInvalidEvent) {
				t.Errorf("%s, %s verifier: %v", v.Comment, name, err)
			}
		}
	}
}

// TestRememberedRootIsExact: what a verifier remembers is one signature by one
// key over one root of one size, so knowing the root lets nothing else through.
func TestRememberedRootIsExact(t *testing.T) {
	verifier := NewVerifier(10)
	events := signedBatch(t, 4)
	if err := verifier.Verify(events[0]); err != nil {
		t.Fatal(err)
	}
	if verifier.roots.Len() != 1 {
		t.Fatalf("%d roots remembered", verifier.roots.Len())
	}
	for i := range signatureSize {
		bad := *events[1]
		bad.Witness = flipped(bad.Witness, 3+i)
		if err := verifier.Verify(&bad); !errors.Is(err, ErrBadWitness) {
			t.Errorf("byte %d of the signature corrupted, root remembered: %v", i, err)
		}
	}
	// The same CIDs under the name of another publisher.
	bad := *events[1]
	bad.Publisher = testPublisher(2)
	if err := verifier.Verify(&bad); !errors.Is(err, ErrBadWitness) {
		t.Errorf("another publisher, root remembered: %v", err)
	}
	if verifier.roots.Len() != 1 {
		t.Errorf("bad witnesses are remembered: %d roots", verifier.roots.Len())
	}
	for _, e := range events {
		if err := verifier.Verify(e); err != nil {
			t.Errorf("good witness after bad ones: %v", err)
		}
	}
}

// TestVerifierIsBounded fills a verifier of two with batches.
func TestVerifierIsBounded(t *testing.T) {
	verifier := NewVerifier(2)
	for n := 2; n < 10; n++ {
		if err := verifier.Verify(signedBatch(t, n)[0]); err != nil {
			t.Fatal(err)
		}
	}
	if n := verifier.roots.Len(); n != 2 {
		t.Errorf("%d roots remembered, want 2", n)
	}
}

// TestRootsAreCheckedOnce: events of one batch that are verified at the same time
// cost one signature check.
func TestRootsAreCheckedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		verifier := NewVerifier(4)
		var checks atomic.Int64
		goOn := make(chan struct{})
		verifier.check = func(key publicKey, message, signature []byte) bool {
			checks.Add(1)
			<-goOn
			return key.check(message, signature)
		}
		var wg sync.WaitGroup
		for _, e := range slices.Concat(signedBatch(t, 16), signedBatch(t, 5)) {
			wg.Go(func() {
				if err := verifier.Verify(e); err != nil {
					t.Error(err)
				}
			})
		}
		synctest.Wait() // until all have come as far as they can
		close(goOn)
		wg.Wait()
		if n := checks.Load(); n != 2 {
			t.Errorf("%d signature checks of two batches", n)
		}
	})
}

// TestVerifierIsConcurrent is for the race detector.
func TestVerifierIsConcurrent(t *testing.T) {
	verifier := NewVerifier(4)
	events := slices.Concat(signedBatch(t, 16), signedBatch(t, 5))
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for _, e := range events {
				if err := verifier.Verify(e); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
}
