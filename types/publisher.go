package types

import (
	"crypto/ed25519"
	"fmt"

	"filippo.io/edwards25519"
	"github.com/multiformats/go-multihash"
)

// publisherPrefix is what stands before an Ed25519 key in its libp2p peer id:
// an identity multihash of 36 bytes that hold a protobuf with the key type 1
// and 32 bytes of key.
const publisherPrefix = "\x00\x24\x08\x01\x12\x20"

// Publisher is an Ed25519 public key.
type Publisher [ed25519.PublicKeySize]byte

// PublisherOf returns the public half of key.
func PublisherOf(key ed25519.PrivateKey) Publisher {
	return Publisher(key.Public().(ed25519.PublicKey))
}

// PeerID returns the libp2p peer id of the key.
func (p Publisher) PeerID() PeerID { return PeerID(publisherPrefix + string(p[:])) }

// String returns the key as a libp2p peer id in base58.
func (p Publisher) String() string { return p.PeerID().String() }

// publisherText is the length in characters of every publisher's text. Longer
// ones are not tried: time to read base58 is quadratic in the length.
const publisherText = 52

// ParsePublisher reads the text of an Ed25519 key's libp2p peer id.
func ParsePublisher(s string) (Publisher, error) {
	if len(s) != publisherText {
		return Publisher{}, fmt.Errorf("%w: peer id of %d characters, want %d", ErrInvalidArgument, len(s), publisherText)
	}
	mh, err := multihash.FromB58String(s)
	if err != nil || len(mh) != len(publisherPrefix)+ed25519.PublicKeySize || string(mh[:len(publisherPrefix)]) != publisherPrefix {
		return Publisher{}, fmt.Errorf("%w: %q is not the peer id of an Ed25519 key", ErrInvalidArgument, s)
	}
	return Publisher(mh[len(publisherPrefix):]), nil
}

// checkKey refuses keys with which two implementations of Ed25519 could
// disagree on a signature: encodings that are not canonical, and points of
// small order.
func checkKey(key []byte) error {
	p, err := new(edwards25519.Point).SetBytes(key)
	if err != nil {
		return fmt.Errorf("key is not a point of the curve")
	}
	if string(p.Bytes()) != string(key) {
		return fmt.Errorf("key is not canonical")
	}
	if new(edwards25519.Point).MultByCofactor(p).Equal(edwards25519.NewIdentityPoint()) == 1 {
		return fmt.Errorf("key is of small order")
	}
	return nil
}

// PeerID is the bytes of a libp2p peer id: a multihash.
type PeerID string

// String returns the id in base58.
func (p PeerID) String() string { return multihash.Multihash(p).B58String() }
