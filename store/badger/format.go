package badger

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"syscall"

	"github.com/dgraph-io/badger/v4"

	"github.com/cairn-p2p/cairn/types"
)

// formatVersion is the version of the layout in this package's comment.
const formatVersion = 2

// The records of the database.
const (
	recordFormat = "format" // version, network
	recordLogID  = "log-id" // 16 random bytes
	recordStarts = "starts" // openings so far
	recordTopics = "topics" // the last topic number given out
	recordAnchor = "anchor" // empty; written with a removal, so that every transaction leaves a key for inspect
)

// identity is what a database says of itself.
type identity struct {
	log    types.LogID
	starts uint64
}

// migrations[v] turns a database of version v into one of version v+1, within
// the transaction that also records the new version.
var migrations = map[uint64]func(tx) error{
	1: func(tx) error { return nil }, // what it wrote is read as it is
}

// openBadger opens the database and contains the panics of Badger on files that
// inspect could not tell from sound ones.
func openBadger(opts badger.Options) (db *badger.DB, err error) {
	defer func() {
		if r := recover(); r != nil {
			db, err = nil, corrupt("%v", r)
		}
	}()
	db, err = badger.OpenManaged(opts)
	if err == nil {
		return db, nil
	}
	return nil, damage(err)
}

// damage gives a failure to read the database's files its sentinel: what the
// operating system refused is types.ErrStore, all else, and a missing file,
// types.ErrCorrupt. Badger keeps the type of few errors, but inspect has looked
// at the files before.
func damage(err error) error {
	var errno syscall.Errno
	if errors.As(err, &errno) && errno != syscall.ENOENT {
		return fmt.Errorf("%w: %w", types.ErrStore, err)
	}
	return fmt.Errorf("%w: %w", types.ErrCorrupt, err)
}

// readIdentity checks version and network, and returns the identity: a new one
// in an empty database, which may not be if it is marked. With count it counts a
// start, durably.
func readIdentity(eng engine, network string, count, marked bool) (identity, error) {
	t := eng.begin()
	defer t.discard()
	format, err := t.get(systemKey(recordFormat))
	if err != nil {
		return identity{}, err
	}
	if format == nil && marked {
		return identity{}, corrupt("the database is empty, and was not")
	}
	if format == nil {
		if err := initialise(eng, t, network); err != nil {
			return identity{}, err
		}
	} else if err := checkFormat(t, format, network); err != nil {
		return identity{}, err
	}
	id, err := loadIdentity(t)
	if err != nil || !count {
		return id, err
	}
	id.starts++
	if err := t.set(systemKey(recordStarts), uvarints(id.starts)); err != nil {
		return identity{}, fmt.Errorf("%w: count the start: %w", types.ErrStore, err)
	}
	if err = t.commit(); err == nil {
		err = eng.sync()
	}
	if err != nil {
		return identity{}, fmt.Errorf("%w: count the start: %w", types.ErrStore, err)
	}
	return id, nil
}

// initialise writes the records of a new database. One that has keys but no
// format has lost its own.
func initialise(eng engine, t tx, network string) error {
	err := eng.view(func(txn *badger.Txn) error {
		it := txn.NewIterator(badger.IteratorOptions{})
		defer it.Close()
		if it.Rewind(); it.Valid() {
			return corrupt("no format record before key %x", it.Item().Key())
		}
		return nil
	})
	if err != nil {
		return err
	}
	var id types.LogID
	rand.Read(id[:]) //nolint:errcheck // it never fails: crypto/rand
	return errors.Join(
		t.set(systemKey(recordFormat), encodeFormat(formatVersion, network)),
		t.set(systemKey(recordLogID), id[:]),
		t.set(systemKey(recordStarts), uvarints(0)),
		t.set(systemKey(recordTopics), uvarints(0)),
	)
}

func encodeFormat(version uint64, network string) []byte {
	return append(uvarints(version), network...)
}

// checkFormat compares the record and migrates an older database in t.
func checkFormat(t tx, format []byte, network string) error {
	version, k := binary.Uvarint(format)
	if k <= 0 {
		return corrupt("format record %x", format)
	}
	if version > formatVersion {
		return fmt.Errorf("%w: version %d, this release knows %d", types.ErrNewerFormat, version, formatVersion)
	}
	if had := string(format[k:]); had != network {
		return fmt.Errorf("%w: %q, not %q", types.ErrWrongNetwork, had, network)
	}
	if version == formatVersion {
		return nil
	}
	for ; version < formatVersion; version++ {
		migrate := migrations[version]
		if migrate == nil {
			return corrupt("format version %d", version)
		}
		if err := migrate(t); err != nil {
			return fmt.Errorf("migrate from format %d: %w", version, err)
		}
	}
	return t.set(systemKey(recordFormat), encodeFormat(formatVersion, network))
}

func loadIdentity(t tx) (identity, error) {
	raw, err := t.get(systemKey(recordLogID))
	if err != nil {
		return identity{}, err
	}
	starts, err := readCounter(t, recordStarts)
	if err != nil {
		return identity{}, err
	}
	if len(raw) != len(types.LogID{}) {
		return identity{}, corrupt("log id record %x", raw)
	}
	return identity{log: types.LogID(raw), starts: starts}, nil
}

func readCounter(t tx, record string) (uint64, error) {
	b, err := t.get(systemKey(record))
	if err != nil {
		return 0, err
	}
	n, err := readUvarints(b, 1)
	if err != nil {
		return 0, fmt.Errorf("record %s: %w", record, err)
	}
	return n[0], nil
}
