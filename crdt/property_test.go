package crdt_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/ipfs/go-cid"
	"pgregory.net/rapid"

	"github.com/cairn-p2p/cairn/crdt"
	"github.com/cairn-p2p/cairn/store/badger"
	"github.com/cairn-p2p/cairn/store/storetest"
	"github.com/cairn-p2p/cairn/types"
)

// TestReplicasOverDatabases lets three replicas, each over a database of its own,
// append, gossip and sync in any order, while commits fail or persist all the
// same, and processes are killed before a commit or behind it. At every moment
// two replicas have equal heads hashes exactly if they have equal events. In the
// end all have the same, all that was acknowledged is among it, and at each
// replica one who reads on from a cursor was given every event once, behind its
// links.
func TestReplicasOverDatabases(t *testing.T) {
	var disks [3]*disk
	for i := range disks {
		disks[i] = &disk{dir: t.TempDir()}
		if err := disks[i].open(); err != nil {
			t.Fatal(err)
		}
		defer func() {
			storetest.CheckInvariants(t, disks[i])
			if err := disks[i].Close(); err != nil {
				t.Error(err)
			}
		}()
	}
	topics := 0 // one for each run: to open new databases takes longer than a run
	rapid.Check(t, func(t *rapid.T) {
		topics++
		g, err := types.NewOpen(fmt.Sprint("topic ", topics))
		check(t, err)
		c := &company{T: t}
		for i, d := range disks {
			check(t, d.JoinTopic(g))
			m := &citizen{company: c, disk: d, genesis: g, key: byte(i + 1)}
			m.begin()
			c.members = append(c.members, m)
			defer m.Close()
		}
		for range rapid.IntRange(1, 25).Draw(t, "steps") {
			c.step()
			c.compare()
		}
		c.heal()
		c.verify()
	})
}

