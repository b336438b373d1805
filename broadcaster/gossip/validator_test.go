package gossip

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/cairn-p2p/cairn/broadcaster"
	"github.com/cairn-p2p/cairn/broadcaster/broadcastertest"
	"github.com/cairn-p2p/cairn/broadcaster/gossip/pb"
	"github.com/cairn-p2p/cairn/types"
)

// accepted stands for no reason to refuse.
const accepted = Reason(255)

func newTestValidator(t testing.TB, local broadcaster.Local) *validator {
	t.Helper()
	geneses, err := lru.New[types.TopicID, *types.Genesis](4)
	if err != nil {
		t.Fatal(err)
	}
	return &validator{
		shards:   testShards,
		local:    local,
		check:    verify(types.NewVerifier(64)),
		log:      slog.New(slog.DiscardHandler),
		counters: new(counters),
		budgets:  newBudgets(defaultByteRate, defaultVerifyRate),
		numbers:  newNumbers(64),
		recent:   newRecent(64),
		geneses:  geneses,
		rejected: func(peer.ID, types.TopicID, Reason) {},
	}
}

// judge gives v a message of g's topic and checks the verdict.
func judge(t testing.TB, v *validator, g *types.Genesis, data []byte, want Reason) {
	t.Helper()
	got := accepted
	if r := v.judge(t.Context(), types.Shard(g.ID(), testShards), &inbound{from: "neighbour", at: time.Now()}, data); r != nil {
		got = r.reason
		if want != got {
			t.Log(r)
		}
	}
	if got != want {
		t.Fatalf("verdict %v, want %v (%v is acceptance)", got, want, accepted)
	}
}

// Everything that a neighbour can be blamed for is rejected, and none of it
// keeps a good message with the same events from being accepted.
func TestRejected(t *testing.T) {
	g, other := broadcastertest.Topic(t, "a"), broadcastertest.Topic(t, "other")
	key := broadcastertest.Key(1)
	events := broadcastertest.Chain(t, key, g, 2, 8, false)
	foreign := broadcastertest.Chain(t, key, other, 1, 8, false)[0]
	a := broadcastertest.Announce(g, events...)
	for _, test := range []struct {
		name   string
		reason Reason
		change func(*message)
	}{
		{"genesis of another topic", BadGenesis, func(m *message) { m.genesis = other.Bytes() }},
		{"witness of another event", BadWitness, func(m *message) { m.events[1].Witness = events[0].Witness }},
		{"unknown witness type", BadWitness, func(m *message) { m.events[1].Witness = []byte{9} }},
		{"body that is no body", BadEvent, func(m *message) { m.events[1].Body = []byte{9} }},
		{"event of another topic", BadEvent, func(m *message) {
			m.events[1] = &pb.Event{Body: foreign.Bytes(), Witness: foreign.Witness}
		}},
		{"event twice", BadEvent, func(m *message) { m.events[1] = m.events[0] }},
		{"forged heads", BadSignature, func(m *message) { m.headsHash[0]++ }},
		{"announcer with a weak key", BadSignature, func(m *message) {
			// The identity of the curve, for which this signs everything.
			m.announcer, m.signature = types.Publisher{1}, append([]byte{1}, make([]byte, 63)...)
			if !m.verify() {
				t.Fatal("the signature would be refused anyway")
			}
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			v := newTestValidator(t, broadcastertest.NewNode())
			judge(t, v, g, sealed(t, key, number{1, 1}, a, test.change), test.reason)
			if !test.reason.Rejected() {
				t.Errorf("%v does not put the blame on the sender", test.reason)
			}
			judge(t, v, g, sealed(t, key, number{1, 1}, a, nil), accepted)
		})
	}
}

func TestWrongShard(t *testing.T) {
	g := broadcastertest.Topic(t, "shard")
	e := broadcastertest.Chain(t, broadcastertest.Key(1), g, 1, 8, false)[0]
	data := sealed(t, broadcastertest.Key(1), number{1, 1}, broadcastertest.Announce(g, e), nil)
	v := newTestValidator(t, broadcastertest.NewNode(g))
	r := v.judge(t.Context(), types.Shard(g.ID(), testShards)+1, &inbound{from: "neighbour", at: time.Now()}, data)
	if r == nil || r.reason != WrongShard {
		t.Errorf("verdict %v", r)
	}
}

