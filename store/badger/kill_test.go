package badger

import (
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ipfs/go-cid"

	"github.com/cairn-p2p/cairn/crdt"
	"github.com/cairn-p2p/cairn/store/storetest"
	"github.com/cairn-p2p/cairn/types"
)

// TestKillAtEachCall runs a replica through all that makes the committer write,
// once for every call that the committer makes of Badger on the way: that call
// fails, or fails although it did its work, or the process is killed at it. What
// was acknowledged is there afterwards, the database agrees with itself, and
// whoever takes up the work where it broke off ends with the very events, in the
// very order, of a run without a fault.
func TestKillAtEachCall(t *testing.T) {
	calls, want := rehearse(t)
	t.Logf("each run has %d events", strings.Count(want, "bafy")) // for the table of docs/simulation.md
	for call, name := range calls {
		for _, persisted := range []bool{false, true} {
			t.Run(fmt.Sprintf("%d %s fails, persisted %v", call, name, persisted), func(t *testing.T) {
				t.Parallel()
				l := newLife(t)
				fired := l.faults.arm(call, persisted, errInjected)
				l.run(func() bool { return false })
				if !fired() {
					t.Error("there was no such call")
				}
				l.check(want)
				l.end()
				l.begin()
				l.check(want)
			})
			if name != "commit" {
				continue // rehearse has seen that it leaves the disk as the last commit did
			}
			t.Run(fmt.Sprintf("killed at %d %s, persisted %v", call, name, persisted), func(t *testing.T) {
				t.Parallel()
				l := newLife(t)
				left := ""
				l.faults.armKill(call, persisted, func() {
					left = t.TempDir()
					if err := copyDir(left, l.dir); err != nil {
						t.Error(err)
					}
				})
				l.run(func() bool {
					if left == "" || left == l.dir {
						return false
					}
					l.end()
					l.dir = left
					l.begin()
					return true
				})
				if left == "" {
					t.Error("there was no such call")
				}
				l.check(want)
			})
		}
	}
}

// rehearse makes the run without a fault and returns the names of the
// committer's calls and what came of it. It holds each call to what a kill in the
// middle of it depends on: a commit changes the files of the database, nothing
// else does.
func rehearse(t *testing.T) (calls []string, outcome string) {
	t.Helper()
	l := newLife(t)
	l.faults.around = func(name string, do func() error) error {
		before := l.files()
		err := do()
		if changed := l.files() != before; changed != (name == "commit") {
			t.Errorf("a call of %s changes files: %v", name, changed)
		}
		return err
	}
	l.run(func() bool { return false })
	calls = l.faults.watched()
	for _, name := range []string{"get", "set", "remove", "commit", "sync"} {
		if !slices.Contains(calls, name) {
			t.Errorf("no call of %s among %v", name, calls)
		}
	}
	return calls, l.outcome()
}

// life is a replica on a database, through the ends of its process.
type life struct {
	*testing.T
	faults  *faults
	dir     string
	store   *Store
	replica *crdt.Replica

	genesis, other *types.Genesis
	foreign        []*types.Event // of another publisher, each behind the one before
	acked          []cid.Cid
}

// lifeTime is what every clock shows, so that an append tried again makes the
// same event.
var lifeTime = time.Unix(1_700_000_000, 0)

func lifeKey(n byte) ed25519.PrivateKey {
	return ed25519.NewKeyFromSeed(slices.Repeat([]byte{n}, ed25519.SeedSize))
}

func newLife(t *testing.T) *life {
	t.Helper()
	l := &life{T: t, faults: &faults{}, dir: t.TempDir()}
	for name, g := range map[string]**types.Genesis{"topic": &l.genesis, "other": &l.other} {
		var err error
		if *g, err = types.NewOpen(name); err != nil {
			t.Fatal(err)
		}
	}
	body := types.Body{Topic: l.genesis.ID(), Publisher: types.PublisherOf(lifeKey(2)), Height: 1, Tags: []string{"tag"}}
	for range 3 {
		body.Seq++
		e, err := types.NewEvent(body)
		if err != nil {
			t.Fatal(err)
		}
		l.foreign = append(l.foreign, e)
		body.Links, body.Height = []cid.Cid{e.CID}, e.Height+1
	}
	types.SignEvents(lifeKey(2), l.foreign)
	l.begin()
	t.Cleanup(l.end)
	return l
}

// begin starts the process on what is in dir.
func (l *life) begin() {
	l.Helper()
	var err error
	if l.store, err = Open(l.dir, Options{MinFree: NoMinFree, hooks: hooks{wrap: l.faults.wrap}}); err != nil {
		l.Fatal(err)
	}
	l.replica = crdt.New(&crdt.Config{
		Key: lifeKey(1), Store: l.store, Broadcaster: deaf{}, Syncer: deaf{}, Now: func() time.Time { return lifeTime },
	}, l.genesis, nil)
	l.faults.watch()
}

