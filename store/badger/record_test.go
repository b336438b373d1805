package badger

import (
	"crypto/ed25519"
	"errors"
	"math"
	"slices"
	"testing"

	"github.com/dgraph-io/badger/v4"
	"github.com/ipfs/go-cid"

	"github.com/cairn-p2p/cairn/store/storetest"
	"github.com/cairn-p2p/cairn/types"
)

// signedTogether returns a chain of n events in one batch.
func signedTogether(t *testing.T, topic types.TopicID, n, payload int, time func(i int) int64) []*types.Event {
	t.Helper()
	key := ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize))
	var events []*types.Event
	var links []cid.Cid
	for i := range n {
		e, err := types.NewEvent(types.Body{
			Topic: topic, Publisher: types.PublisherOf(key), Seq: uint64(i + 1), Height: uint64(i + 1),
			Links: links, Time: time(i), Payload: make([]byte, payload),
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

func atTime(t int64) func(int) int64 { return func(int) int64 { return t } }

// Neighbours of a batch share a record unless they are large or far apart in time.
func TestCutRun(t *testing.T) {
	const n = types.MultiproofSize
	dag := storetest.NewDAG(t, storetest.Rand(t), "topic", 1)
	far := func(apart int64) func(int) int64 {
		return func(i int) int64 { return 1e18 - int64(i)*apart/(n-1) }
	}
	for name, test := range map[string]struct {
		events []*types.Event
		want   int
	}{
		"whole":           {signedTogether(t, dag.Topic(), n, 10, atTime(1)), n},
		"more":            {signedTogether(t, dag.Topic(), 2*n, 10, atTime(1)), n},
		"few":             {signedTogether(t, dag.Topic(), 3, 10, atTime(1)), 3},
		"one":             {signedTogether(t, dag.Topic(), 1, 10, atTime(1)), 1},
		"from the middle": {signedTogether(t, dag.Topic(), 2*n, 10, atTime(1))[1:], 1},
		"cut":             {signedTogether(t, dag.Topic(), n, 10, atTime(1))[:n-1], 1},
		"a minute":        {signedTogether(t, dag.Topic(), n, 10, far(maxRunTime)), n},
		"longer":          {signedTogether(t, dag.Topic(), n, 10, far(maxRunTime+1)), 1},
		"large":           {signedTogether(t, dag.Topic(), n, maxRunBytes/n, atTime(1)), 1},
	} {
		run, proof := cutRun(test.events)
		if len(run) != test.want || (proof == nil) != (test.want == 1) {
			t.Errorf("%s: a run of %d with proof of %d bytes, want %d", name, len(run), len(proof), test.want)
		}
	}
}

// A record is found for a time range that begins as far behind its beginning as can be.
func TestTimeRangeInsideRecord(t *testing.T) {
	s := openWith(t, &faults{}, Options{})
	dag := join(t, s, 1)[0]
	const first, step = int64(1e18), maxRunTime / (types.MultiproofSize - 1)
	events := signedTogether(t, dag.Topic(), types.MultiproofSize, 10, func(i int) int64 { return first + int64(i)*step })
	last := events[len(events)-1]
	if err := s.Commit(&types.Batch{
		Topic: dag.Topic(), First: 1, Events: events, AddHeads: []types.Head{{CID: last.CID, Height: last.Height}},
	}); err != nil {
		t.Fatal(err)
	}
	for _, since := range []int64{math.MinInt64, -1, 0, 1} {
		n := 0
		for _, err := range s.Query(dag.Topic(), types.Query{Since: since, Until: first + maxRunTime + 1}) {
			if err != nil {
				t.Fatal(err)
			}
			n++
		}
		if n != len(events) {
			t.Errorf("since %d: %d events, want %d", since, n, len(events))
		}
	}
	for i, e := range events {
		for _, q := range []types.Query{{Since: e.Time}, {Since: e.Time, Until: e.Time + 1}} {
			var got []uint64
			for e, err := range s.Query(dag.Topic(), q) {
				if err != nil {
					t.Fatal(err)
				}
				got = append(got, e.Seq)
			}
			want := len(events) - i
			if q.Until != 0 {
				want = 1
			}
			if len(got) != want || got[0] != e.Seq {
				t.Errorf("since %d until %d: events %v, want %d from %d on", q.Since, q.Until, got, want, e.Seq)
			}
		}
	}
}

// Bytes that are no record, or not the one that is looked for, are refused.
func TestCorruptRecord(t *testing.T) {
	dag := storetest.NewDAG(t, storetest.Rand(t), "topic", 1)
	events := signedTogether(t, dag.Topic(), types.MultiproofSize, 10, atTime(1))
	run, proof := cutRun(events)
	good := encodeRecord(run, proof, make([]types.Cursor, len(run)))
	if entries, err := decodeRecord(100, good); err != nil || entries[0].Cursor.Number != 100-types.MultiproofSize+1 {
		t.Fatalf("first is %d, %v", entries[0].Cursor.Number, err)
	}
	changed := func(at int, to byte) []byte {
		b := slices.Clone(good)
		b[at] = to
		return b
	}
	for name, b := range map[string][]byte{
		"empty":          {},
		"kind":           changed(0, 2),
		"kind of one":    changed(0, recordPlain),
		"no count":       good[:1],
		"one event":      changed(1, 1),
		"too many":       changed(1, types.MultiproofSize+1),
		"fewer events":   changed(1, types.MultiproofSize-1),
		"body too long":  changed(10, 0x7f),
		"cut in a body":  good[:100],
		"cut in a proof": good[:len(good)-1],
		"longer":         append(slices.Clone(good), 0),
	} {
		entries, err := decodeRecord(100, b)
		if name == "kind of one" && err == nil {
			// The body is whole; what is behind it is no witness of it.
			if e, err := entries[0].Event(); err == nil && types.NewVerifier(1).Verify(e) == nil {
				t.Errorf("%s: an event that proves itself", name)
			}
			continue
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
	events := signedTogether(t, dag.Topic(), n, 10, atTime(1))
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
