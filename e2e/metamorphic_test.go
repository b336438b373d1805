package e2e

import (
	"context"
	"crypto/ed25519"
	"fmt"
	"iter"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"testing"

	"github.com/ipfs/go-cid"

	"github.com/cairn-p2p/cairn/crdt"
	"github.com/cairn-p2p/cairn/crdt/clock"
	"github.com/cairn-p2p/cairn/node"
	"github.com/cairn-p2p/cairn/store/badger"
	"github.com/cairn-p2p/cairn/store/storetest"
	"github.com/cairn-p2p/cairn/types"
)

// configuration is one way to bring a history to replicas. None of it may show in
// the DAG that they end up with.
type configuration struct {
	name    string
	signed  []int // each replica's publishers sign so many events together, by turns
	limits  clock.Limits
	onDisk  bool
	network func(t *testing.T) transport
	gossip  bool // what is new is broadcast, in any order
}

// TestEqualDAGsHoweverConfigured brings one random history to replicas in many
// ways: signed in batches of any size, from stores of either kind, over transports
// of either kind, with room for much or little that is pending, in any order of
// arrival. All of them end up with the DAG of the history: the same CIDs, the same
// heads hash, the same canonical order.
func TestEqualDAGsHoweverConfigured(t *testing.T) {
	rng := storetest.Rand(t)
	h := drawHistory(t, rng)
	want := h.want()
	t.Logf("%d events, %d heads, %d forks", len(h.bodies), want.heads, want.forks)
	if want.forks == 0 {
		t.Error("the history does not fork")
	}
	little := clock.Limits{PendingSize: 3000, NeighbourSize: 2000, PublisherSize: 1000, PendingTicks: 1, Invalid: 1}
	for _, c := range []configuration{
		{name: "one by one, by hand", signed: []int{1}, network: byHand},
		{name: "all together, by hand, on disk, little pending", signed: []int{1000}, limits: little, onDisk: true, network: byHand, gossip: true},
		{name: "in memory", signed: []int{7}, network: inProcess, gossip: true},
		{name: "in memory, on disk, little pending", signed: []int{1, 64}, limits: little, onDisk: true, network: inProcess, gossip: true},
		{name: "libp2p", signed: []int{1000, 1, 3}, network: onLoopback, gossip: true},
		{name: "libp2p, on disk, little pending", signed: []int{2}, limits: little, onDisk: true, network: onLoopback, gossip: true},
		{name: "libp2p, by sync alone", signed: []int{16, 1}, network: onLoopback},
	} {
		rng := rand.New(rand.NewPCG(rng.Uint64(), 0)) // so that one configuration can be run alone
		t.Run(c.name, func(t *testing.T) {
			parts := make([]*part, 3)
			for i := range parts {
				parts[i] = newPart(t, h.genesis, key(200+i), c.onDisk)
			}
			network := c.network(t)
			for i, p := range parts {
				p.open(c.limits, network)
				p.signed = h.sign(c.signed[i%len(c.signed)])
			}
			network.begin()
			h.feed(t, rng, parts, c.gossip)
			network.settle()
			for _, p := range parts {
				p.await(len(h.bodies))
			}
			for i, p := range parts {
				want.equal(t, fmt.Sprint("replica ", i), p.replica)
				storetest.CheckInvariants(t, p.Store)
			}
		})
	}
	t.Run("nodes", func(t *testing.T) { h.onNodes(t, want) })
}

// onNodes gives each of three nodes what one part of the publishers wrote, signed
// in batches of its own, before it starts.
func (h *history) onNodes(t *testing.T, want dag) {
	var members []member
	for i := range 3 {
		cfg := config(t.TempDir())
		if err := open(t, cfg).Close(); err != nil { // it has made the identity
			t.Fatal(err)
		}
		db, err := badger.Open(filepath.Join(cfg.Dir, "store"), badger.Options{Network: node.DefaultNetwork, MinFree: badger.NoMinFree})
		if err != nil {
			t.Fatal(err)
		}
		p := &part{t: t, genesis: h.genesis, key: key(200 + i), Store: db, signed: h.sign(1 + 4*i)}
		if err := db.JoinTopic(h.genesis); err != nil {
			t.Fatal(err)
		}
		p.open(clock.Limits{}, &hands{})
		for n := range h.bodies {
			if n%3 == i {
				p.integrate(h.behind(n))
			}
		}
		p.replica.Close()
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
		m := start(t, cfg)
		for _, other := range members {
			connect(t, m.node, other.node)
		}
		members = append(members, m)
	}
	converge(t, members, len(h.bodies))
	for i, m := range members {
		want.equal(t, fmt.Sprint("node ", i), m)
	}
}

// publishers is how many write a history.
const publishers = 6

// key returns the Ed25519 key of a small number.
func key(n int) ed25519.PrivateKey {
	seed := make([]byte, ed25519.SeedSize)
	seed[0] = byte(n)
	return ed25519.NewKeyFromSeed(seed)
}

// history is a DAG of some publishers, as it was before anybody signed it.
type history struct {
	t       *testing.T
	genesis *types.Genesis
	bodies  []types.Body
	cids    []cid.Cid
	number  map[cid.Cid]int // of bodies
}

