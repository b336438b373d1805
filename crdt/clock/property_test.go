package clock_test

import (
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"testing"

	"github.com/ipfs/go-cid"
	"pgregory.net/rapid"

	"github.com/cairn-p2p/cairn/crdt/clock"
	"github.com/cairn-p2p/cairn/types"
)

// twins are two clocks that get the same inputs, each with its own store. They
// must do the same: nothing may depend on the order of a map.
type twins struct {
	clocks [2]*clock.Clock
	stores [2]*ledger
	now    int64
}

func newTwins(topic types.TopicID, limits clock.Limits) *twins {
	tw := &twins{}
	for i := range tw.clocks {
		tw.stores[i] = newLedger(topic)
		tw.clocks[i] = clock.New(topic, key("self"), tw.stores[i].state(key("self")), limits)
	}
	return tw
}

func (tw *twins) receive(t *rapid.T, src clock.Source, events []*types.Event) []clock.Refusal {
	var refused [2][]clock.Refusal
	for i, c := range tw.clocks {
		refused[i] = c.Receive(src, events, tw.stores[i].known(events))
	}
	same(t, "refusals", fmt.Sprint(refused[0]), fmt.Sprint(refused[1]))
	return refused[0]
}

func (tw *twins) append(t *rapid.T, payload []byte) *types.Event {
	tw.now++
	var events [2]*types.Event
	for i, c := range tw.clocks {
		e, err := c.Append(tw.now, clock.Draft{Payload: payload})
		if err != nil {
			t.Fatal(err)
		}
		events[i] = e
	}
	same(t, "appended events", events[0], events[1])
	return events[0]
}

func (tw *twins) each(input func(*clock.Clock)) {
	for _, c := range tw.clocks {
		input(c)
	}
}

// take takes and obeys the effects; the stores check the batches.
func (tw *twins) take(t *rapid.T) clock.Effects {
	var out [2]clock.Effects
	for i, c := range tw.clocks {
		before := c.Unstored()
		out[i] = c.Take()
		stored, size := 0, 0
		for _, b := range out[i].Store {
			if err := tw.stores[i].commit(b); err != nil {
				t.Fatal(err)
			}
			stored += len(b.Events)
			size += b.Size()
		}
		if out[i].Deliver != stored || c.Events() != uint64(len(tw.stores[i].log)) {
			t.Fatalf("%d to deliver and %d in the log, %d stored to make %d", out[i].Deliver, c.Events(), stored, len(tw.stores[i].log))
		}
		if size > before || c.Unstored() != 0 {
			t.Fatalf("Unstored was %d for %d bytes, and is %d after Take", before, size, c.Unstored())
		}
		if !slices.Equal(c.Heads(), tw.stores[i].headList()) {
			t.Fatalf("heads %v, sinks of the log %v", c.Heads(), tw.stores[i].headList())
		}
	}
	same(t, "effects", out[0], out[1])
	same(t, "missing", tw.clocks[0].Missing(50), tw.clocks[1].Missing(50))
	return out[0]
}

func same(t *rapid.T, what string, a, b any) {
	if !reflect.DeepEqual(a, b) {
		t.Fatalf("the same inputs twice, and %s differ:\n%v\n%v", what, a, b)
	}
}

// drawDAG draws events of a few publishers, each linking to earlier ones.
func drawDAG(t *rapid.T, topic types.TopicID) []*types.Event {
	var events []*types.Event
	for i := range rapid.IntRange(1, 30).Draw(t, "events") {
		body := types.Body{Topic: topic, Publisher: key(fmt.Sprint("publisher", i%4)), Seq: uint64(i/4 + 1), Height: 1}
		if i > 0 {
			for _, n := range rapid.SliceOfNDistinct(rapid.IntRange(0, i-1), 0, min(i, 4), rapid.ID).Draw(t, "links") {
				body.Links = append(body.Links, events[n].CID)
				body.Height = max(body.Height, events[n].Height+1)
			}
		}
		types.SortCIDs(body.Links)
		size := rapid.SampledFrom([]int{0, 10, 10, 10, 200_000}).Draw(t, "size")
		body.Payload = make([]byte, size)
		events = append(events, mustEvent(body))
	}
	return events
}

