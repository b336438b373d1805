package main

import (
	"context"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"iter"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ipfs/go-cid"
	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"google.golang.org/protobuf/encoding/protodelim"

	"github.com/cairn-p2p/cairn/broadcaster"
	"github.com/cairn-p2p/cairn/broadcaster/gossip"
	"github.com/cairn-p2p/cairn/crdt"
	"github.com/cairn-p2p/cairn/node"
	"github.com/cairn-p2p/cairn/syncer"
	"github.com/cairn-p2p/cairn/syncer/pb"
	"github.com/cairn-p2p/cairn/syncer/syncertest"
	"github.com/cairn-p2p/cairn/types"
)

// surfaces is a node that is seen through the library, the API and the command
// line at once.
type surfaces struct {
	testNode
	node *node.Node
}

func open(t *testing.T, cfg node.Config) surfaces {
	t.Helper()
	cfg.Listen = []string{"/ip4/127.0.0.1/tcp/0"}
	n, err := node.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	return surfaces{serveTestNode(t, n), n}
}

func (s surfaces) join(t *testing.T, name string) *node.Topic {
	t.Helper()
	topic, err := s.node.Join(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	return topic
}

func (s surfaces) connect(t *testing.T, addr string) {
	t.Helper()
	if err := s.node.Connect(t.Context(), addr); err != nil {
		t.Fatal(err)
	}
}

// await waits until the library says that the topic has a state, and a reason
// that contains reason.
func await(t *testing.T, topic *node.Topic, state, reason string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	s, err := topic.Wait(ctx, func(s node.Status) bool { return s.State == state && strings.Contains(s.Reason, reason) })
	if err != nil {
		t.Fatalf("%s (%s), %v; want %s (%s)", s.State, s.Reason, err, state, reason)
	}
}

// status returns the status of a topic, which must have the same state and a
// reason that contains reason in the JSON of the API, in that of the command
// line, and in its table; and the table.
func (s surfaces) status(t *testing.T, ref, state, reason string) (topicStatusShape, string) {
	t.Helper()
	body, err := json.Marshal(map[string]string{"topic": ref})
	if err != nil {
		t.Fatal(err)
	}
	res, err := http.Post("http://"+s.api+"/cairn.v1.NodeService/GetTopicStatus", "application/json", strings.NewReader(string(body)))
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close() //nolint:errcheck // it is read
	var answer struct {
		Status struct{ State, Reason string }
	}
	if err := json.NewDecoder(res.Body).Decode(&answer); err != nil {
		t.Fatal(err)
	}
	if got := answer.Status; got.State != state || !strings.Contains(got.Reason, reason) {
		t.Errorf("the API says %s (%s), want %s (%s)", got.State, got.Reason, state, reason)
	}
	shape := wantShape[topicStatusShape](t, s.cairn(t, "topic", "status", ref, "-o", "json"))
	if shape.State != state || !strings.Contains(shape.Reason, reason) {
		t.Errorf("the command line says %s (%s), want %s (%s)", shape.State, shape.Reason, state, reason)
	}
	table := s.cairn(t, "topic", "status", ref)
	if !strings.Contains(table, "\nstate       "+state+"\n") {
		t.Errorf("want the state %s in\n%s", state, table)
	}
	return shape, table
}

// liar is a peer whose replica of one topic is what a test makes of it. Its
// zero mask is honest.
type liar struct {
	*syncertest.Local
	host   host.Host
	syncer *syncer.Syncer
	topic  types.TopicID

	mu   sync.Mutex
	mask mask
}

// mask is what a liar says in place of the truth.
type mask struct {
	claim  bool          // there is another head, which it does not serve
	paused bool          // it takes nothing new
	forge  bool          // the witnesses of its log are bad
	shy    chan struct{} // until it is closed there is no word about who it is
	slow   chan struct{} // … and none about its log
	mute   chan struct{} // … and none about its heads
}

func newLiar(t *testing.T, name string, m mask) *liar {
	t.Helper()
	g, err := types.NewOpen(name)
	if err != nil {
		t.Fatal(err)
	}
	l := &liar{Local: syncertest.NewLocal(t.Name()), topic: g.ID(), mask: m}
	l.Join(g)
	l.host = newHost(t, l.Local)
	if l.syncer, err = syncer.New(syncer.Config{Host: l.host, Local: l, Network: node.DefaultNetwork}); err != nil {
		t.Fatal(err)
	}
	l.OnChange(l.syncer.Changed)
	h, err := l.Heads(l.topic, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	l.syncer.Add(l.topic, h.Hash)
	ctx, cancel := context.WithCancel(context.Background())
	ran := make(chan error, 1)
	go func() { ran <- l.syncer.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		l.wear(mask{}) // so that nobody waits for ever
		if err := <-ran; err != nil {
			t.Error(err)
		}
	})
	return l
}

// newHost returns a host with the identity of l.
func newHost(t *testing.T, l *syncertest.Local) host.Host {
	t.Helper()
	key, err := crypto.UnmarshalEd25519PrivateKey(l.Key)
	if err != nil {
		t.Fatal(err)
	}
	h, err := libp2p.New(libp2p.Identity(key), libp2p.ListenAddrStrings("/ip4/127.0.0.1/tcp/0"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := h.Close(); err != nil {
			t.Error(err)
		}
	})
	return h
}

func addrOf(h host.Host) string { return h.Addrs()[0].String() + "/p2p/" + h.ID().String() }

// wear replaces the mask, and ends what waits behind the old one.
func (l *liar) wear(m mask) {
	l.mu.Lock()
	old := l.mask
	l.mask = m
	l.mu.Unlock()
	for _, c := range []chan struct{}{old.shy, old.slow, old.mute} {
		if c != nil {
			close(c)
		}
	}
}

func (l *liar) now() mask {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.mask
}

func pass(c chan struct{}) {
	if c != nil {
		<-c
	}
}

func (l *liar) LogID() types.LogID {
	pass(l.now().shy)
	return l.Local.LogID()
}

func (l *liar) Heads(topic types.TopicID, limit int) (syncer.Heads, error) {
	m := l.now()
	pass(m.mute)
	h, err := l.Local.Heads(topic, limit)
	if m.claim && err == nil {
		h.Heads = append(slices.Clone(h.Heads), types.Head{CID: absent, Height: 1 << 40})
		slices.SortFunc(h.Heads, func(a, b types.Head) int { return types.CompareCIDs(a.CID, b.CID) })
		h.Hash = crdt.HeadsHash(h.Heads)
	}
	h.Paused = h.Paused || m.paused
	return h, err
}

func (l *liar) Log(topic types.TopicID, after types.Cursor) iter.Seq2[types.Entry, error] {
	m := l.now()
	return func(yield func(types.Entry, error) bool) {
		pass(m.slow)
		for e, err := range l.Local.Log(topic, after) {
			if m.forge {
				e.Witness = slices.Clone(e.Witness)
				e.Witness[5] ^= 1 // in the signature, whichever kind it is of
			}
			if !yield(e, err) {
				return
			}
		}
	}
}

// crier is a peer that takes part in gossip alone: it says what a test wants, and
// holds and serves nothing.
type crier struct {
	*gossip.Broadcaster
	key  ed25519.PrivateKey
	addr string
}

// deaf is what a crier makes of others' messages.
type deaf struct{}

func (deaf) Genesis(types.TopicID) (*types.Genesis, bool)        { return nil, false }
func (deaf) Known(_ types.TopicID, events []*types.Event) []bool { return make([]bool, len(events)) }
func (deaf) Wants(*types.Genesis) bool                           { return false }
func (deaf) Receive(broadcaster.Message)                         {}
func believe(_ context.Context, events []*types.Event) []error   { return make([]error, len(events)) }

func newCrier(t *testing.T) crier {
	t.Helper()
	l := syncertest.NewLocal(t.Name() + " crier")
	h := newHost(t, l)
	b, err := gossip.Open(t.Context(), gossip.Config{
		Host: h, Key: l.Key, Network: node.DefaultNetwork, Start: 1, Local: deaf{}, Verify: believe,
	})
	if err != nil {
		t.Fatal(err)
	}
	ran := make(chan error, 1)
	go func() { ran <- b.Run(context.Background()) }()
	t.Cleanup(func() {
		if err := errors.Join(b.Close(), <-ran); err != nil {
			t.Error(err)
		}
	})
	return crier{b, l.Key, addrOf(h)}
}

// event makes an event of a topic and what announces it.
func (c crier) event(t *testing.T, name string, seq uint64, links ...cid.Cid) types.Announcement {
	t.Helper()
	g, err := types.NewOpen(name)
	if err != nil {
		t.Fatal(err)
	}
	e, err := types.NewEvent(types.Body{Topic: g.ID(), Publisher: types.PublisherOf(c.key), Seq: seq, Links: links, Height: seq})
	if err != nil {
		t.Fatal(err)
	}
	types.SignEvents(c.key, []*types.Event{e})
	return types.Announcement{
		Genesis: g, Events: []*types.Event{e}, Heads: []cid.Cid{e.CID},
		HeadsHash: crdt.HeadsHash([]types.Head{{CID: e.CID, Height: seq}}),
	}
}

// cry announces a again and again, since what comes before the mesh stands is
// lost, until heard returns true, which must end with its context.
func (c crier) cry(t *testing.T, a types.Announcement, heard func(context.Context) bool) {
	t.Helper()
	patient, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for patient.Err() == nil {
		c.Broadcast(a)
		ctx, cancel := context.WithTimeout(patient, 100*time.Millisecond)
		ok := heard(ctx)
		cancel()
		if ok {
			return
		}
	}
	t.Fatal("nobody heard what was announced")
}

// pending is whether a topic has an event whose links it lacks.
func pending(topic *node.Topic) func(context.Context) bool {
	return func(ctx context.Context) bool {
		_, err := topic.Wait(ctx, func(s node.Status) bool { return s.Pending > 0 })
		return err == nil
	}
}

// absent is an event that nobody has.
var absent = types.CIDOf(types.Hash{1})

// TestStates leads topics into every state and shows that the library, the API
// and the command line say so, with the reason and whom it is about. What needs
// a fault inside the node, or passes before anybody can ask, is tested there.
func TestStates(t *testing.T) {
	quick := node.Config{DHT: node.DHTOff}
	for name, test := range map[string]func(t *testing.T){
		"alone": func(t *testing.T) {
			n := open(t, quick)
			await(t, n.join(t, "t"), node.Alone, "none of 0 connected peers has the topic")
			n.status(t, "t", node.Alone, "none of 0 connected peers has the topic")
		},
		"alone after a climb": func(t *testing.T) {
			n := open(t, node.Config{})
			const reason = "none of 0 connected peers has the topic; tried connected peers, providers, flood and archives"
			await(t, n.join(t, "t"), node.Alone, reason)
			s, table := n.status(t, "t", node.Alone, reason)
			if len(s.Rungs) != 4 || s.Climbed == nil || !strings.Contains(table, "\nTRIED IN VAIN  ") {
				t.Errorf("rungs %+v at %v in\n%s", s.Rungs, s.Climbed, table)
			}
		},
		"alone with an old copy of itself": func(t *testing.T) {
			n := open(t, node.Config{DHT: node.DHTOff, Restored: true})
			reason := "appends are refused: " + types.ErrRolledBack.Error()
			await(t, n.join(t, "t"), node.Alone, reason)
			n.status(t, "t", node.Alone, reason)
			n.status(t, "t", node.Alone, "; none of 0 connected peers has the topic")
			if code, text := n.fails(t, "pub", "t", "x"); code != exitFailed || !strings.Contains(text, types.ErrRolledBack.Error()) {
				t.Errorf("pub exits %d: %s", code, text)
			}
		},
		"alone beside a paused replica": func(t *testing.T) {
			n, l := open(t, quick), newLiar(t, "t", mask{claim: true, paused: true})
			topic := n.join(t, "t")
			n.connect(t, addrOf(l.host))
			await(t, topic, node.Alone, "1 connected replica, all paused")
			s, table := n.status(t, "t", node.Alone, "1 connected replica, all paused")
			if len(s.Peers) != 1 || !s.Peers[0].Paused || !strings.Contains(table, "unproven, paused") {
				t.Errorf("peers %+v in\n%s", s.Peers, table)
			}
		},
		"syncing with a newcomer": func(t *testing.T) {
			n, l := open(t, quick), newLiar(t, "t", mask{shy: make(chan struct{})})
			topic := n.join(t, "t")
			n.connect(t, addrOf(l.host))
			await(t, topic, node.Syncing, "comparing with 1 newly connected peer")
			n.status(t, "t", node.Syncing, "comparing with 1 newly connected peer")
		},
		"fetching": func(t *testing.T) {
			n, l := open(t, quick), newLiar(t, "t", mask{slow: make(chan struct{})})
			l.Append(l.topic, 10, 16)
			topic := n.join(t, "t")
			n.connect(t, addrOf(l.host))
			await(t, topic, node.Syncing, "fetching from "+l.ID().String())
			s, table := n.status(t, "t", node.Syncing, "fetching from "+l.ID().String())
			if s.Fetching != l.ID().String() || !strings.Contains(table, "differs, fetching from it") {
				t.Errorf("fetching %q in\n%s", s.Fetching, table)
			}
			l.wear(mask{})
			await(t, topic, node.Synced, "all that 1 connected replica has is integrated")
			s, _ = n.status(t, "t", node.Synced, "all that 1 connected replica has is integrated")
			if s.Fetching != "" || len(s.Peers) != 1 || !s.Peers[0].InSync || s.Events != 10 {
				t.Errorf("status %+v", s)
			}
		},
		"behind": func(t *testing.T) {
			n, l := open(t, quick), newLiar(t, "t", mask{})
			topic := n.join(t, "t")
			n.connect(t, addrOf(l.host))
			await(t, topic, node.Synced, "all that 1 connected replica has is integrated")
			l.wear(mask{mute: make(chan struct{})})
			l.Append(l.topic, 1, 16)
			if _, err := topic.Append(t.Context(), nil); err != nil { // which has it compare
				t.Fatal(err)
			}
			await(t, topic, node.Behind, "1 of 1 connected replica has something new")
			n.status(t, "t", node.Behind, "1 of 1 connected replica has something new")
		},
		"behind for an offender": func(t *testing.T) {
			n, l, honest := open(t, quick), newLiar(t, "t", mask{forge: true}), open(t, quick)
			l.Append(l.topic, 3, 16)
			topic := n.join(t, "t")
			honest.join(t, "t")
			n.connect(t, honest.p2p)
			await(t, topic, node.Synced, "")
			n.connect(t, addrOf(l.host))
			const reason = "the last exchange with 1 of 2 connected replicas failed: "
			await(t, topic, node.Behind, reason)
			s, table := n.status(t, "t", node.Behind, reason)
			if len(s.Offenders) != 1 || s.Offenders[0].Peer != l.ID().String() || s.Offenders[0].Count == 0 ||
				!strings.Contains(s.Offenders[0].Reason, "bad witness") || s.Offenders[0].Last == nil || s.Offenders[0].TopicID != s.TopicID {
				t.Errorf("offenders %+v", s.Offenders)
			}
			if !strings.Contains(s.LastError, l.ID().String()) || !strings.Contains(table, "\nOFFENDERS (1)\n"+shortPeer(l.ID().String())) {
				t.Errorf("last error %q in\n%s", s.LastError, table)
			}
			peers := wantShape[[]peerShape](t, n.cairn(t, "peer", "ls", "-o", "json"))
			i := slices.IndexFunc(peers, func(p peerShape) bool { return p.Peer == l.ID().String() })
			if len(peers) != 2 || i < 0 || peers[i].Offences == 0 || peers[1-i].Offences != 0 || peers[1-i].LastOffenceTime != nil {
				t.Errorf("peers %+v", peers)
			}
			if table := n.cairn(t, "peer", "ls"); !strings.Contains(table, "\nOFFENDERS (1)\n"+shortPeer(l.ID().String())) {
				t.Errorf("want the offender in\n%s", table)
			}
		},
		"behind for links": func(t *testing.T) {
			n, honest, c := open(t, quick), open(t, quick), newCrier(t)
			topic := n.join(t, "t")
			honest.join(t, "t")
			n.connect(t, honest.p2p)
			await(t, topic, node.Synced, "")
			n.connect(t, c.addr)
			c.cry(t, c.event(t, "t", 2, absent), pending(topic))
			const reason = "1 event waits for links that are not here yet"
			await(t, topic, node.Behind, reason)
			s, table := n.status(t, "t", node.Behind, reason)
			if s.Pending != 1 || len(s.Missing) != 1 || s.Missing[0].CID != absent.String() || s.Missing[0].Since == nil || !strings.Contains(table, "\nMISSING (1)\n") {
				t.Errorf("pending %d, missing %+v in\n%s", s.Pending, s.Missing, table)
			}
		},
		"behind, then stalled, by gossip": func(t *testing.T) {
			// The liar has nothing of the topic, and holds up the flood with that.
			n, l, c := open(t, node.Config{}), newLiar(t, "another", mask{}), newCrier(t)
			topic := n.join(t, "t")
			n.connect(t, addrOf(l.host))
			await(t, topic, node.Alone, "none of 1 connected peer has the topic")
			n.connect(t, c.addr)
			l.wear(mask{mute: make(chan struct{})})
			c.cry(t, c.event(t, "t", 2, absent), pending(topic))
			reason := "gossip shows events that are not here, looking for replicas"
			await(t, topic, node.Behind, reason)
			n.status(t, "t", node.Behind, reason)
			l.wear(mask{})
			reason = "gossip shows events that nobody gave; tried connected peers, providers, flood and archives"
			await(t, topic, node.Stalled, reason)
			s, table := n.status(t, "t", node.Stalled, reason)
			if len(s.Rungs) != 4 || s.Climbed == nil || !strings.Contains(table, "\nconnected peers: 0 of 1 have the topic\n") {
				t.Errorf("rungs %+v at %v in\n%s", s.Rungs, s.Climbed, table)
			}
		},
		"stalled by a claim": func(t *testing.T) {
			n, l := open(t, node.Config{}), newLiar(t, "t", mask{claim: true})
			topic := n.join(t, "t")
			n.connect(t, addrOf(l.host))
			await(t, topic, node.Behind, "none of 1 connected replica gave what is missing, looking for others: "+l.ID().String())
			const reason = "nobody gave what is missing; tried connected peers, providers, flood and archives"
			await(t, topic, node.Stalled, reason)
			s, table := n.status(t, "t", node.Stalled, reason)
			if len(s.Rungs) != 4 || s.Climbed == nil || len(s.Rungs[0].Asked) != 1 || s.Rungs[0].Asked[0].Peer != l.ID().String() {
				t.Errorf("rungs %+v at %v", s.Rungs, s.Climbed)
			}
			if len(s.Missing) != 1 || s.Missing[0].CID != absent.String() || len(s.Missing[0].Asked) != 1 {
				t.Errorf("missing %+v", s.Missing)
			}
			if len(s.Peers) != 1 || !s.Peers[0].Unproven || s.Peers[0].InSync {
				t.Errorf("peers %+v", s.Peers)
			}
			for _, want := range []string{"\nMISSING (1)\n", "\nTRIED IN VAIN  ", "\nconnected peers: 1 of 1 have the topic\n", "  unproven  ", "\nOFFENDERS (1)\n"} {
				if !strings.Contains(table, want) {
					t.Errorf("want %q in\n%s", want, table)
				}
			}

			// The claim has no say as soon as anybody else has.
			honest := open(t, quick)
			honest.join(t, "t")
			n.connect(t, honest.p2p)
			await(t, topic, node.Synced, "all that 1 connected replica has is integrated, without 1 claiming what they do not serve")
			s, _ = n.status(t, "t", node.Synced, "without 1 claiming what they do not serve")
			if len(s.Rungs) != 0 || s.Climbed != nil {
				t.Errorf("rungs %+v at %v when synced", s.Rungs, s.Climbed)
			}
		},
		"paused": func(t *testing.T) {
			dir := t.TempDir()
			n := open(t, node.Config{Dir: dir, DHT: node.DHTOff, MinFree: -1})
			n.join(t, "full")
			n.join(t, "left")
			n.cairn(t, "topic", "leave", "left")
			n.status(t, "left", node.Paused, "it was left; join it to replicate it again")
			if err := n.node.Close(); err != nil {
				t.Fatal(err)
			}
			n = open(t, node.Config{Dir: dir, DHT: node.DHTOff, MinFree: 1 << 60})
			n.status(t, "full", node.Paused, types.ErrDiskFull.Error())
		},
		"paused by a quota": func(t *testing.T) {
			cfg := node.Config{Dir: t.TempDir(), DHT: node.DHTOff, MinFree: -1, Replicate: node.All}
			n, c := open(t, cfg), newCrier(t)
			n.connect(t, c.addr)
			c.cry(t, c.event(t, "strange", 1), func(ctx context.Context) bool {
				if _, err := n.node.Find("strange"); err == nil {
					return true
				}
				<-ctx.Done()
				return false
			})
			if err := n.node.Close(); err != nil {
				t.Fatal(err)
			}
			cfg.Strangers.Bytes = 1
			n = open(t, cfg)
			n.status(t, "strange", node.Paused, "the space for topics that nobody here joined is used up")
		},
		"unsupported": func(t *testing.T) {
			n, h := open(t, quick), newHost(t, syncertest.NewLocal(t.Name()))
			genesis := []byte{0x82, 0x02, 0x00} // rule set 2
			h.SetStreamHandler(syncer.Protocol, func(st network.Stream) { serveGenesis(st, genesis) })
			n.connect(t, addrOf(h))
			ref := "id:" + types.SumCID(genesis).String()
			code, text := n.fails(t, "topic", "join", ref)
			for strings.Contains(text, "connected peers: 0 asked") { // a host this young says later what it speaks
				code, text = n.fails(t, "topic", "join", ref)
			}
			if code != exitFailed || !strings.Contains(text, "rule set 2 is unknown to this release") {
				t.Errorf("join exits %d: %s", code, text)
			}
			const reason = "rule set 2 is unknown to this release; nothing of it is taken or served"
			s, table := n.status(t, ref, node.Unsupported, reason)
			if s.Topic != "" || "id:"+s.TopicID != ref || s.Events != 0 || s.HeadsHash != "" {
				t.Errorf("status %+v in\n%s", s, table)
			}
			rows := wantShape[[]topicShape](t, n.cairn(t, "topic", "ls", "-o", "json"))
			if len(rows) != 1 || rows[0].State != node.Unsupported || rows[0].Joined || rows[0].TopicID != s.TopicID {
				t.Errorf("topics %+v", rows)
			}
			for _, verb := range [][]string{{"topic", "heads", ref}, {"topic", "wait", ref}, {"topic", "leave", ref}, {"query", ref}} {
				if code, text := n.fails(t, verb...); code != exitNotFound || !strings.Contains(text, "rule set 2 is unknown") {
					t.Errorf("%q exits %d: %s", verb, code, text)
				}
			}
			if code, text := n.fails(t, "pub", ref, "x"); code != exitFailed {
				t.Errorf("pub exits %d: %s", code, text)
			}
		},
	} {
		t.Run(name, test)
	}
}

// serveGenesis answers every question for heads with a genesis, and no other.
func serveGenesis(st network.Stream, genesis []byte) {
	defer st.Reset() //nolint:errcheck // nothing left to do
	r := byteReader{st}
	for {
		var q pb.Request
		if protodelim.UnmarshalFrom(r, &q) != nil || q.GetHeads() == nil {
			return
		}
		a := &pb.HeadsAnswer{
			Topic: types.SumCID(genesis).Bytes(), Genesis: genesis, State: pb.HeadsAnswer_STATE_REPLICATED,
			HeadsHash: make([]byte, 32), LogId: make([]byte, 16),
		}
		if _, err := protodelim.MarshalTo(st, &pb.Response{Answer: &pb.Response_Heads{Heads: a}}); err != nil {
			return
		}
	}
}

// byteReader reads single bytes too.
type byteReader struct{ network.Stream }

func (r byteReader) ReadByte() (byte, error) {
	var b [1]byte
	_, err := r.Read(b[:])
	return b[0], err
}
