package badger

import (
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"testing"

	"github.com/dgraph-io/badger/v4"

	"github.com/cairn-p2p/cairn/store/storetest"
	"github.com/cairn-p2p/cairn/types"
)

// layout is a way to keep events in keys and values.
type layout struct {
	name string
	// put returns what to write for the events of a batch, and the log's state then.
	put func(no topicNo, state logState, events []*types.Event) ([]write, logState)
	// read decodes the value of a log number, and returns how many events it has.
	read func(txn *badger.Txn, number uint64, value []byte) (int, error)
	// get reads the event to which the value of its CID leads.
	get func(txn *badger.Txn, value []byte) error
}

// layouts are the one of this package, the one of its format 1, and the obvious
// other: the event under its CID, to which the log and the orders point.
var layouts = []layout{
	{
		"neighbours in one record",
		func(no topicNo, state logState, events []*types.Event) (writes []write, _ logState) {
			for _, r := range cutRuns(events) {
				writes, state = appendRun(writes, no, state, r)
			}
			return writes, state
		},
		countRecord,
		getInLog,
	},
	{"event in the log", putEach, countRecord, getInLog},
	{
		"event under its CID",
		func(no topicNo, state logState, events []*types.Event) (writes []write, _ logState) {
			own, state := putEach(no, state, events)
			var digest []byte
			for _, w := range own {
				switch w.key[0] {
				case kindEvent: // the record, below
					digest = w.key[1:]
					continue
				case kindLog: // the last of the event's writes
					writes = append(writes, write{key: digestKey(kindEvent, types.Hash(digest)), value: w.value})
					w.value = digest
				default: // the digest ends their keys
					w.value = nil
				}
				writes = append(writes, w)
			}
			return writes, state
		},
		func(txn *badger.Txn, number uint64, value []byte) (int, error) {
			item, err := txn.Get(digestKey(kindEvent, types.Hash(value)))
			if err != nil {
				return 0, err
			}
			if value, err = item.ValueCopy(nil); err != nil {
				return 0, err
			}
			return countRecord(txn, number, value)
		},
		func(txn *badger.Txn, value []byte) error {
			r, err := decodeRecord(1, value)
			if err != nil {
				return err
			}
			entry, err := r.entry(0)
			if err != nil {
				return err
			}
			_, err = entry.Event()
			return err
		},
	},
}

func putEach(no topicNo, state logState, events []*types.Event) (writes []write, _ logState) {
	for i := range events {
		writes, state = appendRun(writes, no, state, run{events: events[i : i+1]})
	}
	return writes, state
}

func countRecord(_ *badger.Txn, number uint64, value []byte) (int, error) {
	r, err := decodeRecord(number, value)
	if err != nil {
		return 0, err
	}
	for i := range r.events {
		if _, err := r.entry(i); err != nil {
			return 0, err
		}
	}
	return len(r.events), nil
}

var layoutRecords = newRecords() // events are read at random: it holds one in a hundred

func getInLog(txn *badger.Txn, value []byte) error {
	at, err := decodePlace(value)
	if err != nil {
		return err
	}
	_, err = layoutRecords.event(txn, at.topic, at.spot)
	return err
}

// BenchmarkLayout compares where an event may lie, over the same 200,000 events in
// batches of 64: what is written to the disk for each and what stays there, how
// fast the log is read from its start to its end, which is what a join and a
// subscriber do, and how fast events are found by their CIDs. One b.N is all of it:
//
//	go test -run '^$' -bench Layout -benchtime 1x ./store/badger
func BenchmarkLayout(b *testing.B) {
	for _, l := range layouts {
		b.Run(l.name, func(b *testing.B) {
			for b.Loop() {
				layOut(b, l)
			}
		})
	}
}

func layOut(b *testing.B, l layout) {
	const events, size = 200_000, 64
	b.StopTimer()
	dir := b.TempDir()
	db := openDatabase(b, dir)
	dag := storetest.NewDAG(b, rand.New(rand.NewPCG(1, 2)), "topic", 1)
	batches := makeBatches(dag, events/size, size)
	before := writtenBytes(b)
	state := logState{}
	b.StartTimer()
	for _, batch := range batches {
		txn := db.begin()
		var writes []write
		writes, state = l.put(1, state, batch.Events)
		if err := errors.Join(put(txn, writes), txn.commit(), db.sync()); err != nil {
			b.Fatal(err)
		}
	}
	b.StopTimer()
	written := b.Elapsed()
	if err := db.close(); err != nil { // what is read comes from tables
		b.Fatal(err)
	}
	bytes := writtenBytes(b) - before
	kept, err := diskUsage(dir)
	if err != nil {
		b.Fatal(err)
	}
	db = openDatabase(b, dir)
	defer db.close() //nolint:errcheck // nothing was written
	b.StartTimer()
	scanned := scanLayout(b, db, l)
	b.StopTimer()
	read := b.Elapsed() - written
	if scanned != len(dag.Events) {
		b.Fatalf("%d events in the log, want %d", scanned, len(dag.Events))
	}
	b.StartTimer()
	findInLayout(b, db, dag, l)
	b.StopTimer()
	found := b.Elapsed() - written - read
	n := float64(len(dag.Events))
	b.ReportMetric(n/written.Seconds(), "events/s")
	b.ReportMetric(n/read.Seconds(), "log-reads/s")
	b.ReportMetric(finds/found.Seconds(), "gets/s")
	b.ReportMetric(float64(bytes)/n, "written-B/event")
	b.ReportMetric(float64(kept)/n, "kept-B/event")
	b.StartTimer()
}

// scanLayout reads the delivery log with its events, and returns their number.
func scanLayout(b *testing.B, db *database, l layout) int {
	n := 0
	err := db.view(func(txn *badger.Txn) error {
		prefix := topicKey(kindLog, 1, 0)
		opts := badger.DefaultIteratorOptions
		opts.Prefix = prefix
		it := txn.NewIterator(opts)
		defer it.Close()
		for it.Seek(prefix); it.ValidForPrefix(prefix); it.Next() {
			value, err := it.Item().ValueCopy(nil)
			if err != nil {
				return err
			}
			key := it.Item().Key()
			count, err := l.read(txn, binary.BigEndian.Uint64(key[len(key)-8:]), value)
			if err != nil {
				return err
			}
			n += count
		}
		return nil
	})
	if err != nil {
		b.Fatal(err)
	}
	return n
}

// finds is how many events findInLayout reads.
const finds = 50_000

// findInLayout reads events by their CIDs, at random.
func findInLayout(b *testing.B, db *database, dag *storetest.DAG, l layout) {
	rng := rand.New(rand.NewPCG(5, 6))
	err := db.view(func(txn *badger.Txn) error {
		for range finds {
			e := dag.Events[rng.IntN(len(dag.Events))]
			item, err := txn.Get(digestKey(kindEvent, types.Digest(e.CID)))
			if err != nil {
				return err
			}
			value, err := item.ValueCopy(nil)
			if err != nil {
				return err
			}
			if err := l.get(txn, value); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		b.Fatal(err)
	}
}
