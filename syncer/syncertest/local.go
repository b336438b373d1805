package syncertest

import (
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"errors"
	"fmt"
	"iter"
	"slices"
	"sync"

	"github.com/ipfs/go-cid"

	"github.com/cairn-p2p/cairn/syncer"
	"github.com/cairn-p2p/cairn/trie"
	"github.com/cairn-p2p/cairn/types"
)

// Local is a node's replicas in memory, for tests: it integrates parents first
// and remembers nothing else. It counts what it is asked.
type Local struct {
	Key ed25519.PrivateKey // its node's identity

	logID    types.LogID
	verifier *types.Verifier

	mu       sync.Mutex
	topics   map[types.TopicID]*replica
	meta     map[string][]byte
	changed  chan struct{} // closed at the next change of any topic
	watcher  func(topic types.TopicID, heads types.Hash, backfilled bool)
	fault    error           // of every Integrate
	gate     <-chan struct{} // every Integrate receives from it first; nil: none does
	verified int
	asked    int // calls of Heads
}

// replica is one topic: its delivery log and what follows from it.
type replica struct {
	genesis *types.Genesis
	log     []types.Entry
	cids    []cid.Cid
	events  map[cid.Cid]*types.Event
	heads   map[cid.Cid]uint64
	trie    trie.Trie
	running types.RunningHash
	seq     uint64 // of this node's last event
	paused  bool
}

var _ syncer.Local = (*Local)(nil)

// NewLocal returns a Local without topics whose identity follows from name.
func NewLocal(name string) *Local {
	seed := sha256.Sum256([]byte(name))
	l := &Local{
		Key:      ed25519.NewKeyFromSeed(seed[:]),
		verifier: types.NewVerifier(1024),
		topics:   make(map[types.TopicID]*replica),
		meta:     make(map[string][]byte),
		changed:  make(chan struct{}),
	}
	copy(l.logID[:], seed[:])
	return l
}

// ID is the peer id of the Local's key.
func (l *Local) ID() types.PeerID { return types.PublisherOf(l.Key).PeerID() }

// OnChange makes f the one that is told of new heads.
func (l *Local) OnChange(f func(topic types.TopicID, heads types.Hash, backfilled bool)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.watcher = f
}

// Join makes the Local replicate a topic and returns its heads hash.
func (l *Local) Join(g *types.Genesis) types.Hash {
	l.mu.Lock()
	defer l.mu.Unlock()
	r := l.topics[g.ID()]
	if r == nil {
		r = &replica{
			genesis: g,
			events:  make(map[cid.Cid]*types.Event),
			heads:   make(map[cid.Cid]uint64),
			running: types.StartHash(l.logID, g.ID()),
		}
		l.topics[g.ID()] = r
	}
	return r.trie.Root()
}

// Rebuild gives the Local's logs a new id, as after a restore.
func (l *Local) Rebuild(id types.LogID) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.logID = id
	for topic, r := range l.topics {
		r.running = types.StartHash(id, topic)
		for i := range r.log {
			r.running = r.running.Next(r.cids[i])
			r.log[i].Cursor = r.running.Cursor(uint64(i + 1))
		}
	}
}

// Fail makes every Integrate fail with err, until it is nil.
func (l *Local) Fail(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.fault = err
}

// Slow makes every Integrate receive from gate first.
func (l *Local) Slow(gate <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.gate = gate
}

// Pause makes the Local say that it takes nothing new in a topic.
func (l *Local) Pause(topic types.TopicID, paused bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.topics[topic].paused = paused
}

