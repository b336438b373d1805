package mem

import (
	"errors"
	"testing"

	"github.com/cairn-p2p/cairn/store/storetest"
	"github.com/cairn-p2p/cairn/types"
)

func TestStore(t *testing.T) {
	storetest.Run(t, func(*testing.T) storetest.Harness {
		var s *Store
		return storetest.Harness{
			Open: func() (storetest.Store, error) {
				if s == nil {
					s = New(Options{})
				} else {
					s = s.Reopen()
				}
				return s, nil
			},
			Crash: func() error { return nil }, // the disk has it all; Open takes it from the store
		}
	})
}

func TestNotWritable(t *testing.T) {
	dag := storetest.NewDAG(t, storetest.Rand(t), "topic", 1)
	full := error(types.ErrDiskFull)
	s := New(Options{Writable: func() error { return full }})
	if err := s.JoinTopic(dag.Genesis); err != nil {
		t.Fatal(err)
	}
	if err := s.Commit(dag.Batch(1)); !errors.Is(err, types.ErrDiskFull) {
		t.Fatalf("commit to a full disk: %v", err)
	}
	if err := s.SetMetas(types.Record{Key: "key", Value: []byte{1}}); !errors.Is(err, types.ErrDiskFull) {
		t.Fatalf("records on a full disk: %v", err)
	}
	if err := s.SetMetas(types.Record{Key: "key"}); err != nil {
		t.Fatalf("what only deletes is not refused: %v", err)
	}
	full = nil
	dag.Grow(s, 3)
	storetest.CheckInvariants(t, s)
}
