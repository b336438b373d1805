package badger

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/cairn-p2p/cairn/types"
)

// lockName is the file in a data directory that its user locks. Its content
// names the holder, for people; the flock is the lock.
const lockName = "LOCK"

// maxHolder bounds what is read of another holder's lock file.
const maxHolder = 512

// DirLock is the exclusive use of a data directory by one process. It ends with
// Release or with the process, however that ends.
type DirLock struct {
	file *os.File
}

// Lock takes the lock of dir, which it creates when there is none. It does not
// wait: when the lock is held, here or in another process, the error is
// types.ErrLocked, names the holder, and nothing has changed.
func Lock(dir string) (*DirLock, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("%w: create data directory: %w", types.ErrInvalidArgument, err)
	}
	f, err := os.OpenFile(filepath.Join(dir, lockName), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("%w: open lock file: %w", types.ErrInvalidArgument, err)
	}
	err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		defer f.Close() // read only: nothing to lose
		return nil, fmt.Errorf("%w: %s is used by %s", types.ErrLocked, dir, readHolder(f))
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("lock %s: %w", dir, err), f.Close())
	}
	l := &DirLock{file: f}
	if err := l.sign(); err != nil {
		return nil, errors.Join(fmt.Errorf("write lock file: %w", err), l.Release())
	}
	return l, nil
}

// sign writes who holds the lock.
func (l *DirLock) sign() error {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown host"
	}
	if err := l.file.Truncate(0); err != nil {
		return err
	}
	text := fmt.Sprintf("process %d on %s since %s\n", os.Getpid(), host, time.Now().UTC().Format(time.RFC3339))
	_, err = l.file.WriteAt([]byte(text), 0)
	return err
}

func readHolder(f *os.File) string {
	b := make([]byte, maxHolder)
	n, err := f.ReadAt(b, 0)
	if err != nil && !errors.Is(err, io.EOF) || n == 0 {
		return "an unnamed process"
	}
	return strings.TrimSpace(string(b[:n]))
}

// Release gives the lock back. The file stays, empty: to remove it would let
// two processes lock two files of one name.
func (l *DirLock) Release() error {
	err := l.file.Truncate(0)
	return errors.Join(err, l.file.Close())
}
