package badger

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/dgraph-io/badger/v4"

	"github.com/cairn-p2p/cairn/store/storetest"
)

var errInjected = errors.New("injected fault")

// faults counts the committer's calls into the database and makes one fail.
type faults struct {
	transactions atomic.Int64 // committed
	// gate, when set, is called before each commit.
	gate func()
	// poison, when set, may refuse a write.
	poison func(value []byte) error
	// refuse, when set, is the error of a commit with poisonTag in a value.
	refuse error
	// failCommit, when positive, counts down to the commit that fails with err.
	failCommit int

	mu        sync.Mutex
	calls     []string // the names of those since watch, in their order
	armed     bool
	left      int // calls before the one that fails
	persisted bool
	err       error
	kill      func()                                   // when set, the call does not fail: this happens before or, with persisted, after its work
	around    func(name string, do func() error) error // when set, runs what a call does
}

// watch forgets the calls so far.
func (f *faults) watch() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.calls = nil
}

// watched returns the names of the calls since watch.
func (f *faults) watched() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.calls)
}

// arm makes the call-th next call return err; with persisted, after its work.
func (f *faults) arm(call int, persisted bool, err error) (fired func() bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.armed, f.left, f.persisted, f.err, f.kill = true, call, persisted, err, nil
	return func() bool {
		f.mu.Lock()
		defer f.mu.Unlock()
		fired := !f.armed
		f.armed = false
		return fired
	}
}

// armKill makes kill happen at the call-th next call, before its work or after.
func (f *faults) armKill(call int, after bool, kill func()) (fired func() bool) {
	fired = f.arm(call, after, nil)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.kill = kill
	return fired
}

// call runs one call, or what the fault leaves of it.
func (f *faults) call(name string, do func() error) error {
	f.mu.Lock()
	fail := f.armed && f.left == 0
	persisted, err, kill := f.persisted, f.err, f.kill
	f.calls = append(f.calls, name)
	if around := f.around; around != nil {
		work := do
		do = func() error { return around(name, work) }
	}
	if fail {
		f.armed = false
	}
	f.left--
	f.mu.Unlock()
	switch {
	case !fail:
		return do()
	case kill != nil && persisted:
		defer kill()
		return do()
	case kill != nil:
		kill()
		return do()
	case persisted:
		do() //nolint:errcheck // whatever came of it, the caller is told that it failed
	}
	return err
}

func (f *faults) wrap(e engine) engine { return faultyEngine{e, f} }

type faultyEngine struct {
	engine
	*faults
}

func (e faultyEngine) begin() tx { return &faultyTx{tx: e.engine.begin(), faults: e.faults} }

func (e faultyEngine) sync() error { return e.call("sync", e.engine.sync) }

type faultyTx struct {
	tx
	*faults
	poisoned bool
}

func (t *faultyTx) get(key []byte) (value []byte, err error) {
	err = t.call("get", func() error {
		value, err = t.tx.get(key)
		return err
	})
	if err != nil {
		return nil, err
	}
	return value, nil
}

func (t *faultyTx) set(key, value []byte) error {
	return t.call("set", func() error {
		if t.poison != nil {
			if err := t.poison(value); err != nil {
				return err
			}
		}
		t.poisoned = t.poisoned || bytes.Contains(value, []byte(poisonTag))
		return t.tx.set(key, value)
	})
}

func (t *faultyTx) remove(key []byte) error {
	return t.call("remove", func() error { return t.tx.remove(key) })
}

func (t *faultyTx) commit() error {
	return t.call("commit", func() error {
		if t.gate != nil {
			t.gate()
		}
		if t.refuse != nil && t.poisoned {
			return t.refuse
		}
		t.failCommit--
		if t.failCommit == 0 && !t.persisted {
			return t.err
		}
		if err := t.tx.commit(); err != nil {
			return err
		}
		t.transactions.Add(1)
		if t.failCommit == 0 {
			return t.err
		}
		return nil
	})
}

// newHarness returns a harness with an empty directory. before, if it is set, is
// called with the directory before each time that a store is opened in it.
func newHarness(t testing.TB, opts Options, before func(dir string) error) storetest.Harness {
	dir := t.TempDir()
	f := &faults{}
	opts.MinFree = NoMinFree
	opts.hooks.wrap = f.wrap
	var store *Store
	return storetest.Harness{
		Open: func() (storetest.Store, error) {
			if before != nil {
				if err := before(dir); err != nil {
					return nil, err
				}
			}
			var err error
			store, err = Open(dir, opts)
			return store, err
		},
		Crash: func() error {
			crashed := t.TempDir()
			if err := copyDir(crashed, dir); err != nil {
				return err
			}
			dir = crashed
			return store.Close()
		},
		Fault: func(call int, persisted bool) func() bool {
			return f.arm(call, persisted, errInjected)
		},
	}
}

// copyDir copies the files of a database as they are now: what the page cache
// has is what a killed process leaves. It starts again when Badger has flushed
// or compacted meanwhile, for a crash happens at one moment.
func copyDir(to, from string) error {
	for {
		before, err := tables(from)
		if err != nil {
			return err
		}
		if err := copyFiles(to, from); err != nil {
			return err
		}
		after, err := tables(from)
		if err != nil || before == after {
			return err
		}
		if err := os.RemoveAll(to); err != nil {
			return err
		}
	}
}

// tables describes the manifest and the names of all files.
func tables(dir string) (string, error) {
	b, err := os.ReadFile(filepath.Join(dir, badger.ManifestFilename))
	if err != nil {
		return "", err
	}
	entries, err := os.ReadDir(dir)
	for _, e := range entries {
		b = append(append(b, e.Name()...), 0)
	}
	return string(b), err
}

func copyFiles(to, from string) error {
	if err := os.MkdirAll(to, 0o700); err != nil {
		return err
	}
	entries, err := os.ReadDir(from)
	if err != nil {
		return err
	}
	for _, e := range entries {
		b, err := os.ReadFile(filepath.Join(from, e.Name()))
		if errors.Is(err, fs.ErrNotExist) {
			continue // compacted away meanwhile
		}
		if err != nil {
			return err
		}
		if err := writeSparse(filepath.Join(to, e.Name()), b); err != nil {
			return err
		}
	}
	return nil
}

// writeSparse writes a file without the zeros that end it.
func writeSparse(name string, b []byte) error {
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	_, err = f.Write(trimmed(b))
	return errors.Join(err, f.Truncate(int64(len(b))), f.Close())
}

// trimmed is b without the zeros that end it.
func trimmed(b []byte) []byte {
	const page = 4096
	zeros := make([]byte, page)
	for len(b) >= page && bytes.Equal(b[len(b)-page:], zeros) {
		b = b[:len(b)-page]
	}
	return bytes.TrimRight(b, "\x00")
}

func TestStore(t *testing.T) {
	storetest.Run(t, func(t *testing.T) storetest.Harness { return newHarness(t, Options{Network: "test"}, nil) })
}
