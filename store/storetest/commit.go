package storetest

import (
	"bytes"
	"crypto/ed25519"
	"slices"
	"sync"

	"github.com/ipfs/go-cid"

	"github.com/cairn-p2p/cairn/types"
)

// joined returns the model of a topic that the store holds.
func (d *disk) joined(name string, publishers int) *DAG {
	d.Helper()
	dag := NewDAG(d, d.rng, name, publishers)
	must(d, d.store.JoinTopic(dag.Genesis))
	return dag
}

// check compares the stored log with the model.
func (d *disk) check(dag *DAG) {
	d.Helper()
	entries, err := collect(d.store.Log(dag.Topic(), types.Cursor{}))
	must(d, err)
	same := slices.EqualFunc(entries, dag.Events, func(entry types.Entry, e *types.Event) bool {
		got, err := entry.Event()
		return err == nil && sameEvent(got, e)
	})
	if !same {
		d.Fatalf("log has %d events, want %d, or others", len(entries), len(dag.Events))
	}
}

func testCommit(d *disk) {
	dag := d.joined("topic", 3)
	dag.Grow(d.store, 500)
	d.check(dag)
	must(d, d.store.Writable())
	if n, err := d.store.Usage(); err != nil || n <= 0 {
		d.Errorf("usage %d, %v", n, err)
	}
	wantError(d, d.store.Commit(&types.Batch{Topic: dag.Topic(), First: 501}), types.ErrInvalidArgument)
}

// A batch that leaves a gap or overwrites changes nothing.
func testConflict(d *disk) {
	dag := d.joined("topic", 3)
	dag.Grow(d.store, 20)
	for _, first := range []uint64{0, 1, 20, 22, 1 << 63} {
		b := dag.Batch(2)
		b.First = first
		wantError(d, d.store.Commit(b), types.ErrConflict)
	}
	d.check(dag)
	dag.Grow(d.store, 20)
	d.check(dag)
}

func testForeignEvent(d *disk) {
	dag, other := d.joined("topic", 1), d.joined("other", 1)
	b := dag.Batch(3)
	b.Events[2] = other.Batch(1).Events[0]
	wantError(d, d.store.Commit(b), types.ErrInvalidArgument)
	d.check(dag)
}

func testLargeEvent(d *disk) {
	dag := d.joined("topic", 1)
	for range 3 {
		b := dag.PayloadBatch(1, types.MaxPayload)
		must(d, d.store.Commit(b))
		dag.Add(b)
	}
	b := dag.PayloadBatch(3, types.MaxPayload) // one more than a driver's batch has
	must(d, d.store.Commit(b))
	dag.Add(b)
	d.crash()
	d.check(dag)
}

// Every event comes back with its own witness, whether it was signed alone or with
// others, and after a crash: it proves itself.
func testBatchWitness(d *disk) {
	dag := d.joined("topic", 1)
	for _, n := range []int{1, 200, 1, 64} {
		b := dag.Batch(n)
		must(d, d.store.Commit(b))
		dag.Add(b)
	}
	d.crash()
	d.check(dag) // witnesses included
	entries, err := collect(d.store.Log(dag.Topic(), types.Cursor{}))
	must(d, err)
	next := uint64(0)
	for i, entry := range entries {
		e, err := entry.Event()
		must(d, err)
		must(d, types.NewVerifier(1).Verify(e))
		got, err := d.store.Get([]cid.Cid{e.CID})
		must(d, err)
		if !sameEvent(got[0], dag.Events[i]) {
			d.Errorf("event %d is read by CID with another witness, or is another", i+1)
		}
		part, together := types.PartOfBatch(e.Witness)
		if together == (i == 0 || i == 201) || together && part.Index != next {
			d.Errorf("event %d is number %d of %d signed together, want %d", i+1, part.Index, part.N, next)
		}
		if next++; !together || next == part.N {
			next = 0
		}
	}
}

