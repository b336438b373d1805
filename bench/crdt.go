package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/ipfs/boxo/bitswap"
	"github.com/ipfs/boxo/bitswap/network/bsnet"
	"github.com/ipfs/boxo/blockservice"
	"github.com/ipfs/boxo/blockstore"
	"github.com/ipfs/boxo/ipld/merkledag"
	"github.com/ipfs/go-datastore"
	"github.com/ipfs/go-datastore/query"
	badger "github.com/ipfs/go-ds-badger4"
	dscrdt "github.com/ipfs/go-ds-crdt"
	ipld "github.com/ipfs/go-ipld-format"
	logging "github.com/ipfs/go-log/v2"
	"github.com/libp2p/go-libp2p"
	pubsub "github.com/libp2p/go-libp2p-pubsub"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/p2p/security/noise"
)

const (
	listen = "/ip4/127.0.0.1/tcp/0"
	// gossipQueue replaces gossipsub's queues of 32 messages a peer, which drop
	// what does not fit: Cairn raises its own too.
	gossipQueue = 1024
	// look is how often is looked for what tells nobody that it happened.
	look = 2 * time.Millisecond
)

// settings are what go-ds-crdt leaves to its user.
type settings struct {
	durable durability
	tune    func(*dscrdt.Options)
}

// durability is when what a node was given is on disk.
type durability string

const (
	syncWrites durability = "Each transaction of an append, or of receiving an event, is fsynced (SyncWrites)."
	syncCalls  durability = "An append ends with one Sync; what is received is not fsynced."
	notSynced  durability = "Nothing is fsynced."
)

// stock leaves the library's options as they are.
func stock(*dscrdt.Options) {}

// brisk announces heads each second rather than each minute.
func brisk(o *dscrdt.Options) { o.RebroadcastInterval = time.Second }

// parallel is brisk, and handles the heads that it hears of at once, with more
// workers.
func parallel(o *dscrdt.Options) {
	brisk(o)
	o.MultiHeadProcessing = true
	o.NumWorkers = 50
}

// dsCRDT is go-ds-crdt as its example and ipfs-lite put it together: one
// Badger for everything, bitswap among the connected peers, the library's own
// gossipsub broadcaster.
func dsCRDT(name string, s settings) system {
	return system{
		name:  name,
		setup: "Badger v4, TCP and Noise, bitswap, gossipsub. " + string(s.durable),
		open: func(ctx context.Context, dir string) (node, error) {
			return openCRDT(ctx, dir, s)
		},
	}
}

// crdtNode is what the crdt datastores of one process share.
type crdtNode struct {
	settings

	// cancel ends what follows, in which constructors keep the context.
	cancel context.CancelFunc
	ctx    context.Context
	store  *badger.Datastore
	host   host.Host
	gossip *pubsub.PubSub
	swap   *bitswap.Bitswap
	dag    sessions

	mu       sync.Mutex
	replicas []*crdtReplica
}

func openCRDT(ctx context.Context, dir string, s settings) (_ *crdtNode, err error) {
	logging.SetAllLoggers(logging.LevelFatal)
	n := &crdtNode{settings: s}
	n.ctx, n.cancel = context.WithCancel(context.WithoutCancel(ctx))
	defer func() {
		if err != nil {
			err = errors.Join(err, n.close())
		}
	}()
	opts := badger.DefaultOptions
	opts.SyncWrites = s.durable == syncWrites
	if n.store, err = badger.NewDatastore(dir, &opts); err != nil {
		return nil, err
	}
	n.host, err = libp2p.New(libp2p.ListenAddrStrings(listen), libp2p.Security(noise.ID, noise.New))
	if err != nil {
		return nil, err
	}
	n.gossip, err = pubsub.NewGossipSub(n.ctx, n.host,
		pubsub.WithPeerOutboundQueueSize(gossipQueue), pubsub.WithValidateQueueSize(gossipQueue))
	if err != nil {
		return nil, err
	}
	blocks, err := blockstore.CachedBlockstore(n.ctx,
		blockstore.NewIdStore(blockstore.NewBlockstore(n.store)), blockstore.DefaultCacheOpts())
	if err != nil {
		return nil, err
	}
	n.swap = bitswap.New(n.ctx, bsnet.NewFromIpfsHost(n.host), nil, blocks)
	n.dag = sessions{merkledag.NewDAGService(blockservice.New(blocks, n.swap))}
	return n, nil
}

// sessions is a DAG service that go-ds-crdt finds bitswap's sessions in.
type sessions struct{ ipld.DAGService }

func (s sessions) Session(ctx context.Context) ipld.NodeGetter {
	return merkledag.NewSession(ctx, s.DAGService)
}

