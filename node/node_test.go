package node

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/cairn-p2p/cairn/types"
)

func loopback(dir string) Config {
	return Config{Dir: dir, Listen: []string{"/ip4/127.0.0.1/tcp/0"}, MinFree: -1}
}

func open(t *testing.T, cfg Config) *Node {
	t.Helper()
	n, err := Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := n.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return n
}

func join(t *testing.T, n *Node, name string) *Topic {
	t.Helper()
	topic, err := n.Topic(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	return topic
}

func connect(t *testing.T, a, b *Node) {
	t.Helper()
	if err := a.Connect(t.Context(), b.Addrs()[0]); err != nil {
		t.Fatal(err)
	}
}

func TestIdentityAndDataSurviveReopening(t *testing.T) {
	dir := t.TempDir()
	n := open(t, loopback(dir))
	e, err := join(t, n, "a").Append(t.Context(), []byte("payload"), "tag")
	if err != nil {
		t.Fatal(err)
	}
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(filepath.Join(dir, identityFile))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("identity: %v, %v", info.Mode(), err)
	}

	again := open(t, loopback(dir))
	if again.ID() != n.ID() {
		t.Errorf("came back as %s, was %s", again.ID(), n.ID())
	}
	got, topic, err := again.Get(e.CID)
	if err != nil || string(got.Payload) != "payload" || topic.Name() != "a" || !topic.Joined() {
		t.Errorf("got %v of %v, %v", got, topic, err)
	}
}

// An identity is never made anew where another may have been.
func TestUnusableIdentityIsRefused(t *testing.T) {
	for name, spoil := range map[string]func(t *testing.T, dir string){
		"missing beside data": func(t *testing.T, dir string) {
			n := open(t, loopback(dir))
			if err := n.Close(); err != nil {
				t.Fatal(err)
			}
			if err := os.Remove(filepath.Join(dir, identityFile)); err != nil {
				t.Fatal(err)
			}
		},
		"garbage without a database": func(t *testing.T, dir string) {
			if err := os.WriteFile(filepath.Join(dir, identityFile), []byte("garbage"), 0o600); err != nil {
				t.Fatal(err)
			}
		},
		"empty": func(t *testing.T, dir string) {
			if err := os.WriteFile(filepath.Join(dir, identityFile), nil, 0o600); err != nil {
				t.Fatal(err)
			}
		},
		"a dangling link": func(t *testing.T, dir string) {
			if err := os.Symlink(filepath.Join(dir, "away"), filepath.Join(dir, identityFile)); err != nil {
				t.Fatal(err)
			}
		},
		"another node's": func(t *testing.T, dir string) {
			other := t.TempDir()
			for _, d := range []string{dir, other} {
				n := open(t, loopback(d))
				if err := n.Close(); err != nil {
					t.Fatal(err)
				}
			}
			if err := os.Rename(filepath.Join(other, identityFile), filepath.Join(dir, identityFile)); err != nil {
				t.Fatal(err)
			}
		},
		"a directory": func(t *testing.T, dir string) {
			if err := os.Mkdir(filepath.Join(dir, identityFile), 0o700); err != nil {
				t.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			spoil(t, dir)
			before := names(t, dir)
			if _, err := Open(t.Context(), loopback(dir)); !errors.Is(err, types.ErrIdentity) {
				t.Fatalf("open: %v", err)
			}
			if after := names(t, dir); after != before && after != before+"LOCK " && after != "LOCK "+before {
				t.Errorf("the directory had %q and has %q", before, after)
			}
		})
	}
}

func names(t *testing.T, dir string) string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	all := ""
	for _, e := range entries {
		all += e.Name() + " "
	}
	return all
}

// A key with one bit flipped signs what nobody can verify: each is refused.
func TestDamagedIdentityIsRefused(t *testing.T) {
	dir := t.TempDir()
	if _, err := loadIdentity(dir, filepath.Join(dir, storeName)); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, identityFile)
	sound, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for bit := range 8 * len(sound) {
		b := append([]byte{}, sound...)
		b[bit/8] ^= 1 << (bit % 8)
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := loadIdentity(dir, filepath.Join(dir, storeName)); !errors.Is(err, types.ErrIdentity) {
			t.Errorf("bit %d flipped: %v", bit, err)
		}
	}
}

