package crdt_test

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/ipfs/go-cid"

	"github.com/cairn-p2p/cairn/crdt"
	"github.com/cairn-p2p/cairn/types"
)

func mustAppend(t *testing.T, w *world, payloads ...string) []*types.Event {
	t.Helper()
	var drafts []crdt.Draft
	for _, p := range payloads {
		drafts = append(drafts, crdt.Draft{Payload: []byte(p)})
	}
	events, err := w.Append(t.Context(), drafts...)
	if err != nil {
		t.Fatal(err)
	}
	return events
}

func mustState(t *testing.T, w *world) crdt.State {
	t.Helper()
	s, err := w.State(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// take reads n deliveries behind a cursor.
func take(t *testing.T, w *world, after types.Cursor, n int) []crdt.Delivery {
	t.Helper()
	var got []crdt.Delivery
	for d, err := range w.Subscribe(t.Context(), after) {
		if err != nil {
			t.Fatal(err)
		}
		if got = append(got, d); len(got) == n {
			break
		}
	}
	return got
}

func TestAppendIsDurableAndBroadcast(t *testing.T) {
	w := newWorld(t, openTopic(t))
	events := mustAppend(t, w, "a", "b", "c")

	stored, err := w.Get(events[0].CID, events[1].CID, events[2].CID)
	if err != nil || slices.Contains(stored, nil) {
		t.Fatalf("stored %v, %v", stored, err)
	}
	verifier := types.NewVerifier(10)
	for i, e := range stored {
		if err := verifier.Verify(e); err != nil {
			t.Errorf("event %d: %v", i, err)
		}
		if e.Seq != uint64(i+1) || e.Height != uint64(i+1) {
			t.Errorf("event %d: seq %d, height %d", i, e.Seq, e.Height)
		}
	}
	s := mustState(t, w)
	if len(s.Heads) != 1 || s.Heads[0].CID != events[2].CID || s.HeadsHash != crdt.HeadsHash(s.Heads) {
		t.Errorf("heads %v", s.Heads)
	}
	sent := w.gossip.announcements()
	if len(sent) != 1 || len(sent[0].Events) != 3 || sent[0].HeadsHash != s.HeadsHash ||
		len(sent[0].Heads) != 1 || sent[0].Heads[0] != events[2].CID {
		t.Errorf("announced %v", sent)
	}
}

// Serialised and chained: appends that wait for a commit share the next one,
// and one writer leaves one head however many callers there are.
func TestConcurrentAppendsShareCommits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const writers = 64
		w := newWorld(t, openTopic(t))
		release := w.store.holdCommits()
		var group sync.WaitGroup
		for i := range writers {
			group.Go(func() {
				if _, err := w.Append(t.Context(), crdt.Draft{Payload: fmt.Append(nil, i)}); err != nil {
					t.Error(err)
				}
			})
		}
		synctest.Wait() // the first commit is held, and the others wait behind it
		release()
		group.Wait()
		if n := w.store.committed(); n > 2 {
			t.Errorf("%d commits for %d appends, want 2 at the most", n, writers)
		}
		if s := mustState(t, w); s.Events != writers || len(s.Heads) != 1 {
			t.Errorf("%d events, %d heads", s.Events, len(s.Heads))
		}
		got := take(t, w, types.Cursor{}, writers)
		if got[writers-1].Height != writers {
			t.Errorf("the appends do not form one chain: height %d", got[writers-1].Height)
		}
		signatures := map[[ed25519.SignatureSize]byte]bool{}
		for _, d := range got {
			signatures[signatureOf(t, d.Witness)] = true
		}
		if n := w.store.committed(); len(signatures) != n {
			t.Errorf("%d signatures for %d commits, want one each", len(signatures), n)
		}
	})
}

// TestLargeBatchIsSignedInParts: a batch of a thousand events has a signature for
// each 256, so that a sync can send them whole.
func TestLargeBatchIsSignedInParts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, openTopic(t))
		if _, err := w.Append(t.Context(), make([]crdt.Draft, 1000)...); err != nil {
			t.Fatal(err)
		}
		sizes := map[[ed25519.SignatureSize]byte]int{}
		for _, d := range take(t, w, types.Cursor{}, 1000) {
			sizes[signatureOf(t, d.Witness)]++
		}
		if len(sizes) != 4 {
			t.Errorf("%d signatures for 1,000 events, want 4", len(sizes))
		}
	})
}

