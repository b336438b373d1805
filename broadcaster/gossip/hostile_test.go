package gossip

import (
	"context"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"testing"

	pubsub "github.com/libp2p/go-libp2p-pubsub"
	pubsubpb "github.com/libp2p/go-libp2p-pubsub/pb"
	"github.com/libp2p/go-libp2p/core/peer"

	"github.com/cairn-p2p/cairn/broadcaster"
	"github.com/cairn-p2p/cairn/broadcaster/broadcastertest"
	"github.com/cairn-p2p/cairn/broadcaster/gossip/pb"
	"github.com/cairn-p2p/cairn/types"
)

// raw is a node that speaks gossipsub and says what it likes.
type raw struct {
	Config
	topics []*pubsub.Topic
}

// newRaw returns a node linked with the one that victim configures.
func newRaw(t *testing.T, i int, victim Config) *raw {
	t.Helper()
	r := &raw{Config: testConfig(t, i, broadcastertest.NewNode())}
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(cancel)
	ps, err := pubsub.NewGossipSub(ctx, r.Host,
		pubsub.WithMessageSignaturePolicy(pubsub.StrictNoSign), pubsub.WithNoAuthor(),
		pubsub.WithMessageIdFn(func(m *pubsubpb.Message) string { return messageID(m) }),
		pubsub.WithGossipSubParams(*r.GossipSub), pubsub.WithRawTracer(r.Tracer), pubsub.WithFloodPublish(true))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range victim.pubsubTopics() {
		topic, err := ps.Join(name)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := topic.Relay(); err != nil {
			t.Fatal(err)
		}
		r.topics = append(r.topics, topic)
	}
	r.Shards = victim.Shards
	connect(t, r.Config, victim)
	return r
}

func (r *raw) publish(t *testing.T, shard uint64, data []byte) {
	t.Helper()
	if err := r.topics[shard].Publish(t.Context(), data); err != nil {
		t.Fatal(err)
	}
}

// hostileMessages are what no node should fall over: nothing, random bytes, the
// shortest encodings of everything, and messages spoilt in one place.
func hostileMessages(t *testing.T) [][]byte {
	t.Helper()
	seed := replaySeed(t)
	t.Logf("seed %d: replay it with GOSSIP_SEED", seed)
	random := rand.NewChaCha8([32]byte(binary.LittleEndian.AppendUint64(make([]byte, 24), seed)))
	messages := [][]byte{nil, {0}, {0x0a, 0}, {0x1a, 0}, {0x1a, 2, 0x0a, 0}}
	for n := range 20 {
		b := make([]byte, 1<<n)
		random.Read(b) //nolint:errcheck // it never fails
		messages = append(messages, b)
	}
	g := broadcastertest.Topic(t, "hostile")
	for i := range 5 {
		e := broadcastertest.Chain(t, broadcastertest.Key(9), g, 1, i, false)[0]
		messages = append(messages, sealed(t, broadcastertest.Key(9), number{1, 1}, broadcastertest.Announce(g, e), func(m *message) {
			m.events[0] = &pb.Event{Body: e.Bytes(), Witness: fmt.Appendf(nil, "%d", i)}
		}))
	}
	return messages
}

// replaySeed returns the seed in the environment, or else a random one.
func replaySeed(t *testing.T) uint64 {
	t.Helper()
	text := os.Getenv("GOSSIP_SEED")
	if text == "" {
		return rand.Uint64()
	}
	seed, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return seed
}