func (n *crdtNode) addr() string {
	return fmt.Sprintf("%s/p2p/%s", n.host.Addrs()[0], n.host.ID())
}

func (n *crdtNode) connect(ctx context.Context, addr string) error {
	info, err := peer.AddrInfoFromString(addr)
	if err != nil {
		return err
	}
	return n.host.Connect(ctx, *info)
}

func (n *crdtNode) remotes() []string {
	var all []string
	for _, c := range n.host.Network().Conns() {
		all = append(all, c.RemoteMultiaddr().String())
	}
	return all
}

// join opens a crdt datastore of its own for the topic, in a namespace of the
// common store and with a pubsub topic: the library has no other way to keep
// sets apart.
func (n *crdtNode) join(_ context.Context, topic string) (replica, error) {
	r := &crdtReplica{node: n, topic: topic, keys: map[string]bool{}, grown: make(chan struct{})}
	ctx, cancel := context.WithCancel(n.ctx)
	r.cancel = cancel
	announcer, err := dscrdt.NewPubSubBroadcaster(ctx, n.gossip, topic)
	if err != nil {
		cancel()
		return nil, err
	}
	opts := dscrdt.DefaultOptions()
	opts.PutHook = r.put
	n.tune(opts)
	r.set, err = dscrdt.New(n.store, datastore.NewKey("crdt").ChildString(topic), n.dag, announcer, opts)
	if err != nil {
		cancel()
		return nil, err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.replicas = append(n.replicas, r)
	return r, nil
}

// close ends the node. go-ds-crdt may take minutes to notice.
func (n *crdtNode) close() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	var err error
	for _, r := range n.replicas {
		r.cancel() // before its Close, which may hang otherwise
		err = errors.Join(err, r.set.Close())
	}
	n.cancel()
	if n.swap != nil {
		err = errors.Join(err, n.swap.Close())
	}
	if n.host != nil {
		err = errors.Join(err, n.host.Close())
	}
	if n.store != nil {
		err = errors.Join(err, n.store.Close())
	}
	return err
}

// crdtReplica is one crdt datastore. An event is a key with its value, put once.
type crdtReplica struct {
	node   *crdtNode
	topic  string
	set    *dscrdt.Datastore
	cancel context.CancelFunc // ends its broadcaster

	mu    sync.Mutex
	keys  map[string]bool // that were put here, locally or by others
	grown chan struct{}   // closed when keys grows
}

func (r *crdtReplica) put(k datastore.Key, _ []byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.keys[k.String()] {
		r.keys[k.String()] = true
		close(r.grown)
		r.grown = make(chan struct{})
	}
}

func (r *crdtReplica) append(ctx context.Context, e entry) error {
	if err := r.set.Put(ctx, datastore.NewKey(e.key), e.payload); err != nil {
		return err
	}
	return r.sync(ctx)
}

// sync makes what was appended durable, where it is not yet.
func (r *crdtReplica) sync(ctx context.Context) error {
	if r.node.durable != syncCalls {
		return nil
	}
	return r.set.Sync(ctx, datastore.NewKey("/"))
}

func (r *crdtReplica) appendTogether(ctx context.Context, all []entry) error {
	b, err := r.set.Batch(ctx)
	if err != nil {
		return err
	}
	for _, e := range all {
		if err := b.Put(ctx, datastore.NewKey(e.key), e.payload); err != nil {
			return err
		}
	}
	if err := b.Commit(ctx); err != nil {
		return err
	}
	return r.sync(ctx)
}

func (r *crdtReplica) ready(ctx context.Context, others int) error {
	return poll(ctx, func() (bool, error) { return len(r.node.gossip.ListPeers(r.topic)) >= others, nil })
}

func (r *crdtReplica) wait(ctx context.Context, events int) error {
	for {
		r.mu.Lock()
		n, grown := len(r.keys), r.grown
		r.mu.Unlock()
		if n >= events {
			return nil
		}
		select {
		case <-grown:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (r *crdtReplica) held(context.Context) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.keys), nil
}

func (r *crdtReplica) heads(ctx context.Context) (string, error) {
	var all strings.Builder
	for _, c := range r.set.InternalStats(ctx).Heads { // sorted
		all.WriteString(c.KeyString())
	}
	return all.String(), nil
}

func (r *crdtReplica) count(ctx context.Context) (int, error) {
	results, err := r.set.Query(ctx, query.Query{KeysOnly: true})
	if err != nil {
		return 0, err
	}
	all, err := results.Rest()
	return len(all), err
}

// poll asks until the answer is yes or ctx ends.
func poll(ctx context.Context, ask func() (bool, error)) error {
	tick := time.NewTicker(look)
	defer tick.Stop()
	for {
		if yes, err := ask(); yes || err != nil {
			return err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
