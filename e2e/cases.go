package e2e

import (
	"slices"
	"time"
)

// Case is a scenario that is there to show that a fault does no harm.
type Case struct {
	Scenario
	Shows string // the fault, for people
}

// Cases returns what the table of docs/simulation.md is made of: the faults of
// the network, of nodes and of their disks, and all of them at once.
func Cases() []Case {
	const s = time.Second
	lan := Link{Latency: 5 * time.Millisecond}
	cases := []Case{
		{builtin("halves"), "partition in halves"},
		{builtin("one-node"), "partition of one node"},
		{builtin("flapping"), "flapping partition"},
		{builtin("one-way"), "asymmetric partition"},
		{builtin("churn"), "a third leaves and joins"},
		{builtin("crash"), "crashes"},
		{builtin("topics"), "many topics"},
		{builtin("loss"), "30% loss"},
		{builtin("jitter"), "500 ms jitter"},
		{builtin("bad-line"), "half lost, the rest 300 ms late"},
		{builtin("slow"), "slow reader, slow sender"},
		{builtin("disk-full"), "disk below min_free"},
		{builtin("clock-skew"), "clocks 30 years apart"},
		{builtin("restore-old"), "an old copy restored"},
		{builtin("strangers"), "nodes find each other by DHT"},
		{Scenario{
			Name: "late-10k", About: "A node joins when 10,000 events have been written.",
			Nodes: 4, Events: 10_000, Writers: 32, Duration: 12 * s, Link: lan,
			Faults: []Fault{{At: 12 * s, Kind: Join, Nodes: []int{3}}},
		}, "late joiner into 10,000 events"},
		{Scenario{
			Name: "all-at-once", About: "Everything goes wrong in one network, much of it at once.",
			Nodes: 10, Topics: 2, Events: 600, Writers: 10, Duration: 14 * s,
			Link: Link{Latency: 10 * time.Millisecond, Jitter: 20 * time.Millisecond, Loss: 0.02},
			Faults: []Fault{
				{At: 0, Kind: ClockSkew, Pick: 2, Skew: 10 * year},
				{At: 1 * s, Kind: Partition, For: 5 * s},
				{At: 1 * s, Kind: DiskFull, Pick: 2, For: 4 * s},
				{At: 2 * s, Kind: Slow, Pick: 2, For: 6 * s, Bandwidth: 500_000},
				{At: 3 * s, Kind: Crash, Pick: 3, For: 3 * s},
				{At: 4 * s, Kind: Lose, Pick: 3, Loss: 0.3, For: 4 * s},
				{At: 7 * s, Kind: Leave, Pick: 3, For: 3 * s},
				{At: 10 * s, Kind: Partition, Pick: 1, Asymmetric: true, For: 2 * s},
				{At: 8 * s, Kind: DiskFull, Nodes: []int{0}, For: 5 * s}, // others get what it wrote
				{At: 13 * s, Kind: RestoreOld, Nodes: []int{0}, Age: 6 * s},
			},
		}, "all of these"},
	}
	for _, h := range hostileCases() {
		cases = append(cases, Case{h, h.About})
	}
	return cases
}

const year = 365 * 24 * time.Hour

// builtin returns the scenario of that name, which is there.
func builtin(name string) Scenario {
	all := Builtin()
	return all[slices.IndexFunc(all, func(s Scenario) bool { return s.Name == name })]
}
