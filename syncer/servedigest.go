package syncer

import (
	"bytes"
	"context"

	"github.com/cairn-p2p/cairn/syncer/pb"
	"github.com/cairn-p2p/cairn/trie"
	"github.com/cairn-p2p/cairn/types"
)

// leafRoom is what a leaf takes in a message.
const leafRoom = 72

// status answers with the first word.
func (v *server) status(ctx context.Context) error {
	v.s.mu.Lock()
	root, topics, last := v.s.digest.root(), v.s.digest.len(), v.s.changes.last
	v.s.mu.Unlock()
	logID := v.s.local.LogID()
	a := &pb.StatusAnswer{
		Root: root[:], LogId: logID[:], Topics: uint64(topics), ChangeNumber: last.number, ChangeId: last.id[:],
	}
	return v.write(ctx, &pb.Response{Answer: &pb.Response_Status{Status: a}})
}

// changes answers with what changed since a number.
func (v *server) changes(ctx context.Context, m *pb.ChangesRequest) error {
	at, err := parseChangesRequest(m)
	if err != nil {
		return err
	}
	v.s.mu.Lock()
	leaves, known := v.s.changes.since(at)
	number := v.s.changes.last.number
	v.s.mu.Unlock()
	for {
		n := min(len(leaves), maxPageLeaves)
		a := &pb.ChangesAnswer{Unknown: !known, ChangeNumber: number}
		for _, l := range leaves[:n] {
			a.Leaves = append(a.Leaves, l.message())
		}
		leaves = leaves[n:]
		err := v.write(ctx, &pb.Response{More: len(leaves) > 0, Answer: &pb.Response_Changes{Changes: a}})
		if err != nil || len(leaves) == 0 {
			return err
		}
	}
}

// digest answers with what differs below some prefixes.
func (v *server) digest(ctx context.Context, m *pb.DigestRequest) error {
	asked, err := parseDigestRequest(m)
	if err != nil {
		return err
	}
	differing := func(s *subtree) ([]subtree, []byte, error) {
		v.s.mu.Lock()
		defer v.s.mu.Unlock()
		return v.s.digest.differing(s), nil, nil
	}
	if len(m.GetTopic()) > 0 {
		topic, err := parseCID(m.GetTopic())
		if err != nil {
			return err
		}
		differing = func(s *subtree) (parts []subtree, root []byte, err error) {
			err = v.s.local.HeadsTrie(topic, func(t *trie.Trie) {
				hash := t.Root()
				parts, root = differingHeads(t, s), hash[:]
			})
			return parts, root, err
		}
	}
	a, size := new(pb.DigestAnswer), 0
	for i := range asked {
		parts, root, err := differing(&asked[i])
		if err != nil {
			return v.failed(ctx, types.TopicID{}, err)
		}
		if i > 0 && !bytes.Equal(root, a.Root) && size > 0 { // the topic has moved on
			if err := v.write(ctx, &pb.Response{More: true, Answer: &pb.Response_Digest{Digest: a}}); err != nil {
				return err
			}
			a, size = new(pb.DigestAnswer), 0
		}
		a.Root = root
		for _, part := range parts {
			room := leafRoom * (1 + len(part.leaves) + len(part.hashes)/2)
			if size > 0 && size+room > pageSize {
				if err := v.write(ctx, &pb.Response{More: true, Answer: &pb.Response_Digest{Digest: a}}); err != nil {
					return err
				}
				a, size = &pb.DigestAnswer{Root: root}, 0
			}
			a.Subtrees = append(a.Subtrees, part.message())
			size += room
		}
	}
	return v.write(ctx, &pb.Response{Answer: &pb.Response_Digest{Digest: a}})
}
