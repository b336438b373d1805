package node

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ipfs/go-cid"
	"github.com/libp2p/go-libp2p"
	pubsub "github.com/libp2p/go-libp2p-pubsub"
	pubsubpb "github.com/libp2p/go-libp2p-pubsub/pb"
	"google.golang.org/protobuf/proto"

	"github.com/cairn-p2p/cairn/broadcaster/gossip"
	"github.com/cairn-p2p/cairn/broadcaster/gossip/pb"
	"github.com/cairn-p2p/cairn/keyfile"
	"github.com/cairn-p2p/cairn/types"
)

// wantStatus waits until the topic has a state and a reason, and returns its
// status.
func wantStatus(t *testing.T, topic *Topic, state, reason string) Status {
	t.Helper()
	s, err := topic.Wait(t.Context(), func(s Status) bool { return s.State == state && strings.Contains(s.Reason, reason) })
	if err != nil {
		t.Fatalf("%s (%s), %v; want %s (%s)", s.State, s.Reason, err, state, reason)
	}
	return s
}

// TestPausedReasons: why a topic is paused, for each reason that there is.
// Restarts keep the test from waiting for what a node looks at every second.
func TestPausedReasons(t *testing.T) {
	cfg := loopback(t.TempDir())
	cfg.Replicate = All
	n := open(t, cfg)
	if err := n.adopt(t.Context(), heard(t, "adopted")); err != nil {
		t.Fatal(err)
	}
	left := join(t, n, "left")
	if err := n.Leave(t.Context(), "left"); err != nil {
		t.Fatal(err)
	}
	wantStatus(t, left, Paused, "it was left; join it to replicate it again")
	join(t, n, "kept")
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}

	cfg.Strangers.Bytes = 1
	n = open(t, cfg)
	adopted, err := n.Find("adopted")
	if err != nil {
		t.Fatal(err)
	}
	wantStatus(t, adopted, Paused, "the space for topics that nobody here joined is used up")
	wantStatus(t, join(t, n, "kept"), Alone, "none of 0 connected peers has the topic")
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}

	cfg.MinFree = 1 << 60
	n = open(t, cfg)
	kept, err := n.Find("kept")
	if err != nil {
		t.Fatal(err)
	}
	wantStatus(t, kept, Paused, types.ErrDiskFull.Error())
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}

	broken := errors.New("input/output error")
	cfg.Free = func(string) (uint64, error) { return 0, broken }
	n = open(t, cfg)
	if kept, err = n.Find("kept"); err != nil {
		t.Fatal(err)
	}
	wantStatus(t, kept, Paused, broken.Error())
}

// TestJoinedAMomentAgo: a topic that its syncer has not been told of yet is
// about to be compared.
func TestJoinedAMomentAgo(t *testing.T) {
	n := open(t, loopback(""))
	topic := join(t, n, "topic")
	n.syncer.Remove(topic.ID())
	wantStatus(t, topic, Syncing, "it was joined a moment ago")
}

// TestEventsWaitForLinks: a topic whose replicas have nothing new is behind all
// the same while events from gossip wait, and says for which links since when.
func TestEventsWaitForLinks(t *testing.T) {
	a, b := open(t, loopback("")), open(t, loopback(""))
	ta, _ := join(t, a, "topic"), join(t, b, "topic")
	connect(t, a, b)
	wantStatus(t, ta, Synced, "all that 1 connected replica has is integrated")
	absent := types.CIDOf(types.Hash{1})
	key, err := keyfile.New()
	if err != nil {
		t.Fatal(err)
	}
	e := forged(t, key, ta, types.Body{Seq: 2, Height: 2, Links: []cid.Cid{absent}})
	ta.replica.Receive(b.ID(), []*types.Event{e}, []cid.Cid{e.CID})
	s := wantStatus(t, ta, Behind, "1 event waits for links that are not here yet")
	if s.Pending != 1 || len(s.Missing) != 1 || s.Missing[0].CID != absent || s.Missing[0].Since.IsZero() {
		t.Errorf("pending %d, missing %+v; want the link, and since when", s.Pending, s.Missing)
	}
}

