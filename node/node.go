package node

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
	"iter"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ipfs/go-cid"
	"github.com/libp2p/go-libp2p/core/host"
	"golang.org/x/sync/errgroup"

	"github.com/cairn-p2p/cairn/broadcaster/gossip"
	"github.com/cairn-p2p/cairn/crdt"
	"github.com/cairn-p2p/cairn/delivery"
	"github.com/cairn-p2p/cairn/keyfile"
	"github.com/cairn-p2p/cairn/store/badger"
	"github.com/cairn-p2p/cairn/store/mem"
	"github.com/cairn-p2p/cairn/syncer"
	"github.com/cairn-p2p/cairn/syncer/discovery"
	"github.com/cairn-p2p/cairn/types"
)

// storeName is the directory of the database inside the data directory.
const storeName = "store"

// Store is what a node needs of a store, beyond what a replica does.
type Store interface {
	crdt.Store
	At(topic types.TopicID, numbers []uint64) ([]cid.Cid, error)
	JoinTopic(g *types.Genesis) error
	LeaveTopic(topic types.TopicID) error
	Topic(topic types.TopicID) (types.TopicInfo, error)
	Topics() iter.Seq2[types.TopicInfo, error]
	LogID() types.LogID
	Starts() uint64
	Meta(key string) ([]byte, error)
	MetaKeys(prefix string) ([]string, error)
	Metas(prefix, after string, limit int) ([]types.Record, error)
	SetMeta(key string, value []byte) error
	SetMetas(records ...types.Record) error
	Usage() (int64, error)
	Writable() error
	Close() error
}

// Node is one member of a network: it keeps topics and replicates them with
// its peers. Its methods are safe for concurrent use.
type Node struct {
	cfg     Config
	key     ed25519.PrivateKey
	id      types.PeerID
	started time.Time

	store     Store
	gate      gate
	host      host.Host
	metrics   *metrics
	verifier  *verifier
	discovery *discovery.Discovery
	directory directory
	advert    advert
	gossip    *gossip.Broadcaster
	syncer    *syncer.Syncer
	topics    registry
	replicas  crdt.Config // of all of them
	peers     *peers
	usage     usage
	consumers *delivery.Consumers

	unsupported unsupported
	broker      broker
	scores      scores
	judge       atomic.Pointer[syncer.Syncer] // the syncer, once there is one: gossip is opened before

	// fetchGenesis asks the connected peers for the genesis of a topic that is
	// not held here; types.ErrNotFound when none has it. nil: nobody can be
	// asked.
	fetchGenesis func(context.Context, types.TopicID) (*types.Genesis, error)

	running context.Context // ends with the node
	stop    context.CancelFunc
	group   *errgroup.Group // everything that runs

	// release holds what Close undoes, in the order in which it was made.
	release   []func() error
	closeOnce sync.Once
	closeErr  error
}

// Open starts a node and returns once it listens and answers for every topic
// that it keeps. Peers are dialled in the background. The node lives until
// Close; ctx bounds only the opening.
//
// It fails with types.ErrInvalidArgument for a bad configuration, and for a
// data directory that cannot be used with types.ErrLocked, ErrIdentity,
// ErrNewerFormat, ErrWrongNetwork or ErrCorrupt; a relay also fails with
// types.ErrRelay for one in which topics are joined.
func Open(ctx context.Context, cfg Config) (*Node, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	n := &Node{cfg: cfg.withDefaults(), started: time.Now()}
	n.topics.init()
	var err error
	if n.metrics, err = newMetrics(n); err != nil {
		return nil, fmt.Errorf("open node: %w", err)
	}
	n.verifier = newVerifier(n.metrics.verified)
	running, stop := context.WithCancel(context.Background())
	n.stop = stop
	n.group, n.running = errgroup.WithContext(running)
	for _, step := range []func() error{
		n.openStore, n.openHost, n.openDiscovery, n.openParts, n.loadTopics, n.openConsumers, n.openBroker, n.listen,
	} {
		err = ctx.Err()
		if err == nil {
			err = step()
		}
		if err != nil {
			return nil, errors.Join(fmt.Errorf("open node: %w", err), n.Close())
		}
	}
	return n, nil
}

// onClose remembers something to undo.
func (n *Node) onClose(undo func() error) { n.release = append(n.release, undo) }

