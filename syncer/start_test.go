package syncer

import (
	"fmt"
	"testing"

	"github.com/cairn-p2p/cairn/types"
)

// Topics that a start adds make the same digest as those that are added one by
// one and change; and what changes after a start has a number, what was there
// has none.
func TestStartEqualsAdding(t *testing.T) {
	id := func(i int) types.TopicID { return types.SumCID(fmt.Append(nil, "topic ", i)) }
	heads := func(i int) types.Hash { return types.Digest(types.SumCID(fmt.Append(nil, "heads ", i))) }
	const n = 500
	start, grown := newSyncer(Config{}), newSyncer(Config{})
	grown.running = true
	for i := range n {
		start.Add(id(i), heads(i))
		grown.Add(id(n-1-i), types.Hash{})
		grown.digest.root() // so that every change has hashes to forget
		grown.Changed(id(n-1-i), heads(n-1-i), false)
	}
	grown.Add(id(n), types.Hash{})
	grown.Remove(id(n))
	if start.digest.root() != grown.digest.root() || start.digest.len() != n || len(start.Survey()) != n {
		t.Errorf("root %x of %d topics, %x of %d one by one", start.digest.root(), start.digest.len(), grown.digest.root(), grown.digest.len())
	}
	before := start.changes.last
	start.running = true
	start.Changed(id(7), heads(8), false)
	if list, known := start.changes.since(before); !known || len(list) != 1 || list[0] != (leaf{key: topicKey(id(7)), heads: heads(8)}) {
		t.Errorf("changes since the start: %v, %v", list, known)
	}
	if start.digest.root() == grown.digest.root() {
		t.Error("a change is not in the root")
	}
}
