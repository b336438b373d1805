package badger

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/cairn-p2p/cairn/types"
)

// markerName is a file that stands beside the database from the moment it has
// its first records. An empty database where it is has lost all that it held.
const markerName = "CAIRN"

func hasMarker(dir string) (bool, error) {
	_, err := os.Stat(filepath.Join(dir, markerName))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("%w: marker: %w", types.ErrStore, err)
	}
	return true, nil
}

// mark makes the marker, durably.
func mark(dir string) error {
	f, err := os.OpenFile(filepath.Join(dir, markerName), os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("%w: marker: %w", types.ErrStore, err)
	}
	_, err = f.WriteString("This directory holds a database of Cairn. Do not remove this file.\n")
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("%w: marker: %w", types.ErrStore, err)
	}
	d, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("%w: marker: %w", types.ErrStore, err)
	}
	if err := errors.Join(d.Sync(), d.Close()); err != nil {
		return fmt.Errorf("%w: marker: %w", types.ErrStore, err)
	}
	return nil
}
