package badger

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/dgraph-io/badger/v4"

	"github.com/cairn-p2p/cairn/store/storetest"
	"github.com/cairn-p2p/cairn/types"
)

// openDatabase opens the database in dir without a store around it.
func openDatabase(t testing.TB, dir string) *database {
	t.Helper()
	db, err := openBadger(badgerOptions(dir, Options{}.withDefaults()))
	if err != nil {
		t.Fatal(err)
	}
	d, err := newDatabase(db)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// watchSyncs opens a store whose memory tables are small, and calls synced, if
// that is set, whenever a log of one is about to be synced.
func watchSyncs(t *testing.T) (s *Store, db *database, synced *func(name string)) {
	t.Helper()
	opts := Options{Network: "test", MinFree: NoMinFree}
	opts.hooks.tune = func(o badger.Options) badger.Options {
		return o.WithMemTableSize(1 << 20).WithValueThreshold(100 << 10).WithNumLevelZeroTables(1)
	}
	synced = new(func(string))
	opts.hooks.wrap = func(e engine) engine {
		db = e.(*database) //nolint:errcheck // nothing else wraps it
		sync := db.log.datasync
		db.log.datasync = func(f *os.File) error {
			if *synced != nil {
				(*synced)(f.Name())
			}
			return sync(f)
		}
		return e
	}
	s, err := Open(t.TempDir(), opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		*synced = nil
		storetest.CheckInvariants(t, s)
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s, db, synced
}

// A killed process leaves its commits in the page cache, so nothing but the calls
// themselves shows that they outlive a power cut: before a commit returns, the log
// that holds its transaction is synced, and until then nobody sees it, nor waits.
func TestCommitsAreSynced(t *testing.T) {
	if !committerSyncs {
		t.Skip("Badger syncs here")
	}
	s, db, synced := watchSyncs(t)
	dag := join(t, s, 1)[0]
	logs := map[string]bool{}
	for i := 0; len(logs) < 4; i++ {
		if i == 1000 {
			t.Fatalf("only %d logs after %d commits", len(logs), i)
		}
		var last uint64
		syncs := 0
		*synced = func(name string) {
			syncs++
			logs[name] = true
			in, err := logVersions(name, db.written)
			if err != nil {
				t.Error(err)
			}
			last = in.last
			state, err := s.Load(dag.Topic(), types.Publisher{})
			if err != nil || state.Events != uint64(i) {
				t.Errorf("before the sync of commit %d: %d events, %v", i, state.Events, err)
			}
		}
		before, known := db.written, len(logs)
		b := dag.PayloadBatch(1, 10_000)
		if err := s.Commit(b); err != nil {
			t.Fatal(err)
		}
		dag.Add(b)
		want := 1
		if known > 0 && len(logs) > known {
			want = 2 // the log that is full, and the new one
		}
		if db.written != before+1 || last != db.written || syncs != want {
			t.Fatalf("commit %d made versions %d to %d with %d syncs, the last of a log that ends with %d", i, before, db.written, syncs, last)
		}
		if state, err := s.Load(dag.Topic(), types.Publisher{}); err != nil || state.Events != uint64(i+1) {
			t.Fatalf("after commit %d: %d events, %v", i, state.Events, err)
		}
	}
}

// Compactions drop what was overwritten, but for what a view under way still sees.
func TestOldVersionsAreDropped(t *testing.T) {
	s, db, _ := watchSyncs(t)
	const key = "again"
	set := func(from int) {
		for i := from; i < from+100; i++ {
			if err := s.SetMeta(key, fmt.Append(make([]byte, 30_000), i)); err != nil {
				t.Fatal(err)
			}
		}
	}
	set(0)
	err := db.view(func(txn *badger.Txn) error {
		want, err := get(txn, metaKey(key))
		if err != nil {
			return err
		}
		set(100)
		if err := db.Flatten(1); err != nil {
			return err
		}
		got, err := get(txn, metaKey(key))
		if err == nil && string(got) != string(want) {
			err = errors.New("a view saw another state after a compaction")
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	set(200) // the view is over
	if err := db.Flatten(1); err != nil {
		t.Fatal(err)
	}
	versions := 0
	err = db.view(func(txn *badger.Txn) error {
		it := txn.NewIterator(badger.IteratorOptions{AllVersions: true, Prefix: metaKey(key)})
		defer it.Close()
		for it.Rewind(); it.Valid(); it.Next() {
			versions++
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if versions > 100 { // some lie in memory and in tables that were not compacted
		t.Errorf("%d versions of one key, of 300", versions)
	}
}

// A directory may have any name, for what looks into its files, too.
func TestAnyDirectory(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data[1]*?")
	for range 2 {
		s, err := Open(dir, Options{MinFree: NoMinFree})
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(s.SetMeta("key", []byte("value")), s.Close()); err != nil {
			t.Fatal(err)
		}
	}
	names, err := filesWith(dir, ".sst")
	if err != nil || len(names) == 0 {
		t.Fatalf("tables %v, %v", names, err)
	}
	if err := os.Truncate(names[0], 10); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(dir, Options{MinFree: NoMinFree}); !errors.Is(err, types.ErrCorrupt) {
		t.Errorf("with a table that was cut: %v", err)
	}
}

// A value that Badger would put into its value log would not be synced.
func TestLongValuesAreRefused(t *testing.T) {
	s := openWith(t, &faults{}, Options{})
	if err := s.SetMeta("key", make([]byte, valueThreshold)); !errors.Is(err, types.ErrInvalidArgument) {
		t.Errorf("a value of the value log: %v", err)
	}
	want := bytes.Repeat([]byte{1}, valueThreshold-1)
	if err := s.SetMeta("key", want); err != nil {
		t.Fatal(err)
	}
	if got, err := s.Meta("key"); err != nil || !bytes.Equal(got, want) {
		t.Errorf("the longest value: %d bytes, %v", len(got), err)
	}
}
