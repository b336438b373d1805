package e2e

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/ipfs/go-cid"

	"github.com/cairn-p2p/cairn/crdt"
	"github.com/cairn-p2p/cairn/types"
)

// diamond is a log of four events: a root, two on it, and one on both.
func diamond(t *testing.T) []*types.Event {
	t.Helper()
	var log []*types.Event
	for i, links := range [][]int{{}, {0}, {0}, {1, 2}} {
		e := &types.Event{CID: sum(t, i)}
		for _, l := range links {
			e.Links = append(e.Links, log[l].CID)
		}
		log = append(log, e)
	}
	return log
}

func sum(t *testing.T, i int) cid.Cid {
	t.Helper()
	id, err := cid.V1Builder{Codec: cid.DagCBOR, MhType: 0x12}.Sum(fmt.Appendf(nil, "event %d", i))
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// replicaOf holds a log, with such heads.
func replicaOf(log []*types.Event, heads ...*types.Event) Replica {
	r := Replica{Node: "a", Log: log, Events: uint64(len(log))}
	for _, e := range heads {
		r.Heads = append(r.Heads, types.Head{CID: e.CID})
	}
	r.HeadsHash = crdt.HeadsHash(r.Heads)
	return r
}

// Check finds whatever is wrong with one of two replicas.
func TestCheck(t *testing.T) {
	log := diamond(t)
	var acknowledged []cid.Cid
	for _, e := range log {
		acknowledged = append(acknowledged, e.CID)
	}
	sound := replicaOf(log, log[3])
	sound.Node = "b"
	stale := replicaOf(log, log[3])
	stale.HeadsHash = crdt.HeadsHash(nil)
	pending := replicaOf(log, log[3])
	pending.Pending = 1
	short := replicaOf(log, log[3])
	short.Events = 5
	own := slices.Clone(log)
	for i := range 2 {
		e := *log[i]
		e.Publisher, e.Seq = types.Publisher{1}, 7
		own[i] = &e
	}
	forked := replicaOf(own, log[3])
	forked.Publisher = types.Publisher{1}
	for _, test := range []struct {
		name    string
		replica Replica
		want    []string // each is part of what is found; none: nothing
	}{
		{"sound", replicaOf(log, log[3]), nil},
		{"another order", replicaOf([]*types.Event{log[0], log[2], log[1], log[3]}, log[3]), nil},
		{"withheld", replicaOf(log[:3], log[1], log[2]), []string{"1 of 4 acknowledged events are missing", "b: heads hash"}},
		{"withheld in the middle", replicaOf(slices.Delete(slices.Clone(log), 1, 2), log[3]), []string{"before its link", "1 of 4"}},
		{"twice", replicaOf(append(slices.Clone(log), log[0]), log[3]), []string{"delivered twice"}},
		{"before its link", replicaOf([]*types.Event{log[1], log[0], log[2], log[3]}, log[3]), []string{"before its link"}},
		{"a link is a head", replicaOf(log, log[2], log[3]), []string{"is no sink", "b: heads hash"}},
		{"a head twice", replicaOf(log, log[3], log[3]), []string{"head twice"}},
		{"a sink is no head", replicaOf(log), []string{"1 sinks of the log are no heads"}},
		{"stale heads hash", stale, []string{"that of its heads", "b: heads hash"}},
		{"short log", short, []string{"4 events were delivered of 5"}},
		{"a seq twice", forked, []string{"a gave seq 7 to two events"}},
		{"pending", pending, []string{"1 events are pending"}},
	} {
		wrong := strings.Join(Check([]Replica{test.replica, sound}, acknowledged), "\n")
		if test.want == nil && wrong != "" {
			t.Errorf("%s: %s", test.name, wrong)
		}
		for _, want := range test.want {
			if !strings.Contains(wrong, want) {
				t.Errorf("%s: found %q, want something about %q", test.name, wrong, want)
			}
		}
	}
}

// A witness that does not verify is found, beside others of the same event that
// do.
func TestCheckWitnesses(t *testing.T) {
	g, err := types.NewOpen("witnesses")
	if err != nil {
		t.Fatal(err)
	}
	e, err := types.NewEvent(types.Body{Topic: g.ID(), Publisher: types.PublisherOf(key(1)), Seq: 1, Height: 1})
	if err != nil {
		t.Fatal(err)
	}
	types.SignEvents(key(1), []*types.Event{e})
	bad := *e
	bad.Witness = slices.Clone(e.Witness)
	bad.Witness[len(bad.Witness)-1] ^= 1
	wrong := checkWitnesses([]Replica{{Node: "a", Log: []*types.Event{e}}, {Node: "b", Log: []*types.Event{e, &bad}}})
	if len(wrong) != 1 || !strings.HasPrefix(wrong[0], "b: event "+e.CID.String()+" was delivered as number 2: ") {
		t.Errorf("found %q, want the second event of b", wrong)
	}
}
