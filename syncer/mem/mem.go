// Package mem syncs replicas that live in one process, for tests and for
// programs without a network. It reads the other replica directly and knows
// nothing of frames, limits or misbehaviour.
package mem

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/ipfs/go-cid"

	"github.com/cairn-p2p/cairn/syncer"
	"github.com/cairn-p2p/cairn/types"
)

// maxBatch bounds the events integrated at once.
const maxBatch = 1000

// retryAfter is how long a sync that failed waits for the next attempt.
const retryAfter = 100 * time.Millisecond

// Network connects syncers in one process. The zero Network is ready.
type Network struct {
	mu    sync.Mutex
	links map[*Syncer]map[*Syncer]bool
}

// Connect connects two syncers of the network: each syncs with the other.
func (n *Network) Connect(a, b *Syncer) {
	n.link(a, b, true)
	a.syncAll()
	b.syncAll()
}

// Disconnect undoes Connect.
func (n *Network) Disconnect(a, b *Syncer) {
	n.link(a, b, false)
	a.notifyAll()
	b.notifyAll()
}

func (n *Network) link(a, b *Syncer, up bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.links == nil {
		n.links = make(map[*Syncer]map[*Syncer]bool)
	}
	for _, pair := range [][2]*Syncer{{a, b}, {b, a}} {
		if n.links[pair[0]] == nil {
			n.links[pair[0]] = make(map[*Syncer]bool)
		}
		if up {
			n.links[pair[0]][pair[1]] = true
		} else {
			delete(n.links[pair[0]], pair[1])
		}
	}
}

// peers returns those connected to s.
func (n *Network) peers(s *Syncer) []*Syncer {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Collect(maps.Keys(n.links[s]))
}

// Syncer keeps the replicas of one Local in sync with those of the connected
// ones. Its methods are safe for concurrent use; none but Run blocks.
type Syncer struct {
	network *Network
	id      types.PeerID
	local   syncer.Local
	wake    chan struct{} // holds one

	mu       sync.Mutex
	topics   map[types.TopicID]bool
	todo     map[types.TopicID]bool
	synced   map[types.TopicID]time.Time
	failure  map[types.TopicID]error
	watchers map[types.TopicID]chan struct{}
}

// New returns a syncer of the network that does nothing before Run.
func (n *Network) New(id types.PeerID, local syncer.Local) *Syncer {
	return &Syncer{
		network:  n,
		id:       id,
		local:    local,
		wake:     make(chan struct{}, 1),
		topics:   make(map[types.TopicID]bool),
		todo:     make(map[types.TopicID]bool),
		synced:   make(map[types.TopicID]time.Time),
		failure:  make(map[types.TopicID]error),
		watchers: make(map[types.TopicID]chan struct{}),
	}
}

// Run syncs until ctx is done.
func (s *Syncer) Run(ctx context.Context) error {
	for {
		var retry <-chan time.Time
		for topic := range s.take() {
			if err := s.sync(ctx, topic); err != nil && ctx.Err() == nil {
				s.want(topic, false)
				retry = time.After(retryAfter)
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-s.wake:
		case <-retry:
		}
	}
}

func (s *Syncer) take() map[types.TopicID]bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	todo := s.todo
	s.todo = make(map[types.TopicID]bool)
	return todo
}

// Add says that the topic is replicated here.
func (s *Syncer) Add(topic types.TopicID, _ types.Hash) {
	s.mu.Lock()
	s.topics[topic] = true
	s.mu.Unlock()
	s.Sync(topic, "")
	for _, p := range s.network.peers(s) {
		p.Sync(topic, s.id)
	}
}

// Remove says that the topic is no longer replicated here.
func (s *Syncer) Remove(topic types.TopicID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.topics, topic)
	delete(s.todo, topic)
	s.notify(topic)
}

// Changed says that the topic has new heads: the connected replicas sync.
func (s *Syncer) Changed(topic types.TopicID, _ types.Hash, _ bool) {
	for _, p := range s.network.peers(s) {
		p.Sync(topic, s.id)
	}
}

// Sync starts a sync of the topic with all connected replicas.
func (s *Syncer) Sync(topic types.TopicID, _ types.PeerID) { s.want(topic, true) }

func (s *Syncer) want(topic types.TopicID, now bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.topics[topic] {
		return
	}
	s.todo[topic] = true
	if !now {
		return
	}
	select {
	case s.wake <- struct{}{}:
	default: // it is about to look anyway
	}
}

