package types

import (
	"bytes"
	"crypto/ed25519"
	"encoding/hex"
	"math/big"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// groupOrder is the order of the group that an Ed25519 scalar is below.
var groupOrder, _ = new(big.Int).SetString("7237005577332262213973186563042994240857116359379907606001950938285454250989", 10)

// addOrder returns a signature with the group's order added to its scalar: as
// good mathematically, and not canonical.
func addOrder(signature []byte) []byte {
	s := slices.Clone(signature)
	scalar := slices.Clone(s[32:])
	slices.Reverse(scalar)
	sum := new(big.Int).Add(new(big.Int).SetBytes(scalar), groupOrder).FillBytes(make([]byte, 32))
	slices.Reverse(sum)
	copy(s[32:], sum)
	return s
}

// agree fails unless both ways to check a signature say what crypto/ed25519 does.
func agree(t rapid.TB, p Publisher, message, signature []byte) bool {
	t.Helper()
	want := ed25519.Verify(p[:], message, signature)
	if got := CheckSignature(p, message, signature); got != want {
		t.Fatalf("key %x, message %x, signature %x: valid %v, crypto/ed25519 says %v", p, message, signature, got, want)
	}
	if key, err := newPublicKey(p); err == nil && key.check(message, signature) != want {
		t.Fatalf("key %x, message %x, signature %x: crypto/ed25519 says %v, a key that was made ready does not", p, message, signature, want)
	}
	return want
}

// TestSignaturesAsInTheStandardLibrary: a signature is valid exactly when
// crypto/ed25519 says so, for signatures that are right, nearly right, or made to
// tell verifiers apart. The messages differ, for with keys and nonces of small
// order one in eight is valid.
func TestSignaturesAsInTheStandardLibrary(t *testing.T) {
	odd := slices.Concat(smallOrder, notCanonical)
	valid := 0
	rapid.Check(t, func(t *rapid.T) {
		key := ed25519.NewKeyFromSeed(rapid.SliceOfN(rapid.Byte(), 32, 32).Draw(t, "seed"))
		message := rapid.SliceOfN(rapid.Byte(), 0, 80).Draw(t, "message")
		signature := ed25519.Sign(key, message)
		if got := Sign(key, message); !bytes.Equal(got, signature) {
			t.Fatalf("signed %x, crypto/ed25519 signs %x", got, signature)
		}
		p := PublisherOf(key)
		if !agree(t, p, message, signature) || agree(t, p, message, addOrder(signature)) {
			t.Fatal("a right signature is refused, or one is taken whose scalar is not canonical")
		}
		agree(t, p, message, signature[:rapid.IntRange(0, 63).Draw(t, "length")])
		bit := rapid.IntRange(0, 511).Draw(t, "bit")
		flipped := slices.Clone(signature)
		flipped[bit/8] ^= 1 << (bit % 8)
		if agree(t, p, message, flipped) {
			t.Fatal("a signature is taken though a bit of it is another")
		}

		// s = 0 is right when R = −kA: for A of small order that is often so.
		zero := make([]byte, 64)
		copy(zero, raw(rapid.SampledFrom(odd).Draw(t, "nonce")))
		for _, a := range odd {
			if agree(t, Publisher(raw(a)), message, zero) {
				valid++
			}
		}
		agree(t, p, message, zero)
		copy(zero[32:], signature[32:])
		agree(t, p, message, zero)
	})
	if valid == 0 {
		t.Error("no signature with a nonce of small order was valid: that case is not tested")
	}
}

func FuzzCheckSignature(f *testing.F) {
	for _, v := range mixedVectors(f) {
		e, err := DecodeEvent(v.Body, v.Witness)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(e.Publisher[:], append([]byte(domainEvent), e.CID.Bytes()...), e.Witness[1:])
	}
	// From "Taming the many EdDSAs" (Chalkias, Garillot, Nikolaenko, 2020), table 5, case 0.
	small, err := hex.DecodeString("c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(small, []byte("message"), append(slices.Clone(small), make([]byte, 32)...))
	f.Fuzz(func(t *testing.T, key, message, signature []byte) {
		if len(key) == ed25519.PublicKeySize {
			agree(t, Publisher(key), message, signature)
		}
	})
}