// A topic of rules that this release does not know is nobody's fault, whatever
// its events look like.
func TestUnsupportedIgnored(t *testing.T) {
	key := broadcastertest.Key(1)
	g := broadcastertest.Topic(t, "unsupported")
	e := broadcastertest.Chain(t, key, g, 1, 8, false)[0]
	for name, offset := range map[string]int{"rule set": 1, "mode": 2} {
		t.Run(name, func(t *testing.T) {
			raw := append([]byte{}, g.Bytes()...)
			raw[offset] = 7 // array of 6, then rules, then mode
			local := broadcastertest.NewWantingNode()
			v := newTestValidator(t, local)
			var told types.TopicID
			v.unsupported = func(id types.TopicID, why *types.UnsupportedError) {
				if told = id; (why.Rules != types.Rules1) != (name == "rule set") {
					t.Errorf("told that rule set %d, mode %d is unknown", why.Rules, why.Mode)
				}
			}
			data := sealed(t, key, number{1, 1}, broadcastertest.Announce(g, e), func(m *message) {
				m.genesis, m.topic = raw, types.SumCID(raw)
				m.events[0].Body = []byte("body of a later release")
				m.sign(key)
			})
			r := v.judge(t.Context(), types.Shard(types.SumCID(raw), testShards), &inbound{from: "neighbour", at: time.Now()}, data)
			if r == nil || r.reason != Unsupported || r.reason.Rejected() {
				t.Errorf("verdict %v", r)
			}
			if len(local.Messages()) != 0 {
				t.Error("the node was handed it")
			}
			if told != types.SumCID(raw) {
				t.Errorf("told of %s", told)
			}
		})
	}
}

func TestWriters(t *testing.T) {
	owner, stranger := broadcastertest.Key(1), broadcastertest.Key(2)
	g, err := types.NewRestricted("writers", types.PublisherOf(owner), nil)
	if err != nil {
		t.Fatal(err)
	}
	good := broadcastertest.Announce(g, broadcastertest.Chain(t, owner, g, 1, 8, false)...)
	bad := broadcastertest.Announce(g, broadcastertest.Chain(t, stranger, g, 1, 8, false)...)
	for name, node := range map[string]*broadcastertest.Node{
		"replicated": broadcastertest.NewNode(g),
		"relayed":    broadcastertest.NewNode(),
	} {
		t.Run(name, func(t *testing.T) {
			v := newTestValidator(t, node)
			// Anyone may announce heads; only writers publish events.
			judge(t, v, g, sealed(t, stranger, number{1, 1}, good, nil), accepted)
			judge(t, v, g, sealed(t, stranger, number{1, 2}, bad, nil), NotWriter)
			// A relay that has never seen the genesis may have passed this on.
			judge(t, v, g, sealed(t, stranger, number{1, 3}, bad, func(m *message) { m.genesis = nil }), Unproven)
		})
	}
}

// Without a genesis, an unknown topic is relayed on valid witnesses alone; what
// looks wrong may be right by rules that only the genesis would tell.
func TestNoGenesis(t *testing.T) {
	g, key := broadcastertest.Topic(t, "no genesis"), broadcastertest.Key(1)
	a := broadcastertest.Announce(g, broadcastertest.Chain(t, key, g, 1, 8, false)...)
	local := broadcastertest.NewWantingNode()
	v := newTestValidator(t, local)
	judge(t, v, g, sealed(t, key, number{1, 1}, a, func(m *message) { m.genesis, m.events[0].Body = nil, []byte{1} }), Unproven)
	judge(t, v, g, sealed(t, key, number{1, 2}, a, func(m *message) { m.genesis, m.events[0].Witness = nil, []byte{1} }), Unproven)
	judge(t, v, g, sealed(t, key, number{1, 3}, a, func(m *message) { m.genesis = nil }), accepted)
	if len(local.Messages()) != 0 {
		t.Error("the node was told of a topic without its genesis")
	}
}

