package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// addrFiles are the files in a data directory that say where the node is. They
// are there only while it answers.
type addrFiles struct{ dir string }

const (
	apiFile = "api.addr"  // HOST:PORT
	p2pFile = "p2p.addrs" // multiaddresses, one a line; written last
)

// write makes the files appear, each whole.
func (f addrFiles) write(api string, p2p []string) error {
	if err := f.writeFile(apiFile, api+"\n"); err != nil {
		return err
	}
	return f.writeFile(p2pFile, strings.Join(p2p, "\n")+"\n")
}

func (f addrFiles) writeFile(name, text string) error {
	path := filepath.Join(f.dir, name)
	draft := path + ".new"
	if err := os.WriteFile(draft, []byte(text), 0o644); err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	if err := os.Rename(draft, path); err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	return nil
}

// remove makes the files go, if they are there: in the opposite order.
func (f addrFiles) remove() error {
	for _, name := range []string{p2pFile, apiFile} {
		if err := os.Remove(filepath.Join(f.dir, name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("remove %s: %w", name, err)
		}
	}
	return nil
}