// signatureOf returns the signature in a witness.
func signatureOf(t *testing.T, witness []byte) (s [ed25519.SignatureSize]byte) {
	t.Helper()
	if part, ok := types.PartOfBatch(witness); ok {
		return part.Signature
	}
	if copy(s[:], witness[1:]) != len(s) {
		t.Fatalf("witness %x holds no signature", witness)
	}
	return s
}

// Guards against defects 6 and 7 of the peers: an effect returned before its
// cause, and subscribers told only of broadcasts and before the event is stored.
func TestSubscribersSeeAppendedGossipedAndBackfilledEvents(t *testing.T) {
	w := newWorld(t, openTopic(t))
	other := &author{t: t, topic: w.topic, key: key(2)}
	chain := other.chain(4)

	got := make(chan crdt.Delivery)
	ctx, cancel := context.WithCancel(t.Context())
	var group sync.WaitGroup
	group.Go(func() {
		defer close(got)
		for d, err := range w.Subscribe(ctx, types.Cursor{}) {
			if err != nil {
				t.Error(err)
				return
			}
			got <- d
		}
	})
	expect := func(want *types.Event) {
		t.Helper()
		d := <-got
		if d.CID != want.CID {
			t.Fatalf("delivered %q, want %q", d.Payload, want.Payload)
		}
		if stored, err := w.Get(d.CID); err != nil || stored[0] == nil {
			t.Fatalf("delivered before it was stored: %v", err)
		}
	}

	own := mustAppend(t, w, "own")
	expect(own[0])
	w.Receive("neighbour", chain[:1], nil) // gossip
	expect(chain[0])
	w.Receive("neighbour", chain[2:], nil) // waits for chain[1]
	if from := <-w.syncer.asked; from != "neighbour" {
		t.Errorf("asked %q first", from)
	}
	if err := w.Integrate(t.Context(), "server", chain[1:2]); err != nil {
		t.Fatal(err)
	}
	expect(chain[1])
	expect(chain[2])
	expect(chain[3])
	cancel()
	group.Wait()
}

// The last commit of a topic that then stays quiet may come just when a
// subscriber has read the log and does not wait yet.
func TestSubscribeMissesNoCommit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, openTopic(t))
		mustAppend(t, w, "before")
		var late []*types.Event
		w.store.onRead(func() { late = mustAppend(t, w, "between") })
		got := take(t, w, types.Cursor{}, 2)
		if len(late) != 1 || got[1].CID != late[0].CID {
			t.Errorf("delivered %q, then %q", got[0].Payload, got[1].Payload)
		}
	})
}

func TestSubscribeResumesFromCursor(t *testing.T) {
	w := newWorld(t, openTopic(t))
	events := mustAppend(t, w, "a", "b", "c")
	first := take(t, w, types.Cursor{}, 1)
	rest := take(t, w, first[0].Cursor, 2)
	if rest[0].CID != events[1].CID || rest[1].CID != events[2].CID {
		t.Errorf("resumed at %q, %q", rest[0].Payload, rest[1].Payload)
	}
	end, err := w.End()
	if err != nil || end != rest[1].Cursor {
		t.Errorf("end %v, %v, want %v", end, err, rest[1].Cursor)
	}
	forged := rest[0].Cursor
	forged.Hash[0] ^= 1
	for _, err := range w.Subscribe(t.Context(), forged) {
		if !errors.Is(err, types.ErrInvalidCursor) {
			t.Errorf("forged cursor: %v", err)
		}
	}
}

func TestCloseEndsSubscriptionsAndRefusesAppends(t *testing.T) {
	w := newWorld(t, openTopic(t))
	mustAppend(t, w, "a")
	seen := make(chan struct{})
	ended := make(chan error)
	go func() {
		var last error
		for _, err := range w.Subscribe(context.Background(), types.Cursor{}) {
			if last = err; err == nil {
				close(seen)
			}
		}
		ended <- last
	}()
	<-seen
	w.Close()
	if err := <-ended; !errors.Is(err, types.ErrClosed) {
		t.Errorf("subscription ended with %v", err)
	}
	if _, err := w.Append(t.Context(), crdt.Draft{}); !errors.Is(err, types.ErrClosed) {
		t.Errorf("append after close: %v", err)
	}
	w.Close()
}

