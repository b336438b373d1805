package badger

import (
	"bytes"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/dgraph-io/badger/v4"

	"github.com/cairn-p2p/cairn/store/storetest"
	"github.com/cairn-p2p/cairn/types"
)

// openWith opens a store through f and closes it, checked, when the test ends.
func openWith(t testing.TB, f *faults, opts Options) *Store {
	t.Helper()
	opts.MinFree = NoMinFree
	opts.hooks.wrap = f.wrap
	s, err := Open(t.TempDir(), opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if s.Writable() == nil {
			storetest.CheckInvariants(t, s)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// together commits batches at once, in this order, while a commit is under way,
// so that they share the next one. It returns their errors.
func together(t *testing.T, s *Store, f *faults, batches []*types.Batch) []error {
	t.Helper()
	begun, release := make(chan struct{}), make(chan struct{})
	f.gate = sync.OnceFunc(func() {
		close(begun)
		<-release
	})
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := s.SetMeta("key", []byte("value")); err != nil {
			t.Error(err)
		}
	})
	<-begun
	errs := make([]error, len(batches))
	for i, b := range batches {
		wg.Go(func() { errs[i] = s.Commit(b) })
		synctest.Wait() // it is in the queue
	}
	close(release)
	wg.Wait()
	return errs
}

func join(t testing.TB, s *Store, topics int) []*storetest.DAG {
	t.Helper()
	rng := storetest.Rand(t)
	var dags []*storetest.DAG
	for i := range topics {
		dag := storetest.NewDAG(t, rng, fmt.Sprint("topic ", i), 1)
		if err := s.JoinTopic(dag.Genesis); err != nil {
			t.Fatal(err)
		}
		dags = append(dags, dag)
	}
	return dags
}

// 64 callers that wait while one commit is under way share one fsync.
func TestSharedTransaction(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &faults{}
		s := openWith(t, f, Options{})
		var batches []*types.Batch
		for _, dag := range join(t, s, 64) {
			batches = append(batches, dag.Batch(2))
		}
		before := f.transactions.Load()
		for i, err := range together(t, s, f, batches) {
			if err != nil {
				t.Errorf("batch %d: %v", i, err)
			}
		}
		if n := f.transactions.Load() - before; n != 2 {
			t.Errorf("%d transactions for one commit and 64 that waited, want 2", n)
		}
	})
}

// Batches of one topic that continue each other share a transaction.
func TestSharedTransactionOneTopic(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &faults{}
		s := openWith(t, f, Options{})
		batches := chain(join(t, s, 1)[0], 10)
		before := f.transactions.Load()
		for i, err := range together(t, s, f, batches) {
			if err != nil {
				t.Errorf("batch %d: %v", i, err)
			}
		}
		if n := f.transactions.Load() - before; n != 2 {
			t.Errorf("%d transactions, want 2", n)
		}
	})
}

// chain returns n batches that continue each other.
func chain(dag *storetest.DAG, n int) []*types.Batch {
	var batches []*types.Batch
	for range n {
		b := dag.Batch(3)
		dag.Add(b)
		batches = append(batches, b)
	}
	return batches
}

// A transaction takes only what fits; the rest waits for the next, in order.
func TestSharedTransactionLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &faults{}
		s := openWith(t, f, Options{})
		var batches []*types.Batch
		for _, dag := range join(t, s, 9) {
			batches = append(batches, dag.PayloadBatch(1, types.MaxPayload))
		}
		before := f.transactions.Load()
		for i, err := range together(t, s, f, batches) {
			if err != nil {
				t.Errorf("batch %d: %v", i, err)
			}
		}
		if n := f.transactions.Load() - before; n != 4 {
			t.Errorf("%d transactions for 9 events of half a MiB and one before, want 1 + 3", n)
		}
	})
}

// A batch that Badger refuses fails by itself, and those that continue it fail
// with it; the others of its transaction are stored.
func TestPoisonedBatch(t *testing.T) {
	for name, test := range map[string]struct {
		poison       func(f *faults)
		transactions int64 // with the one before
	}{
		// The write fails before the batches behind it are staged: they share one.
		"write": {func(f *faults) { f.poison = refuseTag(badger.ErrInvalidKey) }, 3},
		// The commit fails with all of them: each is alone.
		"commit": {func(f *faults) { f.refuse = badger.ErrTxnTooBig }, 4},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := &faults{}
				s := openWith(t, f, Options{})
				dags := join(t, s, 4)
				bad := dags[1].PayloadBatch(2, 8, poisonTag)
				dags[1].Add(bad)
				next := dags[1].Batch(1)
				batches := []*types.Batch{dags[0].Batch(2), bad, next, dags[2].Batch(2), dags[3].Batch(2)}
				before := f.transactions.Load()
				test.poison(f)
				errs := together(t, s, f, batches)
				for i, err := range errs {
					switch i {
					case 1:
						if err == nil || errors.Is(err, types.ErrStore) {
							t.Errorf("poisoned batch: %v", err)
						}
					case 2:
						if !errors.Is(err, types.ErrConflict) {
							t.Errorf("batch behind the poisoned one: %v", err)
						}
					default:
						if err != nil {
							t.Errorf("batch %d: %v", i, err)
						}
					}
				}
				if n := f.transactions.Load() - before; n != test.transactions {
					t.Errorf("%d transactions, want %d", n, test.transactions)
				}
			})
		})
	}
}

