package discovery

import (
	"encoding/binary"
	"errors"
	"fmt"
	"testing"

	"github.com/ipfs/go-datastore"
	"github.com/ipfs/go-datastore/query"
)

func put(t *testing.T, s *records, name string, at int64) {
	t.Helper()
	if err := s.Put(t.Context(), datastore.NewKey(name), binary.AppendVarint(nil, at)); err != nil {
		t.Fatal(err)
	}
}

func ask(t *testing.T, s *records, prefix string) map[string]int64 {
	t.Helper()
	found := map[string]int64{}
	for e, err := range datastore.QueryIter(t.Context(), s, query.Query{Prefix: prefix}) {
		if err != nil {
			t.Fatal(err)
		}
		at, _ := binary.Varint(e.Value)
		found[e.Key] = at
	}
	return found
}

func TestRecords(t *testing.T) {
	s := newRecords(10, 10)
	put(t, s, "/providers/K1/P1", 1)
	put(t, s, "/providers/K1/P2", 2)
	put(t, s, "/providers/K11/P1", 3)
	put(t, s, "/providers/K1/P1", 4)

	if got := fmt.Sprint(ask(t, s, "/providers/K1")); got != "map[/providers/K1/P1:4 /providers/K1/P2:2]" {
		t.Errorf("of K1: %s", got)
	}
	if got := fmt.Sprint(ask(t, s, "/providers/")); got != "map[/providers/K1/P1:4 /providers/K1/P2:2 /providers/K11/P1:3]" {
		t.Errorf("all: %s", got)
	}
	if got := ask(t, s, "/pk/K1"); len(got) != 0 {
		t.Errorf("of something else: %v", got)
	}
	if value, err := s.Get(t.Context(), datastore.NewKey("/providers/K1/P2")); err != nil || len(value) != 1 {
		t.Errorf("get: %x, %v", value, err)
	}
	if _, err := s.Get(t.Context(), datastore.NewKey("/providers/K1/P3")); !errors.Is(err, datastore.ErrNotFound) {
		t.Errorf("get of none: %v", err)
	}
	for _, name := range []string{"/providers/K1/P1", "/providers/K1/P2", "/providers/K11/P1", "/providers/K1/P1"} {
		if err := s.Delete(t.Context(), datastore.NewKey(name)); err != nil {
			t.Error(err)
		}
	}
	if s.size != 0 || len(s.byKey) != 0 || len(s.peers) != 0 {
		t.Errorf("deleted all and kept %d records, %d keys, %d peers", s.size, len(s.byKey), len(s.peers))
	}
}

// What strangers leave here is bounded, in all and for each.
func TestRecordsAreBounded(t *testing.T) {
	s := newRecords(10, 6)
	for i := range 20 {
		put(t, s, fmt.Sprintf("/providers/A%d/P1", i), 1)
	}
	if s.size != 6 {
		t.Errorf("kept %d records of one peer, limit 6", s.size)
	}
	for i := range 20 {
		put(t, s, fmt.Sprintf("/providers/B%d/P%d", i, i+2), 1)
	}
	if s.size != 10 {
		t.Errorf("kept %d records, limit 10", s.size)
	}
	put(t, s, "/providers/A0/P1", 9) // one that is kept can still be renewed
	if got := ask(t, s, "/providers/A0")["/providers/A0/P1"]; got != 9 {
		t.Errorf("renewed to %d", got)
	}
}

func TestRecordsRefuseWhatIsNoRecord(t *testing.T) {
	s := newRecords(10, 10)
	for _, name := range []string{"/", "/pk/K/P", "/providers", "/providers/K"} {
		if err := s.Put(t.Context(), datastore.NewKey(name), []byte{2}); err == nil {
			t.Errorf("put %s", name)
		}
	}
	if err := s.Put(t.Context(), datastore.NewKey("/providers/K/P"), nil); err == nil {
		t.Error("put a record without a time")
	}
}
