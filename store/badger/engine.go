package badger

import (
	"errors"
	"fmt"

	"github.com/dgraph-io/badger/v4"

	"github.com/cairn-p2p/cairn/types"
)

// engine is what the store asks of Badger. Tests wrap it to make any call of
// the committer fail.
type engine interface {
	// begin starts a transaction that writes. Only the committer calls it.
	begin() tx
	// view runs read in a transaction that sees one state of the database.
	view(read func(*badger.Txn) error) error
	// limits are the greatest size and number of writes of a transaction.
	limits() (bytes, count int)
	// collect rewrites one value log if enough of it is garbage.
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
	// commit returns when the writes are durable. After an error they may be.
	commit() error
	discard()
}

// gcRatio is the share of garbage from which a value log is rewritten: Badger's
// own recommendation.
const gcRatio = 0.5

type database struct{ *badger.DB }

func (d database) begin() tx { return transaction{d.NewTransaction(true)} }

func (d database) view(read func(*badger.Txn) error) error { return d.View(read) }

// limits leave a twentieth for what Badger adds to a transaction.
func (d database) limits() (bytes, count int) {
	return int(d.MaxBatchSize() * 19 / 20), int(d.MaxBatchCount() * 19 / 20)
}

func (d database) collect() error { return d.RunValueLogGC(gcRatio) }

func (d database) close() error { return d.Close() }

type transaction struct{ *badger.Txn }

func (t transaction) get(key []byte) ([]byte, error) { return get(t.Txn, key) }

func (t transaction) set(key, value []byte) error { return t.Set(key, value) }

func (t transaction) remove(key []byte) error { return t.Delete(key) }

func (t transaction) commit() error { return t.Commit() }

func (t transaction) discard() { t.Discard() }

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
