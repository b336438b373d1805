package gossip

import (
	"crypto/sha256"

	lru "github.com/hashicorp/golang-lru/v2"

	"github.com/cairn-p2p/cairn/types"
)

// recent remembers a bounded number of events that were found valid: the digest
// of the CID and the hash of the witness that proved it. It is safe for
// concurrent use.
type recent struct {
	proved *lru.Cache[types.Hash, types.Hash]
}

func newRecent(size int) *recent {
	proved, err := lru.New[types.Hash, types.Hash](size)
	if err != nil {
		panic(err) // only a size that is not positive
	}
	return &recent{proved: proved}
}

// proves reports whether e came before with this very witness, so that it need
// not be verified again. Another witness for the same CID proves nothing.
func (r *recent) proves(e *types.Event) bool {
	h, ok := r.proved.Get(types.Digest(e.CID))
	return ok && h == sha256.Sum256(e.Witness)
}

// add remembers a valid event and reports whether it was remembered already,
// with whatever witness. The first witness stays.
func (r *recent) add(e *types.Event) (known bool) {
	known, _ = r.proved.ContainsOrAdd(types.Digest(e.CID), sha256.Sum256(e.Witness))
	return known
}
