package storetest

import (
	"bytes"
	"errors"
	"fmt"
	"sync"

	"github.com/ipfs/go-cid"

	"github.com/cairn-p2p/cairn/types"
)

// testFault makes each call of a commit fail, and fail although it worked.
// After types.ErrStore the batch is stored or not, after any other error it is
// not; the store goes on by itself, and agrees with its disk.
func testFault(d *disk) {
	if d.Fault == nil {
		d.Skip("this store cannot be made to fail")
	}
	dag := d.joined("topic", 2)
	dag.Grow(d.store, 10)
	step := 1
	if raceEnabled {
		step = 3
	}
	for _, persisted := range []bool{false, true} {
		for call := 0; ; call += step {
			b := dag.Batch(2)
			fired := d.Fault(call, persisted)
			err := d.store.Commit(b)
			if !fired() {
				must(d, err)
				dag.Add(b)
				break
			}
			if err == nil {
				d.Fatalf("call %d failed, persisted %v, and Commit did not", call, persisted)
			}
			if d.stored(dag, b) {
				if !errors.Is(err, types.ErrStore) {
					d.Fatalf("call %d: batch stored with error %v", call, err)
				}
				dag.Add(b)
			}
			if call%2 == 0 {
				d.crash()
			}
			CheckInvariants(d, d.store)
			dag.Grow(d.store, 5)
			d.check(dag)
		}
	}
}

// stored reports whether the topic has grown by b, and fails the test if it has
// grown by a part.
func (d *disk) stored(dag *DAG, b *types.Batch) bool {
	d.Helper()
	state, err := d.store.Load(dag.Topic(), types.Publisher{})
	must(d, err)
	switch state.Events {
	case b.First - 1:
		return false
	case b.First - 1 + uint64(len(b.Events)):
		return true
	}
	d.Fatalf("%d events after a failed batch from %d on", state.Events, b.First)
	return false
}

// testFaultJoin does the same to joining and leaving.
func testFaultJoin(d *disk) {
	if d.Fault == nil {
		d.Skip("this store cannot be made to fail")
	}
	rng := d.rng
	for _, persisted := range []bool{false, true} {
		for call := 0; ; call++ {
			dag := NewDAG(d, rng, fmt.Sprintf("topic %d %v", call, persisted), 1)
			fired := d.Fault(call, persisted)
			err := d.store.JoinTopic(dag.Genesis)
			if !fired() {
				must(d, err)
				break
			}
			if err == nil {
				d.Fatalf("call %d failed, and JoinTopic did not", call)
			}
			must(d, d.store.JoinTopic(dag.Genesis))
			dag.Grow(d.store, 5)
			d.check(dag)
		}
	}
}

// testFaultMetas does the same to records written together: both are there, or
// neither.
func testFaultMetas(d *disk) {
	if d.Fault == nil {
		d.Skip("this store cannot be made to fail")
	}
	for _, persisted := range []bool{false, true} {
		for call := 0; ; call++ {
			value := []byte(fmt.Sprint(call, persisted))
			fired := d.Fault(call, persisted)
			err := d.store.SetMetas(types.Record{Key: "one", Value: value}, types.Record{Key: "two", Value: value})
			if !fired() {
				must(d, err)
				break
			}
			if err == nil {
				d.Fatalf("call %d failed, and SetMetas did not", call)
			}
			if call%2 == 0 {
				d.crash()
			}
			one, oneErr := d.store.Meta("one")
			two, twoErr := d.store.Meta("two")
			must(d, errors.Join(oneErr, twoErr))
			if !bytes.Equal(one, two) {
				d.Fatalf("call %d: records are %q and %q", call, one, two)
			}
			if bytes.Equal(one, value) && !errors.Is(err, types.ErrStore) {
				d.Fatalf("call %d: records stored with error %v", call, err)
			}
		}
	}
}

// testConcurrentTopics commits to many topics at once.
func testConcurrentTopics(d *disk) {
	const topics, batches = 16, 20
	var dags []*DAG
	for i := range topics {
		dags = append(dags, d.joined(fmt.Sprint("topic ", i), 2))
	}
	var wg sync.WaitGroup
	for _, dag := range dags {
		wg.Go(func() {
			for range batches {
				b := dag.Batch(3)
				if err := d.store.Commit(b); err != nil {
					d.Errorf("commit: %v", err)
					return
				}
				dag.Add(b)
			}
		})
	}
	wg.Wait()
	d.crash()
	for _, dag := range dags {
		d.check(dag)
	}
}

// testConcurrentReads reads a topic while it grows: every answer is a state
// that the topic had.
func testConcurrentReads(d *disk) {
	dag := d.joined("topic", 2)
	dag.Grow(d.store, 50)
	cids := []cid.Cid{dag.Events[0].CID, dag.Events[49].CID}
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() {
			for seen := 0; ; {
				select {
				case <-stop:
					return
				default:
				}
				entries, err := collect(d.store.Log(dag.Topic(), types.Cursor{}))
				if err != nil || len(entries) < seen {
					d.Errorf("%d entries after %d: %v", len(entries), seen, err)
					return
				}
				seen = len(entries)
				if events, err := collect(d.store.Query(dag.Topic(), types.Query{})); err != nil || len(events) < seen {
					d.Errorf("%d events after %d: %v", len(events), seen, err)
				}
				if events, err := d.store.Get(cids); err != nil || events[1] == nil {
					d.Errorf("get: %v, %v", events, err)
				}
			}
		})
	}
	dag.Grow(d.store, 1000)
	close(stop)
	wg.Wait()
}

// wantClosed is wantError for goroutines other than the test's.
func wantClosed(d *disk, err error) {
	if !errors.Is(err, types.ErrClosed) {
		d.Errorf("error %v, want %v", err, types.ErrClosed)
	}
}