// Chains of several publishers, each signed in batches, take turns in canonical
// order. Each event is read with its own witness in every order, and by its number.
func testChains(d *disk) {
	const publishers = 5
	dag := d.joined("topic", publishers)
	for _, n := range []int{40, 1, 17, 64, 3} {
		for i := range publishers {
			b := dag.Chain(i, n)
			must(d, d.store.Commit(b))
			dag.Add(b)
		}
	}
	d.crash()
	d.check(dag)
	middle := dag.Events[30]
	for _, q := range []types.Query{
		{},
		{Reverse: true},
		{Reverse: true, Limit: 100},
		{After: middle.CID, Limit: 7},
		{Since: middle.Time},
		{Since: middle.Time, Until: middle.Time + 1},
		{Since: middle.Time - 10_000_000, Until: middle.Time, Reverse: true, Publisher: &middle.Publisher},
	} {
		checkQuery(d, d.store, dag.Topic(), dag.Events, q)
	}
	for i, e := range dag.Events {
		cids, err := d.store.At(dag.Topic(), []uint64{uint64(i) + 1})
		must(d, err)
		if cids[0] != e.CID {
			d.Errorf("event %d is %s, want %s", i+1, cids[0], e.CID)
		}
	}
}

// A batch as large as a driver makes them, of events as small as they get, with
// as many tags as they may have: no other has as many index entries.
func testTinyEvents(d *disk) {
	dag := d.joined("topic", 2)
	var tags []string
	for i := range types.MaxTags {
		tags = append(tags, string(rune('a'+i)))
	}
	n := types.MaxBatchSize / dag.PayloadBatch(1, 0, tags...).Size()
	if raceEnabled {
		n /= 10
	}
	b := dag.PayloadBatch(n, 0, tags...)
	must(d, d.store.Commit(b))
	dag.Add(b)
	d.check(dag)
}

// Two nodes with one key make two events of one seq: the tip stays with the
// first, and a later event with a lower seq does not move it.
func testForkedSeq(d *disk) {
	dag := d.joined("topic", 1)
	key := ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize))
	for i, seq := range []uint64{5, 5, 3, 4} {
		e := lone(d, dag, key, seq, i)
		b := &types.Batch{
			Topic: dag.Topic(), First: uint64(i) + 1, Events: []*types.Event{e},
			AddHeads: []types.Head{{CID: e.CID, Height: 1}},
		}
		must(d, d.store.Commit(b))
		dag.Add(b)
	}
	state, err := d.store.Load(dag.Topic(), types.PublisherOf(key))
	must(d, err)
	if want := (types.Tip{CID: dag.Events[0].CID, Seq: 5, Height: 1}); state.Tip != want {
		d.Errorf("tip %v, want %v", state.Tip, want)
	}
}

// lone is an event without links; n makes it another one of the same seq.
func lone(d *disk, dag *DAG, key ed25519.PrivateKey, seq uint64, n int) *types.Event {
	d.Helper()
	e, err := types.NewEvent(types.Body{Topic: dag.Topic(), Publisher: types.PublisherOf(key), Seq: seq, Height: 1, Payload: []byte{byte(n)}})
	must(d, err)
	types.SignEvents(key, []*types.Event{e})
	return e
}

// What is integrated is found whatever its seq is beside others', and nothing else.
func testHeightsOf(d *disk) {
	dag := d.joined("topic", 1)
	key, other := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{1}, ed25519.SeedSize)), ed25519.NewKeyFromSeed(bytes.Repeat([]byte{2}, ed25519.SeedSize))
	var all []*types.Event
	for _, seq := range d.rng.Perm(20) {
		for n := range 3 { // forks
			all = append(all, lone(d, dag, key, uint64(seq)+1, n))
		}
	}
	all = append(all, lone(d, dag, other, 1, 0))
	stored := map[cid.Cid]bool{}
	for _, e := range all {
		known, err := d.store.HeightsOf(dag.Topic(), all)
		must(d, err)
		for _, e := range all {
			if h, ok := known[e.CID]; ok != stored[e.CID] || ok && h != e.Height {
				d.Fatalf("event of seq %d: height %d, %v with %d stored; it is stored: %v", e.Seq, h, ok, len(stored), stored[e.CID])
			}
		}
		if d.rng.IntN(3) > 0 {
			b := &types.Batch{
				Topic: dag.Topic(), First: uint64(len(stored)) + 1, Events: []*types.Event{e},
				AddHeads: []types.Head{{CID: e.CID, Height: 1}},
			}
			must(d, d.store.Commit(b))
			dag.Add(b)
			stored[e.CID] = true
		}
	}
	unknown := NewDAG(d, d.rng, "unknown", 1)
	known, err := d.store.HeightsOf(unknown.Topic(), unknown.Batch(2).Events)
	must(d, err)
	if len(known) > 0 {
		d.Errorf("%d heights in a topic that is not held", len(known))
	}
}

