package storetest

import (
	"slices"

	"github.com/ipfs/go-cid"

	"github.com/cairn-p2p/cairn/types"
)

func testHeights(d *disk) {
	dag, other := d.joined("topic", 2), d.joined("other", 2)
	dag.Grow(d.store, 2000)
	other.Grow(d.store, 10)
	absent := dag.Batch(1).Events[0].CID
	cids := []cid.Cid{absent, other.Events[3].CID, dag.Events[7].CID, dag.Events[7].CID}
	for _, e := range dag.Events {
		cids = append(cids, e.CID)
	}
	heights, err := d.store.Heights(dag.Topic(), cids)
	must(d, err)
	if _, ok := heights[absent]; ok {
		d.Error("an absent event has a height")
	}
	if h, ok := heights[other.Events[3].CID]; !ok || h != 0 {
		d.Errorf("an event of another topic has height %d, %v; want 0", h, ok)
	}
	for _, e := range dag.Events {
		if heights[e.CID] != e.Height {
			d.Fatalf("height %d, want %d", heights[e.CID], e.Height)
		}
	}
	unknown := NewDAG(d, d.rng, "unknown", 1)
	heights, err = d.store.Heights(unknown.Topic(), []cid.Cid{dag.Events[0].CID})
	must(d, err)
	if h, ok := heights[dag.Events[0].CID]; !ok || h != 0 {
		d.Errorf("height %d, %v in a topic that is not held; want 0", h, ok)
	}
}

func testGet(d *disk) {
	dag, other := d.joined("topic", 2), d.joined("other", 2)
	dag.Grow(d.store, 100)
	other.Grow(d.store, 100)
	absent := dag.Batch(1).Events[0].CID
	want := []*types.Event{other.Events[40], nil, dag.Events[99], dag.Events[0], dag.Events[99]}
	var cids []cid.Cid
	for _, e := range want {
		if e == nil {
			cids = append(cids, absent)
		} else {
			cids = append(cids, e.CID)
		}
	}
	got, err := d.store.Get(cids)
	must(d, err)
	if len(got) != len(want) {
		d.Fatalf("%d events, want %d", len(got), len(want))
	}
	for i := range want {
		if want[i] == nil && got[i] != nil || want[i] != nil && !sameEvent(got[i], want[i]) {
			d.Errorf("event %d is %v, want %v", i, got[i], want[i])
		}
	}
}

func testLog(d *disk) {
	dag := d.joined("topic", 2)
	entries, err := collect(d.store.Log(dag.Topic(), types.Cursor{}))
	must(d, err)
	if len(entries) != 0 {
		d.Errorf("empty topic has %d entries", len(entries))
	}
	dag.Grow(d.store, 700) // several chunks of any implementation
	all, err := collect(d.store.Log(dag.Topic(), types.Cursor{}))
	must(d, err)
	cursors := []types.Cursor{types.StartHash(d.store.LogID(), dag.Topic()).Cursor(0)}
	for _, entry := range all {
		cursors = append(cursors, entry.Cursor)
	}
	for n, cursor := range cursors {
		if n%67 != 0 && n != len(all) {
			continue
		}
		rest, err := collect(d.store.Log(dag.Topic(), cursor))
		must(d, err)
		if len(rest) != len(all)-n || len(rest) > 0 && rest[0].CID() != dag.Events[n].CID {
			d.Errorf("%d entries behind %d of %d", len(rest), n, len(all))
		}
	}
	_, err = collect(d.store.Log(NewDAG(d, d.rng, "unknown", 1).Topic(), types.Cursor{}))
	wantError(d, err, types.ErrNotFound)
}

func testAt(d *disk) {
	dag := d.joined("topic", 2)
	dag.Grow(d.store, 700)
	numbers := []uint64{700, 1, 350, 350}
	cids, err := d.store.At(dag.Topic(), numbers)
	must(d, err)
	for i, number := range numbers {
		if cids[i] != dag.Events[number-1].CID {
			d.Errorf("event %d is %s, want %s", number, cids[i], dag.Events[number-1].CID)
		}
	}
	for _, number := range []uint64{0, 701, 1 << 63} {
		_, err := d.store.At(dag.Topic(), []uint64{number})
		wantError(d, err, types.ErrNotFound)
	}
	_, err = d.store.At(NewDAG(d, d.rng, "unknown", 1).Topic(), []uint64{1})
	wantError(d, err, types.ErrNotFound)
}

// A loop sees the log as it was when the loop began.
func testLogSnapshot(d *disk) {
	dag := d.joined("topic", 2)
	dag.Grow(d.store, 600)
	n := 0
	for _, err := range d.store.Log(dag.Topic(), types.Cursor{}) {
		must(d, err)
		if n%100 == 0 {
			dag.Commit(d.store, 1)
		}
		n++
	}
	if n != 600 {
		d.Errorf("%d entries, want the 600 of the beginning", n)
	}
}

// A caller may keep and change what it was given.
func testLogOwnsBytes(d *disk) {
	dag := d.joined("topic", 2)
	dag.Grow(d.store, 50)
	for entry, err := range d.store.Log(dag.Topic(), types.Cursor{}) {
		must(d, err)
		for _, b := range [][]byte{entry.Body, entry.Witness} {
			for i := range b {
				b[i] ^= 0xff
			}
			_ = append(b, "more"...)
		}
	}
	d.check(dag)
}

