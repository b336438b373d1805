package gossip

import (
	"sync"
	"time"

	"github.com/hashicorp/golang-lru/v2/simplelru"

	"github.com/cairn-p2p/cairn/types"
)

// numbers remembers the newest number of each announcer in each topic, and when
// its heads were last forwarded for their own sake. It is safe for concurrent
// use.
type numbers struct {
	mu   sync.Mutex
	seen *simplelru.LRU[numberKey, *numberEntry]
}

type numberKey struct {
	announcer types.Publisher
	topic     types.Hash // the digest of its id
}

type numberEntry struct {
	newest    number
	at        time.Time // when it came
	forwarded time.Time
}

func newNumbers(size int) *numbers {
	seen, err := simplelru.NewLRU[numberKey, *numberEntry](size, nil)
	if err != nil {
		panic(err) // only a size that is not positive
	}
	return &numbers{seen: seen}
}

// known reports whether k has an entry, and so an announcer whose key was
// checked.
func (t *numbers) known(k numberKey) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.seen.Contains(k)
}

// see notes that a message with number n came at now. It returns whether n is
// newer than all before it. The caller must have verified the signature.
func (t *numbers) see(k numberKey, n number, now time.Time) (newer bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	e, ok := t.seen.Get(k)
	if !ok {
		t.seen.Add(k, &numberEntry{newest: n, at: now})
		return true
	}
	if !n.after(e.newest) && now.Sub(e.at) < numberExpiry {
		return false
	}
	e.newest, e.at = n, now
	return true
}

// forward reports whether heads of k may be forwarded for their own sake at
// now, and if so notes that they are.
func (t *numbers) forward(k numberKey, now time.Time) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	e, ok := t.seen.Get(k)
	if !ok || now.Sub(e.forwarded) < forwardPause {
		return false
	}
	e.forwarded = now
	return true
}
