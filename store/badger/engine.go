package badger

import (
	"errors"
	"fmt"
	"sync"

	"github.com/dgraph-io/badger/v4"

	"github.com/cairn-p2p/cairn/types"
)

// engine is what the store asks of Badger. Tests wrap it to make any call of
// the committer fail.
type engine interface {
	// begin starts a transaction that writes, on all that was committed before.
	// Only the committer calls it.
	begin() tx
	// sync returns when what was committed is durable; from then on views see it.
	// After an error it may be. Only the committer calls it.
	sync() error
	// view runs read in a transaction that sees one state of the database, all of
	// it durable. It waits for no commit.
	view(read func(*badger.Txn) error) error
	// limits are the greatest size and number of writes of a transaction.
	limits() (bytes, count int)
	// collect rewrites one value log if enough of it is garbage: none is, unless an
	// older release stored metadata of 1 MiB or more.
	collect() error
	close() error
}

// tx is one transaction. It sees its own writes; set and remove keep their
// arguments until commit or discard.
type tx interface {
	// get returns a copy of the value, nil when there is none.
	get(key []byte) ([]byte, error)
	set(key, value []byte) error
	remove(key []byte) error
	// commit returns when the writes are in the database, for sync to make them
	// durable. After an error they may be there.
	commit() error
	discard()
}

// gcRatio is the share of garbage from which a value log is rewritten: Badger's
// own recommendation.
const gcRatio = 0.5

// database is Badger with versions of the store's making. Badger alone syncs two
// files in each commit, one of them empty here, and lets readers wait meanwhile;
// so the committer syncs, and a view reads at the last version that is durable.
type database struct {
	*badger.DB
	log     *memLog
	written uint64 // version of the last transaction; owned by the committer

	mu      sync.Mutex
	durable uint64         // version of the last that is synced
	viewers map[uint64]int // views under way, by their version
}

// newDatabase takes db over. What it holds was read from its files, and is
// durable. After an error it is closed.
func newDatabase(db *badger.DB) (*database, error) {
	log, err := openMemLog(db.Opts().Dir)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("%w: %w", types.ErrStore, err), db.Close())
	}
	version := db.MaxVersion()
	db.SetDiscardTs(version)
	return &database{DB: db, log: log, written: version, durable: version, viewers: map[uint64]int{}}, nil
}

func (d *database) begin() tx {
	return &transaction{Txn: d.NewTransactionAt(d.written, true), db: d}
}

func (d *database) sync() error {
	if err := d.log.sync(); err != nil {
		return fmt.Errorf("sync: %w", err)
	}
	d.mu.Lock()
	d.durable = d.written
	oldest := d.durable
	for version := range d.viewers {
		oldest = min(oldest, version)
	}
	d.mu.Unlock()
	d.SetDiscardTs(oldest) // compactions may drop what no view sees
	return nil
}

func (d *database) view(read func(*badger.Txn) error) error {
	d.mu.Lock()
	version := d.durable
	d.viewers[version]++
	d.mu.Unlock()
	defer func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		if d.viewers[version]--; d.viewers[version] == 0 {
			delete(d.viewers, version)
		}
	}()
	txn := d.NewTransactionAt(version, false)
	defer txn.Discard()
	return read(txn)
}

// limits leave a twentieth for what Badger adds to a transaction.
func (d *database) limits() (bytes, count int) {
	return int(d.MaxBatchSize() * 19 / 20), int(d.MaxBatchCount() * 19 / 20)
}

func (d *database) collect() error { return d.RunValueLogGC(gcRatio) }

func (d *database) close() error { return errors.Join(d.Close(), d.log.close()) }

type transaction struct {
	*badger.Txn
	db     *database
	writes bool
}

func (t *transaction) get(key []byte) ([]byte, error) { return get(t.Txn, key) }

func (t *transaction) set(key, value []byte) error {
	t.writes = true
	return t.Set(key, value)
}

func (t *transaction) remove(key []byte) error {
	t.writes = true
	return t.Delete(key)
}

// commit takes the next version: inspect relies on there being no gaps. One that
// writes nothing leaves no trace, and takes none.
func (t *transaction) commit() error {
	if !t.writes {
		return nil
	}
	if err := t.CommitAt(t.db.written+1, nil); err != nil {
		return err
	}
	t.db.written++
	return nil
}

func (t *transaction) discard() { t.Discard() }

// get returns a copy of the value of key, nil when there is none.
func get(txn *badger.Txn, key []byte) ([]byte, error) {
	item, err := txn.Get(key)
	if errors.Is(err, badger.ErrKeyNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("%w: read: %w", types.ErrStore, err)
	}
	b, err := item.ValueCopy(nil)
	if err != nil {
		return nil, fmt.Errorf("%w: read value: %w", types.ErrStore, err)
	}
	if b == nil {
		b = []byte{}
	}
	return b, nil
}

// refused are the errors with which Badger turns a transaction down before it
// writes anything.
var refused = []error{
	badger.ErrTxnTooBig, badger.ErrEmptyKey, badger.ErrInvalidKey, badger.ErrBannedKey,
	badger.ErrConflict, badger.ErrReadOnlyTxn, badger.ErrDiscardedTxn, badger.ErrInvalidRequest,
}

// isRefusal reports whether a failed commit has surely written nothing. Any
// other error may have come after the write.
func isRefusal(err error) bool {
	for _, r := range refused {
		if errors.Is(err, r) {
			return true
		}
	}
	return false
}
