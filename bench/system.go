package main

import "context"

// system is one of those compared, in one configuration.
type system struct {
	name string
	// setup says in a sentence what it runs on and when an append is durable.
	setup    string
	optional bool // left out of a table that does not ask for it
	// open starts a node whose data is in dir, listening on a free TCP port of
	// loopback. ctx bounds the opening alone.
	open func(ctx context.Context, dir string) (node, error)
}

// node is one member of a network of its system.
type node interface {
	// addr is a loopback TCP multiaddress that ends in /p2p/ and the node's id.
	addr() string
	connect(ctx context.Context, addr string) error
	// remotes are the multiaddresses at the other ends of its connections.
	remotes() []string
	// join begins to replicate a topic and returns its replica.
	join(ctx context.Context, topic string) (replica, error)
	close() error
}

// replica is one node's copy of one topic. An event is an entry that was
// appended: a DAG node of its own, unless it came with others by appendTogether.
type replica interface {
	// append returns once the entry is durable here.
	append(ctx context.Context, e entry) error
	// appendTogether is append for several entries in one call.
	appendTogether(ctx context.Context, all []entry) error
	// ready returns once gossip reaches so many other replicas.
	ready(ctx context.Context, others int) error
	// wait returns once so many events are here.
	wait(ctx context.Context, events int) error
	// held returns how many events are here.
	held(ctx context.Context) (int, error)
	// heads identifies the heads: equal on two replicas that have the same ones.
	heads(ctx context.Context) (string, error)
	// count reads all events from the store and returns how many there are.
	count(ctx context.Context) (int, error)
}

// entry is what an event carries.
type entry struct {
	key     string // unique in its topic
	payload []byte
}

// systems lists those compared. The first is Cairn; ratios are to it. The first
// two are compared by --quick, the optional ones only when asked for by name.
func systems() []system {
	return []system{
		cairn(),
		dsCRDT("go-ds-crdt, 1 s", settings{syncWrites, brisk}),
		dsCRDT("go-ds-crdt, 1 s, Sync", settings{syncCalls, brisk}),
		dsCRDT("go-ds-crdt, defaults", settings{syncWrites, stock}),
		optional(dsCRDT("go-ds-crdt, parallel", settings{syncWrites, parallel})),
		optional(dsCRDT("go-ds-crdt, no fsync", settings{notSynced, brisk})),
	}
}

func optional(s system) system {
	s.optional = true
	return s
}
