package node

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/ipfs/go-cid"

	"github.com/cairn-p2p/cairn/crdt"
	"github.com/cairn-p2p/cairn/types"
)

// giveGeneses lets a node have any genesis that another one holds.
func giveGeneses(to, from *Node) {
	to.fetchGenesis = func(_ context.Context, id types.TopicID) (*types.Genesis, error) {
		if t := from.topics.get(id); t != nil {
			return t.Genesis(), nil
		}
		return nil, types.ErrNotFound
	}
}

// guild is a restricted topic on the nodes of its owner, of a writer, and of
// somebody who is neither, all connected.
type guild struct {
	owner, writer, stranger *Topic
}

func newGuild(t *testing.T) guild {
	t.Helper()
	var nodes []*Node
	for range 3 {
		nodes = append(nodes, open(t, loopback("")))
	}
	owner, err := nodes[0].Create(t.Context(), "guild", types.Publisher{}, []types.Publisher{nodes[1].Publisher()})
	if err != nil {
		t.Fatal(err)
	}
	topics := []*Topic{owner}
	for _, n := range nodes[1:] {
		giveGeneses(n, nodes[0])
		topics = append(topics, join(t, n, "id:"+owner.ID().String()))
	}
	connect(t, nodes[0], nodes[1])
	connect(t, nodes[1], nodes[2])
	connect(t, nodes[2], nodes[0])
	return guild{topics[0], topics[1], topics[2]}
}

