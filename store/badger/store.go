package badger

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/dgraph-io/badger/v4"

	"github.com/cairn-p2p/cairn/types"
)

// Store is one Badger database. All methods are safe for concurrent use.
// Iterators read in chunks and hold nothing while their caller has control, so
// a loop's body may call any method.
type Store struct {
	dir  string
	opts Options
	log  *slog.Logger
	lock *DirLock // nil when the caller of Open holds it
	disk diskGuard

	committer committer
	heads     headsCache
	records   records
	reclaimed atomic.Int64

	// mu is held for reading while the database is used and for writing while
	// it is opened or closed.
	mu     sync.RWMutex
	eng    engine // nil when the last opening failed, and after Close
	cause  error  // why eng is nil
	closed bool
	id     identity
}

// Open opens the database in dir, which it creates when there is none, and
// counts the start. The errors to branch on are types.ErrLocked,
// types.ErrNewerFormat, types.ErrWrongNetwork, types.ErrCorrupt and
// types.ErrStore; none of them has changed a record.
func Open(dir string, opts Options) (*Store, error) {
	s := &Store{dir: dir, opts: opts.withDefaults(), heads: newHeadsCache(), records: newRecords()}
	s.log = s.opts.Log
	s.disk = diskGuard{dir: dir, min: s.opts.MinFree, free: s.opts.Free, now: s.opts.hooks.now}
	s.committer.idle.L = &s.committer.mu
	if s.opts.Lock == nil {
		lock, err := Lock(dir)
		if err != nil {
			return nil, fmt.Errorf("open store: %w", err)
		}
		s.lock = lock
	}
	if err := s.openEngine(true); err != nil {
		return nil, fmt.Errorf("open store: %w", errors.Join(err, s.unlock()))
	}
	return s, nil
}

// openEngine opens the database and, for the first time in this process, counts
// the start. The caller holds mu or is alone.
func (s *Store) openEngine(first bool) error {
	if err := s.opts.hooks.opening(); err != nil {
		return err
	}
	if err := inspect(s.dir); err != nil {
		return err
	}
	db, err := openBadger(badgerOptions(s.dir, s.opts))
	if err != nil {
		return err
	}
	base, err := newDatabase(db)
	if err != nil {
		return err
	}
	eng := s.opts.hooks.wrap(base)
	marked, err := hasMarker(s.dir)
	if err != nil {
		return errors.Join(err, eng.close())
	}
	id, err := readIdentity(eng, s.opts.Network, first, marked)
	if err == nil && !marked {
		err = mark(s.dir)
	}
	if err == nil && !first && (id.log != s.id.log || id.starts < s.id.starts) {
		err = corrupt("another database has taken its place")
	}
	if err != nil {
		return errors.Join(err, eng.close())
	}
	s.eng, s.cause, s.id = eng, nil, id
	s.records.recent.Purge() // whatever was lost meanwhile
	return nil
}

// Close waits for the commits under way and closes the database. Afterwards
// every method returns types.ErrClosed. Closing again does nothing.
func (s *Store) Close() error {
	s.committer.close()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil
	}
	s.closed = true
	var err error
	if s.eng != nil {
		err = s.eng.close()
		s.eng = nil
	}
	s.cause = types.ErrClosed
	if err = errors.Join(err, s.unlock()); err != nil {
		return fmt.Errorf("%w: close: %w", types.ErrStore, err)
	}
	return nil
}

func (s *Store) unlock() error {
	if s.lock == nil {
		return nil
	}
	lock := s.lock
	s.lock = nil
	return lock.Release()
}

// acquire returns the database with mu held for reading; the caller calls
// mu.RUnlock. Without a database it tries to open it again.
func (s *Store) acquire() (engine, error) {
	for {
		s.mu.RLock()
		if s.eng != nil {
			return s.eng, nil
		}
		s.mu.RUnlock()
		if err := s.revive(); err != nil {
			return nil, err
		}
	}
}

// revive opens the database when it is not open.
func (s *Store) revive() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return types.ErrClosed
	}
	if s.eng != nil {
		return nil
	}
	if err := s.openEngine(false); err != nil {
		s.cause = fmt.Errorf("%w: reopen: %w", types.ErrStore, err)
		return s.cause
	}
	s.log.Info("store reopened", "dir", s.dir)
	return nil
}

// reopen replaces the database after broken, which is still the current one
// unless someone was faster, failed to write: what it holds in memory may be
// more than the disk has.
func (s *Store) reopen(broken engine, cause error) {
	s.mu.Lock()
	if s.eng != broken {
		s.mu.Unlock()
		return
	}
	s.log.Error("store failed, reopening", "dir", s.dir, "err", cause)
	if err := broken.close(); err != nil {
		s.log.Warn("closing the failed store", "dir", s.dir, "err", err)
	}
	s.eng, s.cause = nil, fmt.Errorf("%w: %w", types.ErrStore, cause)
	s.mu.Unlock()
	if err := s.revive(); err != nil {
		s.log.Error("store cannot be reopened", "dir", s.dir, "err", err)
	}
}

// view runs read on one state of the database. The caller must not hand control
// to anyone in it.
func (s *Store) view(read func(*badger.Txn) error) error {
	eng, err := s.acquire()
	if err != nil {
		return err
	}
	defer s.mu.RUnlock()
	return eng.view(read)
}

// LogID names this database's delivery logs.
func (s *Store) LogID() types.LogID {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.id.log
}

// Starts counts how often the database has been opened, this time included.
func (s *Store) Starts() uint64 {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.id.starts
}

// Usage is the number of bytes that the database takes on disk.
func (s *Store) Usage() (int64, error) {
	if _, err := s.acquire(); err != nil {
		return 0, err
	}
	defer s.mu.RUnlock()
	n, err := diskUsage(s.dir)
	if err != nil {
		return 0, fmt.Errorf("%w: disk usage: %w", types.ErrStore, err)
	}
	return n, nil
}

// Writable reports why events cannot be stored now: types.ErrDiskFull,
// types.ErrStore or types.ErrClosed. Nil means that they can.
func (s *Store) Writable() error {
	if _, err := s.acquire(); err != nil {
		return err
	}
	s.mu.RUnlock()
	return s.disk.check()
}

// Run rewrites value logs in which garbage has gathered, at each interval of
// the options, until ctx ends; it returns nil then, or types.ErrClosed.
func (s *Store) Run(ctx context.Context) error {
	ticker := time.NewTicker(s.opts.GCInterval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
		if err := s.collect(ctx); err != nil {
			return err
		}
	}
}

// Reclaimed is the number of bytes on disk that Run has given back.
func (s *Store) Reclaimed() int64 { return s.reclaimed.Load() }

// collect rewrites value logs until none has enough garbage.
func (s *Store) collect(ctx context.Context) error {
	for ctx.Err() == nil {
		eng, err := s.acquire()
		if errors.Is(err, types.ErrClosed) {
			return err
		}
		if err != nil {
			return nil // it is logged where it happened, and retried at the next tick
		}
		before, sizeErr := diskUsage(s.dir)
		err = eng.collect()
		after, sizeErr2 := diskUsage(s.dir)
		s.mu.RUnlock()
		switch {
		case errors.Is(err, badger.ErrNoRewrite):
			return nil
		case err != nil:
			s.log.Warn("value log collection", "err", err)
			return nil
		}
		if sizeErr == nil && sizeErr2 == nil && after < before {
			s.reclaimed.Add(before - after)
		}
	}
	return nil
}