// The witness that proved an event before is not checked again; any other is.
func TestVerification(t *testing.T) {
	g, key := broadcastertest.Topic(t, "verify"), broadcastertest.Key(1)
	single := broadcastertest.Chain(t, key, g, 2, 8, false)
	batch := broadcastertest.Chain(t, key, g, 2, 8, true)
	local := broadcastertest.NewNode(g)
	v := newTestValidator(t, local)
	checked, check := 0, v.check
	v.check = func(ctx context.Context, events []*types.Event) []error {
		checked += len(events)
		return check(ctx, events)
	}
	for i, step := range []struct {
		events  []*types.Event
		change  func(*message)
		checked int
		want    Reason
	}{
		{single, nil, 2, accepted},
		{single, nil, 0, NothingNew},
		{batch, nil, 2, NothingNew}, // the same CIDs, proved otherwise
		{single, func(m *message) { m.events[1].Witness = m.events[0].Witness }, 1, BadWitness},
	} {
		checked = 0
		judge(t, v, g, sealed(t, key, number{1, 1}, broadcastertest.Announce(g, step.events...), step.change), step.want)
		if checked != step.checked {
			t.Errorf("step %d: checked %d witnesses, want %d", i, checked, step.checked)
		}
	}
	v.check = func(_ context.Context, events []*types.Event) []error {
		errs := make([]error, len(events))
		errs[0] = errors.New("pool is closed")
		return errs
	}
	more := broadcastertest.Chain(t, key, g, 1, 9, false)
	judge(t, v, g, sealed(t, key, number{1, 2}, broadcastertest.Announce(g, more...), nil), Stopping)
}

// Numbers only grow; heads are forwarded for their own sake once a second, and
// handed to the node whenever they are newer.
func TestHeadsNumbers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, key := broadcastertest.Topic(t, "numbers"), broadcastertest.Key(1)
		events := broadcastertest.Chain(t, key, g, 2, 8, false)
		local := broadcastertest.NewNode(g)
		v := newTestValidator(t, local)
		heads := broadcastertest.AnnounceHeads(g, events[0])
		for i, step := range []struct {
			sleep     time.Duration
			number    number
			announce  types.Announcement
			want      Reason
			delivered int  // messages in all
			heads     bool // of the last
		}{
			{0, number{1, 2}, heads, accepted, 1, true},
			{0, number{1, 2}, heads, NothingNew, 1, true},
			{0, number{1, 1}, heads, NothingNew, 1, true},
			{0, number{1, 3}, heads, Paced, 2, true},
			{forwardPause - 1, number{1, 4}, heads, Paced, 3, true},
			{1, number{1, 5}, heads, accepted, 4, true},
			{0, number{1, 6}, broadcastertest.Announce(g, events[0]), accepted, 5, true},
			{forwardPause, number{0, 9}, heads, NothingNew, 5, true},
			{0, number{1, 4}, broadcastertest.Announce(g, events[1]), accepted, 6, false},
			{0, number{2, 1}, heads, accepted, 7, true},
			{numberExpiry - 1, number{1, 9}, heads, NothingNew, 7, true},
			{1, number{1, 9}, heads, accepted, 8, true},
		} {
			time.Sleep(step.sleep)
			judge(t, v, g, sealed(t, key, step.number, step.announce, nil), step.want)
			m := local.Messages()
			if len(m) != step.delivered {
				t.Fatalf("step %d: %d messages delivered, want %d", i, len(m), step.delivered)
			}
			if got := len(m[len(m)-1].Heads) > 0; got != step.heads {
				t.Fatalf("step %d: heads delivered %v, want %v", i, got, step.heads)
			}
		}
	})
}

// Nobody can use up the numbers of another: neither with a number that the
// announcer did not sign, nor with its heads around an event that proves nothing,
// which its signature does not cover.
func TestInvalidMessageTakesNoNumber(t *testing.T) {
	g, key := broadcastertest.Topic(t, "taken"), broadcastertest.Key(1)
	e := broadcastertest.Chain(t, key, g, 1, 8, false)[0]
	for name, test := range map[string]struct {
		want  Reason
		spoil func(*message)
	}{
		"forged number": {BadSignature, func(m *message) { m.number = number{9, 9} }},
		"bad witness": {BadWitness, func(m *message) {
			m.events[0].Witness = append(bytes.Clone(e.Witness[:len(e.Witness)-1]), e.Witness[len(e.Witness)-1]^1)
		}},
	} {
		t.Run(name, func(t *testing.T) {
			local := broadcastertest.NewNode(g)
			v := newTestValidator(t, local)
			first, second := broadcastertest.Announce(g, e), broadcastertest.AnnounceHeads(g, e)
			judge(t, v, g, sealed(t, key, number{1, 1}, first, test.spoil), test.want)
			if m := local.Messages(); len(m) != 0 {
				t.Fatalf("%d messages delivered", len(m))
			}
			judge(t, v, g, sealed(t, key, number{1, 1}, second, nil), accepted)
			if m := local.Messages(); len(m) != 1 || len(m[0].Heads) != 1 {
				t.Errorf("delivered %v, want the announcer's heads", m)
			}
		})
	}
}

