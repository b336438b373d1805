// Package crdt is a topic's replica: the driver around the pure clock of
// crdt/clock. It appends, receives and integrates events, commits them to a
// store, and announces and delivers what is durable. Store, Broadcaster and
// Syncer are the parts it needs; another node can bring its own.
package crdt
