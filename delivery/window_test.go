package delivery

import (
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/ipfs/go-cid"
	"pgregory.net/rapid"

	"github.com/cairn-p2p/cairn/types"
)

// node is an event of a DAG that only a window sees.
type node struct {
	number    uint64
	digest    types.Hash
	ancestors map[*node]bool
	matches   bool
	settled   bool
}

// plan adds nodes to a window.
type plan struct {
	*window
	nodes []*node
}

func newPlan(s Settings) *plan {
	s.CausalAcks = true
	s = s.normal()
	return &plan{window: newWindow(&s, types.Cursor{})}
}

func (p *plan) grow(matches bool, links ...*node) *node {
	n := &node{number: uint64(len(p.nodes)) + 1, ancestors: map[*node]bool{}, matches: matches}
	n.digest[0], n.digest[1] = byte(n.number), byte(n.number>>8)
	var cids []cid.Cid
	for _, l := range links {
		cids = append(cids, types.CIDOf(l.digest))
		n.ancestors[l] = true
		maps.Copy(n.ancestors, l.ancestors)
	}
	p.nodes = append(p.nodes, n)
	p.add(types.Cursor{Number: n.number}, n.digest, cids, matches)
	return n
}

// free reports whether all ancestors that match are settled.
func (n *node) free() bool {
	for a := range n.ancestors {
		if a.matches && !a.settled {
			return false
		}
	}
	return true
}

func (p *plan) finish(n *node) {
	n.settled = true
	it, _ := p.find(n.number, 1)
	p.settle(it)
}

// TestWindowIsNeverEarly grows wide DAGs, in which entries depend on more
// unsettled events than are remembered, and settles events in any order. None is
// ready before its ancestors are settled; what is free and has few of them is
// ready at once; and all become ready in the end.
func TestWindowIsNeverEarly(t *testing.T) {
	barriers := 0
	rapid.Check(t, func(t *rapid.T) {
		p := newPlan(Settings{MaxPending: MaxPendingLimit})
		var out []*node
		look := func(it *item) {
			n := p.nodes[it.cursor.Number-1]
			if !n.free() {
				t.Fatalf("event %d is ready before its ancestors are settled", n.number)
			}
			out = append(out, n)
		}
		width := rapid.SampledFrom([]int{3, 30, 300}).Draw(t, "width")
		share := rapid.IntRange(1, 4).Draw(t, "share that matches")
		if width == 300 {
			for range 2 * maxDeps { // else it is seldom wide enough
				p.grow(true)
			}
		}
		for range rapid.IntRange(1, 300).Draw(t, "events") {
			var links []*node
			if len(p.nodes) > 0 && rapid.IntRange(0, 2).Draw(t, "linked") > 0 {
				for range rapid.IntRange(1, types.MaxLinks).Draw(t, "links") {
					back := rapid.IntRange(1, min(len(p.nodes), width)).Draw(t, "back")
					links = append(links, p.nodes[len(p.nodes)-back])
				}
			}
			n := p.grow(rapid.IntRange(1, 4).Draw(t, "matches") <= share, links...)
			unsettled := 0
			for a := range n.ancestors {
				if a.matches && !a.settled {
					unsettled++
				}
			}
			if e := p.entry(n.number); n.matches && unsettled == 0 && e.item.state != ready {
				t.Fatalf("event %d is held back for nothing", n.number)
			}
			if rapid.IntRange(0, 3).Draw(t, "settle") == 0 {
				for _, it := range p.take(0, 3, false) {
					look(it)
				}
				if len(out) > 0 {
					i := rapid.IntRange(0, len(out)-1).Draw(t, "settled")
					p.finish(out[i])
					out = slices.Delete(out, i, i+1)
				}
			}
			barriers += p.barriers.Len()
		}
		for {
			for _, it := range p.take(0, len(p.nodes), false) {
				look(it)
			}
			if len(out) == 0 {
				break
			}
			i := rapid.IntRange(0, len(out)-1).Draw(t, "settled")
			p.finish(out[i])
			out = slices.Delete(out, i, i+1)
		}
		for _, n := range p.nodes {
			if n.matches && !n.settled {
				t.Fatalf("event %d never became ready", n.number)
			}
		}
		if p.floor.Number != uint64(len(p.nodes)) || p.waiting != 0 || p.delivered != 0 || len(p.index) != 0 {
			t.Fatalf("in the end: floor %d of %d, %d waiting, %d delivered, %d in the index",
				p.floor.Number, len(p.nodes), p.waiting, p.delivered, len(p.index))
		}
	})
	if barriers == 0 {
		t.Error("no DAG was wide enough to need more than is remembered")
	}
}

