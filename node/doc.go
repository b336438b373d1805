// Package node wires a store, a broadcaster and a syncer to the replicas of
// the topics that a node keeps, over one libp2p host. It is what other programs
// embed: Open a node, take a Topic, Append to it and Subscribe to it.
package node

//go:generate go test . -run ^TestMetricsDocument$ -update