func TestPendingText(t *testing.T) {
	for n, want := range map[int]string{1: "1 event waits", 2: "2 events wait"} {
		if got := pendingText(n); got != want {
			t.Errorf("%d: %q, want %q", n, got, want)
		}
	}
}

// TestGossipThatNobodyBacks: what gossip shows and nobody gives makes a topic
// behind, then stalled, with each rung of the ladder.
func TestGossipThatNobodyBacks(t *testing.T) {
	relay := open(t, loopback(""))
	n := open(t, loopback(""))
	topic := join(t, n, "topic")
	connect(t, n, relay)
	wantStatus(t, topic, Alone, "none of 1 connected peer has the topic")
	n.syncer.Sync(topic.ID(), relay.ID())
	wantStatus(t, topic, Behind, "gossip shows events that are not here, looking for replicas")
	s := wantStatus(t, topic, Stalled, "gossip shows events that nobody gave; tried connected peers, providers, flood and archives")
	if len(s.Rungs) != 4 || s.Rungs[0].Name != "connected peers" || s.Rungs[0].Found != "0 of 1 have the topic" || s.Climbed.IsZero() {
		t.Errorf("rungs %+v at %s", s.Rungs, s.Climbed)
	}
}

// TestOwnLogInDoubt: status says why appends are refused, beside the state.
func TestOwnLogInDoubt(t *testing.T) {
	n := open(t, loopback(""))
	topic := join(t, n, "topic")
	later := forged(t, n.key, topic, types.Body{Seq: 7, Height: 7, Links: []cid.Cid{types.CIDOf(types.Hash{1})}})
	topic.replica.Receive("", []*types.Event{later}, nil)
	s := wantStatus(t, topic, Behind, "appends are refused: "+types.ErrRolledBack.Error())
	if !strings.Contains(s.Reason, "; gossip shows events that are not here") {
		t.Errorf("reason %q hides why the topic is behind", s.Reason)
	}

	// Two nodes with one key, which meet by way of a third one.
	dirs := []string{t.TempDir(), t.TempDir()}
	third := join(t, open(t, loopback("")), "topic")
	for i, dir := range dirs {
		twin := open(t, loopback(dir))
		topic := join(t, twin, "topic")
		if _, err := topic.Append(t.Context(), []byte(dir)); err != nil {
			t.Fatal(err)
		}
		connect(t, twin, third.node)
		if i == 1 {
			wantStatus(t, topic, Synced, "appends are refused: "+types.ErrForkedKey.Error())
			return
		}
		if _, err := third.Wait(t.Context(), func(s Status) bool { return s.Events == 1 }); err != nil {
			t.Fatal(err)
		}
		if err := twin.Close(); err != nil {
			t.Fatal(err)
		}
		key, err := os.ReadFile(filepath.Join(dir, identityFile))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dirs[1], identityFile), key, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// TestUnsupported: a topic of unknown rules that somebody here wants to join is
// named, with what is unknown, and nothing of it is kept.
func TestUnsupported(t *testing.T) {
	dir := t.TempDir()
	n := open(t, loopback(dir))
	for name, test := range map[string]struct {
		genesis []byte
		reason  string
	}{
		"rule set": {[]byte{0x82, 0x02, 0x00}, "rule set 2 is unknown to this release; nothing of it is taken or served"},
		"mode":     {[]byte{0x82, 0x01, 0x02}, "mode 2 of rule set 1 is unknown to this release; nothing of it is taken or served"},
	} {
		n.fetchGenesis = func(context.Context, types.TopicID) (*types.Genesis, error) { return types.DecodeGenesis(test.genesis) }
		ref := "id:" + types.SumCID(test.genesis).String()
		if _, ok := n.FindUnsupported(ref); ok {
			t.Errorf("%s: known before anybody asked", name)
		}
		if _, err := n.Join(t.Context(), ref); !errors.Is(err, types.ErrUnsupported) || errors.Is(err, types.ErrNotFound) {
			t.Errorf("%s: join: %v", name, err)
		}
		u, ok := n.FindUnsupported(ref)
		if s := u.Status(); !ok || s.State != Unsupported || s.Reason != "unsupported topic: "+test.reason || u.Since.IsZero() {
			t.Errorf("%s: %+v", name, u)
		}
		if _, err := n.Find(ref); !errors.Is(err, types.ErrNotFound) || !errors.Is(err, types.ErrUnsupported) {
			t.Errorf("%s: find: %v", name, err)
		}
	}
	if len(n.Unsupported()) != 2 || len(n.Topics()) != 0 {
		t.Errorf("%d unsupported topics, %d held", len(n.Unsupported()), len(n.Topics()))
	}
	atLeast(t, gather(t, n), 2, topicCount, Unsupported)
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
	if again := open(t, loopback(dir)); len(again.Unsupported()) != 0 {
		t.Error("an unsupported topic was stored")
	}
}

// TestUnsupportedByGossip: a node that would take up a topic names those that it
// cannot, in bounds that do not keep out what somebody here asks for.
func TestUnsupportedByGossip(t *testing.T) {
	var u unsupported
	id := func(i int) types.TopicID { return types.SumCID([]byte{byte(i)}) }
	why := &types.UnsupportedError{Rules: 2}
	for i := range 2 * maxUnsupported {
		u.heard(id(i), why)
	}
	_, first := u.get(id(0))
	_, beyond := u.get(id(maxUnsupported))
	if u.len() != maxUnsupported || !first || beyond {
		t.Errorf("%d topics of strangers, limit %d", u.len(), maxUnsupported)
	}
	u.wanted(id(maxUnsupported), why)
	_, first = u.get(id(0))
	_, beyond = u.get(id(maxUnsupported))
	if u.len() != maxUnsupported || first || !beyond {
		t.Error("one that somebody wanted did not take the place of the oldest")
	}

	for _, replicate := range []Replicate{Joined, All} {
		cfg := loopback("")
		cfg.Replicate = replicate
		n := open(t, cfg)
		n.heardUnsupported(id(0), why)
		if noted := len(n.Unsupported()) > 0; noted != (replicate == All) {
			t.Errorf("replicate %d: noted what gossip tells of: %t", replicate, noted)
		}
	}
}

// TestGossipOfLaterRules: a message of a topic of rule set 2, as a later release
// sends it, names the topic at a node that replicates all.
func TestGossipOfLaterRules(t *testing.T) {
	cfg := loopback("")
	cfg.Replicate = All
	n, other := open(t, cfg), open(t, loopback(""))
	connect(t, n, other)
	h, err := libp2p.New(libp2p.NoListenAddrs)
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close() //nolint:errcheck // nothing depends on it
	ps, err := pubsub.NewGossipSub(t.Context(), h, pubsub.WithMessageSignaturePolicy(pubsub.StrictNoSign), pubsub.WithNoAuthor(),
		pubsub.WithMessageIdFn(func(m *pubsubpb.Message) string { return string(m.GetData()) }))
	if err != nil {
		t.Fatal(err)
	}
	ruleSet2 := []byte{0x82, 2, 0}
	id := types.SumCID(ruleSet2)
	shard, err := ps.Join(fmt.Sprintf("/cairn/1/%s/%d/%d", DefaultNetwork, gossip.DefaultShards, types.Shard(id, gossip.DefaultShards)))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := shard.Relay(); err != nil { // a mesh is made for those who take part alone
		t.Fatal(err)
	}
	info, err := parsePeer(n.Addrs()[0])
	if err != nil {
		t.Fatal(err)
	}
	if err := h.Connect(t.Context(), *info); err != nil {
		t.Fatal(err)
	}
	number := uint64(0)
	announce := func() {
		number++ // a message that was seen is not looked at again
		b, err := proto.Marshal(&pb.Message{
			Topic: id.Bytes(), Genesis: ruleSet2, Announcer: make([]byte, 32), Start: 1, Sequence: number,
			HeadsHash: make([]byte, 32), Signature: make([]byte, 64),
		})
		if err == nil {
			err = shard.Publish(t.Context(), b, pubsub.WithReadiness(pubsub.MinTopicSize(1)))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	appendUntil(t, join(t, other, "marker"), join(t, n, "marker"), func() bool {
		announce()
		return len(n.Unsupported()) > 0
	})
	if u, ok := n.FindUnsupported("id:" + id.String()); !ok || u.Rules.Rules != 2 {
		t.Errorf("unsupported topics %+v", n.Unsupported())
	}
}
