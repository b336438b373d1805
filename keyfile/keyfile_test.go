package keyfile

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
)

// A key is read as it was written, by its owner alone; a file that holds none is no
// absent one.
func TestKeyFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "k")
	if _, err := Read(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
	key, err := New()
	if err != nil {
		t.Fatal(err)
	}
	if err := Write(path, key); err != nil {
		t.Fatal(err)
	}
	if got, err := Read(path); err != nil || !got.Equal(key) {
		t.Errorf("read another key: %v", err)
	}
	if !Private(path) {
		t.Error("others can read it")
	}
	if entries, err := os.ReadDir(filepath.Dir(path)); err != nil || len(entries) != 1 {
		t.Errorf("%d files: %v", len(entries), err)
	}
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	other, err := New()
	if err != nil {
		t.Fatal(err)
	}
	halves := append(append([]byte{}, good[:len(good)-32]...), other[32:]...)
	for name, b := range map[string][]byte{"empty": nil, "cut": good[:len(good)-1], "halves of two": halves, "large": make([]byte, maxSize+1)} {
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := Read(path); err == nil || errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
