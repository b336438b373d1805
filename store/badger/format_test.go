package badger

import (
	"bytes"
	"encoding/binary"
	"errors"
	"testing"

	"github.com/dgraph-io/badger/v4"

	"github.com/cairn-p2p/cairn/store/storetest"
	"github.com/cairn-p2p/cairn/types"
)

// toFormat1 turns a closed database into what a release with format 1 would have
// left: a record for each event.
func toFormat1(dir string) error {
	db, err := openBadger(badgerOptions(dir, Options{}.withDefaults()))
	if err != nil {
		return err
	}
	d, err := newDatabase(db)
	if err != nil {
		return err
	}
	var writes []write
	err = d.view(func(txn *badger.Txn) error {
		format, err := get(txn, systemKey(recordFormat))
		if err != nil || format == nil {
			return err
		}
		_, k := binary.Uvarint(format)
		writes = append(writes, write{key: systemKey(recordFormat), value: encodeFormat(1, string(format[k:]))})
		it := txn.NewIterator(badger.DefaultIteratorOptions)
		defer it.Close()
		for it.Rewind(); it.Valid(); it.Next() {
			key := it.Item().KeyCopy(nil)
			value, err := it.Item().ValueCopy(nil)
			if err != nil {
				return err
			}
			if key[0] != kindLog {
				continue
			}
			older, err := recordToFormat1(key, value)
			if err != nil {
				return err
			}
			writes = append(writes, older...)
		}
		return nil
	})
	for err == nil && len(writes) > 0 {
		n, size := 0, 0
		for n < min(len(writes), 1000) && size < 1<<20 {
			size += len(writes[n].value)
			n++
		}
		part := writes[:n]
		writes = writes[n:]
		t := d.begin()
		err = errors.Join(put(t, part), t.commit(), d.sync())
	}
	return errors.Join(err, d.close())
}

func recordToFormat1(key, value []byte) ([]write, error) {
	no, rest, err := cutTopicNo(key[1:])
	if err != nil {
		return nil, err
	}
	r, err := decodeRecord(binary.BigEndian.Uint64(rest), value)
	if err != nil {
		return nil, err
	}
	var writes []write
	for i := range r.events {
		entry, err := r.entry(i)
		if err != nil {
			return nil, err
		}
		e, err := entry.Event()
		if err != nil {
			return nil, err
		}
		n := entry.Cursor.Number
		pos := position{height: e.Height, digest: types.Digest(e.CID)}
		number := binary.AppendUvarint(nil, n)
		plain := append([]byte{0}, entry.Cursor.Hash[:]...)
		plain = binary.AppendUvarint(plain, uint64(len(entry.Body)))
		plain = append(append(plain, entry.Body...), entry.Witness...)
		place := binary.AppendUvarint(binary.AppendUvarint(binary.AppendUvarint(nil, uint64(no)), n), e.Height)
		time := binary.BigEndian.AppendUint64(topicKey(kindTime, no, 0), uint64(e.Time))
		writes = append(writes,
			write{key: logKey(no, n), value: plain},
			write{key: digestKey(kindEvent, pos.digest), value: place},
			write{key: canonicalKey(no, pos), value: number},
			write{key: pos.append(time), value: number},
		)
		for _, tag := range e.Tags {
			writes = append(writes, write{key: tagKey(no, tag, pos), value: number})
		}
	}
	return writes, nil
}

// A database of format 1 is read as it is, and goes on in the present one: here all
// that has been stored is of format 1 whenever a store is opened again.
func TestStoreOfFormat1(t *testing.T) {
	storetest.Run(t, func(t *testing.T) storetest.Harness {
		return newHarness(t, Options{Network: "test"}, func(dir string) error {
			if _, err := tables(dir); err != nil {
				return nil // there is no database yet
			}
			return toFormat1(dir)
		})
	})
}

// What is written to a database of format 1 is of format 2, which the older release
// refuses.
func TestFormat1GoesOn(t *testing.T) {
	dir := filled(t, 40)
	if err := toFormat1(dir); err != nil {
		t.Fatal(err)
	}
	if runs, plain := countRecords(t, dir); runs != 0 || plain != 40 {
		t.Fatalf("format 1 has %d records of neighbours and %d of one event, want 40 of one", runs, plain)
	}
	s, err := Open(dir, Options{Network: "test", MinFree: NoMinFree})
	if err != nil {
		t.Fatal(err)
	}
	storetest.CheckInvariants(t, s)
	dag := join(t, s, 2)[1]
	b := dag.Batch(2*types.MultiproofSize + 3)
	if err := s.Commit(b); err != nil {
		t.Fatal(err)
	}
	storetest.CheckInvariants(t, s)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if runs, plain := countRecords(t, dir); runs != 3 || plain != 40 {
		t.Errorf("%d records of neighbours and %d of one event, want 3 and 40", runs, plain)
	}
	db := openDatabase(t, dir)
	defer db.close() //nolint:errcheck // it was only read
	tx := db.begin()
	defer tx.discard()
	if format, err := tx.get(systemKey(recordFormat)); err != nil || !bytes.Equal(format, encodeFormat(2, "test")) {
		t.Errorf("format record %x, %v", format, err)
	}
}

// countRecords counts the records of a closed database with neighbours, and those
// with one event.
func countRecords(t *testing.T, dir string) (runs, plain int) {
	t.Helper()
	db := openDatabase(t, dir)
	defer db.close() //nolint:errcheck // it was only read
	err := db.view(func(txn *badger.Txn) error {
		log := newScan(txn, []byte{kindLog}, []byte{kindLog}, false)
		defer log.close()
		for ; log.valid(); log.next() {
			b, err := log.value()
			if err != nil {
				return err
			}
			if b[0] == recordRun {
				runs++
			} else {
				plain++
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return runs, plain
}
