package badger

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/dgraph-io/badger/v4"

	"github.com/cairn-p2p/cairn/store/storetest"
	"github.com/cairn-p2p/cairn/types"
)

// What Load says of a topic's heads is what the database holds, whether they are
// in memory or not, over commits that branch, merge and fail.
func TestHeadsInMemory(t *testing.T) {
	s := openWith(t, &faults{}, Options{})
	dag := storetest.NewDAG(t, storetest.Rand(t), "topic", 3)
	if err := s.JoinTopic(dag.Genesis); err != nil {
		t.Fatal(err)
	}
	most, remembered := 0, 0
	for i := range 300 {
		before, err := s.Load(dag.Topic(), types.Publisher{})
		if err != nil {
			t.Fatal(err)
		}
		b := dag.Batch(1 + i%7)
		if i%10 == 9 {
			bad := *b
			bad.First++
			if err := s.Commit(&bad); !errors.Is(err, types.ErrConflict) {
				t.Fatalf("batch that leaves a gap: %v", err)
			}
		}
		if err := s.Commit(b); err != nil {
			t.Fatal(err)
		}
		dag.Add(b)
		var end logState
		err = s.view(func(txn *badger.Txn) (err error) {
			_, end, err = findLog(reader(txn), dag.Topic())
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		if heads, ok := s.heads.get(dag.Topic(), end); ok {
			remembered++
			slices.Reverse(heads) // the caller's own
		}
		cached, err := s.Load(dag.Topic(), types.Publisher{})
		if err != nil {
			t.Fatal(err)
		}
		s.heads.topics.Purge()
		stored, err := s.Load(dag.Topic(), types.Publisher{})
		if err != nil {
			t.Fatal(err)
		}
		if got, want := fmt.Sprint(cached), fmt.Sprint(stored); got != want {
			t.Fatalf("after batch %d, with %d heads before, memory says\n%s\nthe database\n%s", i, len(before.Heads), got, want)
		}
		most = max(most, len(stored.Heads))
	}
	if remembered < 100 || most < 2 {
		t.Errorf("%d of 300 loads from memory, at most %d heads: this shows little", remembered, most)
	}
}
