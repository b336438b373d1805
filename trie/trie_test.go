package trie

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"maps"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/cairn-p2p/cairn/types"
)

// rebuild computes the root of a set from its definition in SPEC.md, without
// any of the code under test.
func rebuild(set map[types.Hash]types.Hash) types.Hash {
	if len(set) == 0 {
		return sha256.Sum256(nil)
	}
	keys := slices.SortedFunc(maps.Keys(set), compare)
	return rebuildNode(keys, set)
}

func rebuildNode(keys []types.Hash, set map[types.Hash]types.Hash) types.Hash {
	if len(keys) == 1 {
		value := set[keys[0]]
		return sha256.Sum256(slices.Concat([]byte{0}, keys[0][:], value[:]))
	}
	first, last := fmt.Sprintf("%x", keys[0]), fmt.Sprintf("%x", keys[len(keys)-1])
	depth := 0
	for first[depth] == last[depth] {
		depth++
	}
	var bitmap uint16
	var children []byte
	for i := range 16 {
		var group []types.Hash
		for _, k := range keys {
			if fmt.Sprintf("%x", k)[depth] == "0123456789abcdef"[i] {
				group = append(group, k)
			}
		}
		if len(group) > 0 {
			bitmap |= 1 << i
			h := rebuildNode(group, set)
			children = append(children, h[:]...)
		}
	}
	msg := binary.BigEndian.AppendUint16([]byte{1, byte(depth)}, bitmap)
	return sha256.Sum256(append(msg, children...))
}

func compare(a, b types.Hash) int { return bytes.Compare(a[:], b[:]) }

// fataler is what a *testing.T and a *rapid.T have in common here.
type fataler interface {
	Fatalf(format string, args ...any)
}

// checkShape fails unless every branch has at least two children, lies deeper
// than the one above it and above keys that share its prefix: the one shape
// that a set of keys may have.
func checkShape(t fataler, n node, above int) {
	b, ok := n.(*branch)
	if !ok {
		return
	}
	if len(b.children) < 2 || int(b.depth) <= above {
		t.Fatalf("branch at depth %d below %d with %d children", b.depth, above, len(b.children))
	}
	prefix := b.Key()
	for i, rank := uint8(0), 0; i < fanOut; i++ {
		if !b.has(i) {
			continue
		}
		each(b.children[rank], func(l Leaf) bool {
			key := l.Key()
			if commonNibbles(key, prefix) < b.depth || nibble(key, b.depth) != i {
				t.Fatalf("key %x below child %d at depth %d", key, i, b.depth)
			}
			return true
		})
		checkShape(t, b.children[rank], int(b.depth))
		rank++
	}
}

// keys generates keys that often share long prefixes: each takes a prefix of
// one of few patterns and goes on with its own bytes.
func keys() *rapid.Generator[types.Hash] {
	return rapid.Custom(func(t *rapid.T) types.Hash {
		var k types.Hash
		pattern := rapid.SampledFrom([]byte{0x00, 0x5a, 0xff}).Draw(t, "pattern")
		for i := range k {
			k[i] = pattern
		}
		from := rapid.IntRange(0, len(k)-1).Draw(t, "shared bytes")
		k[from] = byte(rapid.IntRange(0, 255).Draw(t, "own byte"))
		if rapid.Bool().Draw(t, "own tail") {
			sum := sha256.Sum256(k[:from+1])
			copy(k[from+1:], sum[:])
		}
		return k
	})
}

func values() *rapid.Generator[types.Hash] {
	return rapid.Custom(func(t *rapid.T) types.Hash {
		return types.Hash{31: byte(rapid.IntRange(0, 3).Draw(t, "value"))}
	})
}

// TestTrieAgreesWithRebuild applies any sequence of updates and holds every
// answer to a map and every root to a rebuild from nothing.
func TestTrieAgreesWithRebuild(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		var tr Trie
		model := map[types.Hash]types.Hash{}
		known := []types.Hash{{}}
		anyKey := func(rt *rapid.T) types.Hash {
			if rapid.Bool().Draw(rt, "known key") {
				return rapid.SampledFrom(known).Draw(rt, "key")
			}
			k := keys().Draw(rt, "key")
			known = append(known, k)
			return k
		}
		rt.Repeat(map[string]func(*rapid.T){
			"set": func(rt *rapid.T) {
				k, v := anyKey(rt), values().Draw(rt, "value")
				tr.Set(k, v)
				model[k] = v
			},
			"delete": func(rt *rapid.T) {
				k := anyKey(rt)
				_, had := model[k]
				delete(model, k)
				if tr.Delete(k) != had {
					rt.Fatalf("Delete(%x) = %v", k, !had)
				}
			},
			"root": func(rt *rapid.T) {
				if got, want := tr.Root(), rebuild(model); got != want {
					rt.Fatalf("root %x, rebuilt %x", got, want)
				}
			},
			"": func(rt *rapid.T) { checkTrie(rt, &tr, model) },
		})
		if got, want := tr.Root(), rebuild(model); got != want {
			rt.Fatalf("root %x, rebuilt %x", got, want)
		}
	})
}

