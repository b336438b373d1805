package syncer

import (
	"context"
	"errors"
	"sync"

	"github.com/hashicorp/golang-lru/v2"
	"golang.org/x/time/rate"

	"github.com/cairn-p2p/cairn/types"
)

// errQuota: the peer, or all together, have as many streams as is allowed.
var errQuota = errors.New("too many streams")

// quotaPeers bounds the peers whose allowance is remembered: reconnecting does
// not refill it.
const quotaPeers = 1024

// quota caps what peers may cost this node as a server. It is safe for
// concurrent use.
type quota struct {
	limits Limits

	mu      sync.Mutex
	streams map[types.PeerID]int
	total   int
	bytes   *lru.Cache[types.PeerID, *rate.Limiter]
}

func newQuota(l Limits) *quota {
	cache, err := lru.New[types.PeerID, *rate.Limiter](quotaPeers)
	if err != nil {
		panic(err) // only a size that is not positive
	}
	return &quota{limits: l, streams: make(map[types.PeerID]int), bytes: cache}
}

// enter counts a stream of the peer. The caller ends what it returns with
// leave. The error is errQuota.
func (q *quota) enter(p types.PeerID) (*allowance, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.total >= q.limits.Streams || q.streams[p] >= q.limits.StreamsPerPeer {
		return nil, errQuota
	}
	limiter, ok := q.bytes.Get(p)
	if !ok {
		// The burst holds a second's worth, and any one frame.
		burst := max(q.limits.BytesPerSecond, 2*maxResponse)
		limiter = rate.NewLimiter(rate.Limit(q.limits.BytesPerSecond), burst)
		q.bytes.Add(p, limiter)
	}
	q.total++
	q.streams[p]++
	return &allowance{quota: q, peer: p, limiter: limiter}, nil
}

// allowance is what one stream of a peer may use.
type allowance struct {
	quota   *quota
	peer    types.PeerID
	limiter *rate.Limiter // shared by the peer's streams
}

// spend blocks until the peer may cost n bytes more, at most maxResponse.
func (a *allowance) spend(ctx context.Context, n int) error { return a.limiter.WaitN(ctx, n) }

func (a *allowance) leave() {
	q := a.quota
	q.mu.Lock()
	defer q.mu.Unlock()
	q.total--
	if q.streams[a.peer]--; q.streams[a.peer] == 0 {
		delete(q.streams, a.peer)
	}
}