func testInvalidCursor(d *disk) {
	dag, other := d.joined("topic", 2), d.joined("other", 2)
	dag.Grow(d.store, 20)
	other.Grow(d.store, 20)
	foreign, err := d.store.Load(other.Topic(), types.Publisher{})
	must(d, err)
	state, err := d.store.Load(dag.Topic(), types.Publisher{})
	must(d, err)
	start := types.StartHash(types.LogID{1}, dag.Topic()).Cursor(0)
	flipped, early, late := state.End, state.End, state.End
	flipped.Hash[7] ^= 1
	early.Number--
	late.Number++
	for name, c := range map[string]types.Cursor{
		"another topic's": foreign.End, "another log's start": start, "another log": flipped,
		"early": early, "late": late, "far": {Number: 1 << 63}, "zero hash": {Number: 3}, "last number": {Number: 1<<64 - 1},
	} {
		d.Log(name)
		entries, err := collect(d.store.Log(dag.Topic(), c))
		wantError(d, err, types.ErrInvalidCursor)
		if len(entries) != 0 {
			d.Errorf("%d entries behind an invalid cursor", len(entries))
		}
	}
}

func testQuery(d *disk) {
	rng := d.rng
	dag := NewDAG(d, rng, "topic", 3)
	must(d, d.store.JoinTopic(dag.Genesis))
	dag.Grow(d.store, 900)
	queries := 300
	if raceEnabled {
		queries = 100
	}
	for range queries {
		q := types.Query{Reverse: rng.IntN(2) == 0}
		if rng.IntN(2) == 0 {
			q.After = dag.Events[rng.IntN(len(dag.Events))].CID
		}
		if rng.IntN(2) == 0 {
			q.Since = rng.Int64N(1100) - 50
		}
		if rng.IntN(2) == 0 {
			q.Until = rng.Int64N(1100) - 50
		}
		if rng.IntN(2) == 0 {
			q.Tag = []string{"a", "ab", "b", "b\x00", "ünï"}[rng.IntN(5)]
		}
		if rng.IntN(3) == 0 {
			p := dag.Publisher(rng.IntN(3))
			q.Publisher = &p
		}
		if rng.IntN(2) == 0 {
			q.Limit = rng.IntN(400)
		}
		checkQuery(d, d.store, dag.Topic(), dag.Events, q)
	}
}

// Pages by After and Limit make up the whole, both ways, by each index.
func testQueryPages(d *disk) {
	dag := d.joined("topic", 2)
	dag.Grow(d.store, 400)
	for _, q := range []types.Query{{}, {Tag: "a"}, {Since: 200}, {Since: 200, Until: 700, Tag: "ab"}} {
		for _, q.Reverse = range []bool{false, true} {
			q.Limit = 7
			var all []*types.Event
			for {
				page, err := collect(d.store.Query(dag.Topic(), q))
				must(d, err)
				if len(page) == 0 {
					break
				}
				all = append(all, page...)
				q.After = page[len(page)-1].CID
			}
			q.After, q.Limit = cid.Undef, 0
			if want := answer(dag.Events, q); !slices.EqualFunc(all, want, sameEvent) {
				d.Errorf("pages of %+v have %d events, want %d, or others", q, len(all), len(want))
			}
		}
	}
}

// A loop sees the topic as it was when the loop began.
func testQuerySnapshot(d *disk) {
	dag := d.joined("topic", 2)
	dag.Grow(d.store, 600)
	for _, q := range []types.Query{{}, {Reverse: true}, {Tag: "a"}, {Since: 1}} {
		want := answer(dag.Events, q)
		var got []*types.Event
		for e, err := range d.store.Query(dag.Topic(), q) {
			must(d, err)
			if len(got)%100 == 0 {
				dag.Commit(d.store, 5)
			}
			got = append(got, e)
		}
		if !slices.EqualFunc(got, want, sameEvent) {
			d.Errorf("query %+v: %d events, want %d, or others", q, len(got), len(want))
		}
	}
}

func testQueryUnknown(d *disk) {
	dag, other := d.joined("topic", 1), d.joined("other", 1)
	dag.Grow(d.store, 5)
	other.Grow(d.store, 5)
	for _, after := range []cid.Cid{dag.Batch(1).Events[0].CID, other.Events[0].CID} {
		for _, q := range []types.Query{{After: after}, {After: after, Tag: "a"}, {After: after, Since: 1}} {
			_, err := collect(d.store.Query(dag.Topic(), q))
			wantError(d, err, types.ErrNotFound)
		}
	}
	_, err := collect(d.store.Query(NewDAG(d, d.rng, "unknown", 1).Topic(), types.Query{}))
	wantError(d, err, types.ErrNotFound)
	for _, tag := range []string{"never", string(make([]byte, 1000))} {
		got, err := collect(d.store.Query(dag.Topic(), types.Query{Tag: tag}))
		must(d, err)
		if len(got) != 0 {
			d.Errorf("%d events with a tag that none has", len(got))
		}
	}
}

// The bodies of all loops may write to the store and read it.
func testCommitInLoop(d *disk) {
	dag := d.joined("topic", 1)
	dag.Grow(d.store, 10)
	for info, err := range d.store.Topics() {
		must(d, err)
		for _, err := range d.store.Log(info.Genesis.ID(), types.Cursor{}) {
			must(d, err)
			for e, err := range d.store.Query(info.Genesis.ID(), types.Query{Limit: 2}) {
				must(d, err)
				_, err = d.store.Get([]cid.Cid{e.CID})
				must(d, err)
				dag.Commit(d.store, 1)
			}
		}
	}
	d.check(dag)
}
