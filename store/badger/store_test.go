package badger

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cairn-p2p/cairn/store/storetest"
	"github.com/cairn-p2p/cairn/types"
)

func TestNetwork(t *testing.T) {
	dir := t.TempDir()
	open := func(network string) (*Store, error) {
		return Open(dir, Options{Network: network, MinFree: NoMinFree})
	}
	s, err := open("one")
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	for _, network := range []string{"two", "", "on", "onee"} {
		if _, err := open(network); !errors.Is(err, types.ErrWrongNetwork) {
			t.Errorf("open for network %q: %v", network, err)
		}
	}
	s, err = open("one")
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if s.Starts() != 2 {
		t.Errorf("%d starts: refused ones count", s.Starts())
	}
}

// setFormat changes the version in the database of a closed store.
func setFormat(t *testing.T, dir string, version uint64, network string) {
	t.Helper()
	db := openDatabase(t, dir)
	tx := db.begin()
	if err := errors.Join(tx.set(systemKey(recordFormat), encodeFormat(version, network)), tx.commit(), db.sync(), db.close()); err != nil {
		t.Fatal(err)
	}
}

// TestTopicOfLaterRules: a topic that this release could not have stored shows
// that a later one wrote the database, not that it is damaged.
func TestTopicOfLaterRules(t *testing.T) {
	s, err := Open(t.TempDir(), Options{Network: "test", MinFree: NoMinFree})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close() //nolint:errcheck // nothing depends on it
	g, err := types.NewOpen("topic")
	if err != nil {
		t.Fatal(err)
	}
	if err := s.JoinTopic(g); err != nil {
		t.Fatal(err)
	}
	ruleSet2 := []byte{0x82, 2, 0}
	if err := s.submit(func(tx) ([]write, error) {
		return []write{{key: topicKey(kindTopic, 1, 0), value: encodeTopic(true, ruleSet2)}}, nil
	}); err != nil {
		t.Fatal(err)
	}
	for _, err := range s.Topics() {
		if !errors.Is(err, types.ErrNewerFormat) || errors.Is(err, types.ErrCorrupt) {
			t.Errorf("list topics: %v", err)
		}
	}
}

func TestNewerFormat(t *testing.T) {
	dir := filled(t, 10)
	setFormat(t, dir, formatVersion+1, "test")
	for range 2 { // the refusal changes nothing
		if _, err := Open(dir, Options{Network: "test"}); !errors.Is(err, types.ErrNewerFormat) {
			t.Fatalf("open: %v", err)
		}
	}
	setFormat(t, dir, formatVersion, "test")
	s, err := Open(dir, Options{Network: "test"})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	storetest.CheckInvariants(t, s)
}

