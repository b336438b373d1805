package badger

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// committerSyncs is set where datasync also writes pages that were changed
// through a mapping of the file: Linux keeps one page cache for both, and its
// msync does just this.
const committerSyncs = true

func datasync(f *os.File) error {
	for {
		if err := unix.Fdatasync(int(f.Fd())); !errors.Is(err, unix.EINTR) {
			return os.NewSyscallError("fdatasync", err)
		}
	}
}
