package node

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/cairn-p2p/cairn/keyfile"
	"github.com/cairn-p2p/cairn/types"
)

// identityFile holds the node's Ed25519 key as libp2p marshals private keys.
const identityFile = "identity.key"

// loadIdentity reads the key in dir, or makes one if dir has no database in
// storeDir yet. A key is never replaced: without it, or with one that cannot be
// read, the error is types.ErrIdentity.
func loadIdentity(dir, storeDir string) (ed25519.PrivateKey, error) {
	path := filepath.Join(dir, identityFile)
	key, err := keyfile.Read(path)
	switch {
	case err == nil:
		return key, nil
	case !errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("%w: %s: %w; put the right file back, or start with another data directory", types.ErrIdentity, path, err)
	}
	if _, err := os.Stat(storeDir); !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w: %s is missing beside existing data; put it back, or start with another data directory", types.ErrIdentity, path)
	}
	if key, err = keyfile.New(); err != nil {
		return nil, err
	}
	if err := keyfile.Write(path, key); err != nil {
		return nil, fmt.Errorf("write %s: %w", path, err)
	}
	return key, nil
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
