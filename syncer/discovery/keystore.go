package discovery

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"slices"
	"sync"

	"github.com/ipfs/go-libdht/kad/key/bitstr"
	"github.com/libp2p/go-libp2p-kad-dht/provider/keystore"
	"github.com/multiformats/go-multihash"

	"github.com/cairn-p2p/cairn/types"
)

var _ keystore.Keystore = (*keys)(nil)

// keys holds what this node provides, in memory and in the order of the places
// in the DHT, for the sweeping provider, which goes through it by prefix. It
// takes 64 bytes a key where kad-dht's own keystore over a map takes 400, and
// finds a prefix without reading all keys. Its methods may be called
// concurrently.
type keys struct {
	mu      sync.Mutex
	buckets [256][]key // by the first byte of place; each sorted by place
	size    int
}

// key is one thing that is provided.
type key struct {
	place  types.Hash // in the DHT: sha2-256 of the multihash
	digest types.Hash // in the multihash
}

func keyOf(digest types.Hash) key {
	return key{place: sha256.Sum256(multihashOf(digest)), digest: digest}
}

func comparePlace(k key, place types.Hash) int { return bytes.Compare(k.place[:], place[:]) }

// add reports whether the key was not there.
func (s *keys) add(k key) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	bucket := &s.buckets[k.place[0]]
	i, found := slices.BinarySearchFunc(*bucket, k.place, comparePlace)
	if !found {
		*bucket = slices.Insert(*bucket, i, k)
		s.size++
	}
	return !found
}

func (s *keys) remove(k key) {
	s.mu.Lock()
	defer s.mu.Unlock()
	bucket := &s.buckets[k.place[0]]
	if i, found := slices.BinarySearchFunc(*bucket, k.place, comparePlace); found {
		*bucket = slices.Delete(*bucket, i, i+1)
		s.size--
	}
}

func (s *keys) len() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.size
}

// from returns up to n keys whose place is from or behind it, and goes on at
// the first one after the last.
func (s *keys) from(place types.Hash, n int) []key {
	s.mu.Lock()
	defer s.mu.Unlock()
	n = min(n, s.size)
	found := make([]key, 0, n)
	first, _ := slices.BinarySearchFunc(s.buckets[place[0]], place, comparePlace)
	for b := int(place[0]); len(found) < n; b++ {
		bucket := s.buckets[b%len(s.buckets)]
		found = append(found, bucket[first:min(len(bucket), first+n-len(found))]...)
		first = 0
	}
	return found
}

// walk calls do for each key below a prefix, until it returns false.
func (s *keys) walk(prefix bitstr.Key, do func(key) bool) {
	var low, mask types.Hash
	for i := range min(len(prefix), 8*len(low)) {
		bit := byte(0x80) >> (i % 8)
		mask[i/8] |= bit
		if prefix[i] == '1' {
			low[i/8] |= bit
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for b := int(low[0]); b <= int(low[0]|^mask[0]); b++ {
		bucket := s.buckets[b]
		i, _ := slices.BinarySearchFunc(bucket, low, comparePlace)
		for ; i < len(bucket) && below(bucket[i].place, low, mask); i++ {
			if !do(bucket[i]) {
				return
			}
		}
	}
}

func below(place, low, mask types.Hash) bool {
	for i := range place {
		if place[i]&mask[i] != low[i] {
			return false
		}
		if mask[i] != 0xff {
			break
		}
	}
	return true
}

// Put adds keys and returns those that were not there.
func (s *keys) Put(_ context.Context, hashes ...multihash.Multihash) ([]multihash.Multihash, error) {
	var added []multihash.Multihash
	for _, h := range hashes {
		digest, err := digestOf(h)
		if err != nil {
			return added, fmt.Errorf("put: %w", err)
		}
		if s.add(keyOf(digest)) {
			added = append(added, h)
		}
	}
	return added, nil
}

// Delete removes keys.
func (s *keys) Delete(_ context.Context, hashes ...multihash.Multihash) error {
	for _, h := range hashes {
		digest, err := digestOf(h)
		if err != nil {
			return fmt.Errorf("delete: %w", err)
		}
		s.remove(keyOf(digest))
	}
	return nil
}

// Get returns the keys below a prefix.
func (s *keys) Get(_ context.Context, prefix bitstr.Key) ([]multihash.Multihash, error) {
	var found []multihash.Multihash
	s.walk(prefix, func(k key) bool {
		found = append(found, multihashOf(k.digest))
		return true
	})
	return found, nil
}

// CountKeysUpTo counts the keys below a prefix, up to a limit above 0.
func (s *keys) CountKeysUpTo(_ context.Context, prefix bitstr.Key, limit int) (int, error) {
	n := 0
	s.walk(prefix, func(key) bool {
		n++
		return n != limit
	})
	return n, nil
}

// ContainsPrefix reports whether a key is below a prefix.
func (s *keys) ContainsPrefix(ctx context.Context, prefix bitstr.Key) (bool, error) {
	n, err := s.CountKeysUpTo(ctx, prefix, 1)
	return n > 0, err
}

// Empty removes all keys.
func (s *keys) Empty(context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.buckets[:])
	s.size = 0
	return nil
}

// Size returns the number of keys.
func (s *keys) Size(context.Context) (int, error) { return s.len(), nil }

// BatchSize is how many keys the provider should read and write at once.
func (s *keys) BatchSize() int { return keystore.DefaultBatchSize }

// Close does nothing: the keys outlive the provider that reads them.
func (s *keys) Close() error { return nil }
