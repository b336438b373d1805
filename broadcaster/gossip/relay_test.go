package gossip

import (
	"fmt"
	"runtime"
	"testing"

	"github.com/cairn-p2p/cairn/broadcaster/broadcastertest"
)

// A relay forwards topics that it has never heard of, tells its node of none, and
// remembers no more of a thousand strangers' topics than of a hundred.
func TestRelayRemembersNoMoreOfMoreTopics(t *testing.T) {
	local := broadcastertest.NewNode()
	v := newTestValidator(t, local)
	pass := func(from, to int) {
		for i := from; i < to; i++ {
			g := broadcastertest.Topic(t, fmt.Sprint("topic ", i))
			key := broadcastertest.Key(1 + i%200)
			a := broadcastertest.Announce(g, broadcastertest.Chain(t, key, g, 2, 256, false)...)
			judge(t, v, g, sealed(t, key, number{1, uint64(i + 1)}, a, nil), accepted)
		}
	}
	pass(0, 100)
	before := liveHeap()
	pass(100, 1000)
	if grown := liveHeap() - before; grown > 128<<10 { // 900 topics with two events of 256 B take 800 KB
		t.Errorf("%d bytes more after 900 more topics", grown)
	}
	if v.geneses.Len() > 4 || v.recent.proved.Len() > 64 || v.numbers.seen.Len() > 64 {
		t.Errorf("%d geneses, %d events and %d numbers are remembered", v.geneses.Len(), v.recent.proved.Len(), v.numbers.seen.Len())
	}
	if n := len(local.Messages()); n != 0 {
		t.Errorf("the node was handed %d messages", n)
	}
}

// liveHeap returns the bytes of what is reachable.
func liveHeap() int64 {
	runtime.GC()
	runtime.GC() // what the first one finalised
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
