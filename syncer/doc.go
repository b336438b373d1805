// Package syncer fetches what a replica missed, over the stream protocol
// /cairn/sync/1, and serves others what they missed.
//
// Both ends of a connection pull, each in its own direction: a node asks a peer
// where its topics stand and fetches what it lacks, parents first. Nothing that
// a peer says is believed before it is integrated here. What a peer does wrong
// ends the exchange with it and costs a retry elsewhere; it never changes what
// this node holds.
//
// A Syncer decides when to ask (schedule.go), asks (client.go, fetch.go,
// pull.go), answers (server.go) and can say why a topic is not in sync
// (status.go). It reaches the node's replicas through Local alone.
package syncer