func check(t *rapid.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// company is some replicas of a topic and what goes on between them.
type company struct {
	*rapid.T
	members   []*citizen
	announced []*types.Event // what gossip may bring
	acked     []cid.Cid
	appended  int
}

func (c *company) anyone(role string) *citizen { return rapid.SampledFrom(c.members).Draw(c.T, role) }

func (c *company) step() {
	switch choice := rapid.IntRange(0, 29).Draw(c.T, "step"); {
	case choice < 9:
		c.anyone("writer").append(rapid.IntRange(1, 3).Draw(c.T, "drafts"))
	case choice < 17 && len(c.announced) > 0:
		m := c.anyone("neighbour")
		m.Receive("somebody", rapid.SliceOfN(rapid.SampledFrom(c.announced), 1, 5).Draw(c.T, "gossip"), nil)
		m.rest()
	case choice < 21:
		client, server := c.anyone("client"), c.anyone("server")
		log := server.log()
		client.integrate(log[:rapid.IntRange(0, len(log)).Draw(c.T, "pulled")])
	case choice < 24:
		c.anyone("reader").read(rapid.IntRange(0, 10).Draw(c.T, "entries"))
	case choice < 29:
		c.anyone("victim").disk.next = rapid.SampledFrom([]fate{fails, persists, killedBefore, killedBehind}).Draw(c.T, "fate")
	default:
		c.anyone("victim").restart()
	}
	for _, m := range c.members {
		if m.disk.dead {
			m.restart()
		}
	}
}

// compare holds each two replicas to the rule that makes a heads hash enough.
func (c *company) compare() {
	c.Helper()
	for i, a := range c.members {
		for _, b := range c.members[:i] {
			hashes, events := a.rest().HeadsHash == b.rest().HeadsHash, maps.Equal(a.events(), b.events())
			if hashes != events {
				c.Fatalf("replicas %d and %d: equal heads hashes %t, equal events %t", a.key, b.key, hashes, events)
			}
		}
	}
}

// heal ends the faults and lets each sync with the next until all was handed
// round.
func (c *company) heal() {
	for _, m := range c.members {
		m.disk.next = succeeds
	}
	for i := range 2 * len(c.members) {
		client, server := c.members[(i+1)%len(c.members)], c.members[i%len(c.members)]
		client.integrate(server.log())
	}
}

func (c *company) verify() {
	c.Helper()
	first := c.members[0].rest()
	for _, m := range c.members {
		s, events := m.rest(), m.events()
		if s.HeadsHash != first.HeadsHash || s.Events != uint64(len(events)) || s.Events != first.Events {
			c.Fatalf("replica %d has %d events, heads hash %x; the first %d, %x", m.key, s.Events, s.HeadsHash, first.Events, first.HeadsHash)
		}
		if s.OwnErr != nil || s.PendingEvents != 0 || s.HeadsHash != crdt.HeadsHash(s.Heads) {
			c.Fatalf("replica %d: own log %v, %d events pending, heads %v", m.key, s.OwnErr, s.PendingEvents, s.Heads)
		}
		for _, id := range c.acked {
			if !events[id] {
				c.Fatalf("replica %d lacks %s, whose append was acknowledged", m.key, id)
			}
		}
		m.read(len(events))
		if !maps.Equal(m.seen, events) {
			c.Fatalf("the reader of replica %d was given %d events of %d", m.key, len(m.seen), len(events))
		}
	}
}

// citizen is a replica, its database, and somebody who reads it.
type citizen struct {
	*crdt.Replica
	company *company
	disk    *disk
	genesis *types.Genesis
	key     byte

	at   types.Cursor // of the reader
	seen map[cid.Cid]bool
}

func (m *citizen) begin() {
	if m.seen == nil {
		m.seen = map[cid.Cid]bool{}
	}
	m.Replica = crdt.New(&crdt.Config{
		Key: key(m.key), Store: m.disk, Broadcaster: m, Syncer: m, Now: func() time.Time { return time.Unix(1, 0) },
	}, m.genesis, nil)
}

// restart ends the process, if it has not been killed, and starts the next.
func (m *citizen) restart() {
	m.company.Helper()
	m.Close()
	check(m.company.T, m.disk.Close())
	check(m.company.T, m.disk.open())
	m.begin()
}

// Broadcast takes what the replica announces: it must have it already.
func (m *citizen) Broadcast(a types.Announcement) {
	for _, e := range a.Events {
		if stored, err := m.disk.Get([]cid.Cid{e.CID}); err != nil || stored[0] == nil {
			m.company.Errorf("%s is announced and not stored: %v", e.CID, err)
		}
	}
	m.company.announced = append(m.company.announced, a.Events...)
}

// Sync does nothing: the company decides who syncs when.
func (m *citizen) Sync(types.TopicID, types.PeerID) {}

// Changed does nothing.
func (m *citizen) Changed(types.TopicID, types.Hash, bool) {}

func (m *citizen) append(n int) {
	c := m.company
	drafts := make([]crdt.Draft, n)
	for i := range drafts {
		c.appended++
		drafts[i].Payload = fmt.Append(nil, c.appended)
	}
	fate := m.disk.next
	events, err := m.Append(context.Background(), drafts...)
	if (err == nil) != (fate == succeeds) {
		c.Fatalf("append to a disk that %s: %v", fate, err)
	}
	for _, e := range events {
		c.acked = append(c.acked, e.CID)
	}
}

func (m *citizen) integrate(events []*types.Event) {
	fate := m.disk.next
	if err := m.Integrate(context.Background(), "server", events); err != nil && fate == succeeds {
		m.company.Fatalf("a log is refused: %v", err)
	}
}

// rest waits until the replica has done what it was given.
func (m *citizen) rest() crdt.State {
	s, err := m.State(context.Background())
	if err != nil && !m.disk.dead {
		m.company.Fatal(err)
	}
	return s
}

func (m *citizen) log() []*types.Event {
	var events []*types.Event
	for entry, err := range m.Log(types.Cursor{}) {
		check(m.company.T, err)
		e, err := entry.Event()
		check(m.company.T, err)
		events = append(events, e)
	}
	return events
}

func (m *citizen) events() map[cid.Cid]bool {
	all := map[cid.Cid]bool{}
	for _, e := range m.log() {
		all[e.CID] = true
	}
	return all
}

// read lets the reader go on by up to n events.
func (m *citizen) read(n int) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	if n = min(n, int(m.rest().Events)-len(m.seen)); n <= 0 {
		return
	}
	for d, err := range m.Subscribe(ctx, m.at) {
		check(m.company.T, err)
		if m.seen[d.CID] || slices.ContainsFunc(d.Links, func(l cid.Cid) bool { return !m.seen[l] }) {
			m.company.Fatalf("replica %d delivers %s twice or before its links", m.key, d.CID)
		}
		m.seen[d.CID], m.at = true, d.Cursor
		if n--; n == 0 {
			return
		}
	}
}

// fate is what becomes of a disk's next commit.
type fate string

const (
	succeeds     fate = "succeeds"
	fails        fate = "fails"
	persists     fate = "fails, but persists"
	killedBefore fate = "sees its process killed before the commit"
	killedBehind fate = "sees its process killed behind the commit"
)

// disk is a database whose next commit may have another fate than to succeed.
type disk struct {
	*badger.Store
	dir  string
	next fate
	dead bool // its process was killed: nothing is answered any more
}

func (d *disk) open() error {
	var err error
	d.Store, err = badger.Open(d.dir, badger.Options{MinFree: badger.NoMinFree})
	d.next, d.dead = succeeds, false
	return err
}

var errKilled = errors.New("killed")

func (d *disk) Commit(b *types.Batch) error {
	next := d.next
	d.next = succeeds
	if next == succeeds || next == persists || next == killedBehind {
		if err := d.Store.Commit(b); err != nil {
			return err
		}
	}
	d.dead = next == killedBefore || next == killedBehind
	if next == succeeds {
		return nil
	}
	return fmt.Errorf("%w: %w", types.ErrStore, errKilled)
}

func (d *disk) Load(topic types.TopicID, self types.Publisher) (types.TopicState, error) {
	if d.dead {
		return types.TopicState{}, errKilled
	}
	return d.Store.Load(topic, self)
}
