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
	run, proof := cutRun(dag.Batch(3).Events)
	at := make([]types.Cursor, len(run))
	for _, b := range [][]byte{
		{},
		place{1, 3, spot{2, 0}}.encode(),
		place{1, 3, spot{2, 15}}.encode(),
		logState{count: 300}.encode(),
		encodeTip(types.Tip{Seq: 1, Height: 2, CID: e.CID}),
		encodeRecord([]*types.Event{e}, nil, []types.Cursor{types.RunningHash{}.Next(e.CID).Cursor(1)}),
		encodeRecord(run, proof, at),
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
		if entries, err := decodeRecord(1000, b); err == nil {
			size := 0
			for i, e := range entries {
				size += len(e.Body)
				if want := uint64(1000 - len(entries) + 1 + i); e.Cursor.Number != want {
					t.Errorf("event %d in place of %d", e.Cursor.Number, want)
				}
			}
			if size > len(b) {
				t.Errorf("bodies of %d bytes from %d", size, len(b))
			}
		}
		cutTopicNo(b) //nolint:errcheck // it must not panic
		positionIn(b) //nolint:errcheck // the same
	})
}
