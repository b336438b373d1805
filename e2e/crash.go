package e2e

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// copyCrashed copies a data directory that a node still uses into to, which
// must not exist, as the end of its process would leave it: nothing is flushed
// or closed first. The node must have no more work: a copy during which the
// directory changed is thrown away and made again.
func copyCrashed(to, from string) error {
	const tries = 100
	for range tries {
		err := copyTree(to, from)
		if err == nil {
			var same bool
			if same, err = sameTree(to, from); err == nil && same {
				return nil
			}
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) { // a file may go while it is read
			return fmt.Errorf("copy data directory: %w", err)
		}
		if err := os.RemoveAll(to); err != nil {
			return fmt.Errorf("copy data directory: %w", err)
		}
	}
	return fmt.Errorf("copy data directory: %s changed during each of %d copies", from, tries)
}

func copyTree(to, from string) error {
	return filepath.WalkDir(from, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(from, name)
		if err != nil {
			return err
		}
		if d.IsDir() {
			return os.MkdirAll(filepath.Join(to, rel), 0o700)
		}
		return copyFile(filepath.Join(to, rel), name)
	})
}

// copyFile copies a file and leaves holes where it is zero: Badger's logs are
// long and nearly empty.
func copyFile(to, from string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close() // read only: nothing to lose
	out, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	return errors.Join(copyHoles(out, in), out.Close())
}

func copyHoles(out, in *os.File) error {
	const chunk = 64 << 10
	b, zeros := make([]byte, chunk), make([]byte, chunk)
	for at := int64(0); ; {
		n, err := io.ReadFull(in, b)
		if !bytes.Equal(b[:n], zeros[:n]) {
			if _, err := out.WriteAt(b[:n], at); err != nil {
				return err
			}
		}
		at += int64(n)
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return out.Truncate(at)
		}
		if err != nil {
			return err
		}
	}
}

// sameTree reports whether two directories hold the same files with the same
// contents.
func sameTree(a, b string) (bool, error) {
	inA, err := files(a)
	if err != nil {
		return false, err
	}
	inB, err := files(b)
	if err != nil || len(inA) != len(inB) {
		return false, err
	}
	for i, rel := range inA {
		if inB[i] != rel {
			return false, nil
		}
		ca, err := os.ReadFile(filepath.Join(a, rel))
		if err != nil {
			return false, err
		}
		cb, err := os.ReadFile(filepath.Join(b, rel))
		if err != nil || !bytes.Equal(ca, cb) {
			return false, err
		}
	}
	return true, nil
}

// files returns the files below a directory, in order.
func files(dir string) ([]string, error) {
	var all []string
	err := filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		rel, err := filepath.Rel(dir, name)
		all = append(all, rel)
		return err
	})
	return all, err
}