func TestOpenRefuses(t *testing.T) {
	held := t.TempDir()
	open(t, loopback(held))
	other := t.TempDir()
	n := open(t, loopback(other))
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		change func(*Config)
		want   error
	}{
		"a locked directory":     {func(c *Config) { c.Dir = held }, types.ErrLocked},
		"another network's data": {func(c *Config) { c.Dir, c.Network = other, "test" }, types.ErrWrongNetwork},
		"a bad listen address":   {func(c *Config) { c.Listen = []string{"127.0.0.1:1"} }, types.ErrInvalidArgument},
		"a bad bootstrap peer":   {func(c *Config) { c.Bootstrap = []string{"/ip4/127.0.0.1/tcp/1"} }, types.ErrInvalidArgument},
		"a bad network name":     {func(c *Config) { c.Network = "a/b" }, types.ErrInvalidArgument},
		"an unknown replication": {func(c *Config) { c.Replicate = 7 }, types.ErrInvalidArgument},
		"an unknown DHT mode":    {func(c *Config) { c.DHT = 7 }, types.ErrInvalidArgument},
		"a negative DHT tuning":  {func(c *Config) { c.DHTTuning.Lookup = -1 }, types.ErrInvalidArgument},
	} {
		cfg := loopback(t.TempDir())
		test.change(&cfg)
		if _, err := Open(t.Context(), cfg); !errors.Is(err, test.want) {
			t.Errorf("%s: %v, want %v", name, err, test.want)
		}
	}
}

// A constructor undoes what it did: after each failing step nothing runs and
// the directory can be used.
func TestFailedOpenLeavesNothingBehind(t *testing.T) {
	ignore := goleak.IgnoreCurrent()
	taken := open(t, loopback(""))
	dir := t.TempDir()
	cfg := loopback(dir)
	cfg.Listen = []string{strings.Split(taken.Addrs()[0], "/p2p/")[0]}
	if _, err := Open(t.Context(), cfg); err == nil {
		t.Fatal("opened on a port that is taken")
	}
	n := open(t, loopback(dir))
	for _, c := range []*Node{n, taken} {
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
	}
	goleak.VerifyNone(t, ignore)
}

