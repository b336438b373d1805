package client

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/ipfs/go-cid"

	"github.com/cairn-p2p/cairn/client/wire"
	"github.com/cairn-p2p/cairn/crdt/clock"
	"github.com/cairn-p2p/cairn/keyfile"
	"github.com/cairn-p2p/cairn/types"
)

const (
	// chainSize is the size in bytes, at most, of the events of a chain: they fit a
	// frame.
	chainSize = wire.MaxFrame - 64<<10
	// draftRoom is what an event has beside payload and tags, at most.
	draftRoom = types.MaxBody - types.MaxPayload + types.MaxWitness + wire.EntryRoom
)

// Between two attempts to submit what a broker does not take yet.
const (
	retryFirst   = 100 * time.Millisecond
	retryLongest = 5 * time.Second
)

// Draft is an event to publish.
type Draft struct {
	Payload []byte   // at most types.MaxPayload
	Tags    []string // at most types.MaxTags, in any order
}

// Publisher publishes with the key in a file. What it has signed is in the file
// beside, FILE.state, before anybody else sees it, so that after a crash the same
// bytes are sent again, and no seq is ever used twice. No other program may use the
// key, and no copy of an older state: that is how keys are forked. Its methods are
// safe for concurrent use, one at a time.
type Publisher struct {
	// Warn, when set, is told of what does not end a call: a *Violation of
	// KindLost, and why a call waits.
	Warn func(error)
	// Stored, when set, is told of events when they are durable at the broker, and
	// before anything after them is signed: after a crash, what it was not told of
	// is what Resend sends. Its error ends the call.
	Stored func([]*types.Event) error

	key  ed25519.PrivateKey
	path string   // of the state
	lock *os.File // FILE.state.lock

	mu    sync.Mutex
	state *keyState
	dirty bool // the state on disk is not this one: it lacks what was signed, or has acknowledged events as unsent
}

// OpenPublisher opens a key and its state, and locks it until Close. The state is
// beside the file that a symbolic link leads to. It fails with
// types.ErrIdentity for a file that holds no key, types.ErrLocked while another
// process uses it, and types.ErrCorrupt for a state that cannot be read.
func OpenPublisher(keyPath string) (*Publisher, error) {
	key, err := keyfile.Read(keyPath)
	if err != nil {
		return nil, fmt.Errorf("%w: %s: %w", types.ErrIdentity, keyPath, err)
	}
	// One state whatever links lead to the key.
	if keyPath, err = filepath.EvalSymlinks(keyPath); err != nil {
		return nil, fmt.Errorf("%w: %w", types.ErrIdentity, err)
	}
	p := &Publisher{key: key, path: keyPath + ".state"}
	// A file of its own, as the state is replaced when it is written.
	if p.lock, err = os.OpenFile(p.path+".lock", os.O_RDWR|os.O_CREATE, 0o600); err != nil {
		return nil, fmt.Errorf("open lock: %w", err)
	}
	if err = lock(p.lock); err == nil {
		p.state, err = loadState(p.path, p.ID())
	}
	if err != nil {
		return nil, errors.Join(err, p.lock.Close())
	}
	return p, nil
}

// ID returns the public key.
func (p *Publisher) ID() types.Publisher { return types.PublisherOf(p.key) }

// Close gives the key free.
func (p *Publisher) Close() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	var err error
	if p.dirty {
		err = p.save()
	}
	return errors.Join(err, p.lock.Close())
}

func (p *Publisher) save() error {
	err := p.state.save(p.path)
	p.dirty = err != nil
	return err
}

func (p *Publisher) warn(err error) {
	if p.Warn != nil {
		p.Warn(err)
	}
}

// Resend submits what was signed for a topic and never acknowledged, as it is, and
// returns it once it is durable at the broker: none, if there was none. It fails as
// Publish does.
func (p *Publisher) Resend(ctx context.Context, b Broker, topic types.TopicID) ([]*types.Event, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.resend(ctx, newSource(b, topic))
}

func (p *Publisher) resend(ctx context.Context, s *source) ([]*types.Event, error) {
	t := p.state.Topics[s.topic.String()]
	if t == nil || len(t.Unsent) == 0 {
		return nil, nil
	}
	if p.dirty { // the call that signed them could not write the state
		if err := p.save(); err != nil {
			return nil, err
		}
	}
	events, err := t.events(t.Unsent)
	durable := false
	if err == nil {
		durable, err = p.submit(ctx, s, t, events)
	}
	if err != nil {
		err = fmt.Errorf("submit %d events signed earlier: %w", len(events), err)
	}
	if !durable {
		events = nil
	}
	return events, err
}