// Close is a handshake: what was accepted before it is carried out.
func TestCloseWaitsForAcceptedAppends(t *testing.T) {
	w := newWorld(t, openTopic(t))
	release := w.store.holdCommits()
	results := make(chan error, 8)
	for range cap(results) {
		go func() {
			_, err := w.Append(context.Background(), crdt.Draft{})
			results <- err
		}()
	}
	release()
	w.Close()
	stored := 0
	for range cap(results) {
		switch err := <-results; {
		case err == nil:
			stored++
		case !errors.Is(err, types.ErrClosed):
			t.Errorf("append: %v", err)
		}
	}
	info, err := w.store.Topic(w.topic)
	if err != nil || info.Events != uint64(stored) {
		t.Errorf("%d events stored, %d acknowledged, %v", info.Events, stored, err)
	}
}

// Appends chained on one whose commit failed fail with it, and the next ones
// chain on what is stored.
func TestFailedCommit(t *testing.T) {
	for _, persist := range []bool{false, true} {
		t.Run(fmt.Sprintf("persisted=%v", persist), func(t *testing.T) {
			w := newWorld(t, openTopic(t))
			mustAppend(t, w, "before")
			cause := fmt.Errorf("%w: injected", types.ErrStore)
			w.store.inject(func(*types.Batch) (bool, error) { return persist, cause })
			if _, err := w.Append(t.Context(), crdt.Draft{}, crdt.Draft{}); !errors.Is(err, types.ErrStore) {
				t.Fatalf("append: %v", err)
			}
			if n := len(w.gossip.announcements()); n != 1 {
				t.Errorf("%d announcements: one of a failed commit", n)
			}
			w.store.inject(nil)
			want := uint64(2)
			if persist {
				want = 4
			}
			after := mustAppend(t, w, "after")[0]
			if after.Seq != want || after.Height != want {
				t.Errorf("seq %d, height %d, want %d", after.Seq, after.Height, want)
			}
			if s := mustState(t, w); s.Events != want || len(s.Heads) != 1 {
				t.Errorf("%d events, %d heads", s.Events, len(s.Heads))
			}
		})
	}
}

// A subscriber hears of a commit that failed and yet persisted.
func TestPersistedFailureWakesSubscribers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // so that one who hears nothing fails, and does not wait
		w := newWorld(t, openTopic(t))
		first := mustAppend(t, w, "first")[0]
		got := make(chan crdt.Delivery)
		go func() {
			defer close(got)
			for d, err := range w.Subscribe(context.Background(), types.Cursor{}) {
				if err != nil {
					return
				}
				got <- d
			}
		}()
		if d := <-got; d.CID != first.CID {
			t.Fatalf("delivered %q", d.Payload)
		}
		w.store.inject(func(*types.Batch) (bool, error) { return true, types.ErrStore })
		_, err := w.Append(t.Context(), crdt.Draft{Payload: []byte("second")})
		if !errors.Is(err, types.ErrStore) {
			t.Fatal(err)
		}
		if d := <-got; string(d.Payload) != "second" {
			t.Errorf("delivered %q", d.Payload)
		}
		w.Close()
		for range got {
			t.Error("delivered twice")
		}
	})
}

// A full disk refuses and changes nothing; when there is room again, appends
// go on by themselves.
func TestDiskFull(t *testing.T) {
	w := newWorld(t, openTopic(t))
	w.store.inject(func(*types.Batch) (bool, error) { return false, types.ErrDiskFull })
	if _, err := w.Append(t.Context(), crdt.Draft{}); !errors.Is(err, types.ErrDiskFull) {
		t.Fatalf("append: %v", err)
	}
	w.store.inject(nil)
	if e := mustAppend(t, w, "room")[0]; e.Seq != 1 {
		t.Errorf("seq %d", e.Seq)
	}
}