func TestJoinLeaveFind(t *testing.T) {
	n := open(t, loopback(""))
	if _, err := n.Find("a"); !errors.Is(err, types.ErrNotFound) {
		t.Errorf("find before joining: %v", err)
	}
	a := join(t, n, "a")
	if b := join(t, n, "a"); a != b {
		t.Error("joining twice gives two topics")
	}
	if byID, err := n.Find("id:" + a.ID().String()); err != nil || byID != a {
		t.Errorf("find by id: %v", err)
	}
	if _, err := n.Topic(t.Context(), "id:"+types.CIDOf(types.Hash{1}).String()); !errors.Is(err, types.ErrNotFound) {
		t.Errorf("join by an unknown id: %v", err)
	}
	for _, bad := range []string{"", "id:", "id:xyz", strings.Repeat("x", 256), "\xff"} {
		if _, err := n.Topic(t.Context(), bad); !errors.Is(err, types.ErrInvalidArgument) {
			t.Errorf("join %q: %v", bad, err)
		}
	}
	if _, err := a.Append(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	if err := n.Leave(t.Context(), "a"); err != nil {
		t.Fatal(err)
	}
	if _, err := a.Append(t.Context(), nil); !errors.Is(err, types.ErrNotFound) {
		t.Errorf("append after leaving: %v", err)
	}
	s, err := a.Status(t.Context())
	if err != nil || s.State != Paused || s.Events != 1 {
		t.Errorf("status after leaving: %+v, %v", s, err)
	}
	if again := join(t, n, "a"); again != a || !a.Joined() {
		t.Error("joining again does not take the topic up")
	}
}

// Guards against defect 12 of the peers: any peer could make a node create
// topics and goroutines without bound.
func TestStrangersCreateNoTopics(t *testing.T) {
	for _, test := range []struct {
		name      string
		replicate Replicate
		limit     int
	}{{"joined", Joined, 0}, {"all", All, 3}} {
		t.Run(test.name, func(t *testing.T) {
			cfg := loopback("")
			cfg.Replicate, cfg.Strangers.Topics = test.replicate, 3
			n := open(t, cfg)
			stranger := open(t, loopback(""))
			connect(t, stranger, n)
			own := join(t, stranger, "marker")
			for i := range 200 {
				topic := join(t, stranger, "flood"+string(rune('a'+i%26))+string(rune('a'+i/26)))
				if _, err := topic.Append(t.Context(), nil); err != nil {
					t.Fatal(err)
				}
			}
			// What was sent first has come when the marker has.
			mine := join(t, n, "marker")
			if _, err := own.Append(t.Context(), nil); err != nil {
				t.Fatal(err)
			}
			if _, err := mine.Wait(t.Context(), func(s Status) bool { return s.Events == 1 }); err != nil {
				t.Fatal(err)
			}
			if got := len(n.Topics()) - 1; got > test.limit {
				t.Errorf("%d topics of a stranger, limit %d", got, test.limit)
			}
		})
	}
}

// Guards against defect 14 of the peers: no way to ask "am I synced, and if
// not, what is missing and why?"
func TestStatusExplainsItself(t *testing.T) {
	a := open(t, loopback(""))
	ta := join(t, a, "topic")
	s, err := ta.Status(t.Context())
	if err != nil || s.State != Alone || s.Reason == "" {
		t.Errorf("alone: %+v, %v", s, err)
	}
	b := open(t, loopback(""))
	tb := join(t, b, "topic")
	if _, err := tb.Append(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	connect(t, a, b)
	s, err = ta.Wait(t.Context(), func(s Status) bool { return s.State == Synced && s.Events == 1 })
	if err != nil {
		t.Fatal(err)
	}
	if len(s.Peers) != 1 || s.Peers[0].Peer != b.ID() || !s.Peers[0].InSync || s.Peers[0].HeadsHash != s.HeadsHash || s.Peers[0].LastSync.IsZero() {
		t.Errorf("synced: %+v", s)
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := ta.Wait(t.Context(), func(s Status) bool { return s.State == Alone }); err != nil {
		t.Fatal(err)
	}
}

// Below its minimum of free disk a node says so, serves what it has, and takes
// nothing more.
func TestDiskBelowItsMinimum(t *testing.T) {
	dir := t.TempDir()
	n := open(t, loopback(dir))
	e, err := join(t, n, "topic").Append(t.Context(), []byte("x"))
	if err != nil {
		t.Fatal(err)
	}
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
	cfg := loopback(dir)
	cfg.MinFree = 1 << 60
	full := open(t, cfg)
	topic, err := full.Find("topic")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := topic.Append(t.Context(), nil); !errors.Is(err, types.ErrDiskFull) {
		t.Errorf("append: %v", err)
	}
	s, err := topic.Status(t.Context())
	if err != nil || s.State != Paused || s.Events != 1 {
		t.Errorf("status: %+v, %v", s, err)
	}
	// Others can still read it.
	reader := open(t, loopback(""))
	tr := join(t, reader, "topic")
	connect(t, reader, full)
	if _, err := tr.Wait(t.Context(), func(s Status) bool { return s.Events == 1 }); err != nil {
		t.Fatal(err)
	}
	if got, _, err := reader.Get(e.CID); err != nil || string(got.Payload) != "x" {
		t.Errorf("read elsewhere: %v", err)
	}
}

func TestConnectRefusesBadAddresses(t *testing.T) {
	n := open(t, loopback(""))
	for _, bad := range []string{"", "nonsense", "/ip4/127.0.0.1/tcp/1", "/p2p/" + n.ID().String(), n.Addrs()[0]} {
		if err := n.Connect(t.Context(), bad); !errors.Is(err, types.ErrInvalidArgument) {
			t.Errorf("connect %q: %v", bad, err)
		}
	}
}

// Topics of one name have one id in every network. Nodes of different networks
// that come to be connected keep them apart all the same.
func TestNetworksStayApart(t *testing.T) {
	var topics []*Topic
	var nodes []*Node
	for _, network := range []string{"one", "one", "two"} {
		cfg := loopback("")
		cfg.Network = network
		n := open(t, cfg)
		nodes, topics = append(nodes, n), append(topics, join(t, n, "topic"))
		if _, err := topics[len(topics)-1].Append(t.Context(), []byte(network)); err != nil {
			t.Fatal(err)
		}
	}
	connect(t, nodes[0], nodes[2])
	connect(t, nodes[0], nodes[1])
	if _, err := topics[0].Wait(t.Context(), func(s Status) bool { return s.State == Synced && s.Events == 2 }); err != nil {
		t.Fatal(err)
	}
	// By now the foreigner was asked too, and has asked.
	s, err := topics[2].Wait(t.Context(), func(s Status) bool { return s.State == Alone })
	if err != nil || s.Events != 1 {
		t.Errorf("the other network's node has %d events, %v", s.Events, err)
	}
}
