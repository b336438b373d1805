package badger

import (
	"log/slog"
	"math"
	"time"

	"github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/options"
)

// Options configure a store. The zero value is usable.
type Options struct {
	// Network names the network whose topics the database holds. A database of
	// another network is refused.
	Network string
	// MinFree is the free space in bytes below which events are refused with
	// types.ErrDiskFull. 0 means DefaultMinFree; NoMinFree means no bound.
	MinFree uint64
	// Free returns the number of bytes that may still be written to the file
	// system of a directory. Nil asks the operating system; tests and simulations
	// give another.
	Free func(dir string) (uint64, error)
	// Lock is a lock that the caller holds on the directory or on one above it.
	// Nil: Open locks the directory and Close releases it.
	Lock *DirLock
	// GCInterval is the time between two collections of Run. 0 means
	// DefaultGCInterval.
	GCInterval time.Duration
	// Log receives what the database says. Nil discards it.
	Log *slog.Logger

	hooks hooks
}

const (
	// DefaultMinFree leaves Badger room to flush and compact what it has
	// already accepted: it dies of SIGBUS when a mapped file cannot grow.
	DefaultMinFree = 512 << 20
	// NoMinFree as Options.MinFree accepts events until the disk is full.
	NoMinFree = math.MaxUint64
	// DefaultGCInterval is how often Run looks for value logs to rewrite.
	DefaultGCInterval = 10 * time.Minute
)

// hooks are what tests put between the store and the world. Nil ones do
// nothing.
type hooks struct {
	wrap func(engine) engine
	now  func() time.Time
	// opening may fail each opening of the database.
	opening func() error
	// candidates replaces maxCandidates.
	candidates int
	// tune changes Badger's options, for benchmarks of them.
	tune func(badger.Options) badger.Options
}

func (o Options) withDefaults() Options {
	if o.MinFree == 0 {
		o.MinFree = DefaultMinFree
	}
	if o.GCInterval == 0 {
		o.GCInterval = DefaultGCInterval
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.hooks.wrap == nil {
		o.hooks.wrap = func(e engine) engine { return e }
	}
	if o.Free == nil {
		o.Free = freeSpace
	}
	if o.hooks.now == nil {
		o.hooks.now = time.Now
	}
	if o.hooks.opening == nil {
		o.hooks.opening = func() error { return nil }
	}
	if o.hooks.tune == nil {
		o.hooks.tune = func(b badger.Options) badger.Options { return b }
	}
	if o.hooks.candidates == 0 {
		o.hooks.candidates = maxCandidates
	}
	return o
}

// What the database is tuned with.
const (
	// memTableSize is a quarter of Badger's default: each fsync writes back
	// dirty pages of the mapped log, whose cost grows with the table. It must
	// never shrink: a log is replayed into one table of the size at hand.
	memTableSize = 16 << 20
	// tableSize and the bounds on level 0 trade a few more tables to look into
	// for a tenth of the disk writes.
	tableSize        = 8 << 20
	levelZeroTables  = 20
	levelZeroStalled = 40
	// valueThreshold is the length in bytes from which Badger puts a value into
	// its value log. The committer refuses such values, because it does not sync
	// that log; an event takes half as much at most.
	valueThreshold = 1 << 20
	// valueLogSize is small because the value log stays empty: only its file is
	// mapped.
	valueLogSize = 2 << 20
	// blockCacheSize bounds the memory for decompressed blocks.
	blockCacheSize = 64 << 20
	// compactors is the least that Badger takes.
	compactors = 2
)

func badgerOptions(dir string, o Options) badger.Options {
	return o.hooks.tune(badger.DefaultOptions(dir).
		WithSyncWrites(!committerSyncs).
		WithDetectConflicts(false). // one committer writes
		WithMemTableSize(memTableSize).
		WithBaseTableSize(tableSize).
		WithNumLevelZeroTables(levelZeroTables).
		WithNumLevelZeroTablesStall(levelZeroStalled).
		WithValueThreshold(valueThreshold).
		WithValueLogFileSize(valueLogSize).
		WithBlockCacheSize(blockCacheSize).
		WithNumCompactors(compactors).
		WithCompression(options.Snappy).
		WithChecksumVerificationMode(options.OnBlockRead).
		WithMetricsEnabled(false). // they are process-wide globals
		WithBypassLockGuard(true). // DirLock has locked the directory
		WithLogger(bridge{o.Log}))
}