// Append appends n chained events, the first of which links to all heads, and
// returns them. Their payloads have size bytes.
func (l *Local) Append(topic types.TopicID, n, size int) []*types.Event {
	l.mu.Lock()
	r := l.topics[topic]
	events := make([]*types.Event, 0, n)
	links := slices.SortedFunc(mapKeys(r.heads), types.CompareCIDs)
	if len(links) > types.MaxLinks {
		links = links[:types.MaxLinks]
	}
	height := uint64(1)
	for _, c := range links {
		height = max(height, r.heads[c]+1)
	}
	for range n {
		r.seq++
		e, err := types.NewEvent(types.Body{
			Topic: topic, Publisher: types.PublisherOf(l.Key), Seq: r.seq, Links: links, Height: height, Payload: make([]byte, size),
		})
		if err != nil {
			panic(err)
		}
		events = append(events, e)
		links, height = []cid.Cid{e.CID}, height+1
	}
	for part := range slices.Chunk(events, 64) {
		types.SignEvents(l.Key, part)
	}
	l.mu.Unlock()
	if err := l.add(topic, events, false); err != nil {
		panic(err)
	}
	return events
}

func mapKeys(m map[cid.Cid]uint64) iter.Seq[cid.Cid] {
	return func(yield func(cid.Cid) bool) {
		for c := range m {
			if !yield(c) {
				return
			}
		}
	}
}

// add integrates events up to the first that it cannot, and tells.
func (l *Local) add(topic types.TopicID, events []*types.Event, backfilled bool) error {
	l.mu.Lock()
	r := l.topics[topic]
	if r == nil {
		l.mu.Unlock()
		return types.ErrNotFound
	}
	before := len(r.log)
	var err error
	for _, e := range events {
		if err = r.integrate(e); err != nil {
			break
		}
	}
	watcher, heads := l.watcher, r.trie.Root()
	if len(r.log) > before {
		close(l.changed)
		l.changed = make(chan struct{})
	} else {
		watcher = nil
	}
	l.mu.Unlock()
	if watcher != nil {
		watcher(topic, heads, backfilled)
	}
	return err
}

func (r *replica) integrate(e *types.Event) error {
	if r.events[e.CID] != nil {
		return nil
	}
	height := uint64(1)
	for _, link := range e.Links {
		parent := r.events[link]
		if parent == nil {
			return fmt.Errorf("%w: %s", types.ErrUnlinked, e.CID)
		}
		height = max(height, parent.Height+1)
	}
	if e.Height != height {
		return fmt.Errorf("%w: height %d, want %d", types.ErrInvalidEvent, e.Height, height)
	}
	for _, link := range e.Links {
		delete(r.heads, link)
		r.trie.Delete(types.Digest(link))
	}
	r.heads[e.CID] = e.Height
	r.trie.Set(types.Digest(e.CID), types.Hash{})
	r.events[e.CID] = e
	r.running = r.running.Next(e.CID)
	r.cids = append(r.cids, e.CID)
	r.log = append(r.log, types.Entry{Cursor: r.running.Cursor(uint64(len(r.cids))), Body: e.Bytes(), Witness: e.Witness})
	return nil
}

// Changed returns a channel that is closed when any topic next changes.
func (l *Local) Changed() <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.changed
}

// Verified is the number of events whose witness was checked.
func (l *Local) Verified() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.verified
}

// HeadsRead is how often Heads was called.
func (l *Local) HeadsRead() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.asked
}

// LogID names the Local's logs.
func (l *Local) LogID() types.LogID {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.logID
}

// HeadsTrie shows the trie over a topic's heads.
func (l *Local) HeadsTrie(topic types.TopicID, look func(*trie.Trie)) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	r := l.topics[topic]
	if r == nil {
		return types.ErrNotFound
	}
	look(&r.trie)
	return nil
}

// Heads returns where a topic stands.
func (l *Local) Heads(topic types.TopicID, limit int) (syncer.Heads, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.asked++
	r := l.topics[topic]
	if r == nil {
		return syncer.Heads{}, types.ErrNotFound
	}
	h := syncer.Heads{Genesis: r.genesis, Hash: r.trie.Root(), Events: uint64(len(r.log)), Paused: r.paused}
	h.End = r.running.Cursor(h.Events)
	for c, height := range r.heads {
		h.Heads = append(h.Heads, types.Head{CID: c, Height: height})
	}
	slices.SortFunc(h.Heads, func(a, b types.Head) int { return types.CompareCIDs(a.CID, b.CID) })
	h.Count = len(h.Heads)
	h.Heads = h.Heads[:min(limit, h.Count)]
	return h, nil
}