func mustEvent(body types.Body) *types.Event {
	e, err := types.NewEvent(body)
	if err != nil {
		panic(err)
	}
	e.Witness = []byte("signed")
	return e
}

func testTopic() types.TopicID {
	genesis, err := types.NewOpen("properties")
	if err != nil {
		panic(err)
	}
	return genesis.ID()
}

// TestAnyOrder: whatever the order in which the events of a DAG come, by gossip
// or by sync, repeated, mixed with appends and taken at any time, all are
// integrated once, the heads are the sinks, and nothing is left pending.
func TestAnyOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		topic := testTopic()
		dag := drawDAG(t, topic)
		all := slices.Clone(dag)
		tw := newTwins(topic, clock.DefaultLimits())
		order := rapid.Permutation(dag).Draw(t, "order")
		for len(order) > 0 {
			n := rapid.IntRange(1, len(order)).Draw(t, "together")
			peer := rapid.SampledFrom([]types.PeerID{"p", "q"}).Draw(t, "peer")
			for _, r := range tw.receive(t, clock.Source{Peer: peer}, order[:n]) {
				t.Fatalf("gossip is refused: %v", r.Err)
			}
			order = order[n:]
			switch rapid.IntRange(0, 5).Draw(t, "then") {
			case 0: // a sync brings the beginning of another replica's log
				end := rapid.IntRange(0, len(dag)).Draw(t, "end")
				for _, r := range tw.receive(t, clock.Source{Peer: "q", Sync: true}, dag[:end]) {
					t.Fatalf("a log is refused: %v", r.Err)
				}
			case 1: // or single events, not in order; what it refuses has its links missing
				some := rapid.SliceOfN(rapid.SampledFrom(dag), 0, 3).Draw(t, "some")
				for _, r := range tw.receive(t, clock.Source{Peer: "q", Sync: true}, some) {
					if !errors.Is(r.Err, types.ErrUnlinked) {
						t.Fatalf("an event is refused: %v", r.Err)
					}
				}
			case 2:
				all = append(all, tw.append(t, []byte("mine")))
			case 3: // again
				tw.receive(t, clock.Source{Peer: "p"}, rapid.SliceOf(rapid.SampledFrom(dag)).Draw(t, "again"))
			}
			if rapid.Bool().Draw(t, "take") {
				tw.take(t)
			}
		}
		tw.take(t)
		finished(t, tw, all)
	})
}

// finished checks that all events are integrated and nothing else is kept.
func finished(t *rapid.T, tw *twins, all []*types.Event) {
	store, c := tw.stores[0], tw.clocks[0]
	if len(store.log) != len(all) {
		t.Fatalf("%d events are integrated, want %d", len(store.log), len(all))
	}
	var sinks []types.Head
	for _, e := range all {
		linked := slices.ContainsFunc(all, func(o *types.Event) bool { return slices.Contains(o.Links, e.CID) })
		if store.heights[e.CID] != e.Height {
			t.Fatalf("event %s is not integrated", e.CID)
		}
		if !linked {
			sinks = append(sinks, types.Head{CID: e.CID, Height: e.Height})
		}
	}
	slices.SortFunc(sinks, func(x, y types.Head) int { return types.CompareCIDs(x.CID, y.CID) })
	if !slices.Equal(c.Heads(), sinks) {
		t.Fatalf("heads %v, want the sinks %v", c.Heads(), sinks)
	}
	if n, size := c.Pending(); n != 0 || size != 0 || len(c.Missing(10)) != 0 {
		t.Fatalf("%d events of %d bytes are pending, missing %v", n, size, c.Missing(10))
	}
	if err := c.Check(); err != nil {
		t.Fatal(err)
	}
	if out := tw.take(t); out.Sync || out.Deliver > 0 {
		t.Fatalf("something more to do: %+v", out)
	}
	for _, sync := range []bool{false, true} { // to integrate again changes nothing
		refused := tw.receive(t, clock.Source{Peer: "p", Sync: sync}, all)
		if out := tw.take(t); len(refused) > 0 || !reflect.DeepEqual(out, clock.Effects{}) {
			t.Fatalf("all events again, by sync %t: refused %v, effects %+v", sync, refused, out)
		}
	}
}