func (s *Syncer) syncAll() {
	s.mu.Lock()
	topics := slices.Collect(maps.Keys(s.topics))
	s.mu.Unlock()
	for _, t := range topics {
		s.Sync(t, "")
	}
}

// sync pulls from every connected replica of the topic all that is missing.
func (s *Syncer) sync(ctx context.Context, topic types.TopicID) error {
	var err error
	for _, p := range s.network.peers(s) {
		if e := s.pull(ctx, topic, p); e != nil && !errors.Is(e, types.ErrNotFound) {
			err = errors.Join(err, e)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.failure[topic] = err
	if err == nil {
		s.synced[topic] = time.Now()
	}
	s.notify(topic)
	return err
}

// pull integrates what of p's delivery log is missing here.
func (s *Syncer) pull(ctx context.Context, topic types.TopicID, p *Syncer) error {
	theirs, err := p.local.Heads(topic)
	if err != nil {
		return err
	}
	if own, err := s.local.Heads(topic); err != nil || own.Hash == theirs.Hash {
		return err
	}
	var batch []*types.Event
	for entry, err := range p.local.Log(topic, types.Cursor{}) {
		if err != nil {
			return err
		}
		e, err := entry.Event()
		if err != nil {
			return err
		}
		if batch = append(batch, e); len(batch) < maxBatch {
			continue
		}
		if err := s.integrate(ctx, topic, p.id, batch); err != nil {
			return err
		}
		batch = nil
	}
	return s.integrate(ctx, topic, p.id, batch)
}

// integrate integrates those of a batch that are missing.
func (s *Syncer) integrate(ctx context.Context, topic types.TopicID, from types.PeerID, batch []*types.Event) error {
	cids := make([]cid.Cid, 0, len(batch))
	for _, e := range batch {
		cids = append(cids, e.CID)
	}
	missing, err := s.local.Missing(topic, cids)
	if err != nil {
		return fmt.Errorf("look for events: %w", err)
	}
	wanted := make(map[cid.Cid]bool, len(missing))
	for _, c := range missing {
		wanted[c] = true
	}
	batch = slices.DeleteFunc(batch, func(e *types.Event) bool { return !wanted[e.CID] })
	for i, err := range s.local.Verify(ctx, batch) {
		if err != nil {
			return fmt.Errorf("verify event %s: %w", batch[i].CID, err)
		}
	}
	if err := s.local.Integrate(ctx, topic, from, batch); err != nil {
		return fmt.Errorf("integrate events: %w", err)
	}
	return nil
}

// Status returns how a topic stands. The error is types.ErrNotFound for one
// that was not added.
func (s *Syncer) Status(topic types.TopicID) (syncer.TopicStatus, error) {
	own, err := s.local.Heads(topic)
	if err != nil {
		return syncer.TopicStatus{}, err
	}
	peers := s.network.peers(s)
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.topics[topic] {
		return syncer.TopicStatus{}, types.ErrNotFound
	}
	st := syncer.TopicStatus{State: syncer.StateAlone, Reason: "no replica is connected"}
	for _, p := range peers {
		h, err := p.local.Heads(topic)
		if err != nil {
			continue
		}
		r := syncer.ReplicaStatus{Peer: p.id, HeadsHash: h.Hash, InSync: h.Hash == own.Hash, LastSync: s.synced[topic]}
		if st.Replicas = append(st.Replicas, r); !r.InSync {
			st.State, st.Reason = syncer.StateBehind, "a connected replica has other heads"
		} else if st.State == syncer.StateAlone {
			st.State, st.Reason = syncer.StateSynced, "the connected replicas have the same heads"
		}
	}
	if err := s.failure[topic]; err != nil {
		st.LastError = err.Error()
	}
	return st, nil
}

// Watch returns a channel that is closed at the next change of the topic's
// status.
func (s *Syncer) Watch(topic types.TopicID) <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.watchers[topic]
	if c == nil {
		c = make(chan struct{})
		s.watchers[topic] = c
	}
	return c
}

// notify tells the topic's watchers. The caller holds s.mu.
func (s *Syncer) notify(topic types.TopicID) {
	if c := s.watchers[topic]; c != nil {
		close(c)
		delete(s.watchers, topic)
	}
}

func (s *Syncer) notifyAll() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for topic := range s.watchers {
		s.notify(topic)
	}
}
