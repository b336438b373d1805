package node

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/ipfs/go-cid"

	"github.com/cairn-p2p/cairn/broadcaster"
	"github.com/cairn-p2p/cairn/crdt"
	"github.com/cairn-p2p/cairn/types"
)

// Topic joins a topic and returns it: see Join.
func (n *Node) Topic(ctx context.Context, name string) (*Topic, error) { return n.Join(ctx, name) }

// Join begins to replicate a topic, durably, and returns it; a topic that is
// joined already is returned as it is. ref is a name, which gives the open
// topic of that name, or "id:" and a topic's id. The genesis of one that is not
// held here comes from the connected peers, or from whom the fetch ladder finds:
// types.ErrNotFound when none gives it, and types.ErrUnsupported when this release
// does not know its rules. A malformed ref is types.ErrInvalidArgument, and any
// other on a relay types.ErrRelay.
func (n *Node) Join(ctx context.Context, ref string) (*Topic, error) {
	return n.joinIf(ctx, ref, func(*types.Genesis) error { return nil })
}

// JoinToPublish is Join for one who is about to publish: a restricted topic that
// this node's key may not publish to is types.ErrNotWriter, and stays what it was
// here.
func (n *Node) JoinToPublish(ctx context.Context, ref string) (*Topic, error) {
	return n.joinIf(ctx, ref, func(g *types.Genesis) error {
		if !g.MayPublish(n.Publisher()) {
			return fmt.Errorf("publish to %q: %w", g.Name, types.ErrNotWriter)
		}
		return nil
	})
}

// mayJoin returns types.ErrRelay for a relay.
func (n *Node) mayJoin() error {
	if n.cfg.Role == RoleRelay {
		return fmt.Errorf("join: %w", types.ErrRelay)
	}
	return nil
}

// joinIf joins the topic of ref if allowed does not object to its genesis.
func (n *Node) joinIf(ctx context.Context, ref string, allowed func(*types.Genesis) error) (*Topic, error) {
	r, err := ParseTopicRef(ref)
	if err == nil {
		err = n.mayJoin()
	}
	if err != nil {
		return nil, err
	}
	if t := n.topics.get(r.ID); t != nil && t.Joined() && !t.adopted.Load() {
		if err := allowed(t.Genesis()); err != nil {
			return nil, err
		}
		return t, nil
	}
	g := r.open
	if g == nil {
		if g, err = n.genesis(ctx, r.ID); err != nil {
			n.unsupportedBy(r.ID, err)
			return nil, fmt.Errorf("topic %s: %w", ref, err)
		}
	}
	if err := allowed(g); err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	return n.join(ctx, g, false)
}

// genesis returns the genesis of a topic: the one that is held here, or a
// peer's.
func (n *Node) genesis(ctx context.Context, id types.TopicID) (*types.Genesis, error) {
	if t := n.topics.get(id); t != nil {
		return t.Genesis(), nil
	}
	if n.fetchGenesis == nil {
		return nil, fmt.Errorf("%w on this node, and only its genesis would say what to join", types.ErrNotFound)
	}
	g, err := n.fetchGenesis(ctx, id)
	if err != nil {
		return nil, err // which names the step
	}
	if g.ID() != id {
		return nil, fmt.Errorf("fetch genesis: %w: it is of topic %s", types.ErrInvalidGenesis, g.ID())
	}
	return g, nil
}

// CheckNewName reports why a topic cannot be created by the name. The error is
// types.ErrInvalidArgument.
func CheckNewName(name string) error {
	if strings.HasPrefix(name, idPrefix) {
		return fmt.Errorf("create topic: %w: a name may not begin with %q", types.ErrInvalidArgument, idPrefix)
	}
	if _, err := types.NewOpen(name); err != nil { // names have the same limits in every mode
		return fmt.Errorf("create topic: %w", err)
	}
	return nil
}

