package trie

import (
	"maps"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/cairn-p2p/cairn/types"
)

// TestWalk: at each prefix the trie has the keys and the hash that a trie of
// those keys alone has.
func TestWalk(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		set := map[types.Hash]types.Hash{}
		var trie Trie
		for range rapid.IntRange(0, 60).Draw(t, "keys") {
			var key types.Hash
			// Few bytes that differ, so that keys share long prefixes.
			key[rapid.IntRange(0, 31).Draw(t, "byte")] = rapid.Byte().Draw(t, "value")
			set[key] = types.Hash{1: key[0]}
			trie.Set(key, set[key])
		}
		p := Prefix{}
		for range rapid.IntRange(0, MaxPrefix).Draw(t, "nibbles") {
			p = p.Child(uint8(rapid.IntRange(0, 15).Draw(t, "nibble") * rapid.IntRange(0, 1).Draw(t, "one")))
		}
		part := map[types.Hash]types.Hash{}
		for k, v := range set {
			if p.Covers(k) {
				part[k] = v
			}
		}
		hash, ok := trie.Hash(p)
		if ok != (len(part) > 0) || ok && hash != rebuildNode(slices.SortedFunc(maps.Keys(part), compare), part) {
			t.Fatalf("hash %x, %v of %d keys", hash, ok, len(part))
		}
		var keys []types.Hash
		for k, v := range trie.Under(p) {
			if part[k] != v {
				t.Fatalf("key %x has another value", k)
			}
			keys = append(keys, k)
		}
		if !slices.Equal(keys, slices.SortedFunc(maps.Keys(part), compare)) {
			t.Fatalf("%d keys in order, want %d", len(keys), len(part))
		}
	})
}

// TestChildren: the hashes of a branch's children are those that its own hash
// covers, whole keys included.
func TestChildren(t *testing.T) {
	var trie Trie
	key := types.Hash{31: 5}
	trie.Set(key, types.Hash{})
	whole := Prefix{Key: key, Len: uint8(MaxPrefix)}
	if h, ok := trie.Hash(whole); !ok || h != trie.Root() {
		t.Errorf("hash of a whole key %x, %v; want the root", h, ok)
	}
	if _, ok := trie.Hash(Prefix{Len: uint8(MaxPrefix)}); ok {
		t.Error("hash of a key that is not held")
	}
}
