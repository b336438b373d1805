package types

import (
	"bytes"
	"encoding/binary"
	"testing"

	"github.com/ipfs/go-cid"
	"golang.org/x/mod/sumdb/tlog"
)

// tlogTree is x/mod's tree of the same leaves: the reference.
type tlogTree []tlog.Hash

func (t tlogTree) ReadHashes(indexes []int64) ([]tlog.Hash, error) {
	hashes := make([]tlog.Hash, len(indexes))
	for i, x := range indexes {
		hashes[i] = t[x]
	}
	return hashes, nil
}

func (t *tlogTree) add(tb testing.TB, n int, c cid.Cid) {
	stored, err := tlog.StoredHashes(int64(n), c.Bytes(), t)
	if err != nil {
		tb.Fatal(err)
	}
	*t = append(*t, stored...)
}

// TestMerkleAgreesWithTlog compares roots and paths with the reference and
// takes each path back to the root.
func TestMerkleAgreesWithTlog(t *testing.T) {
	var reference tlogTree
	var leaves []Hash
	for n := 1; n <= 5000; n++ {
		c := SumCID(binary.BigEndian.AppendUint32(nil, uint32(n)))
		reference.add(t, n-1, c)
		leaves = append(leaves, leafHash(c))
		switch n {
		default:
			if n > 130 {
				continue
			}
		case 255, 256, 257, 1000, 1023, 1024, 1025, 4097, 5000:
		}
		checkTree(t, reference, leaves)
	}
}

func checkTree(t *testing.T, reference tlogTree, leaves []Hash) {
	n := len(leaves)
	tree := newMerkleTree(leaves)
	root := tree.root()
	want, err := tlog.TreeHash(int64(n), reference)
	if err != nil {
		t.Fatal(err)
	}
	if root != Hash(want) {
		t.Fatalf("root of %d leaves: %x, want %x", n, root, want)
	}
	step := 1 + n/200
	for i := 0; i < n; i += step {
		path := tree.appendPath(nil, i)
		proof, err := tlog.ProveRecord(int64(n), int64(i), reference)
		if err != nil {
			t.Fatal(err)
		}
		var wantPath []byte
		for _, h := range proof {
			wantPath = append(wantPath, h[:]...)
		}
		if !bytes.Equal(path, wantPath) {
			t.Fatalf("path of leaf %d of %d: %x, want %x", i, n, path, wantPath)
		}
		if got := pathLength(uint64(n), uint64(i)); got != len(proof) {
			t.Fatalf("path length of leaf %d of %d: %d, want %d", i, n, got, len(proof))
		}
		if got := rootFromPath(uint64(n), uint64(i), leaves[i], path); got != root {
			t.Fatalf("root from the path of leaf %d of %d: %x, want %x", i, n, got, root)
		}
	}
}