// Create makes a new restricted topic, to which only owner and writers publish,
// joins it and returns it. The zero owner is this node's key. The topic is
// another one at each call, and only "id:" and its id, not its name, refers to
// it. Names, keys and numbers outside the limits are types.ErrInvalidArgument;
// a relay creates none: types.ErrRelay.
func (n *Node) Create(ctx context.Context, name string, owner types.Publisher, writers []types.Publisher) (*Topic, error) {
	if err := CheckNewName(name); err != nil {
		return nil, err
	}
	if owner == (types.Publisher{}) {
		owner = n.Publisher()
	}
	g, err := types.NewRestricted(name, owner, writers)
	if err != nil {
		return nil, fmt.Errorf("create topic %q: %w", name, err)
	}
	if err := n.mayJoin(); err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	return n.join(ctx, g, false)
}

// join makes the store keep a topic and starts to replicate it; adopted marks
// one that nobody here asked for.
func (n *Node) join(ctx context.Context, g *types.Genesis, adopted bool) (*Topic, error) {
	n.topics.joining.Lock()
	defer n.topics.joining.Unlock()
	t := n.topics.get(g.ID())
	known := t != nil
	if !known {
		t = n.newTopic(g)
	}
	if err := n.markAdopted(t, adopted); err != nil {
		return nil, fmt.Errorf("join %q: %w", g.Name, err)
	}
	if t.Joined() {
		t.setAdopted(adopted)
		n.advertise(t) // the quota for adopted topics may have paused it
		n.syncer.Resume(t.id)
		return t, nil
	}
	if err := n.store.JoinTopic(g); err != nil {
		return nil, fmt.Errorf("join %q: %w", g.Name, err)
	}
	info, err := n.store.Topic(t.id)
	if err != nil {
		return nil, fmt.Errorf("join %q: %w", g.Name, err)
	}
	if !known {
		t.stood(info)
	}
	if !known && !n.topics.add(t) {
		return nil, fmt.Errorf("join %q: %w", g.Name, types.ErrClosed)
	}
	t.joined.Store(true)
	t.setAdopted(adopted)
	t.touch()
	n.syncer.Add(t.id, crdt.HeadsHash(info.Heads))
	n.advertise(t)
	if err := t.replica.TellSyncer(ctx); err != nil { // of appends that came before Add
		return nil, fmt.Errorf("join %q: %w", g.Name, err)
	}
	return t, nil
}

// markAdopted makes the store's mark of an adopted topic what it should be. The
// mark comes before the topic, so that no crash leaves a stranger's topic that
// looks like one's own.
func (n *Node) markAdopted(t *Topic, adopted bool) error {
	if adopted {
		return n.store.SetMeta(adoptedKey(t.id), []byte{1})
	}
	mark, err := n.store.Meta(adoptedKey(t.id))
	if err != nil || mark == nil {
		return err
	}
	return n.store.SetMeta(adoptedKey(t.id), nil)
}

// adoptedPrefix begins the keys of the store's marks of topics that nobody here
// joined.
const adoptedPrefix = "adopted/"

func adoptedKey(id types.TopicID) string { return adoptedPrefix + id.String() }

// adoptedTopics returns the topics that the store has marked as adopted.
func (n *Node) adoptedTopics() (map[types.TopicID]bool, error) {
	keys, err := n.store.MetaKeys(adoptedPrefix)
	if err != nil {
		return nil, err
	}
	adopted := make(map[types.TopicID]bool, len(keys))
	for _, key := range keys {
		id, err := types.ParseCID(strings.TrimPrefix(key, adoptedPrefix))
		if err != nil {
			return nil, fmt.Errorf("%w: mark of an adopted topic: %w", types.ErrCorrupt, err)
		}
		adopted[id] = true
	}
	return adopted, nil
}

// Leave stops replicating a topic, durably. Its events stay and can be read;
// Join takes it up again. A topic not held is types.ErrNotFound.
func (n *Node) Leave(ctx context.Context, ref string) error {
	t, err := n.Find(ref)
	if err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	n.topics.joining.Lock()
	defer n.topics.joining.Unlock()
	if !t.Joined() {
		return nil
	}
	if err := n.store.LeaveTopic(t.id); err != nil {
		return fmt.Errorf("leave %q: %w", t.Name(), err)
	}
	t.joined.Store(false)
	n.syncer.Remove(t.id)
	n.advertise(t)
	return nil
}