// An older format is migrated once, in one transaction with the new version.
func TestOlderFormat(t *testing.T) {
	dir := filled(t, 10)
	setFormat(t, dir, 0, "test")
	if _, err := Open(dir, Options{Network: "test"}); !errors.Is(err, types.ErrCorrupt) {
		t.Fatalf("open of a version that never was: %v", err)
	}
	migrated := 0
	migrations[0] = func(t tx) error {
		migrated++
		return t.set(metaKey("migrated"), []byte("yes"))
	}
	defer delete(migrations, 0)
	for range 2 {
		s, err := Open(dir, Options{Network: "test"})
		if err != nil {
			t.Fatal(err)
		}
		if b, err := s.Meta("migrated"); err != nil || string(b) != "yes" {
			t.Errorf("metadata %q, %v", b, err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if migrated != 1 {
		t.Errorf("migrated %d times", migrated)
	}
}

// filled returns the directory of a closed store with n events, whose network
// is "test".
func filled(t *testing.T, n int) string {
	t.Helper()
	dir := t.TempDir()
	s, err := Open(dir, Options{Network: "test", MinFree: NoMinFree})
	if err != nil {
		t.Fatal(err)
	}
	join(t, s, 1)[0].Grow(s, n)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestMinFree(t *testing.T) {
	dir := t.TempDir()
	free, now := uint64(DefaultMinFree), time.Unix(0, 0)
	opts := Options{
		Free:  func(string) (uint64, error) { return free, nil },
		hooks: hooks{now: func() time.Time { return now }},
	}
	s, err := Open(dir, opts)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	dags := join(t, s, 2)
	dag := dags[0]
	dag.Grow(s, 10)

	free--
	dag.Grow(s, 1) // the last look still holds
	now = now.Add(freeAge)
	if err := s.Commit(dag.Batch(1)); !errors.Is(err, types.ErrDiskFull) {
		t.Errorf("commit: %v", err)
	}
	if err := s.Writable(); !errors.Is(err, types.ErrDiskFull) {
		t.Errorf("writable: %v", err)
	}
	other := storetest.NewDAG(t, storetest.Rand(t), "other", 1)
	if err := s.JoinTopic(other.Genesis); !errors.Is(err, types.ErrDiskFull) {
		t.Errorf("join: %v", err)
	}
	if err := errors.Join(s.JoinTopic(dag.Genesis), s.LeaveTopic(dag.Topic()), s.SetMeta("key", []byte("value"))); err != nil {
		t.Errorf("what is small is not refused: %v", err)
	}
	if err := s.SetMetas(types.Record{Key: "gone"}, types.Record{Key: "key", Value: []byte("new")}); !errors.Is(err, types.ErrDiskFull) {
		t.Errorf("records: %v", err)
	}
	if err := s.SetMetas(types.Record{Key: "gone"}); err != nil {
		t.Errorf("what only deletes is not refused: %v", err)
	}
	storetest.CheckInvariants(t, s)

	free++
	now = now.Add(freeAge)
	for written := 0; written < freeWritten; written += types.MaxPayload {
		b := dags[1].PayloadBatch(1, types.MaxPayload)
		if err := s.Commit(b); err != nil {
			t.Fatal(err)
		}
		dags[1].Add(b)
	}
	free-- // at the same time, but much has been written since the last look
	if err := s.Commit(dag.Batch(1)); !errors.Is(err, types.ErrDiskFull) {
		t.Errorf("commit after many bytes: %v", err)
	}
	free = 0
	s.disk.min = NoMinFree
	dag.Grow(s, 10)
	storetest.CheckInvariants(t, s)
}

func TestLocked(t *testing.T) {
	dir := t.TempDir()
	s, err := Open(dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	before := listing(t, dir)
	_, err = Open(dir, Options{})
	if !errors.Is(err, types.ErrLocked) || !strings.Contains(err.Error(), "process ") {
		t.Errorf("open of a locked directory: %v", err)
	}
	if after := listing(t, dir); after != before {
		t.Errorf("a refused open changed %s into %s", before, after)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	lock, err := Lock(dir)
	if err != nil {
		t.Fatal(err)
	}
	s, err = Open(dir, Options{Lock: lock})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := Lock(dir); !errors.Is(err, types.ErrLocked) {
		t.Errorf("the store released a lock that is not its own: %v", err)
	}
	if err := lock.Release(); err != nil {
		t.Fatal(err)
	}
	if lock, err = Lock(dir); err != nil {
		t.Fatal(err)
	}
	if err := lock.Release(); err != nil {
		t.Fatal(err)
	}
}

func listing(t *testing.T, dir string) string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	for _, e := range entries {
		info, err := e.Info()
		if err != nil {
			t.Fatal(err)
		}
		b.WriteString(e.Name() + " " + info.ModTime().String() + "\n")
	}
	return b.String()
}

// A lock excludes other processes and ends with its own, however that dies.
func TestLockedByProcess(t *testing.T) {
	const env = "CAIRN_TEST_LOCK"
	if dir := os.Getenv(env); dir != "" {
		if _, err := Lock(dir); err != nil {
			t.Fatal(err)
		}
		os.Stdout.WriteString("locked\n")
		os.Stdin.Read(make([]byte, 1)) // until killed
		return
	}
	dir := filepath.Join(t.TempDir(), "new", "data")
	cmd := exec.Command(os.Args[0], "-test.run=^TestLockedByProcess$")
	cmd.Env = append(os.Environ(), env+"="+dir)
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	defer stdin.Close()
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := stdout.Read(make([]byte, len("locked\n"))); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(dir, Options{}); !errors.Is(err, types.ErrLocked) {
		t.Errorf("open: %v", err)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err == nil {
		t.Error("the process was not killed")
	}
	s, err := Open(dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

// A failed opening gives back what it took.
func TestOpenUndoes(t *testing.T) {
	dir := t.TempDir()
	want := uint64(1)
	for call := 0; ; call++ {
		f := &faults{}
		fired := f.arm(call, false, errInjected)
		s, err := Open(dir, Options{MinFree: NoMinFree, hooks: hooks{wrap: f.wrap}})
		if !fired() {
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			if s.Starts() != want {
				t.Errorf("%d starts, of which all but one failed, want %d", s.Starts(), want)
			}
			return
		}
		if calls := f.watched(); calls[len(calls)-1] == "sync" {
			want++ // it had been committed by then, and may count
		}
		if !errors.Is(err, errInjected) {
			t.Fatalf("call %d: %v", call, err)
		}
		lock, err := Lock(dir)
		if err != nil {
			t.Fatalf("call %d: %v", call, err)
		}
		if err := lock.Release(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := openWith(t, &faults{}, Options{GCInterval: time.Minute})
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		if err := s.Run(ctx); err != nil {
			t.Errorf("run: %v", err)
		}
		if n := s.Reclaimed(); n < 0 {
			t.Errorf("reclaimed %d bytes", n)
		}
	})
}

// Run ends when the store is closed under it.
func TestRunClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, err := Open(t.TempDir(), Options{GCInterval: time.Minute, MinFree: NoMinFree})
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		if err := s.Run(t.Context()); !errors.Is(err, types.ErrClosed) {
			t.Errorf("run: %v", err)
		}
	})
}

// A time range with more events than are sorted in memory is a filter on a scan.
func TestWideTimeRange(t *testing.T) {
	s := openWith(t, &faults{}, Options{hooks: hooks{candidates: 50}})
	join(t, s, 1)[0].Grow(s, 400) // openWith checks queries of 2 to 400 events
}

// More than the memory table takes: the log is changed and the tables flushed
// while commits go on, and all is there after a crash.
func TestRotation(t *testing.T) {
	h := newHarness(t, Options{}, nil)
	s, err := h.Open()
	if err != nil {
		t.Fatal(err)
	}
	dag := storetest.NewDAG(t, storetest.Rand(t), "topic", 1)
	if err := s.JoinTopic(dag.Genesis); err != nil {
		t.Fatal(err)
	}
	for written := 0; written < 3*memTableSize; written += types.MaxPayload {
		b := dag.PayloadBatch(1, types.MaxPayload)
		if err := s.Commit(b); err != nil {
			t.Fatal(err)
		}
		dag.Add(b)
	}
	if err := h.Crash(); err != nil {
		t.Fatal(err)
	}
	if s, err = h.Open(); err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	storetest.CheckInvariants(t, s)
	if info, err := s.Topic(dag.Topic()); err != nil || info.Events != uint64(len(dag.Events)) {
		t.Errorf("%d events of %d, %v", info.Events, len(dag.Events), err)
	}
}
