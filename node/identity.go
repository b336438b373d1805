package node

import (
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/libp2p/go-libp2p/core/crypto"

	"github.com/cairn-p2p/cairn/types"
)

// identityFile holds the node's Ed25519 key as libp2p marshals private keys.
const identityFile = "identity.key"

// maxIdentity is well above the 68 bytes that a key takes.
const maxIdentity = 4096

// loadIdentity reads the key in dir, or makes one if dir has no database in
// storeDir yet. A key is never replaced: without it, or with one that cannot be
// read, the error is types.ErrIdentity.
func loadIdentity(dir, storeDir string) (ed25519.PrivateKey, error) {
	path := filepath.Join(dir, identityFile)
	key, err := readIdentity(path)
	switch {
	case err == nil:
		return key, nil
	case !errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("%w: %s: %w; put the right file back, or start with another data directory", types.ErrIdentity, path, err)
	}
	if _, err := os.Stat(storeDir); !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w: %s is missing beside existing data; put it back, or start with another data directory", types.ErrIdentity, path)
	}
	if key, err = newIdentity(); err != nil {
		return nil, err
	}
	if err := writeIdentity(path, key); err != nil {
		return nil, fmt.Errorf("write %s: %w", path, err)
	}
	return key, nil
}

// private reports whether only its owner can read the file.
func private(path string) bool {
	info, err := os.Stat(path)
	return err != nil || info.Mode().Perm()&0o077 == 0
}

// publisherKey is the store's record of whose database it is.
const publisherKey = "publisher"

// checkPublisher refuses a database that belongs to another key, and makes an
// unclaimed one key's.
func checkPublisher(store Store, key ed25519.PrivateKey) error {
	self := types.PublisherOf(key)
	owner, err := store.Meta(publisherKey)
	switch {
	case err != nil:
		return err
	case owner == nil:
		return store.SetMeta(publisherKey, self[:])
	case string(owner) != string(self[:]):
		return fmt.Errorf("%w: the database belongs to %s, %s to %s; put the right file back", types.ErrIdentity, types.Publisher(owner), identityFile, self)
	}
	return nil
}

func newIdentity() (ed25519.PrivateKey, error) {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("generate identity: %w", err)
	}
	return key, nil
}

func readIdentity(path string) (ed25519.PrivateKey, error) {
	// A link whose target is away is a key that cannot be read, not one that
	// was never made.
	if _, err := os.Lstat(path); err != nil {
		return nil, err
	}
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("it is a link to nothing: %v", err) //nolint:errorlint // not to be taken for absent
	}
	if !info.Mode().IsRegular() || info.Size() > maxIdentity {
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

// writeIdentity makes the file appear whole and durable, readable by its owner
// alone.
func writeIdentity(path string, key ed25519.PrivateKey) error {
	k, err := libp2pKey(key)
	if err != nil {
		return err
	}
	b, err := crypto.MarshalPrivateKey(k)
	if err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(path), identityFile+".*") // with mode 0600
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

func libp2pKey(key ed25519.PrivateKey) (crypto.PrivKey, error) {
	return crypto.UnmarshalEd25519PrivateKey(key)
}