const poisonTag = "poison"

func refuseTag(err error) func(value []byte) error {
	return func(value []byte) error {
		if bytes.Contains(value, []byte(poisonTag)) {
			return err
		}
		return nil
	}
}

// When a shared commit fails, each caller learns that its batch may be stored,
// whether it is or not.
func TestSharedFailure(t *testing.T) {
	for _, persisted := range []bool{false, true} {
		t.Run(fmt.Sprint("persisted ", persisted), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := &faults{}
				s := openWith(t, f, Options{})
				dags := join(t, s, 5)
				var batches []*types.Batch
				for _, dag := range dags {
					batches = append(batches, dag.Batch(2))
				}
				f.failCommit, f.persisted, f.err = 2, persisted, errInjected
				for i, err := range together(t, s, f, batches) {
					if !errors.Is(err, types.ErrStore) || !errors.Is(err, errInjected) {
						t.Errorf("batch %d: %v", i, err)
					}
				}
				for i, dag := range dags {
					state, err := s.Load(dag.Topic(), types.Publisher{})
					if err != nil || (state.Events == 2) != persisted || !persisted && state.Events != 0 {
						t.Errorf("topic %d has %d events, %v", i, state.Events, err)
					}
				}
			})
		})
	}
}

// Whichever call fails while batches of several topics share a transaction, each
// caller learns the truth of its own: without an error it is stored, and with
// another one than types.ErrStore it is not.
func TestSharedTransactionFaults(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &faults{}
		s := openWith(t, f, Options{})
		dags := join(t, s, 3)
		const before = 3 // calls that together makes for the commit under way: set, commit, sync
		for _, persisted := range []bool{false, true} {
			for call, all := before, false; !all; call++ {
				var batches []*types.Batch
				for _, dag := range dags {
					batches = append(batches, dag.Batch(2))
				}
				fired := f.arm(call, persisted, errInjected)
				errs := together(t, s, f, batches)
				all = !fired()
				for i, dag := range dags {
					state, err := s.Load(dag.Topic(), types.Publisher{})
					if err != nil {
						t.Fatal(err)
					}
					stored := state.Events == uint64(len(dag.Events)+len(batches[i].Events))
					if stored {
						dag.Add(batches[i])
					}
					if errs[i] == nil && !stored || errs[i] != nil && (all || stored && !errors.Is(errs[i], types.ErrStore)) ||
						state.Events != uint64(len(dag.Events)) {
						t.Fatalf("call %d, persisted %v: batch %d: %v; %d events stored, %d before", call, persisted, i, errs[i], state.Events, len(dag.Events))
					}
				}
			}
		}
	})
}

// Close lets the commits that it finds finish, those in the queue too, and
// refuses the ones after it.
func TestCloseWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &faults{}
		s := openWith(t, f, Options{})
		dags := join(t, s, 4)
		begun, release := make(chan struct{}), make(chan struct{})
		f.gate = sync.OnceFunc(func() {
			close(begun)
			<-release
		})
		var wg sync.WaitGroup
		errs := make([]error, 3)
		for i := range errs {
			b := dags[i].Batch(1)
			wg.Go(func() { errs[i] = s.Commit(b) })
			if i == 0 {
				<-begun
			}
		}
		synctest.Wait()
		closed := make(chan error, 1)
		go func() { closed <- s.Close() }()
		synctest.Wait()
		select {
		case err := <-closed:
			t.Fatalf("closed with commits under way: %v", err)
		default:
		}
		if err := s.Commit(dags[3].Batch(1)); !errors.Is(err, types.ErrClosed) {
			t.Errorf("commit behind Close: %v", err)
		}
		close(release)
		wg.Wait()
		if err := errors.Join(append(errs, <-closed)...); err != nil {
			t.Error(err)
		}
	})
}

// A store that cannot be reopened says so in every call and tries again in
// each.
func TestReopenFails(t *testing.T) {
	f := &faults{}
	broken := error(nil)
	opts := Options{}
	opts.hooks.opening = func() error { return broken }
	s := openWith(t, f, opts)
	dag := join(t, s, 1)[0]
	dag.Grow(s, 10)
	broken = errors.New("no such device")
	f.failCommit, f.err = 1, errInjected
	if err := s.Commit(dag.Batch(1)); !errors.Is(err, types.ErrStore) {
		t.Errorf("failing commit: %v", err)
	}
	for i, err := range []error{
		s.Commit(dag.Batch(1)), s.Writable(), s.SetMeta("key", nil), s.JoinTopic(dag.Genesis),
		func() error { _, err := s.Get(nil); return err }(),
		func() error { _, err := s.Usage(); return err }(),
	} {
		if !errors.Is(err, types.ErrStore) || !errors.Is(err, broken) {
			t.Errorf("call %d on a broken store: %v", i, err)
		}
	}
	if s.LogID() == (types.LogID{}) || s.Starts() != 1 {
		t.Errorf("log id %v, starts %d", s.LogID(), s.Starts())
	}
	broken = nil
	dag.Grow(s, 10)
	if err := s.Writable(); err != nil {
		t.Error(err)
	}
}
