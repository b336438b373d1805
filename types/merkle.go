package types

import (
	"crypto/sha256"

	"github.com/ipfs/go-cid"
)

// The tree of RFC 6962, section 2.1, over the CIDs of a batch. It is written
// out here because x/mod's tlog can check a path against a root but not
// compute the root from one, and a witness carries no root; the tests hold
// every function to tlog.

// leafHash is the hash of a leaf: of a zero byte and the 36 bytes of the CID.
func leafHash(c cid.Cid) Hash { return leafHashOf(Digest(c)) }

// leafHashOf is leafHash for the CID with a digest.
func leafHashOf(d Hash) Hash {
	var b [1 + CIDSize]byte
	copy(b[1+copy(b[1:], cidPrefix):], d[:])
	return sha256.Sum256(b[:])
}

func nodeHash(left, right []byte) Hash {
	var b [1 + 2*hashSize]byte
	b[0] = 1
	copy(b[1:], left)
	copy(b[1+hashSize:], right)
	return sha256.Sum256(b[:])
}

// merkleTree holds the hashes of every level: level 0 is the leaves, each
// further one half as long, and an odd last hash moves up as it is.
type merkleTree [][]Hash

func newMerkleTree(leaves []Hash) merkleTree {
	t := merkleTree{leaves}
	for level := leaves; len(level) > 1; {
		up := make([]Hash, 0, (len(level)+1)/2)
		for i := 0; i+1 < len(level); i += 2 {
			up = append(up, nodeHash(level[i][:], level[i+1][:]))
		}
		if len(level)%2 == 1 {
			up = append(up, level[len(level)-1])
		}
		t = append(t, up)
		level = up
	}
	return t
}

func (t merkleTree) root() Hash { return t[len(t)-1][0] }

// appendPath appends the siblings of leaf i, from the leaves up.
func (t merkleTree) appendPath(b []byte, i int) []byte {
	for _, level := range t[:len(t)-1] {
		if sibling := i ^ 1; sibling < len(level) {
			b = append(b, level[sibling][:]...)
		}
		i /= 2
	}
	return b
}

// pathLength is the number of hashes on the path of leaf index among n: one a
// level, less the levels where it is the odd last one.
func pathLength(n, index uint64) int {
	length := 0
	for n > 1 {
		if index^1 < n {
			length++
		}
		index, n = index/2, (n+1)/2
	}
	return length
}

// rootFromPath computes the root of a tree of n leaves from leaf index and its
// path, which has pathLength(n, index) hashes.
func rootFromPath(n, index uint64, leaf Hash, path []byte) Hash {
	h := leaf
	for ; n > 1; index, n = index/2, (n+1)/2 {
		if index^1 >= n {
			continue
		}
		sibling := path[:hashSize]
		path = path[hashSize:]
		if index%2 == 1 {
			h = nodeHash(sibling, h[:])
		} else {
			h = nodeHash(h[:], sibling)
		}
	}
	return h
}
