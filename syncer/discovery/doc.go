// Package discovery finds the replicas of a topic among strangers, through a
// Kademlia DHT of the network's own nodes (protocol /cairn/<network>/kad/1.0.0).
//
// A node tells the DHT of each topic that it replicates; whoever looks for the
// topic is told of that node. A record holds a hash of the topic's id and a
// peer with its addresses, nothing else, and is only a hint: what the peer
// serves is checked as ever. No address is filtered, so networks on private
// addresses and on one machine work as public ones do.
package discovery
