package types

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/binary"
	"errors"
	"slices"
	"testing"

	"filippo.io/edwards25519"
)

// smallOrder are the canonical encodings of the eight points of small order:
// of order 1, 2, 4, 4, and four of order 8.
var smallOrder = []string{
	"0100000000000000000000000000000000000000000000000000000000000000",
	"ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
	"0000000000000000000000000000000000000000000000000000000000000000",
	"0000000000000000000000000000000000000000000000000000000000000080",
	"26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
	"26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
	"c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
	"c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
}

// notCanonical are encodings of points that have a shorter number for y, or a
// sign for an x of zero. The first is of a point of large order.
var notCanonical = []string{
	"f0ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f", // y = p + 3
	"edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f", // y = p
	"eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f", // y = p + 1
	"edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
	"eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
	"0100000000000000000000000000000000000000000000000000000000000080",
	"ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
}

// numberedKey returns one of many keys.
func numberedKey(i int) ed25519.PrivateKey {
	seed := sha256.Sum256(binary.BigEndian.AppendUint32(nil, uint32(i)))
	return ed25519.NewKeyFromSeed(seed[:])
}

// TestKeysThatAreRefused shows why: Go accepts, for any of these keys that it
// can read, a signature that others may not.
func TestKeysThatAreRefused(t *testing.T) {
	for _, s := range slices.Concat(smallOrder, notCanonical) {
		key := raw(s)
		if _, err := new(edwards25519.Point).SetBytes(key); err != nil {
			t.Errorf("%s is no point at all", s)
		}
		if checkKey(key) == nil {
			t.Errorf("%s is accepted", s)
		}
	}
	if checkKey(raw("02"+smallOrder[2][2:])) == nil {
		t.Error("y = 2, which is no point, is accepted")
	}

	// The identity: R = sB proves anything.
	e := mustEvent(t, Body{Topic: SumCID(nil), Publisher: Publisher(raw(smallOrder[0])), Seq: 1, Height: 1})
	sig := make([]byte, signatureSize)
	s := smallScalar(5)
	copy(sig, new(edwards25519.Point).ScalarBaseMult(s).Bytes())
	copy(sig[32:], s.Bytes())
	if !ed25519.Verify(e.Publisher[:], append([]byte(domainEvent), e.CID.Bytes()...), sig) {
		t.Fatal("Go refuses the signature: the case shows nothing")
	}
	e.Witness = append([]byte{witnessSingle}, sig...)
	verifier := NewVerifier(1)
	for range 2 { // the second time too: a refused key is not remembered
		if err := verifier.Verify(e); !errors.Is(err, ErrInvalidEvent) || errors.Is(err, ErrBadWitness) {
			t.Errorf("event of the identity: %v", err)
		}
	}
}

func smallScalar(n byte) *edwards25519.Scalar {
	s, err := new(edwards25519.Scalar).SetCanonicalBytes(append([]byte{n}, make([]byte, 31)...))
	if err != nil {
		panic(err)
	}
	return s
}

// mixedVector is an event whose publisher's key is a sum of a point of large
// order and one of order 8: on such keys verifiers with and without the
// cofactor disagree.
type mixedVector struct {
	Comment string   `json:"comment"`
	Body    hexBytes `json:"body"`
	Witness hexBytes `json:"witness"`
	Valid   bool     `json:"valid"`
}

// mixedVectors crafts signatures under the key aB + T, T of order 8. With
// R = rB, s = r + ka and k the hash, sB = R + k(aB), which is R + kA exactly
// when kT is the identity, that is when 8 divides k. Times the cofactor it
// always is.
func mixedVectors(t testing.TB) []mixedVector {
	torsion, err := new(edwards25519.Point).SetBytes(raw(smallOrder[4]))
	if err != nil {
		t.Fatal(err)
	}
	a := smallScalar(77)
	key := new(edwards25519.Point).ScalarBaseMult(a)
	key.Add(key, torsion)
	e := mustEvent(t, Body{Topic: mustOpen(t, "demo").ID(), Publisher: Publisher(key.Bytes()), Seq: 1, Height: 1})
	msg := append([]byte(domainEvent), e.CID.Bytes()...)
	sign := func(want bool) []byte {
		for n := byte(1); ; n++ {
			r := smallScalar(n)
			point := new(edwards25519.Point).ScalarBaseMult(r).Bytes()
			h := sha512.Sum512(bytes.Join([][]byte{point, key.Bytes(), msg}, nil))
			k, err := new(edwards25519.Scalar).SetUniformBytes(h[:])
			if err != nil {
				t.Fatal(err)
			}
			if (k.Bytes()[0]%8 == 0) == want {
				s := new(edwards25519.Scalar).MultiplyAdd(k, a, r)
				return append(append([]byte{witnessSingle}, point...), s.Bytes()...)
			}
		}
	}
	return []mixedVector{
		{"8 divides k: every verifier accepts", e.Bytes(), sign(true), true},
		{"8 does not divide k: only verification with the cofactor accepts, so it is refused", e.Bytes(), sign(false), false},
	}
}

func TestMixedOrderKeys(t *testing.T) {
	for _, v := range golden(t, "mixed_order_keys.json", mixedVectors(t)) {
		e, err := DecodeEvent(v.Body, v.Witness)
		if err != nil {
			t.Fatal(err)
		}
		if err := NewVerifier(1).Verify(e); (err == nil) != v.Valid || err != nil && !errors.Is(err, ErrBadWitness) {
			t.Errorf("%s: %v", v.Comment, err)
		}
	}
}