// Get returns the events with the given CIDs.
func (l *Local) Get(topic types.TopicID, cids []cid.Cid) ([]*types.Event, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	r := l.topics[topic]
	if r == nil {
		return nil, types.ErrNotFound
	}
	events := make([]*types.Event, len(cids))
	for i, c := range cids {
		events[i] = r.events[c]
	}
	return events, nil
}

// Log yields the delivery log behind a cursor.
func (l *Local) Log(topic types.TopicID, after types.Cursor) iter.Seq2[types.Entry, error] {
	l.mu.Lock()
	defer l.mu.Unlock()
	r := l.topics[topic]
	if r == nil {
		return failing(types.ErrNotFound)
	}
	n := after.Number
	if n > uint64(len(r.log)) || n > 0 && r.log[n-1].Cursor != after {
		return failing(types.ErrInvalidCursor)
	}
	entries := slices.Clone(r.log[n:])
	return func(yield func(types.Entry, error) bool) {
		for _, e := range entries {
			if !yield(e, nil) {
				return
			}
		}
	}
}

func failing(err error) iter.Seq2[types.Entry, error] {
	return func(yield func(types.Entry, error) bool) { yield(types.Entry{}, err) }
}

// At returns the CIDs of the log's events with these numbers.
func (l *Local) At(topic types.TopicID, numbers []uint64) ([]cid.Cid, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	r := l.topics[topic]
	if r == nil {
		return nil, types.ErrNotFound
	}
	cids := make([]cid.Cid, 0, len(numbers))
	for _, n := range numbers {
		if n == 0 || n > uint64(len(r.cids)) {
			return nil, types.ErrNotFound
		}
		cids = append(cids, r.cids[n-1])
	}
	return cids, nil
}

// Missing returns those of cids that are not integrated.
func (l *Local) Missing(topic types.TopicID, cids []cid.Cid) ([]cid.Cid, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	r := l.topics[topic]
	if r == nil {
		return nil, types.ErrNotFound
	}
	var missing []cid.Cid
	for _, c := range cids {
		if r.events[c] == nil {
			missing = append(missing, c)
		}
	}
	return missing, nil
}

// MissingOf returns those of events that are not integrated.
func (l *Local) MissingOf(topic types.TopicID, events []*types.Event) ([]*types.Event, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	r := l.topics[topic]
	if r == nil {
		return nil, types.ErrNotFound
	}
	var missing []*types.Event
	for _, e := range events {
		if r.events[e.CID] == nil {
			missing = append(missing, e)
		}
	}
	return missing, nil
}

// Verify checks witnesses.
func (l *Local) Verify(ctx context.Context, events []*types.Event) []error {
	errs := make([]error, len(events))
	for i, e := range events {
		if errs[i] = ctx.Err(); errs[i] == nil {
			errs[i] = l.verifier.Verify(e)
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.verified += len(events)
	return errs
}

// Integrate integrates events.
func (l *Local) Integrate(ctx context.Context, topic types.TopicID, _ types.PeerID, events []*types.Event) error {
	l.mu.Lock()
	fault, gate := l.fault, l.gate
	l.mu.Unlock()
	if gate != nil {
		select {
		case <-gate:
		case <-ctx.Done():
		}
	}
	if err := errors.Join(ctx.Err(), fault); err != nil {
		return err
	}
	return l.add(topic, events, true)
}

// Meta returns a stored value.
func (l *Local) Meta(key string) ([]byte, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.meta[key], nil
}

// SetMeta stores a value.
func (l *Local) SetMeta(key string, value []byte) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.meta[key] = slices.Clone(value)
	return nil
}
