package badger

import (
	"crypto/ed25519"
	"errors"
	"slices"
	"testing"

	"github.com/dgraph-io/badger/v4"
	"github.com/ipfs/go-cid"

	"github.com/cairn-p2p/cairn/store/storetest"
	"github.com/cairn-p2p/cairn/types"
)

// signedTogether returns a chain of n events in one batch.
func signedTogether(t *testing.T, topic types.TopicID, n, payload int) []*types.Event {
	t.Helper()
	key := ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize))
	var events []*types.Event
	var links []cid.Cid
	for i := range n {
		e, err := types.NewEvent(types.Body{
			Topic: topic, Publisher: types.PublisherOf(key), Seq: uint64(i + 1), Height: uint64(i + 1),
			Links: links, Time: 1, Payload: make([]byte, payload),
		})
		if err != nil {
			t.Fatal(err)
		}
		events = append(events, e)
		links = []cid.Cid{e.CID}
	}
	types.SignEvents(key, events)
	return events
}

// Neighbours of a batch share a record when they are a whole subtree, and not large.
func TestCutRuns(t *testing.T) {
	const n = types.MultiproofSize
	dag := storetest.NewDAG(t, storetest.Rand(t), "topic", 1)
	chain := func(n, payload int) []*types.Event { return signedTogether(t, dag.Topic(), n, payload) }
	swapped := chain(n, 10)
	swapped[3], swapped[4] = swapped[4], swapped[3]
	size := 0 // of the bodies without payload, whose length takes three bytes
	for _, e := range chain(n, 256) {
		size += len(e.Bytes()) - 256
	}
	largest := (maxRunBytes - size) / n
	ones := func(n int) []int { return slices.Repeat([]int{1}, n) }
	for name, test := range map[string]struct {
		events []*types.Event
		want   []int
	}{
		"whole":           {chain(n, 10), []int{n}},
		"more":            {chain(2*n, 10), []int{n, n}},
		"and a few":       {chain(n+3, 10), []int{n, 3}},
		"and one":         {chain(n+1, 10), []int{n, 1}},
		"few":             {chain(3, 10), []int{3}},
		"one":             {chain(1, 10), []int{1}},
		"two batches":     {slices.Concat(chain(n+2, 10), chain(2, 10)), []int{n, 2, 2}},
		"from the middle": {chain(2*n, 10)[1:], append(ones(n-1), n)},
		"cut":             {chain(2*n, 10)[:2*n-1], append([]int{n}, ones(n-1)...)},
		"swapped":         {swapped, ones(n)},
		"large":           {chain(n, largest), []int{n}},
		"too large":       {chain(n, largest+1), ones(n)},
	} {
		var got []int
		for _, r := range cutRuns(test.events) {
			got = append(got, len(r.events))
			if (r.proof == nil) != (len(r.events) == 1) {
				t.Errorf("%s: a run of %d with a proof of %d bytes", name, len(r.events), len(r.proof))
			}
		}
		if !slices.Equal(got, test.want) {
			t.Errorf("%s: runs of %v, want %v", name, got, test.want)
		}
	}
}

// Bytes that are no record, or not the one that is looked for, are refused.
func TestCorruptRecord(t *testing.T) {
	dag := storetest.NewDAG(t, storetest.Rand(t), "topic", 1)
	events := signedTogether(t, dag.Topic(), types.MultiproofSize, 10)
	good := cutRuns(events)[0].encode(make([]types.Cursor, len(events)))
	r, err := decodeRecord(100, good)
	if err != nil || r.first() != 100-types.MultiproofSize+1 {
		t.Fatalf("first is %d, %v", r.first(), err)
	}
	changed := func(at int, to byte) []byte {
		b := slices.Clone(good)
		b[at] = to
		return b
	}
	for name, b := range map[string][]byte{
		"empty":          {},
		"kind":           changed(0, 2),
		"no count":       good[:1],
		"one event":      changed(1, 1),
		"too many":       changed(1, types.MultiproofSize+1),
		"fewer events":   changed(1, types.MultiproofSize-1),
		"body too long":  changed(10, 0x7f),
		"cut in a body":  good[:100],
		"cut in a proof": good[:len(good)-1],
		"longer":         append(slices.Clone(good), 0),
	} {
		r, err := decodeRecord(100, b)
		if err == nil {
			_, err = r.entry(0)
		}
		if !errors.Is(err, types.ErrCorrupt) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := decodeRecord(types.MultiproofSize-1, good); !errors.Is(err, types.ErrCorrupt) {
		t.Errorf("a record that begins before event 1: %v", err)
	}
}

// A hole in the log is corruption for every way to read it.
func TestMissingRecord(t *testing.T) {
	s := openWith(t, &faults{}, Options{})
	dag := join(t, s, 1)[0]
	const n = 3 * types.MultiproofSize
	events := signedTogether(t, dag.Topic(), n, 10)
	b := &types.Batch{
		Topic: dag.Topic(), First: 1, Events: events, AddHeads: []types.Head{{CID: events[n-1].CID, Height: n}},
	}
	if err := s.Commit(b); err != nil {
		t.Fatal(err)
	}
	key := logKey(1, 2*types.MultiproofSize)
	var record []byte
	err := s.view(func(txn *badger.Txn) (err error) {
		record, err = get(txn, key)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	change := func(w write) {
		t.Helper()
		if err := s.submit(func(tx) ([]write, error) { return []write{w}, nil }); err != nil {
			t.Fatal(err)
		}
	}
	change(write{key: key, remove: true})
	missing := uint64(types.MultiproofSize + 5)
	if _, err := s.At(dag.Topic(), []uint64{missing}); !errors.Is(err, types.ErrCorrupt) {
		t.Errorf("at: %v", err)
	}
	if _, err := s.Get([]cid.Cid{events[missing-1].CID}); !errors.Is(err, types.ErrCorrupt) {
		t.Errorf("get: %v", err)
	}
	if cids, err := s.At(dag.Topic(), []uint64{n, 1, 2}); err != nil || cids[0] != events[n-1].CID || cids[2] != events[1].CID {
		t.Errorf("at, beside the hole: %v, %v", cids, err)
	}
	read := 0
	for _, err = range s.Log(dag.Topic(), types.Cursor{}) {
		if err != nil {
			break
		}
		read++
	}
	if !errors.Is(err, types.ErrCorrupt) || read > types.MultiproofSize {
		t.Errorf("log: %d events, %v", read, err)
	}
	for _, err = range s.Query(dag.Topic(), types.Query{Since: 1}) {
		if err != nil {
			break
		}
	}
	if !errors.Is(err, types.ErrCorrupt) {
		t.Errorf("query: %v", err)
	}
	change(write{key: key, value: record}) // openWith checks the store at the end
}
