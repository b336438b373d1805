package main

import (
	"context"
	"crypto/ed25519"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"github.com/dgraph-io/badger/v4"
)

// eventSize is about what an event with a payload of 256 bytes and one link
// takes, body and witness: what the raw limits move.
const eventSize = 456

// probeTime is how long a limit is measured, before a row and again after it.
const probeTime = 250 * time.Millisecond

// probe measures what the machine can do, in events a second.
type probe struct {
	name    string
	measure func(ctx context.Context) (float64, error)
}

// around carries out work between two measurements of each limit, whose mean
// it notes.
func around(ctx context.Context, r *row, probes []probe, work func() error) error {
	r.limits = make([]limit, len(probes))
	measure := func() error {
		for i, p := range probes {
			rate, err := p.measure(ctx)
			if err != nil {
				return fmt.Errorf("limit %s: %w", p.name, err)
			}
			r.limits[i].name = p.name
			r.limits[i].value += rate / 2
		}
		return nil
	}
	if err := measure(); err != nil {
		return err
	}
	if err := work(); err != nil {
		return err
	}
	return measure()
}

// per divides a limit: by the number of nodes that share a disk, say.
func (p probe) per(n int) probe {
	return probe{fmt.Sprintf("%s ÷ %d", p.name, n), func(ctx context.Context) (float64, error) {
		rate, err := p.measure(ctx)
		return rate / float64(n), err
	}}
}

// fsyncs is a file to which events are appended, each with its fsync.
func (b *bench) fsyncs() probe {
	return probe{"append+fsync", func(context.Context) (float64, error) {
		took, err := b.fsyncTimes()
		var total time.Duration
		for _, t := range took {
			total += t
		}
		return float64(len(took)) / total.Seconds(), err
	}}
}

// fsyncTimes returns how long each append with its fsync took, of at least two.
func (b *bench) fsyncTimes() (took []time.Duration, err error) {
	f, err := os.CreateTemp(b.dir, "fsync-")
	if err != nil {
		return nil, err
	}
	defer os.Remove(f.Name()) //nolint:errcheck // all of b.dir goes away
	defer f.Close()           //nolint:errcheck // it is thrown away
	buf := make([]byte, eventSize)
	for start := time.Now(); time.Since(start) < probeTime || len(took) < 2; {
		before := time.Now()
		if _, err := f.Write(buf); err != nil {
			return nil, err
		}
		if err := f.Sync(); err != nil {
			return nil, err
		}
		took = append(took, time.Since(before))
	}
	return took, nil
}

// groups is a Badger database to which transactions of size events are
// committed, each with its fsync, one key an event.
func (b *bench) groups(size int) probe {
	return probe{fmt.Sprintf("Badger by %d", size), func(context.Context) (rate float64, err error) {
		dir, err := b.temp()
		if err != nil {
			return 0, err
		}
		db, err := badger.Open(badger.DefaultOptions(filepath.Join(dir, "raw")).
			WithSyncWrites(true).
			WithMemTableSize(16 << 20). // as in package store/badger
			WithMetricsEnabled(false).
			WithLogger(nil))
		if err != nil {
			return 0, err
		}
		defer os.RemoveAll(dir) //nolint:errcheck // all of b.dir goes away
		defer db.Close()        //nolint:errcheck // it is thrown away
		value := make([]byte, eventSize)
		return perSecond(size, func(n uint64) error {
			return db.Update(func(tx *badger.Txn) error {
				for i := range uint64(size) {
					if err := tx.Set(binary.BigEndian.AppendUint64(nil, n*uint64(size)+i), value); err != nil {
						return err
					}
				}
				return nil
			})
		})
	}}
}

// perSecond repeats work, which does some events, for probeTime.
func perSecond(events int, work func(n uint64) error) (float64, error) {
	start := time.Now()
	n := uint64(0)
	for ; time.Since(start) < probeTime; n++ {
		if err := work(n); err != nil {
			return 0, err
		}
	}
	return float64(n) * float64(events) / time.Since(start).Seconds(), nil
}

// signs and verifies are Ed25519 over a CID on one core.
func signs() probe {
	return probe{"Ed25519 sign", func(context.Context) (float64, error) {
		key := ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize))
		message := make([]byte, 50)
		return perSecond(1, func(n uint64) error {
			binary.BigEndian.PutUint64(message, n)
			ed25519.Sign(key, message)
			return nil
		})
	}}
}

func verifies() probe {
	return probe{"Ed25519 verify", func(context.Context) (float64, error) {
		key := ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize))
		message := make([]byte, 50)
		signature := ed25519.Sign(key, message)
		public := key.Public().(ed25519.PublicKey) //nolint:errcheck // an ed25519 key's is one
		return perSecond(1, func(uint64) error {
			if !ed25519.Verify(public, message, signature) {
				return fmt.Errorf("a valid signature was refused")
			}
			return nil
		})
	}}
}

// onAllCores multiplies a limit that one core has.
func (p probe) onAllCores() probe {
	cores := runtime.GOMAXPROCS(0)
	return probe{fmt.Sprintf("%s on %d cores", p.name, cores), func(ctx context.Context) (float64, error) {
		rate, err := p.measure(ctx)
		return rate * float64(cores), err
	}}
}
