package badger

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/fb"
	"github.com/dgraph-io/badger/v4/pb"
	"github.com/dgraph-io/badger/v4/table"
	"google.golang.org/protobuf/proto"

	"github.com/cairn-p2p/cairn/types"
)

// discardName is Badger's file of garbage statistics, of which it makes a
// multiple of discardUnit bytes.
const (
	discardName = "DISCARD"
	discardUnit = 1 << 20
)

// inspect looks at the files of a database before Badger does, for Badger
// answers a damaged table by leaving it out or by ending the process, and
// deletes tables that its manifest does not name. A database that would lose
// acknowledged events, other than by a cut at the end of its newest log, is
// types.ErrCorrupt and stays as it is. Badger is version 4; its file formats
// are those of that version.
//
// It reads the tables, unless there are very many, and the logs, which only a
// crash leaves.
func inspect(dir string) error {
	f, err := os.Open(filepath.Join(dir, badger.ManifestFilename))
	if errors.Is(err, fs.ErrNotExist) {
		return inspectFresh(dir)
	}
	if err != nil {
		return fmt.Errorf("%w: %w", types.ErrStore, err)
	}
	manifest, _, err := badger.ReplayManifestFile(f, 0, badgerOptions(dir, Options{}.withDefaults()))
	if err = errors.Join(err, f.Close()); err != nil {
		return damage(fmt.Errorf("manifest: %w", err))
	}
	var newest uint64 // version in a listed table
	for id := range manifest.Tables {
		version, err := tableVersion(table.NewFilename(id, dir))
		if err != nil {
			return damage(fmt.Errorf("table %d: %w", id, err))
		}
		newest = max(newest, version)
	}
	if err := verifyTables(dir, manifest); err != nil {
		return err
	}
	logs, err := filesWith(dir, ".mem")
	if err != nil {
		return fmt.Errorf("%w: %w", types.ErrStore, err)
	}
	unlisted, err := unlistedTables(dir, manifest)
	if err != nil {
		return err
	}
	if err := inspectCrash(logs, unlisted, newest); err != nil {
		return err
	}
	return dropUnsized(dir)
}

// inspectFresh refuses a directory that has data but no manifest.
func inspectFresh(dir string) error {
	for _, suffix := range []string{".sst", ".mem", ".vlog"} {
		names, err := filesWith(dir, suffix)
		if err != nil {
			return fmt.Errorf("%w: %w", types.ErrStore, err)
		}
		if len(names) > 0 {
			return corrupt("no manifest beside %s", filepath.Base(names[0]))
		}
	}
	return nil
}

// filesWith returns the files of a directory whose names end so, sorted. There may
// be no directory.
func filesWith(dir, suffix string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	var names []string
	for _, e := range entries {
		if strings.HasSuffix(e.Name(), suffix) {
			names = append(names, filepath.Join(dir, e.Name()))
		}
	}
	return names, err
}

// dropUnsized removes files that a crash left between their creation and their
// first sizing, which Badger cannot open, and garbage statistics that are cut.
// Neither holds data.
func dropUnsized(dir string) error {
	for _, suffix := range []string{".mem", ".vlog", discardName} {
		names, err := filesWith(dir, suffix)
		if err != nil {
			return fmt.Errorf("%w: %w", types.ErrStore, err)
		}
		for _, name := range names {
			info, err := os.Stat(name)
			if err != nil {
				return fmt.Errorf("%w: %w", types.ErrStore, err)
			}
			cut := filepath.Base(name) == discardName && info.Size()%discardUnit != 0
			if info.Size() > 0 && !cut {
				continue
			}
			if err := os.Remove(name); err != nil {
				return fmt.Errorf("%w: %w", types.ErrStore, err)
			}
		}
	}
	return nil
}

// unlistedTables returns the newest version in each sound table that the
// manifest does not name. Others are left from a crash while they were written.
func unlistedTables(dir string, manifest badger.Manifest) ([]uint64, error) {
	names, err := filesWith(dir, ".sst")
	if err != nil {
		return nil, fmt.Errorf("%w: %w", types.ErrStore, err)
	}
	var versions []uint64
	for _, name := range names {
		id, ok := table.ParseFileID(filepath.Base(name))
		if _, listed := manifest.Tables[id]; !ok || listed {
			continue
		}
		if version, err := tableVersion(name); err == nil {
			versions = append(versions, version)
		}
	}
	return versions, nil
}

// inspectCrash tells the traces of a crash from damage. Transactions have
// versions without gaps, and each leaves its version in some key. So the logs
// go on where the tables end, or before, and follow each other, unless one but
// the last was cut. A table that Badger will delete must be there in another
// form: a flush ended by a crash still has its log, an unfinished compaction
// its inputs, of which one is as new.
func inspectCrash(logs []string, unlisted []uint64, newest uint64) error {
	slices.Sort(logs)
	var ranges []versionRange
	last := newest
	for _, name := range logs {
		r, err := logVersions(name, last)
		if err != nil {
			return err
		}
		if r.last == 0 {
			continue
		}
		if r.first > last+1 {
			return corrupt("%s begins with transaction %d, what is before it ends with %d", filepath.Base(name), r.first, last)
		}
		ranges, last = append(ranges, r), max(last, r.last)
	}
	for _, version := range unlisted {
		inLog := slices.ContainsFunc(ranges, func(r versionRange) bool {
			return r.first <= version && version <= r.last
		})
		if version > newest && !inLog {
			return corrupt("the manifest lacks a table with transaction %d", version)
		}
	}
	return nil
}

// tableVersion checks the index of a table, which is the end of its file, and
// returns the table's newest version.
func tableVersion(name string) (uint64, error) {
	f, err := os.Open(name)
	if err != nil {
		return 0, err
	}
	defer f.Close() // read only: nothing to lose
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	end := info.Size()
	raw, end, err := readSized(f, end)
	if err != nil {
		return 0, fmt.Errorf("checksum: %w", err)
	}
	var sum pb.Checksum
	if err := proto.Unmarshal(raw, &sum); err != nil {
		return 0, fmt.Errorf("checksum: %w", err)
	}
	index, end, err := readSized(f, end)
	if err != nil {
		return 0, fmt.Errorf("index: %w", err)
	}
	if sum.Algo != pb.Checksum_CRC32C || sum.Sum != uint64(crc32.Checksum(index, castagnoli)) || len(index) == 0 {
		return 0, fmt.Errorf("index does not match its checksum")
	}
	root := fb.GetRootAsTableIndex(index, 0)
	var last fb.BlockOffset
	if n := root.OffsetsLength(); n == 0 || !root.Offsets(&last, n-1) || int64(last.Offset())+int64(last.Len()) > end {
		return 0, fmt.Errorf("blocks are missing")
	}
	return root.MaxVersion(), nil
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// readSized reads the bytes whose length stands behind them, in the 4 bytes
// before end, and returns where they begin.
func readSized(f io.ReaderAt, end int64) ([]byte, int64, error) {
	var size [4]byte
	if end < int64(len(size)) {
		return nil, 0, io.ErrUnexpectedEOF
	}
	end -= int64(len(size))
	if _, err := f.ReadAt(size[:], end); err != nil {
		return nil, 0, err
	}
	n := int64(binary.BigEndian.Uint32(size[:]))
	if n > end {
		return nil, 0, io.ErrUnexpectedEOF
	}
	b := make([]byte, n)
	if _, err := f.ReadAt(b, end-n); err != nil {
		return nil, 0, err
	}
	return b, end - n, nil
}