func testReopen(d *disk) {
	dags := []*DAG{d.joined("one", 2), d.joined("two", 2)}
	for range 5 {
		for _, dag := range dags {
			dag.Grow(d.store, 30)
		}
		d.reopen()
		for _, dag := range dags {
			d.check(dag)
		}
	}
}

// What Commit acknowledged survives a crash, as a whole and in order.
func testCrash(d *disk) {
	dags := []*DAG{d.joined("one", 2), d.joined("two", 2)}
	for range 5 {
		for _, dag := range dags {
			dag.Grow(d.store, 30)
		}
		d.crash()
		CheckInvariants(d, d.store)
		for _, dag := range dags {
			d.check(dag)
		}
	}
}

func testClosed(d *disk) {
	dag := d.joined("topic", 1)
	dag.Grow(d.store, 10)
	s := d.store
	next, stop := s.Log(dag.Topic(), types.Cursor{}), false
	for _, err := range next {
		if err != nil {
			wantError(d, err, types.ErrClosed)
			break
		}
		if !stop {
			stop = true
			must(d, s.Close()) // a loop may close the store under itself
		}
	}
	must(d, s.Close())
	wantError(d, s.JoinTopic(dag.Genesis), types.ErrClosed)
	wantError(d, s.LeaveTopic(dag.Topic()), types.ErrClosed)
	wantError(d, s.Commit(dag.Batch(1)), types.ErrClosed)
	wantError(d, s.SetMeta("key", nil), types.ErrClosed)
	wantError(d, s.SetMetas(types.Record{Key: "key"}), types.ErrClosed)
	wantError(d, s.Writable(), types.ErrClosed)
	errs := map[string]error{}
	_, errs["Topic"] = s.Topic(dag.Topic())
	_, errs["Topics"] = collect(s.Topics())
	_, errs["Load"] = s.Load(dag.Topic(), types.Publisher{})
	_, errs["Heights"] = s.Heights(dag.Topic(), nil)
	_, errs["HeightsOf"] = s.HeightsOf(dag.Topic(), nil)
	_, errs["Get"] = s.Get(nil)
	_, errs["Log"] = collect(s.Log(dag.Topic(), types.Cursor{}))
	_, errs["Query"] = collect(s.Query(dag.Topic(), types.Query{}))
	_, errs["Meta"] = s.Meta("key")
	_, errs["Metas"] = s.Metas("", "", 1)
	_, errs["Usage"] = s.Usage()
	for name, err := range errs {
		d.Log(name)
		wantError(d, err, types.ErrClosed)
	}
}

// Close waits for commits: each of them is stored or was refused.
func testCloseWaits(d *disk) {
	const topics = 8
	var dags []*DAG
	for i := range topics {
		dags = append(dags, d.joined(string(rune('a'+i)), 1))
	}
	var wg sync.WaitGroup
	started := make(chan struct{}, topics)
	for _, dag := range dags {
		wg.Go(func() {
			for n := 0; ; n++ {
				b := dag.Batch(2)
				if err := d.store.Commit(b); err != nil {
					wantClosed(d, err)
					return
				}
				dag.Add(b)
				if n == 0 {
					started <- struct{}{}
				}
			}
		})
	}
	for range topics {
		<-started
	}
	must(d, d.store.Close())
	wg.Wait()
	d.open()
	for _, dag := range dags {
		d.check(dag)
	}
}
