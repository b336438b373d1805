// Package syncer fetches what a replica missed, over the stream protocol
// /cairn/sync/1, and serves others what they missed.
//
// Both ends of a connection pull, each in its own direction: a node asks a peer
// where its topics stand and fetches what it lacks, parents first. Nothing that
// a peer says is believed before it is integrated here. What a peer does wrong
// ends the exchange with it and costs a retry elsewhere; it never changes what
// this node holds.
//
// A Syncer decides when to ask (schedule.go), finds what differs (exchange.go,
// walk.go), fetches it (compare.go, fetch.go, pull.go, ancestors.go), answers
// (server.go), looks for others when the connected peers don't help (climbs.go,
// ladder.go, locate.go) and can say why a topic is not in sync (status.go). It
// reaches the node's replicas through Local alone, and the network's directory
// through Finder.
package syncer
