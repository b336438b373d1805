package badger

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// memLog syncs the log of Badger's memory table. A transaction lies whole in one
// log when its commit returns. A table that is full gets a successor, whose log
// has the next number, NNNNN.mem: as long as each transaction is synced before
// the next is committed, the newest log is the one to sync.
type memLog struct {
	dir      string
	number   int
	file     *os.File
	next     string // name of the log that comes after it
	datasync func(*os.File) error
}

// openMemLog finds the newest log in the directory of an open database.
func openMemLog(dir string) (*memLog, error) {
	names, err := filesWith(dir, ".mem")
	if err != nil {
		return nil, err
	}
	newest := -1
	for _, name := range names {
		n, err := strconv.Atoi(strings.TrimSuffix(filepath.Base(name), ".mem"))
		if err != nil {
			return nil, fmt.Errorf("number of a log: %w", err)
		}
		newest = max(newest, n)
	}
	if newest < 0 {
		return nil, fmt.Errorf("%s has no log of a memory table", dir)
	}
	l := &memLog{dir: dir, datasync: datasync}
	return l, l.open(newest)
}

// open goes over to the log with a number, whose name is made durable, too. What is
// in the one before is durable then, whoever wrote it.
func (l *memLog) open(number int) error {
	f, err := os.Open(l.name(number))
	if err != nil {
		return err
	}
	if l.file != nil {
		err = l.datasync(l.file)
	}
	if err = errors.Join(err, syncDir(l.dir)); err != nil {
		return errors.Join(err, f.Close())
	}
	err = l.close()
	l.number, l.file, l.next = number, f, l.name(number+1)
	return err
}

func (l *memLog) name(number int) string {
	return filepath.Join(l.dir, fmt.Sprintf("%05d.mem", number))
}

// sync returns when the last transaction is on disk.
func (l *memLog) sync() error {
	for {
		var st unix.Stat_t
		err := unix.Stat(l.next, &st) // each commit asks, so nothing is allocated
		if errors.Is(err, unix.ENOENT) {
			break
		}
		if err != nil && !errors.Is(err, unix.EINTR) {
			return &os.PathError{Op: "stat", Path: l.next, Err: err}
		}
		if err == nil {
			if err := l.open(l.number + 1); err != nil {
				return err
			}
		}
	}
	return l.datasync(l.file)
}

func (l *memLog) close() error {
	if l.file == nil {
		return nil
	}
	return l.file.Close()
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
