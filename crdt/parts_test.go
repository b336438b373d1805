package crdt_test

import (
	"crypto/ed25519"
	"errors"
	"iter"
	"sync"
	"testing"

	"github.com/ipfs/go-cid"
	"go.uber.org/goleak"

	"github.com/cairn-p2p/cairn/crdt"
	"github.com/cairn-p2p/cairn/store/mem"
	"github.com/cairn-p2p/cairn/types"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// world is a replica with parts that record what it asks of them.
type world struct {
	*crdt.Replica
	store  *faultyStore
	gossip *recorder
	syncer *asker
	topic  types.TopicID
}

// key returns the Ed25519 key of a small number.
func key(n byte) ed25519.PrivateKey {
	seed := make([]byte, ed25519.SeedSize)
	seed[0] = n
	return ed25519.NewKeyFromSeed(seed)
}

func newWorld(t *testing.T, g *types.Genesis) *world {
	t.Helper()
	return newObservedWorld(t, g, nil)
}

func newObservedWorld(t *testing.T, g *types.Genesis, o crdt.Observer) *world {
	t.Helper()
	disk := mem.New(mem.Options{})
	if err := disk.JoinTopic(g); err != nil {
		t.Fatal(err)
	}
	w := &world{
		store:  &faultyStore{Store: disk},
		syncer: &asker{asked: make(chan types.PeerID, 1000)},
		topic:  g.ID(),
	}
	w.gossip = &recorder{store: w.store}
	w.Replica = crdt.New(&crdt.Config{Key: key(1), Store: w.store, Broadcaster: w.gossip, Syncer: w.syncer}, g, o)
	t.Cleanup(func() {
		w.Close()
		if err := w.gossip.err; err != nil {
			t.Error(err)
		}
	})
	return w
}

// restart is a new replica on the store of one that was closed.
func restart(t *testing.T, old *world) *world {
	t.Helper()
	return restartWith(t, old, func(*crdt.Config) {})
}

// restartWith is restart with another configuration.
func restartWith(t *testing.T, old *world, change func(*crdt.Config)) *world {
	t.Helper()
	w := &world{store: old.store, syncer: old.syncer, gossip: old.gossip, topic: old.topic}
	cfg := &crdt.Config{Key: key(1), Store: w.store, Broadcaster: w.gossip, Syncer: w.syncer}
	change(cfg)
	w.Replica = crdt.New(cfg, old.Genesis(), nil)
	t.Cleanup(w.Close)
	return w
}

func openTopic(t *testing.T) *types.Genesis {
	t.Helper()
	g, err := types.NewOpen("test")
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// faultyStore is a store whose commits can be counted, held up and made to fail.
type faultyStore struct {
	*mem.Store

	mu      sync.Mutex
	commits int
	loadErr error
	fault   func(b *types.Batch) (persist bool, err error) // nil: no fault
	hold    chan struct{}                                  // commits wait until it closes
	read    func()                                         // called once, when a log was read to its end; nil: nothing
}

func (s *faultyStore) Log(topic types.TopicID, after types.Cursor) iter.Seq2[types.Entry, error] {
	return func(yield func(types.Entry, error) bool) {
		for entry, err := range s.Store.Log(topic, after) {
			if !yield(entry, err) {
				return
			}
		}
		s.mu.Lock()
		read := s.read
		s.read = nil
		s.mu.Unlock()
		if read != nil {
			read()
		}
	}
}

// onRead calls do once a log was read to its end, before its reader goes on.
func (s *faultyStore) onRead(do func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.read = do
}

func (s *faultyStore) Commit(b *types.Batch) error {
	s.mu.Lock()
	s.commits++
	fault, hold := s.fault, s.hold
	s.mu.Unlock()
	if hold != nil {
		<-hold
	}
	if fault == nil {
		return s.Store.Commit(b)
	}
	persist, err := fault(b)
	if persist || err == nil {
		if err := s.Store.Commit(b); err != nil {
			return err
		}
	}
	return err
}

func (s *faultyStore) Load(topic types.TopicID, self types.Publisher) (types.TopicState, error) {
	s.mu.Lock()
	err := s.loadErr
	s.mu.Unlock()
	if err != nil {
		return types.TopicState{}, err
	}
	return s.Store.Load(topic, self)
}

func (s *faultyStore) failLoads(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.loadErr = err
}

func (s *faultyStore) committed() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.commits
}

func (s *faultyStore) inject(fault func(*types.Batch) (bool, error)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fault = fault
}

func (s *faultyStore) holdCommits() (release func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	hold := make(chan struct{})
	s.hold = hold
	return func() {
		s.mu.Lock()
		s.hold = nil
		s.mu.Unlock()
		close(hold)
	}
}

// recorder keeps what is broadcast, and an error when it was not stored first.
type recorder struct {
	store *faultyStore

	mu   sync.Mutex
	sent []types.Announcement
	err  error
}

func (r *recorder) Broadcast(a types.Announcement) {
	ids := append([]cid.Cid{}, a.Heads...)
	for _, e := range a.Events {
		ids = append(ids, e.CID)
	}
	stored, err := r.store.Get(ids)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.sent = append(r.sent, a)
	for i, e := range stored {
		if e == nil {
			r.err = errors.Join(r.err, errors.New("broadcast before it was stored: "+ids[i].String()))
		}
	}
	r.err = errors.Join(r.err, err)
}

func (r *recorder) announcements() []types.Announcement {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.sent
}

// asker records the syncs that a replica asks for.
type asker struct {
	asked chan types.PeerID

	mu      sync.Mutex
	changes []types.Hash
}

func (a *asker) Sync(_ types.TopicID, from types.PeerID) {
	select {
	case a.asked <- from:
	default:
	}
}

// last returns the heads hash that the syncer was told last.
func (a *asker) last() types.Hash {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.changes[len(a.changes)-1]
}

func (a *asker) Changed(_ types.TopicID, h types.Hash, _ bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.changes = append(a.changes, h)
}

// author makes signed events of another publisher.
type author struct {
	t     *testing.T
	topic types.TopicID
	key   ed25519.PrivateKey
	seq   uint64
}

func (a *author) event(payload string, links ...*types.Event) *types.Event {
	a.t.Helper()
	a.seq++
	body := types.Body{
		Topic: a.topic, Publisher: types.PublisherOf(a.key), Seq: a.seq, Height: 1, Payload: []byte(payload),
	}
	for _, l := range links {
		body.Links = append(body.Links, l.CID)
		body.Height = max(body.Height, l.Height+1)
	}
	types.SortCIDs(body.Links)
	e, err := types.NewEvent(body)
	if err != nil {
		a.t.Fatal(err)
	}
	types.SignEvents(a.key, []*types.Event{e})
	return e
}

func (a *author) chain(n int) []*types.Event {
	a.t.Helper()
	events := []*types.Event{a.event("1")}
	for len(events) < n {
		events = append(events, a.event("more", events[len(events)-1]))
	}
	return events
}