// TestOrderOfTwo: it does not matter which of two parts of a DAG comes first, and
// two states have equal heads exactly if they have the same events.
func TestOrderOfTwo(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		topic := testTopic()
		dag := drawDAG(t, topic)
		part := func(name string) []*types.Event {
			return closure(dag, rapid.SliceOfNDistinct(rapid.IntRange(0, len(dag)-1), 0, 4, rapid.ID).Draw(t, name))
		}
		integrate := func(parts ...[]*types.Event) *ledger {
			tw := newTwins(topic, clock.DefaultLimits())
			for _, p := range parts {
				tw.receive(t, clock.Source{Peer: "p", Sync: true}, p)
				tw.take(t)
			}
			return tw.stores[0]
		}
		a, b := part("one"), part("other")
		ab, ba := integrate(a, b), integrate(b, a)
		if !slices.Equal(ab.headList(), ba.headList()) || !maps.Equal(ab.heights, ba.heights) {
			t.Fatalf("one before the other gives %d events with heads %v, after it %d with %v",
				len(ab.log), ab.headList(), len(ba.log), ba.headList())
		}
		one, other := integrate(a), integrate(b)
		if heads, events := slices.Equal(one.headList(), other.headList()), maps.Equal(one.heights, other.heights); heads != events {
			t.Fatalf("%d and %d events: equal heads %t, equal events %t", len(one.log), len(other.log), heads, events)
		}
	})
}

// closure returns the events with these numbers and all behind them, in the order
// of the DAG.
func closure(dag []*types.Event, numbers []int) []*types.Event {
	in := map[cid.Cid]bool{}
	for _, n := range numbers {
		in[dag[n].CID] = true
	}
	for _, e := range slices.Backward(dag) { // an event comes after its links
		if in[e.CID] {
			for _, l := range e.Links {
				in[l] = true
			}
		}
	}
	return slices.DeleteFunc(slices.Clone(dag), func(e *types.Event) bool { return !in[e.CID] })
}

// TestSyncOnlyForGaps: a sync is asked for exactly when something received is
// still missing its links, not when events merely overtook each other.
func TestSyncOnlyForGaps(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		topic := testTopic()
		dag := drawDAG(t, topic)
		tw := newTwins(topic, clock.DefaultLimits())
		some := rapid.SliceOfDistinct(rapid.SampledFrom(dag), func(e *types.Event) cid.Cid { return e.CID }).Draw(t, "some")
		tw.receive(t, clock.Source{Peer: "p"}, some)
		out := tw.take(t)
		if want := len(tw.stores[0].log) < len(some); out.Sync != want {
			t.Fatalf("%d of %d events are integrated, and Sync is %t", len(tw.stores[0].log), len(some), out.Sync)
		}
	})
}

// TestForgedAnyOrder: a forged event and what is above it are integrated in no
// order of arrival, and everything else is, in each.
func TestForgedAnyOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		topic := testTopic()
		dag := drawDAG(t, topic)
		parent := rapid.SampledFrom(dag).Draw(t, "parent")
		forged := mustEvent(types.Body{
			Topic: topic, Publisher: key("mallory"), Seq: 1, Links: []cid.Cid{parent.CID},
			Height: parent.Height + rapid.SampledFrom([]uint64{2, 3, 1 << 40}).Draw(t, "lie"),
		})
		links := []cid.Cid{forged.CID, parent.CID}
		types.SortCIDs(links)
		child := mustEvent(types.Body{Topic: topic, Publisher: key("mallory"), Seq: 2, Links: links, Height: forged.Height + 1})
		limits := clock.DefaultLimits()
		limits.Invalid = rapid.IntRange(0, 3).Draw(t, "remembered")
		tw := newTwins(topic, limits)
		for _, e := range rapid.Permutation(append([]*types.Event{forged, child, forged, child}, dag...)).Draw(t, "order") {
			tw.receive(t, clock.Source{Peer: "p"}, []*types.Event{e})
			tw.take(t)
		}
		for _, r := range tw.receive(t, clock.Source{Peer: "p", Sync: true}, []*types.Event{forged}) {
			if !errors.Is(r.Err, types.ErrInvalidEvent) {
				t.Fatalf("the verdict on the forged event is %v", r.Err)
			}
		}
		tw.each(func(c *clock.Clock) { c.Evict(1 << 30) }) // a child whose parent was forgotten may wait
		tw.take(t)
		finished(t, tw, dag)
	})
}

