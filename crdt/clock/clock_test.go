package clock_test

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/ipfs/go-cid"

	"github.com/cairn-p2p/cairn/crdt/clock"
	"github.com/cairn-p2p/cairn/types"
)

// manyHeads makes n heads of different heights, and the state that has them.
func manyHeads(n int, tip types.Tip) types.TopicState {
	s := types.TopicState{Events: uint64(10 * n), Tip: tip}
	for i := range n {
		s.Heads = append(s.Heads, types.Head{CID: types.SumCID(fmt.Append(nil, "head", i)), Height: uint64(3 + i%7)})
	}
	slices.SortFunc(s.Heads, func(a, b types.Head) int { return types.CompareCIDs(a.CID, b.CID) })
	return s
}

// TestLinksAmongMany holds the choice among more heads than links to the rule,
// computed here once more from its words: own latest, those named, the highest,
// the rest by sha2-256(own latest CID ‖ head), the former empty before the first.
func TestLinksAmongMany(t *testing.T) {
	tip := types.Tip{CID: types.SumCID([]byte("own")), Seq: 4, Height: 9}
	named := types.Head{CID: types.SumCID([]byte("named")), Height: 20}
	for _, c := range []struct {
		what  string
		tip   types.Tip
		after []types.Head
	}{
		{"nothing of its own", types.Tip{}, nil},
		{"its own latest", tip, nil},
		{"its own latest and one named", tip, []types.Head{named}},
	} {
		t.Run(c.what, func(t *testing.T) {
			state := manyHeads(50, c.tip)
			want := []cid.Cid{}
			own := ""
			if c.tip.Seq > 0 {
				want, own = append(want, c.tip.CID), string(c.tip.CID.Bytes())
			}
			height := max(c.tip.Height, 9)
			for _, h := range c.after {
				want, height = append(want, h.CID), max(height, h.Height)
			}
			highest := slices.MaxFunc(state.Heads, func(a, b types.Head) int {
				return 2*(int(a.Height)-int(b.Height)) + types.CompareCIDs(a.CID, b.CID)
			})
			want = append(want, highest.CID)
			rank := func(h types.Head) string {
				sum := sha256.Sum256([]byte(own + string(h.CID.Bytes())))
				return string(sum[:])
			}
			rest := slices.Clone(state.Heads)
			slices.SortFunc(rest, func(a, b types.Head) int { return strings.Compare(rank(a), rank(b)) })
			for _, h := range rest {
				if len(want) < types.MaxLinks && h != highest {
					want = append(want, h.CID)
				}
			}
			types.SortCIDs(want)

			got, err := clock.New(testTopic(), key("self"), state, clock.DefaultLimits()).Append(1, clock.Draft{After: c.after})
			if err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(got.Links, want) {
				t.Errorf("links %v\nwant  %v", got.Links, want)
			}
			if got.Height != height+1 {
				t.Errorf("height %d, want %d", got.Height, height+1)
			}
			if got.Seq != c.tip.Seq+1 {
				t.Errorf("seq %d, want %d", got.Seq, c.tip.Seq+1)
			}
		})
	}
}

// TestAllHeadsUpToTheLimit: with as many heads as links an event links to them
// all and to nothing else, whatever is named.
func TestAllHeadsUpToTheLimit(t *testing.T) {
	state := manyHeads(types.MaxLinks, types.Tip{CID: types.SumCID([]byte("own")), Seq: 4, Height: 2})
	c := clock.New(testTopic(), key("self"), state, clock.DefaultLimits())
	e, err := c.Append(1, clock.Draft{After: []types.Head{{CID: types.SumCID([]byte("old")), Height: 1}}})
	if err != nil {
		t.Fatal(err)
	}
	for i, h := range state.Heads {
		if e.Links[i] != h.CID {
			t.Fatalf("link %d is %s, want the head %s", i, e.Links[i], h.CID)
		}
	}
	if len(c.Heads()) != 1 {
		t.Errorf("%d heads are left", len(c.Heads()))
	}
}

