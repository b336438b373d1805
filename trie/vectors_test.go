package trie

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"flag"
	"os"
	"testing"

	"github.com/cairn-p2p/cairn/types"
)

var update = flag.Bool("update", false, "write testdata/vectors.json anew")

const vectorsFile = "testdata/vectors.json"

type vector struct {
	Name    string        `json:"name"`
	Entries []vectorEntry `json:"entries"` // in the order in which they are set
	Root    string        `json:"root"`
}

type vectorEntry struct {
	Key   string `json:"key"`
	Value string `json:"value"`
}

func numbered(n int, value func(key types.Hash) types.Hash) []vectorEntry {
	var entries []vectorEntry
	for i := range n {
		k := types.Hash(sha256.Sum256([]byte{byte(i)}))
		v := value(k)
		entries = append(entries, vectorEntry{hex.EncodeToString(k[:]), hex.EncodeToString(v[:])})
	}
	return entries
}

func entry(key, value types.Hash) vectorEntry {
	return vectorEntry{hex.EncodeToString(key[:]), hex.EncodeToString(value[:])}
}

// cases are the sets whose roots are pinned.
func cases() []vector {
	zero := func(types.Hash) types.Hash { return types.Hash{} }
	hashed := func(k types.Hash) types.Hash { return sha256.Sum256(k[:]) }
	var full []vectorEntry
	for i := range 16 {
		full = append(full, entry(types.Hash{byte(i) << 4}, types.Hash{}))
	}
	return []vector{
		{Name: "empty", Entries: []vectorEntry{}},
		{Name: "zero key and value", Entries: []vectorEntry{entry(types.Hash{}, types.Hash{})}},
		{Name: "one head", Entries: numbered(1, zero)},
		{Name: "two heads", Entries: numbered(2, zero)},
		{Name: "32 heads", Entries: numbered(32, zero)},
		{Name: "200 keys with values", Entries: numbered(200, hashed)},
		{Name: "keys part in the first nibble", Entries: full},
		{Name: "keys part in the last nibble", Entries: []vectorEntry{
			entry(types.Hash{31: 0x0f}, types.Hash{1}), entry(types.Hash{31: 0x00}, types.Hash{2}),
		}},
		{Name: "an odd depth, then an even one", Entries: []vectorEntry{
			entry(types.Hash{0xab, 0x10}, types.Hash{}), entry(types.Hash{0xab, 0x1f}, types.Hash{}),
			entry(types.Hash{0xac}, types.Hash{}),
		}},
	}
}

func TestVectors(t *testing.T) {
	if *update {
		writeVectors(t)
	}
	b, err := os.ReadFile(vectorsFile)
	if err != nil {
		t.Fatal(err)
	}
	var vectors []vector
	if err := json.Unmarshal(b, &vectors); err != nil {
		t.Fatal(err)
	}
	if len(vectors) != len(cases()) {
		t.Fatalf("%d vectors, want %d", len(vectors), len(cases()))
	}
	for _, v := range vectors {
		tr, model := build(t, v)
		root := tr.Root()
		if got := hex.EncodeToString(root[:]); got != v.Root {
			t.Errorf("%s: root %s, want %s", v.Name, got, v.Root)
		}
		if rebuild(model) != root {
			t.Errorf("%s: the rebuild has another root", v.Name)
		}
	}
}

func build(t *testing.T, v vector) (*Trie, map[types.Hash]types.Hash) {
	var tr Trie
	model := map[types.Hash]types.Hash{}
	for _, e := range v.Entries {
		k, value := unhex(t, e.Key), unhex(t, e.Value)
		tr.Set(k, value)
		model[k] = value
	}
	return &tr, model
}

func unhex(t *testing.T, s string) types.Hash {
	b, err := hex.DecodeString(s)
	if err != nil || len(b) != len(types.Hash{}) {
		t.Fatalf("%q is not the hex of a hash", s)
	}
	return types.Hash(b)
}

func writeVectors(t *testing.T) {
	vectors := cases()
	for i := range vectors {
		tr, _ := build(t, vectors[i])
		root := tr.Root()
		vectors[i].Root = hex.EncodeToString(root[:])
	}
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetIndent("", "\t")
	if err := enc.Encode(vectors); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(vectorsFile, buf.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
}
