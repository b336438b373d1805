package discovery

import "time"

const (
	// bucketSize is Kademlia's k: a record survives until so many nodes at once
	// are gone.
	bucketSize = 20

	// maxProviders bounds what a lookup returns: enough to find one that
	// answers, few enough to dial them all.
	maxProviders = 16
	// maxAddrs bounds the addresses of each; to dial a thousand is a service
	// to whoever named them.
	maxAddrs = 16
	// lookupTimeout ends a lookup with what it has found by then. Most of a
	// slow lookup is dialling peers that are gone.
	lookupTimeout = 20 * time.Second
	// maxLookups may run at once. Each has about ten requests under way.
	maxLookups = 8

	// fewServers is the number of connected servers of the DHT up to which a new
	// one makes lookups worth repeating.
	fewServers = 3

	// maxRecords bounds the records that this node keeps for others, about
	// 150 bytes each.
	maxRecords = 1 << 19
	// maxRecordsOfPeer bounds those that one peer may leave here. A node with
	// 100,000 topics fits.
	maxRecordsOfPeer = 1 << 17

	// reprovideInterval is the time in which each topic is provided again.
	// Holders forget a record after 48 hours, so one round may fail.
	reprovideInterval = 22 * time.Hour
	// refreshInterval is how often, at most, topics are provided again because
	// nodes of the DHT came or went: in a small network they may have been all
	// that held, or should now hold, the records.
	refreshInterval = 10 * time.Minute
	// firstRefresh is the first such interval; each is twice the one before.
	// At the start a node knows a few others only, and soon more.
	firstRefresh = 5 * time.Second
	// maxRefreshed is how many topics are provided again at each refresh: one
	// lookup each, at worst.
	maxRefreshed = 64

	// eventQueue is how many of the host's events may wait: hosts connect in
	// bursts.
	eventQueue = 256
)
