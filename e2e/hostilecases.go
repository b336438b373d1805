package e2e

import (
	"time"

	"github.com/cairn-p2p/cairn/e2e/hostile"
)

// hostileCases returns a small scenario for each way of being hostile: four
// nodes write while hostile peers are connected to two of them, or to all.
func hostileCases() []Scenario {
	var cases []Scenario
	for _, b := range hostile.Behaviours() {
		s := Scenario{
			Name: b.Name, About: b.About, Nodes: 4, Topics: b.Topics, Events: 200, Writers: 4,
			Duration: 4 * time.Second, Link: Link{Latency: 5 * time.Millisecond},
			Faults: []Fault{{At: time.Second, Kind: Byzantine, Behaviour: b.Name, Nodes: []int{0, 1}}},
			// Twice the longest that a transfer may hang before it is given up.
			Expect: Expect{Within: time.Minute},
		}
		switch b.Name {
		case "endless-pull", "slow-loris", "silent-crowd":
			// Longer than any deadline. All nodes are victims, and one comes late: it
			// has to sync with the others in spite of them.
			s.Duration = 90 * time.Second
			s.Faults[0].Nodes = []int{0, 1, 2}
			s.Faults = append(s.Faults, Fault{At: 60 * time.Second, Kind: Join, Nodes: []int{3}})
		case "replay":
			s.Duration = 130 * time.Second // neighbours know a message for 120 s
		case "crowd":
			s.Faults[0].Nodes = []int{0, 1, 2, 3}
			// One comes late, and finds the others among the crowd.
			s.Faults = append(s.Faults, Fault{At: 3 * time.Second, Kind: Join, Nodes: []int{3}})
			s.Faults[0].Nodes = []int{0, 1, 2}
		}
		cases = append(cases, s)
	}
	return cases
}