func TestAppendRefusesBadDrafts(t *testing.T) {
	w := newWorld(t, openTopic(t))
	missing := (&author{t: t, topic: w.topic, key: key(2)}).event("elsewhere")
	for name, test := range map[string]struct {
		draft crdt.Draft
		want  error
	}{
		"payload over the limit": {crdt.Draft{Payload: make([]byte, types.MaxPayload+1)}, types.ErrInvalidArgument},
		"empty tag":              {crdt.Draft{Tags: []string{""}}, types.ErrInvalidArgument},
		"tag that is not UTF-8":  {crdt.Draft{Tags: []string{"\xff"}}, types.ErrInvalidArgument},
		"after an absent event":  {crdt.Draft{After: []types.TopicID{missing.CID}}, types.ErrNotFound},
	} {
		if _, err := w.Append(t.Context(), test.draft); !errors.Is(err, test.want) {
			t.Errorf("%s: %v, want %v", name, err, test.want)
		}
	}
	if s := mustState(t, w); s.Events != 0 {
		t.Errorf("%d events", s.Events)
	}
	if _, err := w.Append(t.Context(), crdt.Draft{Payload: make([]byte, types.MaxPayload), Tags: []string{"b", "a", "b"}}); err != nil {
		t.Errorf("at the limit: %v", err)
	}
}

func TestRestrictedTopicRefusesStrangers(t *testing.T) {
	g, err := types.NewRestricted("mine", types.PublisherOf(key(2)), nil)
	if err != nil {
		t.Fatal(err)
	}
	w := newWorld(t, g)
	if _, err := w.Append(t.Context(), crdt.Draft{}); !errors.Is(err, types.ErrNotWriter) {
		t.Errorf("append: %v", err)
	}
}

func TestIntegrateNamesTheGraverRefusal(t *testing.T) {
	w := newWorld(t, openTopic(t))
	other := &author{t: t, topic: w.topic, key: key(2)}
	chain := other.chain(3)
	if err := w.Integrate(t.Context(), "server", chain[1:]); !errors.Is(err, types.ErrUnlinked) {
		t.Errorf("without parents: %v", err)
	}
	forged := *chain[1]
	forged.Height = 7
	bad, err := types.NewEvent(forged.Body)
	if err != nil {
		t.Fatal(err)
	}
	types.SignEvents(other.key, []*types.Event{bad})
	err = w.Integrate(t.Context(), "server", []*types.Event{chain[0], chain[2], bad})
	if !errors.Is(err, types.ErrInvalidEvent) {
		t.Errorf("forged height: %v", err)
	}
	if s := mustState(t, w); s.Events != 1 || s.PendingEvents != 0 {
		t.Errorf("%d events, %d pending: only the valid prefix is taken, and nothing of a sync waits", s.Events, s.PendingEvents)
	}
}

// What was handed over to be published is announced like what is appended, in the
// order of the log, once it is stored, and not again.
func TestSubmittedIsAnnounced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, openTopic(t))
		other := &author{t: t, topic: w.topic, key: key(2)}
		chain := other.chain(3)
		release := w.store.holdCommits()
		var group sync.WaitGroup
		group.Go(func() {
			if err := w.Integrate(t.Context(), "server", chain[:1]); err != nil { // by sync: everybody has it
				t.Error(err)
			}
		})
		synctest.Wait()
		group.Go(func() {
			if err := w.Submit(t.Context(), "", chain); err != nil {
				t.Error(err)
			}
		})
		synctest.Wait()
		group.Go(func() {
			if _, err := w.Append(t.Context(), crdt.Draft{}); err != nil {
				t.Error(err)
			}
		})
		synctest.Wait()
		release()
		group.Wait()
		if err := w.Submit(t.Context(), "", chain); err != nil {
			t.Error(err)
		}
		var announced []cid.Cid
		for _, a := range w.gossip.announcements() {
			for _, e := range a.Events {
				announced = append(announced, e.CID)
			}
		}
		var want []cid.Cid
		for _, d := range take(t, w, types.Cursor{}, 4)[1:] {
			want = append(want, d.CID)
		}
		if !slices.Equal(announced, want) {
			t.Errorf("announced %v, want %v", announced, want)
		}
		forged := *chain[2]
		forged.Height += 5
		e, err := types.NewEvent(forged.Body)
		if err != nil {
			t.Fatal(err)
		}
		types.SignEvents(other.key, []*types.Event{e})
		if err := w.Submit(t.Context(), "", []*types.Event{e}); !errors.Is(err, types.ErrInvalidEvent) {
			t.Errorf("forged height: %v", err)
		}
		if n := len(w.gossip.announcements()); n != 1 {
			t.Errorf("%d announcements, want 1", n)
		}
	})
}