// TestBounded: whatever comes, what the clock keeps stays within its limits,
// and its indexes agree with each other.
func TestBounded(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		size := rapid.SampledFrom([]int{0, 1000, 2000, 3000, 5000})
		limits := clock.Limits{
			PendingSize:   size.Draw(t, "pending"),
			NeighbourSize: size.Draw(t, "neighbour"),
			PublisherSize: size.Draw(t, "publisher"),
			PendingTicks:  rapid.IntRange(0, 3).Draw(t, "ticks"),
			Invalid:       rapid.IntRange(0, 5).Draw(t, "invalid"),
		}
		topic := testTopic()
		tw := newTwins(topic, limits)
		events := drawGarbage(t, topic)
		for range rapid.IntRange(1, 60).Draw(t, "inputs") {
			switch rapid.IntRange(0, 9).Draw(t, "input") {
			case 0:
				tw.each((*clock.Clock).Tick)
			case 1:
				n := rapid.IntRange(0, 3000).Draw(t, "evict")
				_, before := tw.clocks[0].Pending()
				tw.each(func(c *clock.Clock) { c.Evict(n) })
				if _, after := tw.clocks[0].Pending(); after > max(0, before-n) {
					t.Fatalf("%d of %d bytes stay when %d are to go", after, before, n)
				}
			case 2:
				tw.take(t)
			default:
				src := clock.Source{Peer: rapid.SampledFrom([]types.PeerID{"", "p", "q", "r"}).Draw(t, "peer")}
				src.Sync = rapid.IntRange(0, 9).Draw(t, "sync") == 0
				before, _ := tw.clocks[0].Pending()
				tw.receive(t, src, rapid.SliceOfN(rapid.SampledFrom(events), 1, 5).Draw(t, "some"))
				if after, _ := tw.clocks[0].Pending(); src.Sync && after > before {
					t.Fatalf("a sync leaves %d events pending, %d before it", after, before)
				}
			}
			if err := tw.clocks[0].Check(); err != nil {
				t.Fatal(err)
			}
			same(t, "missing", tw.clocks[0].Missing(200), tw.clocks[1].Missing(200))
		}
	})
}

// drawGarbage draws events of which many lie about their height, link to what
// nobody has, or belong elsewhere.
func drawGarbage(t *rapid.T, topic types.TopicID) []*types.Event {
	events := drawDAG(t, topic)
	for i := range rapid.IntRange(1, 30).Draw(t, "garbage") {
		body := types.Body{Topic: topic, Publisher: key(fmt.Sprint("mallory", i%3)), Seq: uint64(i + 1), Height: 1}
		if rapid.IntRange(0, 20).Draw(t, "elsewhere") == 0 {
			body.Topic = types.SumCID([]byte("elsewhere"))
		}
		for n := range rapid.IntRange(0, 3).Draw(t, "dangling") {
			body.Links = append(body.Links, types.SumCID(fmt.Append(nil, i, n)))
		}
		for _, e := range rapid.SliceOfNDistinct(rapid.SampledFrom(events), 0, 3, func(e *types.Event) cid.Cid { return e.CID }).Draw(t, "links") {
			body.Links = append(body.Links, e.CID)
		}
		if len(body.Links) > 0 {
			body.Height = rapid.Uint64Range(2, 6).Draw(t, "height")
		}
		types.SortCIDs(body.Links)
		body.Payload = make([]byte, rapid.SampledFrom([]int{0, 100, 100, 100, 1500}).Draw(t, "size"))
		events = append(events, mustEvent(body))
	}
	return events
}