func (l *life) end() {
	l.replica.Close()
	if err := l.store.Close(); err != nil {
		l.Error(err)
	}
}

// deaf is a network on which nothing happens.
type deaf struct{}

func (deaf) Broadcast(types.Announcement)            {}
func (deaf) Sync(types.TopicID, types.PeerID)        {}
func (deaf) Changed(types.TopicID, types.Hash, bool) {}

// run does each step until it has succeeded, and again when died reports that
// the process ended meanwhile: then nobody heard of its success.
func (l *life) run(died func() bool) {
	l.Helper()
	for i, step := range []func() error{
		func() error { return l.store.JoinTopic(l.genesis) },
		func() error { return l.append("a", "b") },
		func() error { return l.integrate(l.foreign[:1]) },
		func() error { return l.store.JoinTopic(l.other) },
		func() error { return l.store.SetMeta("key", []byte("value")) },
		l.gossip,
		func() error { return l.append("c") },
		func() error { return l.store.SetMeta("key", nil) },
		func() error { return l.store.LeaveTopic(l.other.ID()) },
	} {
		for tries := 1; ; tries++ {
			err := step()
			if died() {
				continue
			}
			if err == nil {
				break
			}
			if tries > 3 {
				l.Fatalf("step %d: %v", i, err)
			}
		}
	}
}

// append appends those that an append before, of which nothing was heard, has
// not appended.
func (l *life) append(payloads ...string) error {
	stored := map[string]bool{}
	for e, err := range l.replica.Query(types.Query{}) {
		if err != nil {
			return err
		}
		stored[string(e.Payload)] = true
	}
	var drafts []crdt.Draft
	for _, p := range payloads {
		if !stored[p] {
			drafts = append(drafts, crdt.Draft{Payload: []byte(p)})
		}
	}
	events, err := l.replica.Append(context.Background(), drafts...)
	return l.acknowledge(events, err)
}

func (l *life) integrate(events []*types.Event) error {
	return l.acknowledge(events, l.replica.Integrate(context.Background(), "peer", events))
}

// gossip brings two events, the later first. Nobody is told when they are lost.
func (l *life) gossip() error {
	events := l.foreign[1:]
	l.replica.Receive("peer", events[1:], nil)
	l.replica.Receive("peer", events[:1], nil)
	if _, err := l.replica.State(context.Background()); err != nil { // behind both
		return err
	}
	stored, err := l.replica.Get(events[0].CID, events[1].CID)
	if err == nil && slices.Contains(stored, nil) {
		err = errors.New("lost")
	}
	return l.acknowledge(events, err)
}

func (l *life) acknowledge(events []*types.Event, err error) error {
	if err == nil {
		for _, e := range events {
			l.acked = append(l.acked, e.CID)
		}
	}
	return err
}

// outcome is all that is to be the same however the replica came to it.
func (l *life) outcome() string {
	l.Helper()
	s, err := l.replica.State(context.Background())
	if err != nil {
		l.Fatal(err)
	}
	out := fmt.Sprintf("%d events, %d pending, heads hash %x, own %v\n", s.Events, s.PendingEvents, s.HeadsHash, s.OwnErr)
	for entry, err := range l.store.Log(l.genesis.ID(), types.Cursor{}) {
		if err != nil {
			l.Fatal(err)
		}
		out += entry.CID().String() + "\n"
	}
	for info, err := range l.store.Topics() {
		if err != nil {
			l.Fatal(err)
		}
		out += fmt.Sprintf("%s, joined %v, %d events\n", info.Genesis.Name, info.Joined, info.Events)
	}
	value, err := l.store.Meta("key")
	if err != nil {
		l.Fatal(err)
	}
	return out + fmt.Sprintf("metadata %q", value)
}

// check compares the outcome with that of a run without a fault.
func (l *life) check(want string) {
	l.Helper()
	if got := l.outcome(); got != want {
		l.Errorf("the replica stands at\n%s\nwithout a fault at\n%s", got, want)
	}
	storetest.CheckInvariants(l, l.store)
	stored, err := l.replica.Get(l.acked...)
	if err != nil || slices.Contains(stored, nil) {
		l.Errorf("of what was acknowledged there is %v, %v", stored, err)
	}
}

// files returns a hash of the database's files, as far as so small a one fills
// them.
func (l *life) files() types.Hash {
	l.Helper()
	entries, err := os.ReadDir(l.dir)
	if err != nil {
		l.Fatal(err)
	}
	sum := sha256.New()
	for _, e := range entries {
		f, err := os.Open(filepath.Join(l.dir, e.Name()))
		if err != nil {
			l.Fatal(err)
		}
		fmt.Fprintln(sum, e.Name())
		if _, err := io.CopyN(sum, f, 128<<10); err != nil && !errors.Is(err, io.EOF) {
			l.Fatal(err)
		}
		f.Close() //nolint:errcheck // it was only read
	}
	return types.Hash(sum.Sum(nil))
}
