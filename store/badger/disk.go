package badger

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/cairn-p2p/cairn/types"
)

// How long a look at the free space holds: until freeAge has passed or
// freeWritten bytes have been committed, so that a burst of commits between two
// looks stays small beside any sensible minimum.
const (
	freeAge     = time.Second
	freeWritten = 8 << 20
)

// diskGuard refuses writes while the disk has less than min bytes free.
type diskGuard struct {
	dir  string
	min  uint64
	free func(dir string) (uint64, error)
	now  func() time.Time

	mu      sync.Mutex
	checked time.Time
	written int // bytes committed since checked
	verdict error
}

// check returns types.ErrDiskFull below the minimum.
func (g *diskGuard) check() error {
	if g.min == NoMinFree {
		return nil
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	now := g.now()
	if g.checked.IsZero() || now.Sub(g.checked) >= freeAge || g.written >= freeWritten {
		g.checked, g.written, g.verdict = now, 0, g.look()
	}
	return g.verdict
}

func (g *diskGuard) look() error {
	free, err := g.free(g.dir)
	if err != nil {
		return fmt.Errorf("%w: free space of %s: %w", types.ErrStore, g.dir, err)
	}
	if free < g.min {
		return fmt.Errorf("%w: %d MiB free, minimum %d MiB", types.ErrDiskFull, free>>20, g.min>>20)
	}
	return nil
}

// wrote counts bytes towards the next look.
func (g *diskGuard) wrote(bytes int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.written += bytes
}

// freeSpace is the number of bytes that an unprivileged process may still
// write to the file system of dir.
func freeSpace(dir string) (uint64, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return 0, err
	}
	return st.Bavail * uint64(st.Bsize), nil
}

// diskUsage is the number of bytes that the files below dir take on disk: what
// Badger maps ahead of use does not count.
func diskUsage(dir string) (int64, error) {
	var total int64
	err := filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil // compacted away meanwhile
		}
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		if st, ok := info.Sys().(*syscall.Stat_t); ok {
			total += st.Blocks * 512 // the unit of st_blocks, whatever the file system's
		}
		return nil
	})
	return total, err
}