// Defect 11 of the field: one malformed message took a node down. Here it costs
// its sender's score, until nothing more is read from it, and nobody else.
func TestHostileNeighbour(t *testing.T) {
	g := broadcastertest.Topic(t, "hostile")
	victim, friend := broadcastertest.NewNode(g), broadcastertest.NewNode(g)
	vc, fc := testConfig(t, 0, victim), testConfig(t, 1, friend)
	scores := make(chan map[peer.ID]float64, 1)
	vc.Scores = func(s map[peer.ID]float64) {
		select {
		case <-scores:
		default:
		}
		scores <- s
	}
	v, f := open(t, vc), open(t, fc)
	start(t, f)
	connect(t, vc, fc)
	hostile := newRaw(t, 2, vc)

	shard := types.Shard(g.ID(), testShards)
	messages := hostileMessages(t)
	for _, m := range messages {
		hostile.publish(t, shard, m)
	}
	last := 0.0
	for last >= graylistThreshold {
		s := <-scores
		if s[fc.Host.ID()] < 0 {
			t.Fatalf("the friend's score fell to %v", s[fc.Host.ID()])
		}
		last = s[hostile.Host.ID()]
	}
	if got := len(victim.Messages()) + len(friend.Messages()); got != 0 {
		t.Errorf("%d messages were delivered", got)
	}
	for r := range v.Stats().Refused {
		if !r.Rejected() {
			t.Errorf("a hostile message was refused as %v", r)
		}
	}

	// The node goes on as if nothing had been.
	events := broadcastertest.Chain(t, broadcastertest.Key(1), g, 1, 8, false)
	f.Broadcast(broadcastertest.Announce(g, events...))
	victim.AwaitEvents(t.Context(), t, events)
}

// Defect 10 of the field: a peer that echoed a node's heads to it alone silenced
// that node's announcement of them.
func TestEchoSilencesNobody(t *testing.T) {
	g := broadcastertest.Topic(t, "echo")
	nodes := []*broadcastertest.Node{broadcastertest.NewNode(g), broadcastertest.NewNode(g)}
	bs, cfgs := network(t, nodes, [][2]int{{0, 1}})
	hostile := newRaw(t, 2, cfgs[0])

	e := broadcastertest.Chain(t, broadcastertest.Key(0), g, 1, 8, false)[0]
	nodes[0].Hold(e)
	a := broadcastertest.AnnounceHeads(g, e)
	hostile.publish(t, types.Shard(g.ID(), testShards), sealed(t, broadcastertest.Key(2), number{9, 9}, a, nil))
	nodes[0].AwaitHeads(t.Context(), t, a.HeadsHash)
	bs[0].Broadcast(a)
	start(t, bs[0])
	self := types.PublisherOf(broadcastertest.Key(0))
	nodes[1].Await(t.Context(), t, func(messages []broadcaster.Message) bool {
		return slices.ContainsFunc(messages, func(m broadcaster.Message) bool { return m.Announcer == self })
	})
}

// Bytes that are not even gossipsub's end the stream, not the node.
func TestRandomStream(t *testing.T) {
	g := broadcastertest.Topic(t, "stream")
	nodes := []*broadcastertest.Node{broadcastertest.NewNode(g), broadcastertest.NewNode(g)}
	bs, cfgs := network(t, nodes, [][2]int{{0, 1}})
	start(t, bs[1])
	h := newHost(t, 2)
	if err := h.Connect(t.Context(), peer.AddrInfo{ID: cfgs[0].Host.ID(), Addrs: cfgs[0].Host.Addrs()}); err != nil {
		t.Fatal(err)
	}
	for _, b := range [][]byte{{}, {0}, {1, 0xff}, {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, {2, 0x12, 0}} {
		s, err := h.NewStream(t.Context(), cfgs[0].Host.ID(), pubsub.GossipSubID_v11)
		if err != nil {
			t.Fatal(err)
		}
		s.Write(b)              //nolint:errcheck // the other side may be gone
		s.CloseWrite()          //nolint:errcheck // likewise
		s.Read(make([]byte, 1)) //nolint:errcheck // until the other side is done
	}
	events := broadcastertest.Chain(t, broadcastertest.Key(1), g, 1, 8, false)
	bs[1].Broadcast(broadcastertest.Announce(g, events...))
	nodes[0].AwaitEvents(t.Context(), t, events)
}