// Publish signs an event for each draft, each behind the one before and behind the
// heads that the broker tells of, and returns them once they are durable there.
// What was signed earlier and not acknowledged goes first. It waits, for as long as
// ctx lets it, while the broker lacks what they link to. The events of an error
// are those that are durable; others may be signed, and go with the next call.
//
// It fails with a *Violation, ErrUnreachable, ErrBusy, ErrUnknownEvents,
// ErrRefused, types.ErrInvalidArgument, ErrNotWriter, ErrForkedKey, and the
// errors of the request.
func (p *Publisher) Publish(ctx context.Context, b Broker, topic types.TopicID, drafts ...Draft) ([]*types.Event, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	drafts = slices.Clone(drafts)
	for i := range drafts {
		if err := drafts[i].normalise(); err != nil {
			return nil, fmt.Errorf("draft %d: %w", i, err)
		}
	}
	s := newSource(b, topic)
	if _, err := p.resend(ctx, s); err != nil {
		return nil, err
	}
	var published []*types.Event
	for len(drafts) > 0 {
		n := chainOf(drafts)
		events, err := p.publish(ctx, s, drafts[:n])
		published = append(published, events...)
		if err != nil {
			return published, err
		}
		drafts = drafts[n:]
	}
	return published, nil
}

// normalise sorts the tags, drops repeated ones, and refuses what no event may
// hold.
func (d *Draft) normalise() error {
	d.Tags = slices.Clone(d.Tags)
	slices.Sort(d.Tags)
	d.Tags = slices.Compact(d.Tags)
	if err := types.CheckTags(d.Tags); err != nil {
		return fmt.Errorf("%w: %w", types.ErrInvalidArgument, err)
	}
	if len(d.Payload) > types.MaxPayload {
		return fmt.Errorf("%w: payload of %d bytes, limit %d", types.ErrInvalidArgument, len(d.Payload), types.MaxPayload)
	}
	return nil
}

// chainOf returns how many of the drafts go into one request.
func chainOf(drafts []Draft) int {
	size := 0
	for i, d := range drafts {
		if size += len(d.Payload) + draftRoom; i == wire.MaxChain || i > 0 && size > chainSize {
			return i
		}
	}
	return len(drafts)
}

// publish signs and submits a chain of events, and returns them if they are
// durable. Nothing is unsent.
func (p *Publisher) publish(ctx context.Context, s *source, drafts []Draft) ([]*types.Event, error) {
	t, at, err := p.agree(ctx, s)
	if err != nil {
		return nil, err
	}
	events, err := p.build(s.topic, t, at, drafts)
	if err != nil {
		return nil, err
	}
	if err := s.prove(ctx, foreign(events, at, t)); err != nil {
		return nil, err
	}
	types.SignEvents(p.key, events)
	t.Unsent, t.Spent = rawEvents(events), events[len(events)-1].Seq
	p.state.Topics[s.topic.String()] = t
	if err := p.save(); err != nil {
		return nil, err
	}
	durable, err := p.submit(ctx, s, t, events)
	if !durable {
		events = nil
	}
	return events, err
}

// agree returns where the key stands in the topic, once the broker has its last
// event, or for a key that was never used there, once it knows whether that is so.
func (p *Publisher) agree(ctx context.Context, s *source) (*topicState, *standing, error) {
	t := p.state.Topics[s.topic.String()]
	var at *standing
	var err error
	if t == nil {
		t = &topicState{}
		at, err = p.settled(ctx, s)
	} else {
		at, err = s.heads(ctx, p.ID())
	}
	if err != nil {
		return nil, nil, err
	}
	if !s.genesis.MayPublish(p.ID()) {
		return nil, nil, fmt.Errorf("publish to %q: %w", s.genesis.Name, types.ErrNotWriter)
	}
	if err := t.compare(at.own); err != nil {
		return nil, nil, err
	}
	if t.has(at.own) {
		return t, at, nil
	}
	return t, at, p.bring(ctx, s, t, at)
}

// settled asks where the topic stands until the broker has compared it with the
// nodes that it is connected to: before that, it does not know of all events of the
// key that they have.
func (p *Publisher) settled(ctx context.Context, s *source) (*standing, error) {
	for wait := retryFirst; ; wait = min(2*wait, retryLongest) {
		at, err := s.heads(ctx, p.ID())
		if err != nil || !at.syncing {
			return at, err
		}
		p.warn(fmt.Errorf("waiting: broker %s is still fetching the topic, and the state file knows of no event of the key there", s.broker))
		if err := pause(ctx, wait); err != nil {
			return nil, err
		}
	}
}

// has reports whether own, the key's latest event at a broker, is the last that was
// acknowledged, so that it lacks none.
func (t *topicState) has(own *types.Event) bool {
	return t.Last.Seq == 0 || own != nil && own.Seq >= t.Last.Seq
}

// compare holds the key's latest event at a broker against what is known here.
func (t *topicState) compare(own *types.Event) error {
	switch {
	case own == nil:
		return nil
	case own.Seq > t.Spent:
		return fmt.Errorf("%w: up to seq %d (%s), the file up to %d", ErrUnknownEvents, own.Seq, own.CID, t.Spent)
	case own.Seq == t.Last.Seq && own.CID.String() != t.Last.CID:
		return fmt.Errorf("%w: seq %d is %s there and %s here", types.ErrForkedKey, own.Seq, own.CID, t.Last.CID)
	case own.Seq > t.Last.Seq: // given up, and stored after all
		t.Last, t.AckedBy, t.Kept = ownEvent{own.Seq, own.CID.String(), own.Height}, "", nil
	}
	return nil
}