// What gossip brings beyond the inbox's room is left to a sync, not kept.
func TestFullInboxAsksForASync(t *testing.T) {
	w := newWorld(t, openTopic(t))
	release := w.store.holdCommits()
	defer release()
	go w.Append(context.Background(), crdt.Draft{}) //nolint:errcheck // it keeps the driver busy
	other := &author{t: t, topic: w.topic, key: key(2)}
	big := other.event(string(make([]byte, types.MaxPayload)))
	for range 20 {
		w.Receive("flood", []*types.Event{big}, nil)
	}
	if from := <-w.syncer.asked; from != "flood" {
		t.Errorf("asked %q", from)
	}
}

func TestAnnouncedHeadsThatAreUnknownStartASync(t *testing.T) {
	w := newWorld(t, openTopic(t))
	other := &author{t: t, topic: w.topic, key: key(2)}
	chain := other.chain(2)
	w.Receive("a", chain[:1], []types.TopicID{chain[0].CID}) // known by then
	w.Receive("b", nil, []types.TopicID{chain[1].CID})
	mustState(t, w)
	if n := len(w.syncer.asked); n != 1 {
		t.Fatalf("%d syncs", n)
	}
	if from := <-w.syncer.asked; from != "b" {
		t.Errorf("asked %q", from)
	}
}

// An idle replica drops all that it has in memory, also what it kept for whoever
// waited for a commit, and takes it up from the store at its next use.
func TestUnloadedReplicaLoadsAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, openTopic(t))
		if w.Loaded() {
			t.Error("loaded before its first use")
		}
		first := mustAppend(t, w, "a")[0]
		synctest.Wait() // the driver has ended
		committed := w.Committed()
		if !w.Loaded() || !w.Unload() || w.Loaded() {
			t.Error("an idle replica does not unload")
		}
		select {
		case <-committed:
		default:
			t.Error("an unloaded replica keeps a signal")
		}
		second := mustAppend(t, w, "b")[0]
		if second.Seq != 2 || len(second.Links) != 1 || second.Links[0] != first.CID || !w.Loaded() {
			t.Errorf("after the unload an event with seq %d and links %v", second.Seq, second.Links)
		}
		if s := mustState(t, w); s.Events != 2 {
			t.Errorf("%d events", s.Events)
		}
	})
}

// A replica with pending events does not unload: they are nowhere else.
func TestReplicaWithPendingEventsStaysLoaded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, openTopic(t))
		events := (&author{t: t, topic: w.topic, key: key(2)}).chain(2)
		w.Receive("neighbour", events[1:], nil)
		synctest.Wait()
		if w.Unload() || w.Pending() != 1 {
			t.Errorf("unloaded with %d pending", w.Pending())
		}
		if err := w.Integrate(t.Context(), "neighbour", events[:1]); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if !w.Unload() || w.Pending() != 0 {
			t.Errorf("stays loaded with %d pending", w.Pending())
		}
	})
}

// An own event that comes from elsewhere and was not written here proves that
// the database is an old copy: appends wait until it has caught up.
func TestRolledBackReplicaCatchesUpBeforeItAppends(t *testing.T) {
	w := newWorld(t, openTopic(t))
	lost := (&author{t: t, topic: w.topic, key: key(1)}).chain(3) // this node's own key
	w.Receive("neighbour", lost[2:], nil)
	if _, err := w.Append(t.Context(), crdt.Draft{}); !errors.Is(err, types.ErrRolledBack) {
		t.Fatalf("append: %v", err)
	}
	if !w.Halted() {
		t.Error("not halted")
	}
	if err := w.Integrate(t.Context(), "neighbour", lost[:2]); err != nil {
		t.Fatal(err)
	}
	if e := mustAppend(t, w, "again")[0]; e.Seq != 4 || e.Links[0] != lost[2].CID {
		t.Errorf("seq %d", e.Seq)
	}
	if w.Halted() {
		t.Error("still halted")
	}
}

func TestForkedKeyRefusesAppends(t *testing.T) {
	w := newWorld(t, openTopic(t))
	mustAppend(t, w, "mine")
	other := (&author{t: t, topic: w.topic, key: key(1)}).event("also mine")
	w.Receive("neighbour", []*types.Event{other}, nil)
	if _, err := w.Append(t.Context(), crdt.Draft{}); !errors.Is(err, types.ErrForkedKey) {
		t.Errorf("append: %v", err)
	}
}
