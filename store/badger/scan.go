package badger

import (
	"fmt"

	"github.com/dgraph-io/badger/v4"

	"github.com/cairn-p2p/cairn/types"
)

// scan walks the keys with a prefix. Values are not fetched ahead: they lie in
// the tables beside their keys.
type scan struct {
	it *badger.Iterator
}

// newScan stands at the first key at or behind from, in the direction asked
// for. from is prefix, or longer.
func newScan(txn *badger.Txn, prefix, from []byte, reverse bool) *scan {
	it := txn.NewIterator(badger.IteratorOptions{Prefix: prefix, Reverse: reverse})
	it.Seek(from)
	return &scan{it}
}

func (s *scan) valid() bool { return s.it.Valid() }

func (s *scan) next() { s.it.Next() }

// key holds until next.
func (s *scan) key() []byte { return s.it.Item().Key() }

// value returns a copy.
func (s *scan) value() ([]byte, error) {
	b, err := s.it.Item().ValueCopy(nil)
	if err != nil {
		return nil, fmt.Errorf("%w: read value: %w", types.ErrStore, err)
	}
	return b, nil
}

func (s *scan) close() { s.it.Close() }
