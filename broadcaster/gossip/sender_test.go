package gossip

import (
	"context"
	"testing"
	"time"

	pubsub "github.com/libp2p/go-libp2p-pubsub"
	pubsubpb "github.com/libp2p/go-libp2p-pubsub/pb"

	"github.com/cairn-p2p/cairn/broadcaster/broadcastertest"
	"github.com/cairn-p2p/cairn/types"
)

// What gossipsub does not take is counted, and its heads are announced once it
// takes messages again.
func TestPublishFails(t *testing.T) {
	g := broadcastertest.Topic(t, "fails")
	nodes := []*broadcastertest.Node{broadcastertest.NewNode(g), broadcastertest.NewNode(g)}
	bs, _ := network(t, nodes, [][2]int{{0, 1}})
	events := broadcastertest.Chain(t, broadcastertest.Key(0), g, 1, 8, false)
	a := broadcastertest.Announce(g, events...)

	shard := types.Shard(g.ID(), testShards)
	topic := bs[0].sender.topics[shard]
	bs[0].sender.topics[shard] = closedTopic(t)
	bs[0].sender.put(a)
	d, _ := bs[0].sender.outbox.next(time.Now())
	bs[0].sender.publish(t.Context(), d)
	if s := bs[0].Stats(); s.PublishFailed != 1 || s.CoalescedEvents != 1 || s.Published != 0 {
		t.Errorf("counted %+v", s)
	}

	bs[0].sender.topics[shard] = topic
	d, _ = bs[0].sender.outbox.next(time.Now().Add(time.Minute)) // past every pause
	bs[0].sender.publish(t.Context(), d)
	m := nodes[1].AwaitHeads(t.Context(), t, a.HeadsHash)
	if len(m[0].Events) != 0 {
		t.Errorf("received %d events, want heads alone", len(m[0].Events))
	}
	if s := bs[0].Stats(); s.HeadsOnly != 1 {
		t.Errorf("counted %+v", s)
	}
}

// closedTopic returns a pubsub topic that can no longer be published to.
func closedTopic(t *testing.T) *pubsub.Topic {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(cancel)
	ps, err := pubsub.NewGossipSub(ctx, newHost(t, 9))
	if err != nil {
		t.Fatal(err)
	}
	topic, err := ps.Join("closed")
	if err != nil {
		t.Fatal(err)
	}
	if err := topic.Close(); err != nil {
		t.Fatal(err)
	}
	return topic
}

// A frame that gossipsub drops behind our back is made up for if it held own
// events, not if it held heads alone or others' messages.
func TestDroppedFrames(t *testing.T) {
	g, key := broadcastertest.Topic(t, "dropped"), broadcastertest.Key(1)
	events := broadcastertest.Chain(t, key, g, 2, 8, false)
	e := events[0]
	var retried []types.TopicID
	tracer := &dropTracer{
		self:     types.PublisherOf(key),
		counters: new(counters),
		retry:    func(topic types.TopicID) { retried = append(retried, topic) },
	}
	for name, test := range map[string]struct {
		data []byte
		want int
	}{
		"own events":      {sealed(t, key, number{1, 1}, broadcastertest.Announce(g, events...), nil), 1},
		"own heads":       {sealed(t, key, number{1, 1}, broadcastertest.AnnounceHeads(g, e), nil), 0},
		"others' events":  {sealed(t, broadcastertest.Key(2), number{1, 1}, broadcastertest.Announce(g, e), nil), 0},
		"not even a one":  {[]byte{1, 2, 3}, 0},
		"without content": {nil, 0},
	} {
		retried = nil
		tracer.DropRPC(&pubsub.RPC{RPC: pubsubpb.RPC{Publish: []*pubsubpb.Message{{Data: test.data}}}}, "neighbour")
		if len(retried) != test.want || test.want > 0 && retried[0] != g.ID() {
			t.Errorf("%s: announced again %v", name, retried)
		}
	}
	if s := tracer.counters.snapshot(); s.DroppedRPCs != 5 || s.DroppedOwn != 2 || s.DroppedRelayed != 1 {
		t.Errorf("counted %d frames with %d own and %d relayed events, want 5, 2 and 1", s.DroppedRPCs, s.DroppedOwn, s.DroppedRelayed)
	}
}