// Find returns a topic that is held here, joined or left, by name or by "id:"
// and its id. The error is types.ErrNotFound, which is types.ErrUnsupported too
// for a topic of Unsupported, or types.ErrInvalidArgument for a malformed ref.
func (n *Node) Find(ref string) (*Topic, error) {
	r, err := ParseTopicRef(ref)
	if err != nil {
		return nil, err
	}
	if t := n.topics.get(r.ID); t != nil {
		return t, nil
	}
	if u, ok := n.unsupported.get(r.ID); ok {
		return nil, fmt.Errorf("topic %q: %w on this node: %w", ref, types.ErrNotFound, u.Rules)
	}
	return nil, fmt.Errorf("topic %q: %w on this node", ref, types.ErrNotFound)
}

// FindUnsupported returns the topic of Unsupported that ref refers to, if there
// is one.
func (n *Node) FindUnsupported(ref string) (UnsupportedTopic, bool) {
	r, err := ParseTopicRef(ref)
	if err != nil {
		return UnsupportedTopic{}, false
	}
	return n.unsupported.get(r.ID)
}

// Topics returns the topics that are held here, joined or left, by name.
func (n *Node) Topics() []*Topic {
	topics := n.topics.all()
	sortTopics(topics)
	return topics
}

// Get returns an event that is integrated here, with its topic. It asks nobody
// else; the error is types.ErrNotFound.
func (n *Node) Get(id cid.Cid) (*types.Event, *Topic, error) {
	events, err := n.store.Get([]cid.Cid{id})
	if err != nil {
		return nil, nil, fmt.Errorf("get %s: %w", id, err)
	}
	if events[0] == nil {
		return nil, nil, fmt.Errorf("event %s: %w on this node", id, types.ErrNotFound)
	}
	return events[0], n.topics.get(events[0].Topic), nil
}

// adoptQueue bounds the topics that wait to be adopted; gossip tells of those
// that do not fit again.
const adoptQueue = 64

// adoptTopics takes up topics that gossip told of, when all are replicated.
func (n *Node) adoptTopics(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case m := <-n.topics.adoptions:
			if err := n.adopt(ctx, m); err != nil {
				n.metrics.left[leftAdoption].Add(uint64(len(m.Events)))
				n.cfg.Log.Warn("adopt topic", "topic", m.Genesis.Name, "err", err)
			}
		}
	}
}

// adopt takes up the topic of a message, and the message, while there is room
// for strangers' topics.
func (n *Node) adopt(ctx context.Context, m broadcaster.Message) error {
	if !n.mayAdopt() {
		return nil
	}
	t, err := n.join(ctx, m.Genesis, true)
	if err != nil {
		return err
	}
	t.touch()
	t.replica.Receive(m.From, m.Events, m.Heads)
	return nil
}

// mayAdopt reports whether another topic may be kept that nobody here joined.
func (n *Node) mayAdopt() bool {
	if n.cfg.Replicate != All || n.topics.adopted.Load() >= int64(n.cfg.Strangers.Topics) {
		return false
	}
	return n.withinQuota()
}

// usageAge is how old a reading of the store's size may be: it takes a look at
// every file.
const usageAge = time.Second

// withinQuota reports whether strangers' topics may still grow.
func (n *Node) withinQuota() bool {
	n.usage.mu.Lock()
	defer n.usage.mu.Unlock()
	if now := time.Now(); now.Sub(n.usage.read) > usageAge {
		n.usage.bytes, n.usage.err = n.store.Usage()
		n.usage.read = now
	}
	return n.usage.err == nil && n.usage.bytes < n.cfg.Strangers.Bytes
}

// usage is the last reading of the store's size.
type usage struct {
	mu    sync.Mutex
	bytes int64
	err   error
	read  time.Time
}
