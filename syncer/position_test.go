package syncer

import (
	"maps"
	"testing"

	"github.com/ipfs/go-cid"

	"github.com/cairn-p2p/cairn/types"
)

// metaLocal is a Local that keeps what syncers have it keep, and nothing else.
type metaLocal struct {
	Local
	meta map[string][]byte
}

func (l *metaLocal) Meta(key string) ([]byte, error) { return l.meta[key], nil }

func (l *metaLocal) SetMeta(key string, value []byte) error {
	l.meta[key] = value
	return nil
}

// However many topics are fetched and compared, a bounded number is remembered in
// memory; where the pulls of the others ended is still in the store.
func TestPositionsAreBounded(t *testing.T) {
	local := &metaLocal{meta: map[string][]byte{}}
	p := newPositions(local)
	topics := make([]types.TopicID, 3*maxRemembered)
	for i := range topics {
		topics[i] = types.SumCID([]byte{byte(i), byte(i >> 8)})
		p.note(topics[i], position{peer: "peer", after: types.Cursor{Number: uint64(i) + 1}})
		p.share(topics[i], "peer", []cid.Cid{topics[i]})
		if err := p.save(topics[i]); err != nil {
			t.Fatal(err)
		}
		if n := p.topics.Len(); n > maxRemembered {
			t.Fatalf("%d topics are remembered, limit %d", n, maxRemembered)
		}
	}
	last := len(topics) - 1
	if len(p.sharedWith(topics[last], "peer")) != 1 || len(p.sharedWith(topics[0], "peer")) != 0 {
		t.Error("the topics last compared are not those whose shared heads are remembered")
	}
	stored := maps.Clone(local.meta)
	for _, i := range []int{0, last} {
		if err := p.save(topics[i]); err != nil { // also of one that fell out
			t.Fatal(err)
		}
		if at, err := p.of(topics[i], "peer"); err != nil || at.after.Number != uint64(i)+1 {
			t.Errorf("topic %d goes on after event %d, %v; want %d", i, at.after.Number, err, i+1)
		}
	}
	p.forget(topics[1], "another") // of one that fell out
	if at, err := p.of(topics[1], "peer"); err != nil || at.after.Number != 2 {
		t.Errorf("forgetting one peer's position leaves another's at %d, %v", at.after.Number, err)
	}
	if !maps.EqualFunc(stored, local.meta, func(a, b []byte) bool { return string(a) == string(b) }) {
		t.Error("saving what fell out changed what was stored")
	}
}
