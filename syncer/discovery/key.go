package discovery

import (
	"crypto/sha256"
	"fmt"

	"github.com/ipfs/go-cid"
	"github.com/multiformats/go-multihash"

	"github.com/cairn-p2p/cairn/types"
)

// What the keys are hashes of begins with one of these.
const (
	topicDomain   = "cairn/topic/1\x00"
	archiveDomain = "cairn/archive/1\x00"
)

// TopicKey returns the digest of the key that a topic's replicas are found
// under: sha2-256("cairn/topic/1\0" ‖ digest of the TopicID). Who holds a
// record learns from it only which of the topics it knows already it is for.
func TopicKey(topic types.TopicID) types.Hash {
	id := topic.KeyString()
	return sha256.Sum256([]byte(topicDomain + id[len(id)-sha256.Size:]))
}

// ArchiveKey returns the digest of the key that the archive nodes of a network
// are found under: sha2-256("cairn/archive/1\0" ‖ network).
func ArchiveKey(network string) types.Hash {
	return sha256.Sum256([]byte(archiveDomain + network))
}

// multihashOf returns what the DHT calls a key.
func multihashOf(digest types.Hash) multihash.Multihash {
	return append(multihash.Multihash{multihash.SHA2_256, sha256.Size}, digest[:]...)
}

// digestOf is the inverse of multihashOf.
func digestOf(m multihash.Multihash) (types.Hash, error) {
	if len(m) != 2+sha256.Size || m[0] != multihash.SHA2_256 || m[1] != sha256.Size {
		return types.Hash{}, fmt.Errorf("key %x is no sha2-256 multihash", []byte(m))
	}
	return types.Hash(m[2:]), nil
}

// cidOf wraps a key as kad-dht's lookups want it; it uses the multihash alone.
func cidOf(digest types.Hash) cid.Cid { return cid.NewCidV1(cid.Raw, multihashOf(digest)) }
