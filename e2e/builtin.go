package e2e

import (
	"slices"
	"time"
)

// Builtin returns the scenarios that come with Cairn, the quickest first. Each
// takes at most 30 seconds in real time, but for those with a DHT, which come
// last: nodes may wait for one another's records as long again.
func Builtin() []Scenario {
	const s = time.Second
	lan := Link{Latency: 5 * time.Millisecond}
	all := []Scenario{
		{
			Name: "halves", About: "Two halves write while they are cut off from each other, and meet again.",
			Nodes: 6, Events: 600, Writers: 6, Duration: 6 * s, Link: lan,
			Faults: []Fault{{At: 1 * s, Kind: Partition, For: 4 * s}},
		},
		{
			Name: "one-node", About: "One node is cut off from all others while all of them write.",
			Nodes: 5, Events: 500, Writers: 5, Duration: 5 * s, Link: lan,
			Faults: []Fault{{At: 1 * s, Kind: Partition, Nodes: []int{0}, For: 3 * s}},
		},
		{
			Name: "one-way", About: "What one node sends is lost, and what the others send to it is not.",
			Nodes: 5, Events: 500, Writers: 5, Duration: 5 * s, Link: lan,
			Faults: []Fault{{At: 1 * s, Kind: Partition, Nodes: []int{0}, For: 3 * s, Asymmetric: true}},
		},
		{
			Name: "crash", About: "Two of five nodes crash while they write, and come back with what was on their disks.",
			Nodes: 5, Events: 500, Writers: 10, Duration: 5 * s, Link: lan,
			Faults: []Fault{
				{At: 1 * s, Kind: Crash, Nodes: []int{0}, For: 2 * s},
				{At: 2 * s, Kind: Crash, Nodes: []int{1}, For: 2 * s},
			},
		},
		{
			Name: "lives", About: "One node crashes, one leaves for a while, one restarts, and one joins late.",
			Nodes: 5, Events: 500, Writers: 10, Duration: 5 * s, Link: lan,
			Faults: []Fault{
				{At: 1 * s, Kind: Crash, Nodes: []int{0}, For: s},
				{At: 1500 * time.Millisecond, Kind: Leave, Nodes: []int{1}, For: s},
				{At: 3 * s, Kind: Restart, Nodes: []int{2}},
				{At: 4 * s, Kind: Join, Nodes: []int{4}},
			},
		},
		{
			Name: "topics", About: "Five nodes write to twenty topics, while one crashes, and one that joins late gets all of them.",
			Nodes: 5, Topics: 20, Events: 500, Writers: 10, Duration: 6 * s, Link: lan,
			Faults: []Fault{
				{At: 1 * s, Kind: Crash, Nodes: []int{0}, For: 2 * s},
				{At: 4 * s, Kind: Join, Nodes: []int{4}},
			},
		},
		{
			Name: "late", About: "A node joins when nearly all has been written.",
			Nodes: 4, Events: 2000, Writers: 8, Duration: 4 * s, Link: lan,
			Faults: []Fault{{At: 3500 * time.Millisecond, Kind: Join, Nodes: []int{3}}},
		},
		{
			Name: "loss", About: "Three packets of ten are lost everywhere.",
			Nodes: 5, Events: 200, Writers: 5, Duration: 8 * s,
			Link: Link{Latency: 10 * time.Millisecond, Loss: 0.3},
		},
		{
			Name: "jitter", About: "Packets are late by up to half a second and overtake each other.",
			Nodes: 5, Events: 200, Writers: 5, Duration: 8 * s,
			Link: Link{Latency: 10 * time.Millisecond, Jitter: 500 * time.Millisecond},
		},
		{
			Name: "flapping", About: "Two halves are cut off from each other again and again.",
			Nodes: 6, Events: 300, Writers: 6, Duration: 7 * s, Link: lan,
			Faults: []Fault{
				{At: 1 * s, Kind: Partition, Nodes: []int{0, 1, 2}, For: s},
				{At: 3 * s, Kind: Partition, Nodes: []int{0, 1, 2}, For: s},
				{At: 5 * s, Kind: Partition, Nodes: []int{0, 1, 2}, For: s},
			},
		},
		{
			Name: "bad-line", About: "One node's line loses half of its packets and delays the rest, and one restarts meanwhile.",
			Nodes: 5, Events: 250, Writers: 5, Duration: 7 * s, Link: lan,
			Faults: []Fault{
				{At: 1 * s, Kind: Lose, Nodes: []int{0}, Loss: 0.5},
				{At: 1 * s, Kind: Delay, Nodes: []int{0}, Delay: 300 * time.Millisecond},
				{At: 3 * s, Kind: Restart, Nodes: []int{1}},
				{At: 6 * s, Kind: Heal},
			},
		},
		{
			Name: "churn", About: "A third of the nodes leaves and joins again, in turn, and one restarts.",
			Nodes: 9, Events: 450, Writers: 9, Duration: 9 * s, Link: lan,
			Faults: []Fault{
				{At: 1 * s, Kind: Leave, Nodes: []int{0, 1, 2}, For: 2 * s},
				{At: 4 * s, Kind: Leave, Nodes: []int{3, 4, 5}, For: 2 * s},
				{At: 7 * s, Kind: Restart, Nodes: []int{6}},
			},
		},
		{
			Name: "slow", About: "One node reads and sends 200 kbit a second, and catches up when it does better.",
			Nodes: 5, Events: 500, Writers: 4, Duration: 7 * s, Link: lan,
			Faults: []Fault{{At: 1 * s, Kind: Slow, Nodes: []int{4}, For: 4 * s, Bandwidth: 200_000}},
		},
		{
			Name: "disk-full", About: "Two nodes' disks are full for a while: they take nothing new, and resume by themselves.",
			Nodes: 5, Events: 500, Writers: 5, Duration: 8 * s, Link: lan,
			Faults: []Fault{{At: 1 * s, Kind: DiskFull, Nodes: []int{0, 1}, For: 4 * s}},
		},
		{
			Name: "clock-skew", About: "One node's clock is ten years ahead, another's twenty years behind.",
			Nodes: 5, Events: 500, Writers: 5, Duration: 5 * s, Link: lan,
			Faults: []Fault{
				{At: 0, Kind: ClockSkew, Nodes: []int{0}, Skew: 10 * year},
				{At: 1 * s, Kind: ClockSkew, Nodes: []int{1}, Skew: -20 * year},
			},
		},
		{
			Name: "strangers", About: "Each node knows one other and finds the rest through the DHT, while some leave and crash.",
			Nodes: 8, Events: 300, Writers: 8, Duration: 8 * s, Link: lan, DHT: true,
			Faults: []Fault{
				{At: 1 * s, Kind: Leave, Nodes: []int{0}, For: 5 * s},
				{At: 3 * s, Kind: Crash, Nodes: []int{1, 2}, For: 2 * s},
				{At: 4 * s, Kind: Join, Nodes: []int{7}},
			},
		},
		{
			Name: "restore-old", About: "A node's disk fills up, and its data is replaced by a copy seven seconds old, which lacks events of its own.",
			Nodes: 5, Events: 500, Writers: 5, Duration: 11 * s, Link: lan,
			Faults: []Fault{
				{At: 4 * s, Kind: DiskFull, Nodes: []int{0}, For: 5 * s}, // it writes nothing, and others get what it wrote
				{At: 9 * s, Kind: RestoreOld, Nodes: []int{0}, Age: 7 * s},
			},
		},
	}
	slices.SortStableFunc(all, func(a, b Scenario) int {
		if a.DHT != b.DHT {
			if a.DHT {
				return 1
			}
			return -1
		}
		return int(a.Duration - b.Duration)
	})
	return all
}

// Named returns the scenario of that name, of Builtin or of Cases.
func Named(name string) (Scenario, bool) {
	all := Builtin()
	for _, c := range Cases() {
		all = append(all, c.Scenario)
	}
	for _, s := range all {
		if s.Name == name {
			return s, true
		}
	}
	return Scenario{}, false
}
