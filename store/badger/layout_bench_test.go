package badger

import (
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
	// put returns what to write for an event.
	put func(no topicNo, state logState, e *types.Event) []write
	// body follows the value at a log number to the event's record.
	body func(txn *badger.Txn, value []byte) ([]byte, error)
}

// layouts are the one of this package, and the obvious other: the event under its
// CID, to which the log and the orders point.
var layouts = []layout{
	{
		"event in the log",
		func(no topicNo, state logState, e *types.Event) []write { return appendEvent(nil, no, state, e) },
		func(_ *badger.Txn, value []byte) ([]byte, error) { return value, nil },
	},
	{
		"event under its CID",
		func(no topicNo, state logState, e *types.Event) []write {
			own := appendEvent(nil, no, state, e)
			log := logKey(no, state.count)
			var writes []write
			for _, w := range own {
				d := types.Digest(e.CID)
				switch w.key[0] {
				case kindEvent:
					w.value = nil // the record, below
				case kindLog:
					writes = append(writes, write{key: digestKey(kindEvent, d), value: w.value})
					w = write{key: log, value: d[:]}
				default: // the digest ends their keys
					w.value = nil
				}
				if w.key[0] != kindEvent {
					writes = append(writes, w)
				}
			}
			return writes
		},
		func(txn *badger.Txn, value []byte) ([]byte, error) {
			item, err := txn.Get(digestKey(kindEvent, types.Hash(value)))
			if err != nil {
				return nil, err
			}
			return item.ValueCopy(nil)
		},
	},
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
		for _, e := range batch.Events {
			state = logState{count: state.count + 1, hash: state.hash.Next(e.CID)}
			if err := put(txn, l.put(1, state, e)); err != nil {
				b.Fatal(err)
			}
		}
		if err := errors.Join(txn.commit(), db.sync()); err != nil {
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
			if _, err := l.body(txn, value); err != nil {
				return err
			}
			n++
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
			if l.name != layouts[0].name {
				continue // that is the event
			}
			at, err := decodePlace(value)
			if err != nil {
				return err
			}
			if item, err = txn.Get(logKey(at.topic, at.number)); err != nil {
				return err
			}
			if _, err := item.ValueCopy(nil); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		b.Fatal(err)
	}
}
