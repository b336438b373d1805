package syncer

import (
	"bytes"
	"math/bits"

	"github.com/cairn-p2p/cairn/syncer/pb"
	"github.com/cairn-p2p/cairn/trie"
	"github.com/cairn-p2p/cairn/types"
)

// status is the first word between two peers.
type status struct {
	root   types.Hash
	topics uint64
	last   change
}

func parseStatus(m *pb.StatusAnswer) (status, error) {
	st := status{topics: m.GetTopics(), last: change{number: m.GetChangeNumber()}}
	var err error
	if st.root, err = parseHash(m.GetRoot()); err != nil {
		return st, err
	}
	if _, err = parseLogID(m.GetLogId()); err != nil {
		return st, err
	}
	st.last.id, err = parseChangeID(m.GetChangeId())
	return st, err
}

func parseChangeID(b []byte) (changeID, error) {
	var id changeID
	if len(b) != len(id) {
		return id, offencef("change id of %d bytes", len(b))
	}
	return changeID(b), nil
}

func parseChangesRequest(m *pb.ChangesRequest) (change, error) {
	id, err := parseChangeID(m.GetChangeId())
	return change{id: id, number: m.GetSince()}, err
}

func (c change) message() *pb.Request {
	m := &pb.ChangesRequest{ChangeId: c.id[:], Since: c.number}
	return &pb.Request{Request: &pb.Request_Changes{Changes: m}}
}

func (l leaf) message() *pb.Leaf {
	m := &pb.Leaf{Key: l.key[:]}
	if l.heads != (types.Hash{}) {
		m.HeadsHash = l.heads[:]
	}
	return m
}

// parseLeaves reads leaves; gone says that they may have no heads hash.
func parseLeaves(list []*pb.Leaf, limit int, gone bool) ([]leaf, error) {
	if len(list) > limit {
		return nil, offencef("%d leaves, limit %d", len(list), limit)
	}
	leaves := make([]leaf, 0, len(list))
	for _, m := range list {
		key, err := parseHash(m.GetKey())
		if err != nil {
			return nil, err
		}
		l := leaf{key: key}
		if !gone || len(m.GetHeadsHash()) > 0 {
			if l.heads, err = parseHash(m.GetHeadsHash()); err != nil {
				return nil, err
			}
		}
		leaves = append(leaves, l)
	}
	return leaves, nil
}

func prefixBytes(p trie.Prefix) []byte {
	b := make([]byte, p.Len)
	for i := range b {
		b[i] = p.Key[i/2] >> (4 * (1 - i%2)) & 0x0f
	}
	return b
}

// parsePrefix reads a prefix to which one nibble more can be added.
func parsePrefix(b []byte) (trie.Prefix, error) {
	var p trie.Prefix
	if len(b) >= trie.MaxPrefix {
		return p, offencef("prefix of %d nibbles", len(b))
	}
	for _, nibble := range b {
		if nibble >= fanOut {
			return p, offencef("prefix with nibble %d", nibble)
		}
		p = p.Child(nibble)
	}
	return p, nil
}

func (t *subtree) message() *pb.Subtree {
	m := &pb.Subtree{Prefix: prefixBytes(t.prefix), Bitmap: uint32(t.bitmap)}
	for i := range uint8(fanOut) {
		if h, ok := t.child(i); ok {
			m.Hashes = append(m.Hashes, h[:]...)
		}
	}
	for _, l := range t.leaves {
		m.Leaves = append(m.Leaves, l.message())
	}
	return m
}

// parseSubtree reads what lies below a prefix; ofHeads says that leaves are
// heads, which have no heads hash.
func parseSubtree(m *pb.Subtree, ofHeads bool) (subtree, error) {
	var t subtree
	var err error
	if t.prefix, err = parsePrefix(m.GetPrefix()); err != nil {
		return t, err
	}
	hashes := m.GetHashes()
	if m.GetBitmap() >= 1<<fanOut || len(hashes) != bits.OnesCount32(m.GetBitmap())*len(types.Hash{}) {
		return t, offencef("subtree with bitmap %x and %d bytes of hashes", m.GetBitmap(), len(hashes))
	}
	t.bitmap = uint16(m.GetBitmap())
	for i := range uint8(fanOut) {
		if t.bitmap>>i&1 == 1 {
			hashes = hashes[copy(t.hashes[i][:], hashes):]
		}
	}
	if t.leaves, err = parseLeaves(m.GetLeaves(), leavesAtOnce, ofHeads); err != nil {
		return t, err
	}
	if t.bitmap != 0 && len(t.leaves) > 0 {
		return t, offencef("subtree with both hashes and leaves")
	}
	for i, l := range t.leaves {
		if !t.prefix.Covers(l.key) || i > 0 && bytes.Compare(t.leaves[i-1].key[:], l.key[:]) >= 0 {
			return t, offencef("subtree with leaves out of place")
		}
	}
	return t, nil
}

func parseDigestRequest(m *pb.DigestRequest) ([]subtree, error) {
	if n := len(m.GetSubtrees()); n == 0 || n > maxSubtrees {
		return nil, offencef("%d subtrees, limit %d", n, maxSubtrees)
	}
	list := make([]subtree, 0, len(m.GetSubtrees()))
	for _, part := range m.GetSubtrees() {
		t, err := parseSubtree(part, false)
		if err != nil {
			return nil, err
		}
		if len(t.leaves) > 0 || int(t.prefix.Len) > trie.MaxPrefix-2 {
			return nil, offencef("request with the leaves of a subtree, or without room below it")
		}
		list = append(list, t)
	}
	return list, nil
}
