package gossip

import (
	"sync"
	"time"

	"github.com/hashicorp/golang-lru/v2/simplelru"
	"github.com/libp2p/go-libp2p/core/peer"
	"golang.org/x/time/rate"
)

// budgets keeps two token buckets for each neighbour: of bytes and of
// verifications. It is safe for concurrent use.
type budgets struct {
	byteRate, verifyRate rate.Limit

	mu         sync.Mutex
	neighbours *simplelru.LRU[peer.ID, *budget]
}

type budget struct{ bytes, verifications *rate.Limiter }

func newBudgets(byteRate, verifyRate float64) *budgets {
	neighbours, err := simplelru.NewLRU[peer.ID, *budget](maxNeighbours, nil)
	if err != nil {
		panic(err) // only a size that is not positive
	}
	return &budgets{byteRate: rate.Limit(byteRate), verifyRate: rate.Limit(verifyRate), neighbours: neighbours}
}

func (b *budgets) of(p peer.ID) *budget {
	b.mu.Lock()
	defer b.mu.Unlock()
	if l, ok := b.neighbours.Get(p); ok {
		return l
	}
	l := &budget{
		bytes:         rate.NewLimiter(b.byteRate, min(byteBurst, burst(b.byteRate, maxMessage))),
		verifications: rate.NewLimiter(b.verifyRate, min(verifyBurst, burst(b.verifyRate, maxVerifications))),
	}
	b.neighbours.Add(p, l)
	return l
}

// burst is two seconds of the rate, but enough for the largest message.
func burst(r rate.Limit, largest int) int { return max(int(2*r), largest) }

// takeBytes reports whether the neighbour may cost n more bytes at now.
func (b *budgets) takeBytes(p peer.ID, n int, now time.Time) bool {
	return b.of(p).bytes.AllowN(now, n)
}

// takeVerifications reports whether the neighbour may cost n more checks of a
// signature or key at now.
func (b *budgets) takeVerifications(p peer.ID, n int, now time.Time) bool {
	return b.of(p).verifications.AllowN(now, n)
}