// drawHistory lets publishers, on sides of the network that are cut anew now and
// then, hear of each other and append behind some of the heads that they know.
func drawHistory(t *testing.T, rng *rand.Rand) *history {
	t.Helper()
	const steps = 600
	g, err := types.NewOpen(topicName)
	if err != nil {
		t.Fatal(err)
	}
	h := &history{t: t, genesis: g, number: map[cid.Cid]int{}}
	knows := make([]map[int]bool, publishers)
	for i := range knows {
		knows[i] = map[int]bool{}
	}
	var seq [publishers]uint64
	var side [publishers]int
	for range steps {
		who := rng.IntN(publishers)
		switch choice := rng.IntN(20); {
		case choice == 0:
			for i := range side {
				side[i] = rng.IntN(2)
			}
		case choice < 13:
			if from := rng.IntN(publishers); side[from] == side[who] {
				for n := range knows[from] {
					knows[who][n] = true
				}
			}
		default:
			seq[who]++
			body := types.Body{Topic: g.ID(), Publisher: types.PublisherOf(key(who)), Seq: seq[who], Height: 1, Time: rng.Int64N(1000)}
			body.Payload = make([]byte, rng.IntN(300))
			if rng.IntN(3) == 0 {
				body.Tags = []string{"tag"}
			}
			for _, n := range h.someHeads(rng, knows[who]) {
				body.Links = append(body.Links, h.cids[n])
				body.Height = max(body.Height, h.bodies[n].Height+1)
			}
			types.SortCIDs(body.Links)
			knows[who][h.add(body)] = true
		}
	}
	return h
}

func (h *history) add(body types.Body) int {
	e, err := types.NewEvent(body)
	if err != nil {
		h.t.Fatal(err)
	}
	n := len(h.bodies)
	h.bodies, h.cids, h.number[e.CID] = append(h.bodies, body), append(h.cids, e.CID), n
	return n
}

// someHeads returns a few of those known events to which no known one links.
func (h *history) someHeads(rng *rand.Rand, known map[int]bool) []int {
	sinks := map[int]bool{}
	for n := range h.bodies {
		if known[n] {
			sinks[n] = true
			for _, l := range h.bodies[n].Links {
				delete(sinks, h.number[l])
			}
		}
	}
	var some []int
	for n := range h.bodies { // in order: one seed makes one history
		if sinks[n] && rng.IntN(3) > 0 && len(some) < types.MaxLinks {
			some = append(some, n)
		}
	}
	return some
}

// behind returns the numbers of an event and of all behind it, ascending.
func (h *history) behind(n int) []int {
	in := map[int]bool{n: true}
	var all []int
	for i := n; i >= 0; i-- {
		if in[i] {
			all = append(all, i)
			for _, l := range h.bodies[i].Links {
				in[h.number[l]] = true
			}
		}
	}
	slices.Reverse(all)
	return all
}

// sign returns the events, of which each publisher has signed so many together.
func (h *history) sign(together int) []*types.Event {
	var all []*types.Event
	own := map[types.Publisher][]*types.Event{}
	for _, body := range h.bodies {
		e, err := types.NewEvent(body)
		if err != nil {
			h.t.Fatal(err)
		}
		all, own[e.Publisher] = append(all, e), append(own[e.Publisher], e)
	}
	for i := range publishers {
		for batch := range slices.Chunk(own[types.PublisherOf(key(i))], together) {
			types.SignEvents(key(i), batch)
		}
	}
	return all
}

// feed gives each event to one replica, in any order, with all that its publisher
// knew, and lets that one broadcast it. What is lost of these copies comes by sync.
func (h *history) feed(t *testing.T, rng *rand.Rand, parts []*part, gossip bool) {
	t.Helper()
	for _, n := range rng.Perm(len(h.bodies)) {
		home := parts[n%len(parts)]
		home.integrate(h.behind(n))
		if !gossip {
			continue
		}
		s, err := home.replica.State(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		a := types.Announcement{Genesis: h.genesis, Events: []*types.Event{home.signed[n]}, HeadsHash: s.HeadsHash}
		for _, head := range s.Heads[:min(len(s.Heads), types.MaxLinks)] {
			a.Heads = append(a.Heads, head.CID)
		}
		home.broadcaster.Broadcast(a)
	}
}

// dag is what replicas are compared by.
type dag struct {
	hash         types.Hash
	canonical    []cid.Cid
	heads, forks int
}

// want computes the DAG of the history from its bodies alone.
func (h *history) want() dag {
	linked, forks := map[cid.Cid]int{}, 0
	order := slices.Clone(h.cids)
	slices.SortFunc(order, func(a, b cid.Cid) int {
		x, y := h.bodies[h.number[a]], h.bodies[h.number[b]]
		if x.Height != y.Height {
			return int(x.Height) - int(y.Height)
		}
		return types.CompareCIDs(a, b)
	})
	for _, body := range h.bodies {
		for _, l := range body.Links {
			if linked[l]++; linked[l] == 2 {
				forks++
			}
		}
	}
	var heads []types.Head
	for n, id := range h.cids {
		if linked[id] == 0 {
			heads = append(heads, types.Head{CID: id, Height: h.bodies[n].Height})
		}
	}
	return dag{hash: crdt.HeadsHash(heads), canonical: order, heads: len(heads), forks: forks}
}

// replicated is what a replica and a node's topic have in common here.
type replicated interface {
	State(ctx context.Context) (crdt.State, error)
	Query(q types.Query) iter.Seq2[*types.Event, error]
}

// equal compares what a replica ended up with.
func (want dag) equal(t *testing.T, name string, r replicated) {
	t.Helper()
	s, err := r.State(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var canonical []cid.Cid
	for e, err := range r.Query(types.Query{}) {
		if err != nil {
			t.Fatal(err)
		}
		canonical = append(canonical, e.CID)
	}
	if s.HeadsHash != want.hash || !slices.Equal(canonical, want.canonical) {
		t.Errorf("%s has %d events, %d heads of hash %x; the history has %d, %d, %x, or the order differs",
			name, len(canonical), len(s.Heads), s.HeadsHash, len(want.canonical), want.heads, want.hash)
	}
}
