// Package sim runs any number of replicas of one topic in one goroutine, each
// a clock with a durable store, over a network that loses, repeats, reorders
// and cuts, on disks that fail. One number decides all of it, so a run that
// finds something is repeated exactly by running its seed again.
//
// It models the world around the clock as the design has it: gossip that
// neighbours forward once, syncs that are honest but can break off anywhere,
// commits that fail and may persist all the same, disks restored from an old
// copy. What it checks is stated at each check: world.verify for the end of a
// run, disk.commit and replica.check for every step on the way.
package sim

import "io"

// Config says how large and how hostile a world is. Probabilities are between
// 0 and 1. A run draws less than the maxima from its seed.
type Config struct {
	// Replicas is the greatest number of replicas, at least 2.
	Replicas int
	// Steps is the length of the random schedule. About a quarter of the steps
	// append.
	Steps int

	Loss       float64 // that a message is lost
	Duplicates float64 // that a message arrives twice

	Crashes    float64 // that a step crashes a replica
	FailedDisk float64 // that a commit fails; half of these persist
	Restores   float64 // that a step puts an old copy in place of a replica's disk
	Partitions float64 // that a step cuts the network anew, or heals it
	Evictions  float64 // that a step evicts pending events, or lets time pass
	Unloads    float64 // that a step unloads a replica with nothing to do
	Strangers  float64 // that a step brings events of short-lived publishers
	Forgeries  float64 // that a step gossips events that are invalid

	// Trace gets a line for each thing that happens; nil for none.
	Trace io.Writer
}

// DefaultConfig is a hostile world small enough to run thousands of.
func DefaultConfig() Config {
	return Config{
		Replicas:   6,
		Steps:      300,
		Loss:       0.3,
		Duplicates: 0.1,
		Crashes:    0.02,
		FailedDisk: 0.03,
		Restores:   0.0005,
		Partitions: 0.03,
		Evictions:  0.03,
		Unloads:    0.02,
		Strangers:  0.01,
		Forgeries:  0.02,
	}
}

// Report counts what happened in a run, so that a test can tell whether it
// tried what it claims to.
type Report struct {
	Seed     uint64
	Replicas int
	Events   int // in the topic at the end
	Acked    int // appends whose commit was acknowledged

	Sent, Lost, Repeated int // messages
	Syncs, SyncsFinished int // of the random schedule
	Resumed              int // pulls that went on from a position of before a restart
	Crashes              int
	FailedCommits        int // of which Persisted did persist
	Persisted            int
	Restores             int
	Refused              int // appends, because the replica was restored
	Partitions           int
	Batches              int // committed
	SplitBatches         int // Takes that gave more than one
	Evicted              int // pending events dropped by eviction or age
	Released             int // events integrated out of pending, at least
	Unloads              int
	Together             int // commits whose own events were signed together
	WholeBatches         int // sent as such
	BatchParts           int // events sent alone of those signed together
	Forged               int
	Crowded              int // appends with more heads than links
	MaxPending           int // events, of one replica
	MaxHeads             int // of one replica
}