// What a neighbour costs beyond its budget is ignored until the bucket fills.
func TestBudgets(t *testing.T) {
	g, key := broadcastertest.Topic(t, "budget"), broadcastertest.Key(1)
	small := sealed(t, key, number{1, 1}, broadcastertest.Announce(g, broadcastertest.Chain(t, key, g, 1, 8, false)...), nil)
	var big [][]byte
	for i := range 5 {
		e := broadcastertest.Chain(t, key, g, 1, types.MaxPayload-i, false)
		big = append(big, sealed(t, key, number{2, uint64(i)}, broadcastertest.Announce(g, e...), nil))
	}
	synctest.Test(t, func(t *testing.T) {
		v := newTestValidator(t, broadcastertest.NewNode(g))
		v.budgets = newBudgets(maxMessage, maxVerifications)
		for range 3 { // two seconds' worth at once
			judge(t, v, g, big[0], accepted)
			big = big[1:]
		}
		judge(t, v, g, big[0], OverBudget)
		judge(t, v, g, small, accepted) // still fits
		time.Sleep(time.Second)
		judge(t, v, g, big[0], accepted)
	})
	synctest.Test(t, func(t *testing.T) {
		v := newTestValidator(t, broadcastertest.NewNode(g))
		v.budgets = newBudgets(defaultByteRate, 1)
		if !v.budgets.takeVerifications("neighbour", maxVerifications-3, time.Now()) {
			t.Fatal("the bucket is too small for one message")
		}
		judge(t, v, g, small, accepted)
		judge(t, v, g, small, OverBudget)
		if r := v.judge(t.Context(), types.Shard(g.ID(), testShards), &inbound{from: "another", at: time.Now()}, small); r == nil || r.reason != NothingNew {
			t.Errorf("another neighbour got %v", r)
		}
	})
}

// Once closed, the node is handed nothing, whatever still comes in.
func TestValidatorClosed(t *testing.T) {
	g, key := broadcastertest.Topic(t, "closed"), broadcastertest.Key(1)
	local := broadcastertest.NewNode(g)
	v := newTestValidator(t, local)
	v.close()
	events := broadcastertest.Chain(t, key, g, 1, 8, false)
	judge(t, v, g, sealed(t, key, number{1, 1}, broadcastertest.Announce(g, events...), nil), accepted)
	if got := len(local.Messages()); got != 0 {
		t.Errorf("%d messages were delivered", got)
	}
}

// Defect 12 of the field: any peer could make a node create topics and
// goroutines without bound. Here strangers' topics cost bounded memory, no
// goroutine, and not a word to the node.
func TestStrangersAreBounded(t *testing.T) {
	local := broadcastertest.NewNode()
	v := newTestValidator(t, local)
	before := runtime.NumGoroutine()
	for i := range 2000 {
		g, key := broadcastertest.Topic(t, fmt.Sprintf("stranger %d", i)), broadcastertest.Key(i)
		a := broadcastertest.Announce(g, broadcastertest.Chain(t, key, g, 1, 8, false)...)
		data := sealed(t, key, number{1, 1}, a, nil)
		neighbour := peer.ID(fmt.Sprintf("neighbour %d", 2*i))
		if r := v.judge(t.Context(), types.Shard(g.ID(), testShards), &inbound{from: neighbour, at: time.Now()}, data); r != nil {
			t.Fatal(r)
		}
		neighbour = peer.ID(fmt.Sprintf("neighbour %d", 2*i+1))
		if r := v.judge(t.Context(), types.Shard(g.ID(), testShards), &inbound{from: neighbour, at: time.Now()}, data); r == nil || r.reason != NothingNew {
			t.Fatalf("a second copy: %v", r)
		}
	}
	if got := runtime.NumGoroutine(); got > before {
		t.Errorf("%d goroutines, %d before", got, before)
	}
	if got := v.geneses.Len(); got > 4 {
		t.Errorf("%d geneses are remembered", got)
	}
	if got := v.recent.proved.Len(); got > 64 {
		t.Errorf("%d events are remembered", got)
	}
	if got := v.numbers.seen.Len(); got > 64 {
		t.Errorf("%d numbers are remembered", got)
	}
	if got := v.budgets.neighbours.Len(); got > maxNeighbours {
		t.Errorf("%d neighbours are remembered", got)
	}
	if got := len(local.Messages()); got != 0 {
		t.Errorf("%d messages were delivered", got)
	}
}