// bring gives a broker the acknowledged events that it lacks, or waits until it has
// them from elsewhere, and asks again where the topic stands.
func (p *Publisher) bring(ctx context.Context, s *source, t *topicState, at *standing) error {
	kept, err := t.events(t.Kept)
	if err != nil {
		return err
	}
	if t.AckedBy == s.broker.String() && len(kept) > 0 {
		v := s.violation(KindLost, kept[len(kept)-1], "it acknowledged seq %d, and has none of the key above %d", t.Last.Seq, ownSeq(at.own))
		p.warn(v)
	}
	for wait := retryFirst; ; wait = min(2*wait, retryLongest) {
		if len(kept) > 0 {
			if err := p.insist(ctx, s, nil, kept); err != nil {
				return err
			}
		}
		again, err := s.heads(ctx, p.ID())
		if err != nil {
			return err
		}
		*at = *again
		if err := t.compare(at.own); err != nil {
			return err
		}
		if t.has(at.own) {
			return nil
		}
		if len(kept) > 0 {
			return s.violation(KindLost, kept[len(kept)-1], "it acknowledges seq %d, and has none of the key above %d", t.Last.Seq, ownSeq(at.own))
		}
		p.warn(fmt.Errorf("waiting: broker %s has the key's events up to seq %d of %d", s.broker, ownSeq(at.own), t.Last.Seq))
		if err := pause(ctx, wait); err != nil {
			return err
		}
	}
}

func ownSeq(own *types.Event) uint64 {
	if own == nil {
		return 0
	}
	return own.Seq
}

// build makes the events of drafts, unsigned, by the rules of every replica. The
// key's last event is always among those that the first links to or merges, so
// that whatever the broker says of heads, the key's events are in order.
func (p *Publisher) build(topic types.TopicID, t *topicState, at *standing, drafts []Draft) ([]*types.Event, error) {
	state := types.TopicState{Events: at.events, Heads: at.heads, Tip: types.Tip{Seq: t.Spent}}
	if t.Last.Seq > 0 {
		last, err := t.last()
		if err != nil {
			return nil, err
		}
		state.Tip.CID, state.Tip.Height = last.CID, last.Height
		// Whatever height the broker gave it.
		heads := slices.DeleteFunc(slices.Clone(at.heads), func(h types.Head) bool { return h.CID == last.CID })
		state.Heads = append(heads, last)
	}
	c := clock.New(topic, p.ID(), state, clock.DefaultLimits())
	now := min(max(time.Now().UnixNano(), 0), math.MaxInt64)
	var events []*types.Event
	for i, d := range drafts {
		e, err := c.Append(now, clock.Draft{Payload: d.Payload, Tags: d.Tags})
		if err != nil {
			return nil, fmt.Errorf("draft %d: %w", i, err)
		}
		events = append(events, e)
	}
	return events, nil
}

func (t *topicState) last() (types.Head, error) {
	id, err := types.ParseCID(t.Last.CID)
	return types.Head{CID: id, Height: t.Last.Height}, err
}

// foreign returns what the events link to that is not the key's own.
func foreign(events []*types.Event, at *standing, t *topicState) []types.Head {
	heights := make(map[cid.Cid]uint64, len(at.heads))
	for _, h := range at.heads {
		heights[h.CID] = h.Height
	}
	var heads []types.Head
	for _, e := range events {
		for _, l := range e.Links {
			if height, ok := heights[l]; ok && l.String() != t.Last.CID {
				heads = append(heads, types.Head{CID: l, Height: height})
			}
		}
	}
	return heads
}

// Adopt makes what the broker has of the key in a topic the place where it goes on,
// durably, and gives up what was signed and not acknowledged, which it returns; its
// seqs are not used again. It waits while the broker is still fetching the topic. It
// is for a state file that was lost: seqs that this
// broker knows nothing of may be spent, and are then spent a second time. So ask a
// broker that has everything.
func (p *Publisher) Adopt(ctx context.Context, b Broker, topic types.TopicID) ([]*types.Event, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := newSource(b, topic)
	at, err := p.settled(ctx, s)
	if err != nil {
		return nil, err
	}
	t := p.state.Topics[topic.String()]
	if t == nil {
		t = &topicState{}
	}
	if at.own != nil && at.own.Seq == t.Last.Seq && at.own.CID.String() != t.Last.CID {
		return nil, t.compare(at.own)
	}
	given, err := t.events(t.Unsent)
	if err != nil {
		return nil, err
	}
	t.Unsent = nil
	if at.own != nil && at.own.Seq > t.Last.Seq {
		t.Last, t.AckedBy, t.Kept = ownEvent{at.own.Seq, at.own.CID.String(), at.own.Height}, "", nil
		t.Spent = max(t.Spent, at.own.Seq)
		given = slices.DeleteFunc(given, func(e *types.Event) bool { return e.Seq <= at.own.Seq })
	}
	p.state.Topics[topic.String()] = t
	return given, p.save()
}
