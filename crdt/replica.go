package crdt

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ipfs/go-cid"

	"github.com/cairn-p2p/cairn/crdt/clock"
	"github.com/cairn-p2p/cairn/types"
)

// maxInbox bounds the bytes of gossip that wait for the driver. It holds what
// arrives in some tens of milliseconds of a slow commit; what does not fit
// comes by sync.
const maxInbox = 8 << 20

// inputOverhead is what a message counts in the inbox beside its events.
const inputOverhead = 128

// Config is what the replicas of a node are made of. Only Limits, Restored, Now
// and Log may be zero.
type Config struct {
	Key         ed25519.PrivateKey
	Store       Store
	Broadcaster Broadcaster
	Syncer      Syncer
	Limits      clock.Limits     // zero: clock.DefaultLimits
	Restored    bool             // the store is an old copy of itself: appends fail with types.ErrRolledBack until Resume
	Now         func() time.Time // gives the time of events, and nothing else; zero: time.Now
	Log         *slog.Logger     // zero: nothing is logged
}

func (c Config) withDefaults() Config {
	if c.Limits == (clock.Limits{}) {
		c.Limits = clock.DefaultLimits()
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return c
}

// Replica is this node's copy of one topic. Its methods are safe for
// concurrent use. It has a goroutine only while it has something to do, and
// until its first use and after Unload it takes 80 bytes.
type Replica struct {
	cfg      *Config
	genesis  *types.Genesis
	observer Observer
	wake     signal // fires after each commit

	mu      sync.Mutex
	closed  bool
	resumed bool // Config.Restored holds no longer
	// loaded is nil while the replica is dormant. It is written under mu.
	loaded atomic.Pointer[loaded]
}

// loaded is what a replica has while it is in use.
type loaded struct {
	*Replica
	cfg   Config // complete
	topic types.TopicID
	self  types.Publisher

	pending atomic.Int64 // bytes of pending events
	waiting atomic.Int64 // the number of pending events
	halted  atomic.Bool  // appends are refused: see State.OwnErr

	standing standing

	// Guarded by mu:
	inbox     []input
	inboxSize int       // bytes of gossip in it
	running   bool      // the driver's goroutine exists
	idle      sync.Cond // running became false; L is mu

	driver driver // owned by the driver's goroutine
}

// New returns the replica of a topic that the store holds already. It keeps cfg,
// which other replicas may share and nobody may change. observer may be nil:
// then nobody is told, at no cost. New reads nothing: the first use does.
func New(cfg *Config, genesis *types.Genesis, observer Observer) *Replica {
	return &Replica{cfg: cfg, genesis: genesis, observer: observer}
}

// load returns what the replica has while it is in use. The caller holds r.mu.
func (r *Replica) load() *loaded {
	l := r.loaded.Load()
	if l == nil {
		l = &loaded{Replica: r, cfg: r.cfg.withDefaults(), topic: r.topic(), self: r.self()}
		l.idle.L = &r.mu
		l.driver.replica = l
		l.driver.doubt.Restored = l.cfg.Restored && !r.resumed
		r.loaded.Store(l)
	}
	return l
}

func (r *Replica) topic() types.TopicID { return r.genesis.ID() }

func (r *Replica) self() types.Publisher { return types.PublisherOf(r.cfg.Key) }

// Genesis returns the topic's genesis.
func (r *Replica) Genesis() *types.Genesis { return r.genesis }

// Draft is an event to append.
type Draft struct {
	Payload []byte   // at most types.MaxPayload; the event keeps it
	Tags    []string // in any order; at most types.MaxTags
	// After names integrated events that the new one must come behind. All
	// that is integrated is behind it anyway, unless the topic has more heads
	// than an event has links.
	After []cid.Cid
}

// normalise sorts the tags, drops repeated ones, and refuses what no event may
// hold.
func (d Draft) normalise() (Draft, error) {
	d.Tags = slices.Clone(d.Tags)
	slices.Sort(d.Tags)
	d.Tags = slices.Compact(d.Tags)
	if err := types.CheckTags(d.Tags); err != nil {
		return d, fmt.Errorf("%w: %w", types.ErrInvalidArgument, err)
	}
	if len(d.Payload) > types.MaxPayload {
		return d, fmt.Errorf("%w: payload of %d bytes, limit %d", types.ErrInvalidArgument, len(d.Payload), types.MaxPayload)
	}
	if len(d.After) > clock.MaxAfter {
		return d, fmt.Errorf("%w: after %d events, limit %d", types.ErrInvalidArgument, len(d.After), clock.MaxAfter)
	}
	return d, nil
}

// Append appends one event for each draft, each behind the one before, and
// returns them once all are durable. Appends of concurrent callers share
// batches. After an error none, or a prefix, of them was appended; after
// types.ErrStore or the end of ctx, any prefix may have been.
//
// It fails with types.ErrInvalidArgument for a draft outside the limits,
// types.ErrNotWriter, types.ErrNotFound for an After that is not integrated,
// types.ErrDiskFull, types.ErrRolledBack, types.ErrForkedKey, types.ErrStore
// and types.ErrClosed.
func (r *Replica) Append(ctx context.Context, drafts ...Draft) ([]*types.Event, error) {
	if !r.genesis.MayPublish(r.self()) {
		return nil, fmt.Errorf("append to %q: %w", r.genesis.Name, types.ErrNotWriter)
	}
	in := &appendInput{answer: newAnswer()}
	for i, d := range drafts {
		d, err := d.normalise()
		if err != nil {
			return nil, fmt.Errorf("draft %d: %w", i, err)
		}
		in.drafts = append(in.drafts, d)
	}
	if err := r.ask(ctx, in, in.answer); err != nil {
		return nil, fmt.Errorf("append to %q: %w", r.genesis.Name, err)
	}
	return in.events, nil
}

// Receive takes a message from gossip, delivered by the neighbour from: events
// whose witnesses are valid and whose publishers may publish, and heads that
// somebody claims. It does not block: what does not fit is left to a sync, and
// so are heads that are unknown here.
func (r *Replica) Receive(from types.PeerID, events []*types.Event, heads []cid.Cid) {
	size := inputOverhead + types.CIDSize*len(heads)
	for _, e := range events {
		size += e.Size()
	}
	if !r.post(&receiveInput{from: from, events: events, heads: heads}, size) {
		r.leave(LeftInbox, len(events))
		r.cfg.Syncer.Sync(r.topic(), from)
	}
}

// Integrate takes verified events of a sync with the peer from, each behind
// its links, and blocks until those that could be integrated are durable. The
// error is types.ErrUnlinked or types.ErrInvalidEvent when some were refused.
func (r *Replica) Integrate(ctx context.Context, from types.PeerID, events []*types.Event) error {
	in := &integrateInput{from: from, events: events, answer: newAnswer()}
	return r.ask(ctx, in, in.answer)
}

// Submit is Integrate for events that somebody without a replica hands over to
// be published: once they are durable they are announced like this node's own.
func (r *Replica) Submit(ctx context.Context, from types.PeerID, events []*types.Event) error {
	in := &integrateInput{from: from, events: events, announce: true, answer: newAnswer()}
	return r.ask(ctx, in, in.answer)
}

// Tick tells the replica that about a second has passed.
func (r *Replica) Tick() {
	if l := r.loaded.Load(); l != nil && (l.pending.Load() > 0 || l.halted.Load()) {
		r.post(tickInput{}, 0)
	}
}

// PendingSize is the number of bytes of pending events.
func (r *Replica) PendingSize() int64 {
	if l := r.loaded.Load(); l != nil {
		return l.pending.Load()
	}
	return 0
}

// Pending is the number of pending events.
func (r *Replica) Pending() int64 {
	if l := r.loaded.Load(); l != nil {
		return l.waiting.Load()
	}
	return 0
}

// Halted reports whether appends are refused: see State's OwnErr.
func (r *Replica) Halted() bool {
	l := r.loaded.Load()
	return l != nil && l.halted.Load()
}

// Evict drops at least size bytes of pending events, or all. It does not block.
func (r *Replica) Evict(size int) { r.post(evictInput(size), 0) }

// Resume lets appends go on after types.ErrRolledBack, with seqs above the
// greatest that was seen: for when everybody who can be asked for lost events
// has been.
func (r *Replica) Resume(ctx context.Context) error {
	return r.inspect(ctx, func(d *driver) {
		d.clock.Resume()
		d.replica.halted.Store(d.clock.OwnErr() != nil)
		r.mu.Lock()
		defer r.mu.Unlock()
		r.resumed = true
	})
}

// State is a replica's state at one moment.
type State struct {
	Events        uint64 // length of the delivery log
	Heads         []types.Head
	HeadsHash     types.Hash
	PendingEvents int
	PendingSize   int
	PendingSince  time.Time // something has been pending ever since; zero: nothing is
	Missing       []cid.Cid // up to 100 links that pending events wait for
	OwnErr        error     // why appends are refused, or nil
}

// maxMissing bounds the missing links that a State names.
const maxMissing = 100

// State returns the replica's state. It waits for a commit under way.
func (r *Replica) State(ctx context.Context) (State, error) {
	var s State
	err := r.inspect(ctx, func(d *driver) {
		at, _ := d.replica.standing.look(math.MaxInt)
		s = State{
			Events:    at.Events,
			Heads:     at.Heads,
			HeadsHash: at.HeadsHash,
			Missing:   d.clock.Missing(maxMissing),
			OwnErr:    d.clock.OwnErr(),

			PendingSince: d.since,
		}
		s.PendingEvents, s.PendingSize = d.clock.Pending()
	})
	if err != nil {
		return State{}, err // the driver may still be writing s
	}
	return s, nil
}

// TellSyncer gives the syncer the heads hash again, in order with those of
// commits: for a syncer that has begun to care for the topic only now.
func (r *Replica) TellSyncer(ctx context.Context) error {
	return r.inspect(ctx, func(d *driver) { r.cfg.Syncer.Changed(r.topic(), d.replica.standing.root(), false) })
}

func (r *Replica) inspect(ctx context.Context, look func(*driver)) error {
	in := &inspectInput{look: look, answer: newAnswer()}
	return r.ask(ctx, in, in.answer)
}

// Close refuses further input, waits until what was accepted is done, and ends
// the subscriptions. It may be called more than once.
func (r *Replica) Close() {
	r.mu.Lock()
	r.closed = true
	if l := r.loaded.Load(); l != nil {
		for l.running {
			l.idle.Wait()
		}
	}
	r.mu.Unlock()
	r.wake.fire()
}

func (r *Replica) isClosed() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.closed
}

