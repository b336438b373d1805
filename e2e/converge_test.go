package e2e

import (
	"fmt"
	"slices"
	"testing"
)

// Events written at once on all nodes: every node ends up with all of them,
// without a nudge.
func TestConverge(t *testing.T) {
	const writers = 16
	for _, test := range []struct{ nodes, events int }{{3, 1000}, {5, 1000}, {3, 10000}, {5, 10000}} {
		if raceEnabled {
			test.events /= 2 // make e2e runs all of them, without it
		}
		t.Run(fmt.Sprintf("%dx%d", test.nodes, test.events), func(t *testing.T) {
			members := cluster(t, test.nodes)
			writeAmong(t, members, test.events, writers)
			converge(t, members, test.events)
		})
	}
}

// Guards against defect 1 of the peers: a broadcast that everyone missed, on a
// topic that then stays quiet, left the replicas different for ever.
func TestQuietTopicHealsWithoutANewEvent(t *testing.T) {
	early := start(t, config(t.TempDir()))
	write(t, []member{early}, 100, 4) // nobody hears it
	late := start(t, config(t.TempDir()))
	connect(t, late.node, early.node)
	converge(t, []member{early, late}, 100)
}

// A node that was away catches up on its return, from the peers that it
// remembers.
func TestNodeThatWasAwayCatchesUp(t *testing.T) {
	dir := t.TempDir()
	a, b := start(t, config(t.TempDir())), start(t, config(dir))
	connect(t, b.node, a.node)
	write(t, []member{a, b}, 10, 1)
	converge(t, []member{a, b}, 20)
	if err := b.node.Close(); err != nil {
		t.Fatal(err)
	}
	write(t, []member{a}, 500, 4)

	back := start(t, config(dir)) // told of nobody
	converge(t, []member{a, back}, 520)
	if back.node.ID() != b.node.ID() {
		t.Errorf("came back as %s, was %s", back.node.ID(), b.node.ID())
	}
}

// Both sides wrote while they were apart; one link between them heals both.
func TestPartitionHeals(t *testing.T) {
	left, right := cluster(t, 3), cluster(t, 3)
	all := slices.Concat(left, right)
	write(t, all, 333, 4)
	converge(t, left, 999)
	converge(t, right, 999)
	connect(t, left[0].node, right[0].node)
	converge(t, all, 1998)
}