func (n *Node) openStore() error {
	var err error
	if n.cfg.Dir == "" {
		if n.key, err = keyfile.New(); err != nil {
			return err
		}
		n.store = mem.New(mem.Options{})
		n.onClose(n.store.Close)
		return nil
	}
	lock, err := badger.Lock(n.cfg.Dir)
	if err != nil {
		return err
	}
	n.onClose(lock.Release)
	if n.cfg.Locked != nil {
		if err := n.cfg.Locked(); err != nil {
			return err
		}
	}
	storeDir := filepath.Join(n.cfg.Dir, storeName)
	if n.key, err = loadIdentity(n.cfg.Dir, storeDir); err != nil {
		return err
	}
	if path := filepath.Join(n.cfg.Dir, identityFile); !keyfile.Private(path) {
		n.cfg.Log.Warn("others can read the node's key; chmod it to 0600", "file", path)
	}
	db, err := badger.Open(storeDir, badger.Options{
		Network: n.cfg.Network,
		MinFree: n.cfg.minFree(),
		Free:    n.cfg.Free,
		Lock:    lock,
		Log:     n.cfg.Log,
	})
	if err != nil {
		return err
	}
	n.store = db
	n.onClose(db.Close)
	if err := checkPublisher(db, n.key); err != nil {
		return err
	}
	n.group.Go(func() error { return db.Run(n.running) })
	return nil
}

func (n *Node) openHost() error {
	h, err := newHost(n.key, &n.gate, n.metrics.registry, n.cfg.Host)
	if err != nil {
		return err
	}
	n.host = h
	n.id = types.PeerID(h.ID())
	n.onClose(h.Close)
	return nil
}

func (n *Node) openParts() error {
	var err error
	n.gossip, err = gossip.Open(n.running, gossip.Config{
		Host:    n.host,
		Key:     n.key,
		Network: n.cfg.Network,
		Start:   n.store.Starts(),
		Local:   gossipLocal{n},
		Verify:  n.verifier.check,
		Log:     n.cfg.Log,
		Tracer:  n.metrics.gossipsub,

		Unsupported: n.heardUnsupported,
		Rejected:    n.rejected,
		Offended:    n.offended,
		Scores:      n.scores.set,
	})
	if err != nil {
		return fmt.Errorf("open gossip: %w", err)
	}
	n.onClose(asCloser(n.gossip))
	cfg := syncer.Config{
		Host:      n.host,
		Local:     syncLocal{n},
		Network:   n.cfg.Network,
		Log:       n.cfg.Log,
		Synced:    n.metrics.transferred,
		Intervals: n.cfg.DHTTuning.intervals(),
	}
	if n.cfg.DHT != DHTOff {
		cfg.Finder = n.discovery
	}
	n.syncer, err = syncer.New(cfg)
	if err != nil {
		return fmt.Errorf("make syncer: %w", err)
	}
	n.judge.Store(n.syncer)
	n.replicas = crdt.Config{Key: n.key, Store: n.store, Broadcaster: n.gossip, Syncer: n.syncer, Restored: n.cfg.Restored, Now: n.cfg.Now, Log: n.cfg.Log}
	n.fetchGenesis = n.syncer.FetchGenesis
	n.peers, err = newPeers(n)
	return err
}

func asCloser(c io.Closer) func() error { return c.Close }

// loadChunk is how many topics are read while those before are taken up.
const loadChunk = 1024

// storedTopic is a topic as it was read, with its heads hash.
type storedTopic struct {
	types.TopicInfo
	hash types.Hash
}

// loadTopics takes up the topics in the store, while the next ones are read.
func (n *Node) loadTopics() error {
	adopted, err := n.adoptedTopics()
	if err != nil {
		return fmt.Errorf("load topics: %w", err)
	}
	chunks := make(chan []storedTopic, 1)
	var reading errgroup.Group
	reading.Go(func() error {
		defer close(chunks)
		chunk := make([]storedTopic, 0, loadChunk)
		for info, err := range n.store.Topics() {
			if err != nil {
				return fmt.Errorf("load topics: %w", err)
			}
			chunk = append(chunk, storedTopic{info, crdt.HeadsHash(info.Heads)})
			if len(chunk) == loadChunk {
				chunks <- chunk
				chunk = make([]storedTopic, 0, loadChunk)
			}
		}
		chunks <- chunk
		return nil
	})
	var all []*Topic
	for chunk := range chunks {
		for _, s := range chunk {
			all = append(all, n.loadTopic(s, adopted[s.Genesis.ID()]))
		}
	}
	n.topics.fill(all)
	if err := reading.Wait(); err != nil {
		return err
	}
	return n.checkRelay(all)
}

// checkRelay refuses to let topics that were joined fall asleep in a relay,
// which would tell nobody.
func (n *Node) checkRelay(topics []*Topic) error {
	if i := slices.IndexFunc(topics, (*Topic).Joined); n.cfg.Role == RoleRelay && i >= 0 {
		return fmt.Errorf("%w: %w, and %q is joined in its data directory: leave its topics as a replica, or give the relay a directory of its own",
			types.ErrInvalidArgument, types.ErrRelay, topics[i].Name())
	}
	return nil
}

// loadTopic takes up a topic in the store. It stays dormant.
func (n *Node) loadTopic(s storedTopic, adopted bool) *Topic {
	t := n.newTopic(s.Genesis)
	t.stood(s.TopicInfo)
	t.joined.Store(s.Joined)
	t.setAdopted(adopted)
	if s.Joined {
		n.syncer.Add(t.id, s.hash)
		n.advertise(t)
	}
	return t
}