// Unload drops what the replica holds in memory, and reports whether it did: not
// while it has something to do or something pending. It loads again at its next
// use. Who waits for a commit is woken, and waits anew if it still cares: the
// signal is not kept for those who have left.
func (r *Replica) Unload() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	l := r.loaded.Load()
	switch {
	case l == nil:
		return true
	case l.running || l.pending.Load() > 0:
		return false
	}
	l.driver.unload()
	if !l.driver.remembers() {
		r.loaded.Store(nil)
	}
	r.wake.fire()
	return true
}

// Loaded reports whether the replica is in use: it is not before its first use
// and after Unload, save where that keeps what the store does not know.
func (r *Replica) Loaded() bool { return r.loaded.Load() != nil }

// ask posts an input and waits for its answer. An input that was accepted is
// carried out even when ctx ends first.
func (r *Replica) ask(ctx context.Context, in input, answer answer) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if !r.post(in, 0) {
		return types.ErrClosed
	}
	select {
	case err := <-answer:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// post puts an input into the inbox and sees that a driver runs. size counts
// against the inbox's bound. It reports false when the replica is closed or
// the input does not fit.
func (r *Replica) post(in input, size int) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return false
	}
	l := r.load()
	if size > 0 && l.inboxSize+size > maxInbox {
		return false
	}
	l.inbox = append(l.inbox, in)
	l.inboxSize += size
	if !l.running {
		l.running = true
		go l.drive()
	}
	return true
}

// drive is the driver's goroutine: it works until the inbox is empty. After a
// run of several inputs it lets the callers go first that it has just answered.
// They are likely to append again, and would otherwise always come too late for
// the next commit: half of them would wait while the other half is committed.
func (l *loaded) drive() {
	for {
		inputs := l.drain()
		if inputs == nil {
			return
		}
		l.driver.work(inputs)
		if len(inputs) > 1 {
			runtime.Gosched()
		}
	}
}

// drain takes all inputs, or ends the driver when there are none.
func (l *loaded) drain() []input {
	l.mu.Lock()
	defer l.mu.Unlock()
	inputs := l.inbox
	l.inbox, l.inboxSize = nil, 0
	if inputs == nil {
		l.running = false
		l.idle.Broadcast()
	}
	return inputs
}

// IsRefusal reports whether err is a verdict on events, not a failure here.
func IsRefusal(err error) bool {
	return errors.Is(err, types.ErrInvalidEvent) || errors.Is(err, types.ErrUnlinked)
}
