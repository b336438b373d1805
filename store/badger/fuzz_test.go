package badger

import (
	"bytes"
	"testing"

	"github.com/cairn-p2p/cairn/store/storetest"
	"github.com/cairn-p2p/cairn/types"
)

// Whatever a value of the database holds is read or refused, and what is read
// comes back when it is written and read again.
func FuzzValues(f *testing.F) {
	dag := storetest.NewDAG(f, storetest.Rand(f), "fuzz", 1)
	e := dag.Batch(1).Events[0]
	runs := cutRuns(dag.Batch(3).Events)
	at := make([]types.Cursor, 3)
	for _, b := range [][]byte{
		{},
		place{1, 3, spot{2, 0}}.encode(),
		place{1, 3, spot{2, 15}}.encode(),
		logState{count: 300}.encode(),
		encodeTip(types.Tip{Seq: 1, Height: 2, CID: e.CID}),
		run{events: []*types.Event{e}}.encode(at),
		runs[0].encode(at),
		encodeTopic(true, dag.Genesis.Bytes()),
	} {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if p, err := decodePlace(b); err == nil {
			if again, err := decodePlace(p.encode()); err != nil || again != p {
				t.Errorf("place %+v reads back as %+v, %v", p, again, err)
			}
		}
		if s, err := decodeLogState(b); err == nil {
			if again, err := decodeLogState(s.encode()); err != nil || again != s {
				t.Errorf("topic state %+v reads back as %+v, %v", s, again, err)
			}
		}
		if tip, err := decodeTip(b); err == nil {
			if again, err := decodeTip(encodeTip(tip)); err != nil || again != tip {
				t.Errorf("tip %+v reads back as %+v, %v", tip, again, err)
			}
		}
		if joined, genesis, err := decodeTopic(b); err == nil && !bytes.Equal(encodeTopic(joined, genesis), b) {
			t.Errorf("topic record %x reads back as %v, %x", b, joined, genesis)
		}
		if r, err := decodeRecord(1000, b); err == nil {
			checkRecord(t, r, b)
		}
		cutTopicNo(b) //nolint:errcheck // it must not panic
		positionIn(b) //nolint:errcheck // the same
	})
}

// checkRecord looks whether what was read of a record is all of it.
func checkRecord(t *testing.T, r *record, b []byte) {
	size := 0
	for i := range r.events {
		entry, err := r.entry(i)
		if err != nil {
			return // the proof is of other events
		}
		if want := r.last - uint64(len(r.events)-1-i); entry.Cursor.Number != want {
			t.Errorf("event %d in place of %d", entry.Cursor.Number, want)
		}
		if r.proof != nil && entry.Witness == nil {
			t.Errorf("event %d of %d has no witness", i, len(r.events))
		}
		size += len(entry.Body)
	}
	if rest := len(r.proof) + len(r.plain); size+rest >= len(b) {
		t.Errorf("bodies of %d bytes and %d behind them, from %d", size, rest, len(b))
	}
}
