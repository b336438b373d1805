package types

import (
	"crypto/sha256"
	"fmt"
	"slices"
	"strings"

	"github.com/ipfs/go-cid"
)

const (
	hashSize      = sha256.Size
	signatureSize = 64

	// CIDSize is the length in bytes of every CID here: version, codec, hash
	// function and length, one byte each, then the digest.
	CIDSize = 4 + hashSize
)

// cidPrefix is CIDv1, dag-cbor, sha2-256, 32 bytes.
const cidPrefix = "\x01\x71\x12\x20"

// TopicID identifies a topic: the CID of its genesis.
type TopicID = cid.Cid

// Hash is a sha2-256 digest.
type Hash [hashSize]byte

// SumCID returns the CID of the dag-cbor block b: CIDv1, dag-cbor, sha2-256.
func SumCID(b []byte) cid.Cid { return CIDOf(sha256.Sum256(b)) }

// CastCID returns the CID whose 36 bytes are b, which it copies. Any other
// version, codec, hash function or length is refused.
func CastCID(b []byte) (cid.Cid, error) {
	c, err := castCID(b)
	if err != nil {
		return cid.Undef, fmt.Errorf("%w: %w", ErrInvalidArgument, err)
	}
	return c, nil
}

// castCID is CastCID for bytes that are no caller's argument.
func castCID(b []byte) (cid.Cid, error) {
	if !isCID(b) {
		return cid.Undef, errNotCID
	}
	return cid.Cast(b)
}

// isCID reports whether b is the bytes of a CID of this package.
func isCID[T string | []byte](b T) bool {
	return len(b) == CIDSize && string(b[:len(cidPrefix)]) == cidPrefix
}

// maxCIDText is the length of the longest text of a CID, which is in base 2.
// Some encodings take time quadratic in the length to read.
const maxCIDText = 1 + 8*CIDSize

// ParseCID reads a CID's text in any multibase encoding.
func ParseCID(s string) (cid.Cid, error) {
	if len(s) > maxCIDText {
		return cid.Undef, fmt.Errorf("%w: CID of %d characters", ErrInvalidArgument, len(s))
	}
	c, err := cid.Decode(s)
	if err != nil {
		return cid.Undef, fmt.Errorf("%w: CID %q: %w", ErrInvalidArgument, s, err)
	}
	return CastCID(c.Bytes())
}

// Digest returns the sha2-256 digest inside c, which must be a CID of this
// package.
func Digest(c cid.Cid) Hash {
	var d Hash
	copy(d[:], c.KeyString()[len(cidPrefix):])
	return d
}

// CIDOf returns the CID around a digest: the inverse of Digest.
func CIDOf(d Hash) cid.Cid {
	var b [CIDSize]byte
	copy(b[copy(b[:], cidPrefix):], d[:])
	c, err := cid.Cast(b[:])
	if err != nil { // the bytes are well formed
		panic(err)
	}
	return c
}

// CompareCIDs compares the bytes of two CIDs.
func CompareCIDs(a, b cid.Cid) int {
	return strings.Compare(a.KeyString(), b.KeyString())
}

// SortCIDs sorts cids by their bytes, in place.
func SortCIDs(cids []cid.Cid) { slices.SortFunc(cids, CompareCIDs) }

// Shard returns the shard of a topic among shards: the first 8 bytes of its
// id's digest, big endian, modulo shards.
func Shard(topic TopicID, shards uint64) uint64 {
	var n uint64
	for _, b := range topic.KeyString()[len(cidPrefix) : len(cidPrefix)+8] {
		n = n<<8 | uint64(byte(b))
	}
	return n % shards
}
