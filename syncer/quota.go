package syncer

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"time"

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
	streams map[types.PeerID][]*allowance
	total   int
	most    int // streams that one peer has had at a time
	bytes   *lru.Cache[types.PeerID, *rate.Limiter]
}

func newQuota(l Limits) *quota {
	cache, err := lru.New[types.PeerID, *rate.Limiter](quotaPeers)
	if err != nil {
		panic(err) // only a size that is not positive
	}
	return &quota{limits: l, streams: make(map[types.PeerID][]*allowance), bytes: cache}
}

// enter counts a stream of the peer, which kick ends. The caller ends what it
// returns with leave. The error is errQuota. When all streams are taken, a peer
// that has none gets the place of the one that has been idle for longest among
// those of the peers with most: else strangers could take them all and keep
// everybody out.
func (q *quota) enter(p types.PeerID, kick func()) (*allowance, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.streams[p]) >= q.limits.StreamsPerPeer {
		return nil, errQuota
	}
	if q.total >= q.limits.Streams {
		idlest := q.idlest()
		if len(q.streams[p]) > 0 || idlest == nil {
			return nil, errQuota
		}
		q.drop(idlest)
		idlest.kick()
	}
	limiter, ok := q.bytes.Get(p)
	if !ok {
		// The burst holds a second's worth, and any one frame.
		burst := max(q.limits.BytesPerSecond, 2*maxResponse)
		limiter = rate.NewLimiter(rate.Limit(q.limits.BytesPerSecond), burst)
		q.bytes.Add(p, limiter)
	}
	a := &allowance{quota: q, peer: p, kick: kick, limiter: limiter}
	a.touch()
	q.total++
	q.streams[p] = append(q.streams[p], a)
	q.most = max(q.most, len(q.streams[p]))
	return a, nil
}

// serving returns the number of streams, and the most that one peer has had at a
// time so far.
func (q *quota) serving() (total, most int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.total, q.most
}

// idlest returns the stream that was used least lately among those of the
// peers with most.
func (q *quota) idlest() *allowance {
	most := 0
	for _, streams := range q.streams {
		most = max(most, len(streams))
	}
	var idlest *allowance
	for _, streams := range q.streams {
		for _, a := range streams {
			if len(streams) == most && (idlest == nil || a.used.Load() < idlest.used.Load()) {
				idlest = a
			}
		}
	}
	return idlest
}

// drop stops counting a stream, if it still counts.
func (q *quota) drop(a *allowance) {
	streams := q.streams[a.peer]
	i := slices.Index(streams, a)
	if i < 0 {
		return
	}
	q.total--
	if streams = slices.Delete(streams, i, i+1); len(streams) == 0 {
		delete(q.streams, a.peer)
		return
	}
	q.streams[a.peer] = streams
}

// allowance is what one stream of a peer may use.
type allowance struct {
	quota   *quota
	peer    types.PeerID
	kick    func()        // ends the stream; does not block
	limiter *rate.Limiter // shared by the peer's streams
	used    atomic.Int64  // when it was last used, Unix nanoseconds
}

func (a *allowance) touch() { a.used.Store(time.Now().UnixNano()) }

// spend blocks until the peer may cost n bytes more, at most maxResponse.
func (a *allowance) spend(ctx context.Context, n int) error {
	a.touch()
	return a.limiter.WaitN(ctx, n)
}

func (a *allowance) leave() {
	q := a.quota
	q.mu.Lock()
	defer q.mu.Unlock()
	q.drop(a)
}