func checkTrie(t fataler, tr *Trie, model map[types.Hash]types.Hash) {
	checkShape(t, tr.root, -1)
	if tr.Len() != len(model) {
		t.Fatalf("Len() = %d, want %d", tr.Len(), len(model))
	}
	want := slices.SortedFunc(maps.Keys(model), compare)
	var got []types.Hash
	for k, v := range tr.All() {
		got = append(got, k)
		if v != model[k] {
			t.Fatalf("All: value of %x is %x, want %x", k, v, model[k])
		}
	}
	if !slices.Equal(got, want) {
		t.Fatalf("All: %x, want %x", got, want)
	}
	for _, k := range want {
		if v, ok := tr.Get(k); !ok || v != model[k] {
			t.Fatalf("Get(%x) = %x, %v, want %x", k, v, ok, model[k])
		}
		if other := (types.Hash{0: k[0], 31: ^k[31]}); other != k {
			if _, ok := tr.Get(other); ok != has(model, other) {
				t.Fatalf("Get(%x) = %v", other, ok)
			}
		}
	}
}

func has(m map[types.Hash]types.Hash, k types.Hash) bool { _, ok := m[k]; return ok }

// TestOrderDoesNotMatter inserts the same keys in two orders, one of them with
// keys that come and go.
func TestOrderDoesNotMatter(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		all := rapid.SliceOfNDistinct(keys(), 1, 40, rapid.ID).Draw(rt, "keys")
		keep := rapid.IntRange(0, len(all)).Draw(rt, "kept")
		var a, b Trie
		for _, k := range all[:keep] {
			a.Set(k, k)
		}
		for _, k := range rapid.Permutation(all).Draw(rt, "order") {
			b.Set(k, types.Hash{})
			b.Root()
			b.Set(k, k)
		}
		for _, k := range rapid.Permutation(all[keep:]).Draw(rt, "order of deletion") {
			b.Delete(k)
		}
		if a.Root() != b.Root() {
			rt.Fatalf("roots %x and %x", a.Root(), b.Root())
		}
	})
}

// TestEqualRootsMeanEqualSets compares two sets of the same few keys.
func TestEqualRootsMeanEqualSets(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		all := rapid.SliceOfNDistinct(keys(), 1, 4, rapid.ID).Draw(rt, "keys")
		var tries [2]Trie
		var sets [2]map[types.Hash]types.Hash
		for i := range tries {
			sets[i] = map[types.Hash]types.Hash{}
			for _, k := range rapid.SliceOf(rapid.SampledFrom(all)).Draw(rt, "set") {
				sets[i][k] = types.Hash{}
				tries[i].Set(k, types.Hash{})
			}
		}
		if equal := tries[0].Root() == tries[1].Root(); equal != maps.Equal(sets[0], sets[1]) {
			rt.Fatalf("equal roots %t of %x and %x", equal, sets[0], sets[1])
		}
	})
}

// TestAdversarialPrefixes builds the deepest trie there is: a key that parts
// from another at each nibble. Depth, and with it the work of an update, stays
// within the length of a key.
func TestAdversarialPrefixes(t *testing.T) {
	var tr Trie
	model := map[types.Hash]types.Hash{}
	set := func(k types.Hash) { tr.Set(k, k); model[k] = k }
	set(types.Hash{})
	for i := range 64 {
		for n := byte(1); n < 16; n++ {
			k := types.Hash{}
			k[i/2] = n << (4 * (1 - i%2))
			set(k)
		}
	}
	checkTrie(t, &tr, model)
	if got, want := tr.Root(), rebuild(model); got != want {
		t.Fatalf("root %x, rebuilt %x", got, want)
	}
	depth, n := 0, tr.root
	for {
		b, ok := n.(*branch)
		if !ok {
			break
		}
		depth, n = depth+1, b.children[0]
	}
	if depth != 64 {
		t.Errorf("%d branches above the key, want 64", depth)
	}
	for k := range model {
		tr.Delete(k)
	}
	if tr.Root() != new(Trie).Root() || tr.Len() != 0 {
		t.Error("not empty after all keys were deleted")
	}
}

func TestAllMayBeLeft(t *testing.T) {
	var tr Trie
	for i := range 100 {
		tr.Set(sha256.Sum256([]byte{byte(i)}), types.Hash{})
	}
	n := 0
	for range tr.All() {
		if n++; n == 37 {
			break
		}
	}
	if n != 37 {
		t.Errorf("%d keys", n)
	}
}

// TestRootHashesOnlyWhatChanged sets one key among many and counts the nodes
// that lose their hash.
func TestRootHashesOnlyWhatChanged(t *testing.T) {
	var tr Trie
	for i := range 10_000 {
		tr.Set(sha256.Sum256(binary.BigEndian.AppendUint32(nil, uint32(i))), types.Hash{})
	}
	key := types.Hash(sha256.Sum256(binary.BigEndian.AppendUint32(nil, 4321)))
	tr.Root()
	tr.Set(key, types.Hash{})
	if n := unknown(tr.root); n != 0 {
		t.Errorf("a value set again to what it was: %d nodes to hash", n)
	}
	tr.Set(key, types.Hash{1})
	if n := unknown(tr.root); n < 3 || n > 7 {
		t.Errorf("one value changed: %d nodes to hash", n)
	}
	tr.Root()
	if n := unknown(tr.root); n != 0 {
		t.Errorf("after Root: %d nodes to hash", n)
	}
}

func unknown(n node) int {
	b, ok := n.(*branch)
	if !ok {
		return 0
	}
	count := 0
	if b.sum == (types.Hash{}) {
		count++
	}
	for _, c := range b.children {
		count += unknown(c)
	}
	return count
}
