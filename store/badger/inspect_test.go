package badger

import (
	"errors"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/dgraph-io/badger/v4"

	"github.com/cairn-p2p/cairn/store/storetest"
	"github.com/cairn-p2p/cairn/types"
)

// files are the contents of a database's files, without the zeros that end
// them, and their sizes.
type files map[string][]byte

func readFiles(t *testing.T, dir string) files {
	t.Helper()
	copied := filepath.Join(t.TempDir(), "copy")
	if err := copyDir(copied, dir); err != nil {
		t.Fatal(err)
	}
	names, err := filepath.Glob(filepath.Join(copied, "*"))
	if err != nil {
		t.Fatal(err)
	}
	all := files{}
	for _, name := range names {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		all[filepath.Base(name)] = b
	}
	return all
}

func (f files) write(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for name, b := range f {
		if err := writeSparse(filepath.Join(dir, name), b); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// with is f with one file replaced.
func (f files) with(name string, b []byte) files {
	f = maps.Clone(f)
	f[name] = b
	return f
}

// names returns the names with this ending, sorted.
func (f files) names(ext string) []string {
	var names []string
	for name := range f {
		if filepath.Ext(name) == ext {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// open opens a copy of f. Either that is types.ErrCorrupt, reported as false,
// or every topic is sound and a prefix of what was acknowledged.
func (f files) open(t *testing.T, dag *storetest.DAG) (events int, ok bool) {
	t.Helper()
	dir := f.write(t)
	s, err := Open(dir, Options{Network: "test", MinFree: NoMinFree})
	if errors.Is(err, types.ErrCorrupt) {
		f.checkUntouched(t, dir)
		return 0, false
	}
	if err != nil {
		t.Fatal(err)
	}
	storetest.CheckInvariants(t, s)
	for entry, err := range s.Log(dag.Topic(), types.Cursor{}) {
		if errors.Is(err, types.ErrNotFound) {
			break // a prefix without the topic
		}
		if err != nil {
			t.Fatal(err)
		}
		if entry.CID() != dag.Events[events].CID {
			t.Fatalf("event %d is not the one acknowledged", events+1)
		}
		events++
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	return events, true
}

// checkUntouched reports files that a refused Open changed: with all of them
// someone may still repair the database. Badger's own look at its key registry
// comes after the rest was found sound, and may have begun other files.
func (f files) checkUntouched(t *testing.T, dir string) {
	t.Helper()
	for name, b := range f {
		info, err := os.Stat(filepath.Join(dir, name))
		if name == lockName || name == discardName {
			continue
		}
		if err != nil || info.Size() != int64(len(b)) {
			t.Errorf("refused, and %s of %d bytes changed: %v", name, len(b), err)
		}
	}
}

// crashes are the files of one database at several moments: with three tables
// and one log; when that log has been replayed and another begun, but not been
// flushed; the same with the flushed table, not yet in the manifest; and when
// the flush is complete.
type crashes struct {
	dag                            *storetest.DAG
	oneLog, twoLogs, flushed, done files
}

func makeCrashes(t *testing.T) crashes {
	t.Helper()
	c := crashes{dag: storetest.NewDAG(t, storetest.Rand(t), "topic", 2)}
	dir := t.TempDir()
	var s *Store
	session := func() {
		var err error
		if s, err = Open(dir, Options{Network: "test", MinFree: NoMinFree}); err != nil {
			t.Fatal(err)
		}
		if err := s.JoinTopic(c.dag.Genesis); err != nil {
			t.Fatal(err)
		}
		c.dag.Grow(s, 60)
	}
	end := func() {
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	for range 3 {
		session()
		end()
	}
	session()
	c.oneLog = readFiles(t, dir)
	end()
	dir = c.oneLog.write(t)
	session()
	later := readFiles(t, dir)
	end()
	c.done = readFiles(t, dir)

	logs := later.names(".mem")
	c.twoLogs = c.oneLog.with(logs[len(logs)-1], later[logs[len(logs)-1]])
	for _, name := range c.done.names(".sst") {
		if _, had := c.oneLog[name]; !had {
			c.flushed = c.twoLogs.with(name, c.done[name])
			break
		}
	}
	return c
}

// What a crash leaves opens, with all that was acknowledged.
func TestCrashFiles(t *testing.T) {
	c := makeCrashes(t)
	all := len(c.dag.Events)
	for name, test := range map[string]struct {
		files files
		want  int
	}{
		"one log": {c.oneLog, all - 60}, "two logs": {c.twoLogs, all}, "flushed": {c.flushed, all}, "done": {c.done, all},
		"half a table":  {c.oneLog.with("000099.sst", c.done[c.done.names(".sst")[0]][:100]), all - 60},
		"unsized log":   {c.oneLog.with("99999.mem", nil), all - 60},
		"unsized vlog":  {c.oneLog.with("999999.vlog", nil), all - 60},
		"cut statistic": {c.oneLog.with("DISCARD", []byte{1, 2, 3}), all - 60},
	} {
		t.Run(name, func(t *testing.T) {
			if n, ok := test.files.open(t, c.dag); !ok || n != test.want {
				t.Errorf("opened %v with %d events, want %d", ok, n, test.want)
			}
		})
	}
}

// What no crash leaves is refused: to open it would lose events from the middle.
func TestDamagedFiles(t *testing.T) {
	c := makeCrashes(t)
	manifest := badger.ManifestFilename
	older := c.twoLogs.names(".mem")[0]
	without := func(f files, name string) files {
		f = maps.Clone(f)
		delete(f, name)
		return f
	}
	for name, f := range map[string]files{
		"older log cut":     c.twoLogs.with(older, c.twoLogs[older][:len(trimmed(c.twoLogs[older]))/2]),
		"older log empty":   c.twoLogs.with(older, nil),
		"older log gone":    without(c.twoLogs, older),
		"older manifest":    c.done.with(manifest, c.oneLog[manifest]),
		"empty manifest":    c.done.with(manifest, c.done[manifest][:8]),
		"no manifest":       without(c.oneLog, manifest),
		"table gone":        without(c.oneLog, c.oneLog.names(".sst")[0]),
		"table empty":       c.oneLog.with(c.oneLog.names(".sst")[0], nil),
		"manifest is a log": c.oneLog.with(manifest, c.twoLogs[older]),
	} {
		t.Run(name, func(t *testing.T) {
			if n, ok := f.open(t, c.dag); ok {
				t.Errorf("opened with %d events of %d", n, len(c.dag.Events))
			}
		})
	}
}

// One byte in a table is flipped, at many places: a block that cannot be read
// must not look like one that holds nothing.
func TestFlippedTables(t *testing.T) {
	c := makeCrashes(t)
	name := c.done.names(".sst")[0]
	b := c.done[name]
	for at := 0; at < len(b); at += max(1, len(b)/40) {
		flipped := slices.Clone(b)
		flipped[at] ^= 1
		if n, ok := c.done.with(name, flipped).open(t, c.dag); ok && n != len(c.dag.Events) {
			t.Errorf("byte %d of %d flipped: opened with %d events of %d", at, len(b), n, len(c.dag.Events))
		}
	}
}

// One byte of a log is flipped: only the last transaction may be lost without a
// word, as after a power failure in the middle of its commit.
func TestFlippedLog(t *testing.T) {
	c := makeCrashes(t)
	name := c.oneLog.names(".mem")[0]
	b := c.oneLog[name]
	size := len(trimmed(b))
	full, _ := c.oneLog.open(t, c.dag)
	refused := 0
	places := 60
	if raceEnabled {
		places = 15
	}
	for at := walHeader; at < size; at += max(1, size/places) {
		flipped := slices.Clone(b)
		flipped[at] ^= 1
		n, ok := c.oneLog.with(name, flipped).open(t, c.dag)
		if !ok {
			refused++
		} else if lost := full - n; lost > 60 {
			t.Errorf("byte %d of %d flipped: opened without %d events", at, size, lost)
		}
	}
	if refused == 0 {
		t.Error("no damage was refused")
	}
}

// A database that vanished beside its marker is not begun anew.
func TestVanishedDatabase(t *testing.T) {
	c := makeCrashes(t)
	gone := files{markerName: c.done[markerName]}
	if n, ok := gone.open(t, c.dag); ok {
		t.Errorf("opened with %d events of %d", n, len(c.dag.Events))
	}
}

// Each file is cut at many places. Guards against the peers' defect 5, a short
// read that goes unnoticed, and 8, a crash that leaves a hole.
func TestTruncatedFiles(t *testing.T) {
	c := makeCrashes(t)
	for at, f := range map[string]files{"two logs": c.twoLogs, "done": c.done} {
		for name, b := range f {
			if name == lockName || name == markerName {
				continue
			}
			t.Run(at+"/"+name, func(t *testing.T) {
				used := len(trimmed(b))
				lengths := cuts(len(b), used)
				if filepath.Ext(name) == ".vlog" || name == discardName {
					lengths = []int{0, 1, 19, 20} // they hold no data
				}
				for i, n := range lengths {
					if raceEnabled && i%4 != 0 {
						continue
					}
					n = min(n, len(b))
					events, opened := f.with(name, b[:n]).open(t, c.dag)
					if want := opens(f, name, n, used); opened != want {
						t.Errorf("cut to %d of %d bytes: opened %v with %d events, want %v", n, used, opened, events, want)
					}
				}
			})
		}
	}
}

// opens reports whether a database should open of which a file is cut to n
// bytes: when nothing is lost, or the end of the newest log.
func opens(f files, name string, n, used int) bool {
	switch filepath.Ext(name) {
	case ".vlog":
		return true
	case ".mem":
		logs := f.names(".mem")
		return name == logs[len(logs)-1] || n >= used
	}
	return name == discardName
}

// cuts are lengths to cut a file of size bytes at, of which used are not zeros
// at its end.
func cuts(size, used int) []int {
	var all []int
	for _, n := range []int{
		0, 1, 7, 8, 9, 16, 19, 20, 21, 40, used / 4, used / 3, used / 2, used * 3 / 4, used - 500, used - 40, used - 20,
		used - 8, used - 4, used - 1, used, used + 1, size / 2, size - 4, size - 1,
	} {
		if n >= 0 && n < size {
			all = append(all, n)
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}
