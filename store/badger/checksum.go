package badger

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"runtime"
	"slices"

	"github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/options"
	"github.com/dgraph-io/badger/v4/table"
	"github.com/dgraph-io/ristretto/v2/z"
	"golang.org/x/sync/errgroup"

	"github.com/cairn-p2p/cairn/types"
)

// maxVerified is the size in bytes of tables up to which opening reads every
// block and checks it, which takes about a second for that much. Badger takes a
// block that it cannot read for one that holds nothing, so damage found later
// would look like events that were never here.
const maxVerified = 512 << 20

// verifyTables checks every block of the listed tables, of up to maxVerified
// bytes: the newest, which were written last, come first.
func verifyTables(dir string, manifest badger.Manifest) error {
	left := int64(maxVerified)
	var group errgroup.Group
	group.SetLimit(runtime.GOMAXPROCS(0))
	for _, id := range newestFirst(manifest) {
		name := table.NewFilename(id, dir)
		info, err := os.Stat(name)
		if err != nil {
			return errors.Join(damage(err), group.Wait())
		}
		if left -= info.Size(); left < 0 {
			break
		}
		group.Go(func() error {
			if err := verifyTable(name, manifest.Tables[id].Compression); err != nil {
				return damage(fmt.Errorf("table %d: %w", id, err))
			}
			return nil
		})
	}
	return group.Wait()
}

// newestFirst returns the numbers of the listed tables, which grow with time.
func newestFirst(manifest badger.Manifest) []uint64 {
	ids := slices.Sorted(maps.Keys(manifest.Tables))
	slices.Reverse(ids)
	return ids
}

// verifyTable reads all of a table. Badger's reader panics on some damage.
func verifyTable(name string, compression options.CompressionType) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = corrupt("%v", r)
		}
	}()
	f, err := z.OpenMmapFile(name, os.O_RDONLY, 0)
	if err != nil {
		return fmt.Errorf("%w: %w", types.ErrStore, err)
	}
	t, err := table.OpenTable(f, table.Options{
		ReadOnly:    true,
		Compression: compression,
		BlockSize:   badger.DefaultOptions("").BlockSize,
		ChkMode:     options.OnTableRead,
	})
	if err != nil {
		return err // the file is closed
	}
	return t.Close(-1)
}