func (n *Node) listen() error {
	if err := listen(n.host, n.cfg.Listen); err != nil {
		return err
	}
	for _, run := range []func(context.Context) error{
		n.discovery.Run, n.gossip.Run, n.syncer.Run, n.peers.run, n.adoptTopics, n.tend,
	} {
		n.group.Go(func() error {
			err := run(n.running)
			if err != nil {
				n.cfg.Log.Error("node stops: a part of it failed", "err", err)
			}
			return err
		})
	}
	return nil
}

// Done returns a channel that closes when the node stops: by Close, or because
// a part of it failed, which Close then returns.
func (n *Node) Done() <-chan struct{} { return n.running.Done() }

// Close stops the node: it refuses new work, finishes what was accepted,
// flushes, and returns when every goroutine has exited. It may be called more
// than once.
func (n *Node) Close() error {
	n.closeOnce.Do(func() {
		var consumersErr error
		if n.consumers != nil {
			consumersErr = n.consumers.Close()
		}
		n.topics.close()
		if n.peers != nil {
			n.peers.remember()
		}
		n.stop()
		err := n.group.Wait()
		if errors.Is(err, context.Canceled) {
			err = nil
		}
		err = errors.Join(err, consumersErr)
		for i := len(n.release) - 1; i >= 0; i-- {
			err = errors.Join(err, n.release[i]())
		}
		n.closeErr = err
	})
	return n.closeErr
}

// Times of tend.
const (
	tick        = time.Second
	unloadAfter = 5 * time.Minute
)

// MaxPending bounds the bytes of pending events of all topics of a node
// together. Once a second what is above it is dropped.
const MaxPending = 64 << 20

// tend does what is to be done every second: it ticks the replicas that wait
// for something, bounds what they hold, and unloads idle ones.
func (n *Node) tend(ctx context.Context) error {
	ticker := time.NewTicker(tick)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case now := <-ticker.C:
			n.advertiseAnew()
			n.consumers.Tend()
			n.tendTopics(ctx, now, MaxPending)
		}
	}
}

// tendTopics looks after the topics in use, whose pending events may take so many
// bytes. The dormant ones need nothing.
func (n *Node) tendTopics(ctx context.Context, now time.Time, pending int64) {
	var total int64
	var largest *Topic
	for _, t := range n.topics.inUse() {
		t.replica.Tick()
		size := t.replica.PendingSize()
		total += size
		if largest == nil || size > largest.replica.PendingSize() {
			largest = t
		}
		if t.replica.Halted() {
			t.resume(ctx)
		}
		t.unloadIdle(now)
	}
	if total > pending {
		largest.replica.Evict(int(total - pending))
	}
}

// ID returns the node's libp2p peer id.
func (n *Node) ID() types.PeerID { return n.id }

// Publisher returns the key that the node's events are signed with.
func (n *Node) Publisher() types.Publisher { return types.PublisherOf(n.key) }

// Network returns the name of the node's network.
func (n *Node) Network() string { return n.cfg.Network }

// Role returns what the node does for others.
func (n *Node) Role() Role { return n.cfg.Role }

// Uptime returns how long ago the node was opened.
func (n *Node) Uptime() time.Duration { return time.Since(n.started) }

// Stats counts what a node has done since it was opened, and says what it has
// in hand.
type Stats struct {
	Synced    uint64 // events that came by sync
	Redundant uint64 // of these, to no use: they were here already when they came
	Pending   int64  // bytes of pending events of all topics; at most about MaxPending
	Streams   int    // that peers sync through, served now; at most MaxStreams
	// PeerStreams is the most of them that one peer has had at a time so far; at
	// most MaxPeerStreams.
	PeerStreams int
	Sent        uint64 // messages to other peers: frames of gossipsub, and requests and answers of the sync protocol
}

// MaxStreams bounds the streams that a node serves to all its peers together.
const MaxStreams = syncer.DefaultStreams

// MaxPeerStreams bounds those that it serves to one peer.
const MaxPeerStreams = syncer.DefaultStreamsPerPeer

// Stats returns what was done so far. It does not wait for anything.
func (n *Node) Stats() Stats {
	s := n.syncer.Stats()
	stats := Stats{Synced: s.Events, Redundant: s.Redundant, Streams: s.Streams, PeerStreams: s.PeerStreams, Sent: s.FramesOut + n.metrics.gossipsub.out.Load()}
	for _, t := range n.topics.inUse() {
		stats.Pending += t.replica.PendingSize()
	}
	return stats
}

// Writable returns nil, or types.ErrDiskFull or types.ErrStore while nothing
// can be appended or backfilled.
func (n *Node) Writable() error { return n.store.Writable() }
