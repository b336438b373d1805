package types

import (
	stdlib "crypto/ed25519"

	"github.com/oasisprotocol/curve25519-voi/primitives/ed25519"
)

// asStdlib verifies as crypto/ed25519 does, which is the rule of every network;
// see decision 0065 for why another library does it.
var asStdlib = &ed25519.Options{Verify: ed25519.VerifyOptionsStdLib}

// Sign returns key's signature over message, 64 bytes: the one that crypto/ed25519
// makes, in half the time and as independent of the key.
func Sign(key stdlib.PrivateKey, message []byte) []byte {
	return ed25519.Sign(ed25519.PrivateKey(key), message)
}

// CheckSignature reports whether signature, of any length, is p's over message by
// the rule of SPEC.md. It does not look whether p's key is usable: see Verifier.
func CheckSignature(p Publisher, message, signature []byte) bool {
	return ed25519.VerifyWithOptions(p[:], message, signature, asStdlib)
}

// publicKey is a usable key, made ready for many checks.
type publicKey struct{ expanded *ed25519.ExpandedPublicKey }

// newPublicKey fails for a key that no witness can be by.
func newPublicKey(p Publisher) (publicKey, error) {
	if err := checkKey(p[:]); err != nil {
		return publicKey{}, err
	}
	expanded, err := ed25519.NewExpandedPublicKey(p[:])
	return publicKey{expanded}, err
}

func (k publicKey) check(message, signature []byte) bool {
	return ed25519.VerifyExpandedWithOptions(k.expanded, message, signature, asStdlib)
}
