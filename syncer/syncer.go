package syncer

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	mathrand "math/rand/v2"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/host"
	corepeer "github.com/libp2p/go-libp2p/core/peer"
	"golang.org/x/time/rate"

	"github.com/cairn-p2p/cairn/types"
)

// Config is what a Syncer is made of.
type Config struct {
	Host      host.Host    // carries the protocol; its owner closes it after Run
	Local     Local        // the node's replicas
	Finder    Finder       // looks further than the connected peers; nil: nobody does
	Network   string       // peers of another one are neither served nor asked; at most 64 bytes
	Log       *slog.Logger // nil: none
	Intervals Intervals    // the zero value is the default
	// Synced, when not nil, is told of each transfer that ended well how long it
	// took, for metrics. It must not block.
	Synced func(took time.Duration)
	Limits Limits // the zero value is the default
}

// Syncer keeps the topics of one node in sync with those of its peers. All its
// methods are safe for concurrent use, and none but Run blocks on the network.
type Syncer struct {
	host  host.Host // nil in tests that bring their own streams
	local Local
	net   string // the network
	log   *slog.Logger
	iv    Intervals
	quota *quota
	count counters
	done  func(took time.Duration) // of a transfer; never nil
	dial  func(context.Context, types.PeerID) (stream, error)
	meet  func(context.Context, corepeer.AddrInfo) error // connects, and makes a peer of who it is
	self  func() corepeer.AddrInfo                       // where this node can be reached
	find  Finder

	ctx    context.Context // of every task; done when Run's is
	cancel context.CancelFunc

	wake      chan struct{}  // asks the scheduler to look again; holds one
	tasks     sync.WaitGroup // lanes and served streams
	positions *positions
	searches  *searches
	walks     chan struct{} // holds one for each answer to Ancestors being found out

	mu       sync.Mutex
	running  bool
	stopped  bool
	armed    time.Time // when the scheduler looks next
	digest   digest    // holds the topics
	changes  changes
	peers    map[types.PeerID]*peer
	offences offences
	watchers map[types.TopicID]chan struct{}
	climbs   climbs
	floods   *rate.Limiter // of blank copies
}

// New returns a syncer that does nothing before Run.
func New(c Config) (*Syncer, error) {
	if c.Host == nil || c.Local == nil {
		return nil, fmt.Errorf("%w: a syncer needs a host and a local", types.ErrInvalidArgument)
	}
	s := newSyncer(c)
	s.host, s.dial, s.meet = c.Host, s.openStream, s.connectTo
	s.self = func() corepeer.AddrInfo { return *host.InfoFromHost(c.Host) }
	return s, nil
}

func newSyncer(c Config) *Syncer {
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Synced == nil {
		c.Synced = func(time.Duration) {}
	}
	ctx, cancel := context.WithCancel(context.Background())
	return &Syncer{
		ctx:       ctx,
		cancel:    cancel,
		local:     c.Local,
		net:       c.Network,
		log:       c.Log,
		iv:        c.Intervals.withDefaults(),
		self:      func() corepeer.AddrInfo { return corepeer.AddrInfo{} },
		find:      c.Finder,
		searches:  newSearches(),
		floods:    rate.NewLimiter(floodRate, floodBurst),
		quota:     newQuota(c.Limits.withDefaults()),
		done:      c.Synced,
		wake:      make(chan struct{}, 1),
		positions: newPositions(c.Local),
		walks:     make(chan struct{}, maxWalks),
		changes:   newChanges(),
		peers:     make(map[types.PeerID]*peer),
		offences:  offences{all: make(map[types.PeerID]*offender)},
		watchers:  make(map[types.TopicID]chan struct{}),
	}
}

// Run serves and syncs until ctx is done, and returns when every goroutine of
// the syncer has exited. The error is nil unless it could not begin. A syncer
// runs once.
func (s *Syncer) Run(ctx context.Context) error {
	if err := s.begin(); err != nil {
		return err
	}
	defer s.end()
	defer context.AfterFunc(ctx, s.cancel)()
	if s.host != nil {
		if err := s.attach(); err != nil {
			return err
		}
	}
	s.schedule()
	return nil
}

func (s *Syncer) begin() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.running {
		return errors.New("syncer runs already")
	}
	s.running = true
	return nil
}

