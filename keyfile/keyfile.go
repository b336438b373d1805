// Package keyfile reads and writes files that hold an Ed25519 key as libp2p
// marshals private keys: a node's identity, and the keys of light clients.
package keyfile

import (
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/libp2p/go-libp2p/core/crypto"
)

// maxSize is well above the 68 bytes that a key takes.
const maxSize = 4096

// New returns a new random key.
func New() (ed25519.PrivateKey, error) {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("generate key: %w", err)
	}
	return key, nil
}

// Read reads a key. The error is fs.ErrNotExist only if there is no file of that
// name; a file that holds no key, and one that cannot be read, is another error.
func Read(path string) (ed25519.PrivateKey, error) {
	// A link whose target is away is a key that cannot be read, not one that
	// was never made.
	if _, err := os.Lstat(path); err != nil {
		return nil, err
	}
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("it is a link to nothing: %v", err) //nolint:errorlint // not to be taken for absent
	}
	if !info.Mode().IsRegular() || info.Size() > maxSize {
		return nil, fmt.Errorf("not a key file")
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	k, err := crypto.UnmarshalPrivateKey(b)
	if err != nil {
		return nil, fmt.Errorf("unmarshal private key: %w", err)
	}
	raw, err := k.Raw()
	if err != nil || k.Type() != crypto.Ed25519 || len(raw) != ed25519.PrivateKeySize {
		return nil, fmt.Errorf("not an Ed25519 key")
	}
	// The file holds both halves, and a signature by halves that do not belong
	// together is one that nobody can verify.
	key := ed25519.NewKeyFromSeed(raw[:ed25519.SeedSize])
	if !key.Equal(ed25519.PrivateKey(raw)) {
		return nil, fmt.Errorf("the private key does not belong to the public one")
	}
	return key, nil
}

// Write makes the file appear whole and durable, readable by its owner alone. It
// replaces one of that name.
func Write(path string, key ed25519.PrivateKey) error {
	k, err := Libp2p(key)
	if err != nil {
		return err
	}
	b, err := crypto.MarshalPrivateKey(k)
	if err != nil {
		return err
	}
	return Replace(path, b)
}

// Replace writes a file so that after a crash it has either its old content or
// all of b, which is durable when Replace returns. Only its owner can read it.
func Replace(path string, b []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*") // with mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) //nolint:errcheck // gone after the rename
	_, err = f.Write(b)
	if err == nil {
		err = f.Sync()
	}
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return err
	}
	return syncDir(filepath.Dir(path))
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// Private reports whether only its owner can read the file.
func Private(path string) bool {
	info, err := os.Stat(path)
	return err != nil || info.Mode().Perm()&0o077 == 0
}

// Libp2p returns the key as libp2p has it.
func Libp2p(key ed25519.PrivateKey) (crypto.PrivKey, error) {
	return crypto.UnmarshalEd25519PrivateKey(key)
}
