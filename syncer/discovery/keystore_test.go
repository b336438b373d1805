package discovery

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/ipfs/go-datastore"
	"github.com/ipfs/go-libdht/kad/key/bitstr"
	"github.com/libp2p/go-libp2p-kad-dht/provider/keystore"
	"github.com/multiformats/go-multihash"
	"pgregory.net/rapid"

	"github.com/cairn-p2p/cairn/types"
)

func hashN(i int) multihash.Multihash {
	return multihashOf(sha256.Sum256(fmt.Append(nil, "key ", i)))
}

// The keys answer as kad-dht's own keystore does.
func TestKeysEqualTheReference(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		ctx := t.Context()
		model, err := keystore.NewKeystore(datastore.NewMapDatastore())
		if err != nil {
			t.Fatal(err)
		}
		defer model.Close() //nolint:errcheck // in memory
		ours := &keys{}
		// Distinct ones: the reference counts and returns duplicates twice.
		numbers := rapid.SliceOfNDistinct(rapid.IntRange(0, 500), 0, 100, rapid.ID[int])
		some := rapid.Map(numbers, func(list []int) []multihash.Multihash {
			var hashes []multihash.Multihash
			for _, i := range list {
				hashes = append(hashes, hashN(i))
			}
			return hashes
		})
		t.Repeat(map[string]func(*rapid.T){
			"put": func(t *rapid.T) {
				hashes := some.Draw(t, "hashes")
				got, err := ours.Put(ctx, hashes...)
				want, wantErr := model.Put(ctx, hashes...)
				if err != nil || wantErr != nil {
					t.Fatal(err, wantErr)
				}
				equal(t, "put", got, want)
			},
			"delete": func(t *rapid.T) {
				hashes := some.Draw(t, "hashes")
				if err := ours.Delete(ctx, hashes...); err != nil {
					t.Fatal(err)
				}
				if err := model.Delete(ctx, hashes...); err != nil {
					t.Fatal(err)
				}
			},
			"": func(t *rapid.T) {
				size, _ := ours.Size(ctx) //nolint:errcheck // never fails
				want, err := model.Size(ctx)
				if err != nil || size != want {
					t.Fatalf("size %d, want %d, %v", size, want, err)
				}
				prefix := bitstr.Key(strings.Join(rapid.SliceOfN(rapid.SampledFrom([]string{"0", "1"}), 0, 20).Draw(t, "prefix"), ""))
				get, err := ours.Get(ctx, prefix)
				wantGet, wantErr := model.Get(ctx, prefix)
				if err != nil || wantErr != nil {
					t.Fatal(err, wantErr)
				}
				equal(t, "get", get, wantGet)
				limit := rapid.IntRange(0, 5).Draw(t, "limit")
				n, _ := ours.CountKeysUpTo(ctx, prefix, limit) //nolint:errcheck // never fails
				if want, err := model.CountKeysUpTo(ctx, prefix, limit); n != want || err != nil {
					t.Fatalf("count %d, want %d, %v", n, want, err)
				}
				has, _ := ours.ContainsPrefix(ctx, prefix) //nolint:errcheck // never fails
				if want, err := model.ContainsPrefix(ctx, prefix); has != want || err != nil {
					t.Fatalf("contains %v, want %v, %v", has, want, err)
				}
			},
		})
	})
}

func equal(t *rapid.T, what string, got, want []multihash.Multihash) {
	t.Helper()
	compare := func(a, b multihash.Multihash) int { return bytes.Compare(a, b) }
	slices.SortFunc(got, compare)
	slices.SortFunc(want, compare)
	if !slices.EqualFunc(got, want, func(a, b multihash.Multihash) bool { return bytes.Equal(a, b) }) {
		t.Fatalf("%s: %d keys, want %d", what, len(got), len(want))
	}
}

func TestKeysRefuseWhatIsNoKeyOfOurs(t *testing.T) {
	identity := multihash.Multihash{0, 1, 'x'}
	s := &keys{}
	if _, err := s.Put(t.Context(), identity); err == nil {
		t.Error("put an identity multihash")
	}
	if err := s.Delete(t.Context(), identity); err == nil {
		t.Error("deleted an identity multihash")
	}
}

// A rotation comes to each key once, wherever it begins, and then stops.
func TestRotationComesToEveryKeyOnce(t *testing.T) {
	const n = 5*maxRefreshed + 3
	s := &keys{}
	for i := range n {
		s.add(keyOf(sha256.Sum256(fmt.Append(nil, i))))
	}
	var r rotation
	for i := range r.at {
		r.at[i] = byte(rand.N(256))
	}
	start := r.at
	for round := range 2 {
		r.restart(s)
		seen := map[types.Hash]int{}
		for rounds := 0; ; rounds++ {
			hashes := r.next(s)
			if len(hashes) == 0 {
				break
			}
			if len(hashes) > maxRefreshed || rounds > n {
				t.Fatalf("round %d has %d keys", rounds, len(hashes))
			}
			for _, h := range hashes {
				seen[types.Hash(h[2:])]++
			}
		}
		if len(seen) != n {
			t.Errorf("round %d from %x: came to %d keys, want %d", round, start, len(seen), n)
		}
		for digest, times := range seen {
			if times != 1 {
				t.Errorf("round %d from %x: key %x came %d times", round, start, digest, times)
			}
		}
	}
	if again := (&rotation{left: 3}).next(&keys{}); len(again) != 0 {
		t.Errorf("%d keys of none", len(again))
	}
}