// An entry that depends on 64 unsettled events waits for these; on one more, for
// everything before it.
func TestManyDependencies(t *testing.T) {
	for _, roots := range []int{64, 65} {
		p := newPlan(Settings{MaxPending: MaxPendingLimit})
		p.grow(true) // concurrent with all the rest
		for range roots {
			p.grow(true)
		}
		above := p.nodes[1:]
		for len(above) > 1 { // a tree that does not match, 32 links an event
			n := min(len(above), types.MaxLinks)
			above = append(slices.Clone(above[n:]), p.grow(false, above[:n]...))
		}
		last := p.grow(true, above[0])
		p.take(0, MaxAhead, false)
		for _, n := range p.nodes[1 : roots+1] {
			if p.entry(last.number).item.state == ready {
				t.Fatalf("%d roots: ready before %d is settled", roots, n.number)
			}
			p.finish(n)
		}
		if got, want := p.entry(last.number).item.state == ready, roots == 64; got != want {
			t.Errorf("%d roots are settled, and the concurrent event is not: ready %v, want %v", roots, got, want)
		}
		p.finish(p.nodes[0])
		if p.entry(last.number).item.state != ready {
			t.Errorf("%d roots: not ready when all is settled", roots)
		}
	}
}

// What depends on a bound and on an event behind it waits for both.
func TestBoundIsInherited(t *testing.T) {
	p := newPlan(Settings{MaxPending: MaxPendingLimit})
	var roots []*node
	for range maxDeps + 1 {
		roots = append(roots, p.grow(true))
	}
	bound := p.grow(false, roots...)
	later := p.grow(true)
	last := p.grow(true, bound, later)
	p.take(0, MaxAhead, false)
	p.finish(later)
	for _, n := range roots {
		if p.entry(last.number).item.state == ready {
			t.Fatalf("ready before %d is settled", n.number)
		}
		p.finish(n)
	}
	if p.entry(last.number).item.state != ready {
		t.Error("not ready when all is settled")
	}
}

// What a stream has taken and not handed out is not given up, even when its
// time has passed.
func TestHeldIsNotGivenUp(t *testing.T) {
	p := newPlan(Settings{MaxDeliver: 1, AckWait: time.Second})
	p.grow(true)
	it := p.take(0, 1, true)[0]
	if dead := p.expire(2000, 10); len(dead) > 0 {
		t.Fatal("given up before anybody has seen it")
	}
	p.handOut(it, 2000)
	if dead := p.expire(2999, 10); len(dead) > 0 {
		t.Fatal("given up before its time has passed")
	}
	if dead := p.expire(3000, 10); len(dead) != 1 {
		t.Fatal("not given up when its time has passed")
	}
}

// What a stream gives back was due, and stays so: its time ran out before the
// stream took it.
func TestGivenBackIsDue(t *testing.T) {
	p := newPlan(Settings{AckWait: time.Second})
	p.grow(true)
	p.take(0, 1, false)
	p.expire(1000, 10)
	it := p.take(1000, 1, true)[0]
	p.giveBack(it, 1000)
	if d := p.progress().delivered; len(d) != 1 || d[0].attempts != 1 || d[0].deadline > 1000 {
		t.Errorf("after a restart %+v", d)
	}
	if again := p.take(1000, 1, false); len(again) != 1 || again[0].count() != 2 {
		t.Errorf("delivered again: %v", again)
	}
}