// end stops what is under way and waits for it.
func (s *Syncer) end() {
	if s.host != nil {
		s.host.RemoveStreamHandler(Protocol)
	}
	s.mu.Lock()
	s.stopped = true
	s.mu.Unlock()
	s.cancel()
	s.tasks.Wait()
}

// startTask runs f in a goroutine that Run waits for, unless Run has ended.
func (s *Syncer) startTask(f func()) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopped {
		return false
	}
	s.tasks.Go(f)
	return true
}

// Add says that the topic is replicated here and has these heads. For a topic
// that is new to the syncer it asks all connected peers about it.
func (s *Syncer) Add(id types.TopicID, heads types.Hash) {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := &topic{id: id, key: topicKey(id), heads: heads}
	if !s.digest.add(t) {
		return
	}
	now := time.Now()
	if s.running {
		s.changes.add(t)
		s.probe(t, now)
	} else { // a start, with all topics at once, and nobody yet who was told of a change
		now = now.Add(mathrand.N(s.spread(s.digest.len())))
	}
	s.climbAt(t, now, needOne)
	s.notify(id)
}

// Remove says that the topic is no longer replicated here.
func (s *Syncer) Remove(id types.TopicID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.digest.get(id)
	if t == nil {
		return
	}
	if t.stop != nil {
		t.stop()
	}
	t.removed = true
	s.climbs.remove(t)
	s.digest.remove(t)
	s.changes.add(t)
	s.positions.drop(id)
	for p, r := range t.replicas {
		p.forget(r)
	}
	s.notify(id)
}

// Changed says that the topic's heads are now others. Backfilled says that
// they came by sync: then gossip did not carry them, and the syncer offers them
// to the connected replicas not known to have them. It costs no more than a few
// map operations for each of them.
func (s *Syncer) Changed(id types.TopicID, heads types.Hash, backfilled bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.digest.get(id)
	if t == nil || t.heads == heads {
		return
	}
	now := time.Now()
	t.heads, t.changed = heads, at(now)
	t.ladder.hinted = 0
	s.stir(t, now)
	s.digest.set(t)
	s.changes.add(t)
	for p, r := range t.replicas {
		if !r.held || r.heads == heads {
			continue
		}
		if backfilled {
			p.offers[t] = struct{}{}
			s.arm(p.offerDue)
		}
		if !r.paused {
			s.compareAt(r, now.Add(s.iv.Compare))
		}
	}
}

// Sync says that gossip from a peer showed something unknown in the topic: the
// peer is asked first, if connected, and the other replicas if that brings
// nothing. Calls coalesce.
func (s *Syncer) Sync(id types.TopicID, from types.PeerID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.digest.get(id)
	if t == nil {
		return
	}
	now := time.Now()
	soon := now.Add(s.iv.Settle)
	if t.ladder.hinted == 0 {
		t.ladder.hinted = at(now)
	}
	p := s.peers[from]
	if p == nil {
		s.askOthers(t, nil, soon)
		return
	}
	r := p.replicaOf(t)
	if r.notBefore.After(soon) { // not waiting for one that failed
		s.askOthers(t, r, soon)
		return
	}
	r.hint = true
	s.compareAt(r, soon)
}

// Resume says that the topic takes new events again after it was paused: what
// the connected replicas have of it is compared with, and the lookups that were
// put off are made.
func (s *Syncer) Resume(id types.TopicID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.digest.get(id)
	if t == nil {
		return
	}
	now := time.Now()
	for _, r := range t.replicas {
		if r.held {
			s.compareAt(r, later(now, r.asked.Add(s.iv.Compare)))
		}
	}
	if t.ladder.parked {
		s.climbAt(t, now.Add(s.iv.Compare+mathrand.N(s.spread(s.digest.len()))), s.needs(t))
	}
}

// Watch returns a channel that is closed at the next change of the topic's sync
// status. Take it before reading the status that is to be watched.
func (s *Syncer) Watch(id types.TopicID) <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.watch(id)
}

// watch is Watch for a caller who holds s.mu.
func (s *Syncer) watch(id types.TopicID) <-chan struct{} {
	c := s.watchers[id]
	if c == nil {
		c = make(chan struct{})
		s.watchers[id] = c
	}
	return c
}

// notify tells the topic's watchers. The caller holds s.mu.
func (s *Syncer) notify(id types.TopicID) {
	if c := s.watchers[id]; c != nil {
		close(c)
		delete(s.watchers, id)
	}
}