// TestRefusedDraftChangesNothing: an append that fails leaves no trace, so that
// the driver can go on with the next one.
func TestRefusedDraftChangesNothing(t *testing.T) {
	for what, d := range map[string]clock.Draft{
		"a payload too large": {Payload: make([]byte, types.MaxPayload+1)},
		"tags not sorted":     {Tags: []string{"b", "a"}},
		"an empty tag":        {Tags: []string{""}},
		"too many to follow":  {After: make([]types.Head, clock.MaxAfter+1)},
	} {
		c := clock.New(testTopic(), key("self"), manyHeads(3, types.Tip{}), clock.DefaultLimits())
		if _, err := c.Append(1, d); !errors.Is(err, types.ErrInvalidArgument) {
			t.Errorf("%s: %v, want ErrInvalidArgument", what, err)
		}
		if out := c.Take(); !reflect.DeepEqual(out, clock.Effects{}) || len(c.Heads()) != 3 || c.Events() != 30 || c.Unstored() != 0 {
			t.Errorf("%s leaves a trace: %+v", what, out)
		}
		if e, err := c.Append(1, clock.Draft{}); err != nil || e.Seq != 1 {
			t.Errorf("after %s: %v, %v", what, e, err)
		}
	}
}

// TestReload: a clock that was loaded from what another one stored goes on
// exactly as that one does.
func TestReload(t *testing.T) {
	topic := testTopic()
	store := newLedger(topic)
	lived := clock.New(topic, key("self"), store.state(key("self")), clock.DefaultLimits())
	for n := range int64(50) {
		loaded := clock.New(topic, key("self"), store.state(key("self")), clock.DefaultLimits())
		other := mustEvent(types.Body{Topic: topic, Publisher: key(fmt.Sprint("other", n)), Seq: 1, Height: 1})
		var out [2]clock.Effects
		for i, c := range []*clock.Clock{lived, loaded} {
			c.Receive(clock.Source{}, []*types.Event{other}, store.known([]*types.Event{other}))
			if n%10 == 0 {
				if _, err := c.Append(n, clock.Draft{}); err != nil {
					t.Fatal(err)
				}
			}
			out[i] = c.Take()
		}
		if !reflect.DeepEqual(out[0], out[1]) {
			t.Fatalf("step %d: the clock that lived wants\n%+v\nthe loaded one\n%+v", n, out[0], out[1])
		}
		for _, b := range out[0].Store {
			if err := store.commit(b); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// TestStaleHeights: the heights that a driver reads may be older than what the
// clock integrated since; neither it nor its links are taken for missing.
func TestStaleHeights(t *testing.T) {
	topic := testTopic()
	c := clock.New(topic, key("self"), types.TopicState{}, clock.DefaultLimits())
	mine, err := c.Append(1, clock.Draft{})
	if err != nil {
		t.Fatal(err)
	}
	reply := mustEvent(types.Body{Topic: topic, Publisher: key("other"), Seq: 1, Height: 2, Links: []cid.Cid{mine.CID}})
	if refused := c.Receive(clock.Source{Sync: true}, []*types.Event{mine, reply, mine}, nil); len(refused) > 0 {
		t.Fatalf("refused: %v", refused)
	}
	if out := c.Take(); out.Deliver != 2 || out.Sync {
		t.Errorf("effects %+v, want 2 delivered and no sync", out)
	}
}

// TestAppendReleases: after a restore a node may append once more the very event
// that it had lost. A reply to it that waits is integrated then, as behind any
// other event.
func TestAppendReleases(t *testing.T) {
	topic := testTopic()
	lost, err := clock.New(topic, key("self"), types.TopicState{}, clock.DefaultLimits()).Append(1, clock.Draft{})
	if err != nil {
		t.Fatal(err)
	}
	reply := mustEvent(types.Body{Topic: topic, Publisher: key("other"), Seq: 1, Height: 2, Links: []cid.Cid{lost.CID}})

	c := clock.New(topic, key("self"), types.TopicState{}, clock.DefaultLimits())
	c.Receive(clock.Source{}, []*types.Event{reply}, nil)
	if _, err := c.Append(1, clock.Draft{}); err != nil {
		t.Fatal(err)
	}
	if n, _ := c.Pending(); n != 0 || c.Events() != 2 {
		t.Errorf("%d pending and %d integrated, want 0 and 2", n, c.Events())
	}
	if out := c.Take(); len(out.Announce) != 1 || out.Announce[0].CID != lost.CID {
		t.Errorf("announced %v, want the own event alone", out.Announce)
	}
}

// TestOtherTopicRefused: an event of another topic is no business of this clock.
func TestOtherTopicRefused(t *testing.T) {
	c := clock.New(testTopic(), key("self"), types.TopicState{}, clock.DefaultLimits())
	stray := mustEvent(types.Body{Topic: types.SumCID([]byte("elsewhere")), Publisher: key("other"), Seq: 1, Height: 1})
	refused := c.Receive(clock.Source{}, []*types.Event{stray}, nil)
	if len(refused) != 1 || !errors.Is(refused[0].Err, types.ErrInvalidEvent) || c.Events() != 0 {
		t.Errorf("refused %v, %d integrated; want ErrInvalidEvent and 0", refused, c.Events())
	}
}

// TestTickAsksForPending: what is pending is asked for again at each tick.
func TestTickAsksForPending(t *testing.T) {
	topic := testTopic()
	c := clock.New(topic, key("self"), types.TopicState{}, clock.DefaultLimits())
	c.Tick()
	if c.Take().Sync {
		t.Error("a tick asks for a sync though nothing is pending")
	}
	gap := mustEvent(types.Body{Topic: topic, Publisher: key("other"), Seq: 2, Height: 2, Links: []cid.Cid{types.SumCID([]byte("lost"))}})
	c.Receive(clock.Source{}, []*types.Event{gap}, nil)
	for range 3 {
		if !c.Take().Sync {
			t.Error("a tick does not ask for what is pending")
		}
		c.Tick()
	}
}

// TestEvictionOrder: among neighbours with equally much pending, eviction takes
// from the one with the smallest id, and not from any.
func TestEvictionOrder(t *testing.T) {
	topic := testTopic()
	c := clock.New(topic, key("self"), types.TopicState{}, clock.DefaultLimits())
	var links []cid.Cid
	for i := range 8 {
		link := types.SumCID(fmt.Append(nil, "lost", i))
		links = append(links, link)
		gap := mustEvent(types.Body{Topic: topic, Publisher: key("other"), Seq: 1, Height: 2, Links: []cid.Cid{link}})
		c.Receive(clock.Source{Peer: types.PeerID(fmt.Sprint("neighbour", i))}, []*types.Event{gap}, nil)
	}
	for i := range links {
		c.Evict(1)
		want := slices.Clone(links[i+1:])
		types.SortCIDs(want)
		if got := c.Missing(len(links)); !slices.Equal(got, want) {
			t.Fatalf("after %d evictions %v are missing, want %v", i+1, got, want)
		}
	}
}

// TestManyGapsAtOnce: more gaps between two Takes than are looked at again give
// one sync, and one missing link however many wait for it.
func TestManyGapsAtOnce(t *testing.T) {
	topic := testTopic()
	c := clock.New(topic, key("self"), types.TopicState{}, clock.DefaultLimits())
	var events []*types.Event
	for i := range uint64(1000) {
		events = append(events, mustEvent(types.Body{Topic: topic, Publisher: key("other"), Seq: i + 1, Height: 2, Links: []cid.Cid{types.SumCID([]byte("lost"))}}))
	}
	c.Receive(clock.Source{}, events, nil)
	if !c.Take().Sync {
		t.Error("a thousand gaps, and no sync is asked for")
	}
	if n, _ := c.Pending(); n != 1000 {
		t.Errorf("%d pending, want 1000", n)
	}
	if missing := c.Missing(10); len(missing) != 1 {
		t.Errorf("missing %v, want one", missing)
	}
	c.Evict(1)
	if n, _ := c.Pending(); n != 999 {
		t.Errorf("%d pending after one was evicted", n)
	}
	if err := c.Check(); err != nil {
		t.Error(err)
	}
}