func TestCreate(t *testing.T) {
	dir := t.TempDir()
	n := open(t, loopback(dir))
	a, err := n.Create(t.Context(), "name", types.Publisher{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	g := a.Genesis()
	if g.Mode != types.Restricted || g.Name != "name" || g.Owner != n.Publisher() || len(g.Writers) != 0 || !a.Joined() {
		t.Errorf("created %+v", g)
	}
	b, err := n.Create(t.Context(), "name", n.Publisher(), []types.Publisher{n.Publisher(), n.Publisher()})
	if err != nil || b == a || b.ID() == a.ID() {
		t.Errorf("creating again gives the same topic, %v", err)
	}
	if bare := join(t, n, "name"); bare == a || bare == b || bare.Genesis().Mode != types.Open {
		t.Error("the bare name is not the open topic")
	}
	for _, bad := range []string{"", "id:x", strings.Repeat("x", types.MaxName+1), "\xff"} {
		if _, err := n.Create(t.Context(), bad, types.Publisher{}, nil); !errors.Is(err, types.ErrInvalidArgument) {
			t.Errorf("create %q: %v", bad, err)
		}
	}
	if _, err := n.Create(t.Context(), "x", types.Publisher{1}, nil); !errors.Is(err, types.ErrInvalidArgument) {
		t.Errorf("create with an owner of small order: %v", err)
	}
	if _, err := n.Create(t.Context(), "x", types.Publisher{}, make([]types.Publisher, 1)); !errors.Is(err, types.ErrInvalidArgument) {
		t.Errorf("create with a writer that is no key: %v", err)
	}
	e, err := a.Append(t.Context(), []byte("x"))
	if err != nil {
		t.Fatal(err)
	}
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
	again := open(t, loopback(dir))
	kept, err := again.Find("id:" + a.ID().String())
	if err != nil || !kept.Joined() || kept.Genesis().Owner != n.Publisher() {
		t.Fatalf("after reopening: %v", err)
	}
	if got, err := kept.Get(e.CID); err != nil || got[0] == nil {
		t.Errorf("its event after reopening: %v", err)
	}
	if _, err := kept.Append(t.Context(), nil); err != nil {
		t.Errorf("append after reopening: %v", err)
	}
}

// TestJoinByIDFetchesTheGenesis: a topic that is not held is joined with what
// another node says that its genesis is, if it is.
func TestJoinByIDFetchesTheGenesis(t *testing.T) {
	a, b := open(t, loopback("")), open(t, loopback(""))
	created, err := a.Create(t.Context(), "name", types.Publisher{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	ref := "id:" + created.ID().String()
	if _, err := b.Join(t.Context(), ref); !errors.Is(err, types.ErrNotFound) || strings.Count(err.Error(), "fetch genesis") != 1 {
		t.Errorf("with nobody to ask: %v", err)
	}
	b.fetchGenesis = func(context.Context, types.TopicID) (*types.Genesis, error) { return types.NewOpen("other") }
	if _, err := b.Join(t.Context(), ref); !errors.Is(err, types.ErrInvalidGenesis) {
		t.Errorf("with another topic's genesis: %v", err)
	}
	failure := errors.New("all peers hang")
	b.fetchGenesis = func(context.Context, types.TopicID) (*types.Genesis, error) { return nil, failure }
	if _, err := b.Join(t.Context(), ref); !errors.Is(err, failure) {
		t.Errorf("with a failure: %v", err)
	}
	if _, err := b.Find(ref); !errors.Is(err, types.ErrNotFound) {
		t.Errorf("find after joining in vain: %v", err)
	}
	giveGeneses(b, a)
	topic, err := b.Join(t.Context(), ref)
	if err != nil || topic.ID() != created.ID() || topic.Name() != "name" {
		t.Fatalf("join: %v", err)
	}
	b.fetchGenesis = nil
	if err := b.Leave(t.Context(), ref); err != nil {
		t.Errorf("leave: %v", err)
	}
	if again, err := b.Join(t.Context(), ref); err != nil || again != topic { // it is held
		t.Errorf("join after leaving: %v", err)
	}
}

// TestStrangersDoNotPublish: who is neither owner nor writer can read, and not
// publish: not here, not by gossip, and not by sync.
func TestStrangersDoNotPublish(t *testing.T) {
	g := newGuild(t)
	var last *types.Event
	for _, topic := range []*Topic{g.owner, g.writer} {
		e, err := topic.Append(t.Context(), []byte("legal"))
		if err != nil {
			t.Fatal(err)
		}
		last = e
	}
	for _, topic := range []*Topic{g.owner, g.writer, g.stranger} {
		if _, err := topic.Wait(t.Context(), func(s Status) bool { return s.Events == 2 }); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := g.stranger.Append(t.Context(), nil); !errors.Is(err, types.ErrNotWriter) {
		t.Errorf("append by a stranger: %v", err)
	}
	forgery := forged(t, g.stranger.node.key, g.stranger, types.Body{Seq: 1, Height: last.Height + 1, Links: []cid.Cid{last.CID}})
	g.byGossip(t, forgery)
	g.bySync(t, forgery)
	for _, topic := range []*Topic{g.owner, g.writer} {
		s, err := topic.State(t.Context())
		if err != nil || s.Events != 2 || s.PendingEvents != 0 {
			t.Errorf("a forgery was taken: %+v, %v", s, err)
		}
		if got, err := topic.Get(forgery.CID); err != nil || got[0] != nil {
			t.Errorf("a forgery can be read: %v", err)
		}
	}
}

// TestJoinToPublish: who may not publish to a topic does not come to replicate it
// by trying.
func TestJoinToPublish(t *testing.T) {
	owner, stranger := open(t, loopback("")), open(t, loopback(""))
	created, err := owner.Create(t.Context(), "guild", types.Publisher{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	ref := "id:" + created.ID().String()
	if topic, err := owner.JoinToPublish(t.Context(), ref); err != nil || topic != created {
		t.Errorf("by its owner: %v", err)
	}
	giveGeneses(stranger, owner)
	refused := func(when string) {
		t.Helper()
		if _, err := stranger.JoinToPublish(t.Context(), ref); !errors.Is(err, types.ErrNotWriter) {
			t.Errorf("by a stranger, %s: %v", when, err)
		}
	}
	refused("not held")
	if _, err := stranger.Find(ref); !errors.Is(err, types.ErrNotFound) {
		t.Errorf("a refused publisher holds the topic: %v", err)
	}
	topic := join(t, stranger, ref)
	refused("joined")
	if err := stranger.Leave(t.Context(), ref); err != nil {
		t.Fatal(err)
	}
	refused("left")
	if topic.Joined() {
		t.Error("a refused publisher took the topic up again")
	}
	if open, err := stranger.JoinToPublish(t.Context(), "guild"); err != nil || !open.Joined() {
		t.Errorf("an open topic: %v", err)
	}
}

// byGossip announces a forgery at the stranger's until the others have refused
// it. The marker's events come after it, by gossip or later.
func (g guild) byGossip(t *testing.T, forgery *types.Event) {
	t.Helper()
	announce := func() {
		g.stranger.node.gossip.Broadcast(types.Announcement{
			Genesis:   g.stranger.Genesis(),
			Events:    []*types.Event{forgery},
			Heads:     []cid.Cid{forgery.CID},
			HeadsHash: crdt.HeadsHash([]types.Head{{CID: forgery.CID}}),
		})
	}
	for _, n := range []*Node{g.owner.node, g.writer.node} {
		marked := join(t, n, "marker")
		appendUntil(t, join(t, g.stranger.node, "marker"), marked, func() bool {
			announce()
			return value(gather(t, n), gossipMessages, "not_a_writer", rejected) > 0
		})
	}
}

// bySync makes the stranger hold a forgery, and offer and serve it.
func (g guild) bySync(t *testing.T, forgery *types.Event) {
	t.Helper()
	if err := g.stranger.replica.Integrate(t.Context(), "", []*types.Event{forgery}); err != nil {
		t.Fatal(err)
	}
	for _, topic := range []*Topic{g.owner, g.writer} {
		refusedOrTaken := func(s Status) bool {
			return s.Events > 2 || topic.node.metrics.rejected[notWriter].Load() > 0 && topic.node.syncer.Stats().Failed > 0
		}
		s, err := topic.Wait(t.Context(), refusedOrTaken)
		if err != nil || s.Events != 2 {
			t.Fatalf("%+v, %v", s, err)
		}
		f := gather(t, topic.node)
		atLeast(t, f, 1, rejectedTotal, "not_writer")
		atLeast(t, f, 1, syncFailures)
	}
}
