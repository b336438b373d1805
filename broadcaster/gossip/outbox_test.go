package gossip

import (
	"testing"
	"time"

	"github.com/cairn-p2p/cairn/broadcaster/broadcastertest"
	"github.com/cairn-p2p/cairn/types"
)

// epoch is when the tests of the outbox begin: it reads no clock.
var epoch = time.Unix(1000, 0)

// expect takes the next draft, which must be due after exactly wait and have as
// many events.
func expect(t *testing.T, b *outbox, now *time.Time, wait time.Duration, events int) *draft {
	t.Helper()
	d, got := b.next(*now)
	if d == nil && got > 0 {
		*now = now.Add(got)
		d, _ = b.next(*now)
	}
	if d == nil {
		t.Fatalf("nothing is due, want %d events after %v", events, wait)
	}
	if got != wait || len(d.events) != events {
		t.Fatalf("%d events after %v, want %d after %v", len(d.events), got, events, wait)
	}
	return d
}

// expectNothing checks that nothing waits, now or later, and that the outbox
// then forgets the topic.
func expectNothing(t *testing.T, b *outbox, now *time.Time) {
	t.Helper()
	for {
		d, wait := b.next(*now)
		if d != nil {
			t.Fatalf("%d events are due, want nothing", len(d.events))
		}
		if wait == 0 {
			break
		}
		*now = now.Add(wait)
	}
	if len(b.topics) != 0 || len(b.queue) != 0 || b.bytes != 0 {
		t.Fatalf("%d topics, %d queued, %d bytes are left", len(b.topics), len(b.queue), b.bytes)
	}
}

func put(t *testing.T, b *outbox, now time.Time, a types.Announcement, coalesced int) {
	t.Helper()
	if got := b.put(a, now); got != coalesced {
		t.Fatalf("let go of %d events, want %d", got, coalesced)
	}
}

func TestOutboxSendsAtOnceThenGathers(t *testing.T) {
	g := broadcastertest.Topic(t, "gather")
	events := broadcastertest.Chain(t, broadcastertest.Key(0), g, 4, 100, false)
	b, now := newOutbox(1<<20, 1<<20), epoch

	put(t, b, now, broadcastertest.Announce(g, events[0]), 0)
	expect(t, b, &now, 0, 1)
	put(t, b, now, broadcastertest.Announce(g, events[1]), 0)
	now = now.Add(linger / 2)
	put(t, b, now, broadcastertest.Announce(g, events[2]), 0)
	d := expect(t, b, &now, linger/2, 2)
	if d.heads[0] != events[2].CID || d.headsHash != types.Digest(events[2].CID) {
		t.Error("the message does not carry the latest heads")
	}
	now = now.Add(10 * linger)
	put(t, b, now, broadcastertest.Announce(g, events[3]), 0)
	expect(t, b, &now, 0, 1)
	expectNothing(t, b, &now)
}

// A message is full at batchBytes; then nothing waits for more.
func TestOutboxSplits(t *testing.T) {
	g := broadcastertest.Topic(t, "split")
	events := broadcastertest.Chain(t, broadcastertest.Key(0), g, 10, batchBytes/4, false)
	b, now := newOutbox(1<<20, 1<<20), epoch

	put(t, b, now, broadcastertest.Announce(g, events...), 0)
	expect(t, b, &now, 0, 3)
	expect(t, b, &now, 0, 3)
	expect(t, b, &now, 0, 3)
	d := expect(t, b, &now, linger, 1)
	if d.events[0] != events[9] {
		t.Error("events are out of order")
	}
	expectNothing(t, b, &now)
}

// An event larger than batchBytes goes alone.
func TestOutboxLargeEvents(t *testing.T) {
	g := broadcastertest.Topic(t, "limits")
	b, now := newOutbox(1<<20, 1<<20), epoch
	big := broadcastertest.Chain(t, broadcastertest.Key(0), g, 2, types.MaxPayload/2, false)
	put(t, b, now, broadcastertest.Announce(g, big...), 0)
	expect(t, b, &now, 0, 1)
	expect(t, b, &now, 0, 1)
	expectNothing(t, b, &now)
}

func TestOutboxCoalesces(t *testing.T) {
	g, other := broadcastertest.Topic(t, "full"), broadcastertest.Topic(t, "other")
	events := broadcastertest.Chain(t, broadcastertest.Key(0), g, 4, 100, false)
	others := broadcastertest.Chain(t, broadcastertest.Key(0), other, 2, 100, false)
	size := events[1].Size()
	b, now := newOutbox(3*size, 3*size), epoch

	put(t, b, now, broadcastertest.Announce(g, events[1], events[1]), 0)
	put(t, b, now, broadcastertest.Announce(other, others[0]), 0)
	put(t, b, now, broadcastertest.Announce(other, others[1]), 2) // the node is full
	b.maxNode *= 2
	put(t, b, now, broadcastertest.Announce(g, events[2]), 0)
	put(t, b, now, broadcastertest.Announce(g, events[3]), 4) // the topic is full
	for range 2 {
		d := expect(t, b, &now, 0, 0)
		want := events[3]
		if d.genesis == other {
			want = others[1]
		}
		if d.heads[0] != want.CID {
			t.Errorf("announced head %s, want the latest, %s", d.heads[0], want.CID)
		}
	}
	expectNothing(t, b, &now)
}

// Messages without events keep the pause in which neighbours would not forward
// them; the last heads go when it ends, and events do not wait for it.
func TestOutboxPacesHeads(t *testing.T) {
	g := broadcastertest.Topic(t, "pace")
	events := broadcastertest.Chain(t, broadcastertest.Key(0), g, 4, 100, false)
	b, now := newOutbox(1<<20, 1<<20), epoch

	put(t, b, now, broadcastertest.AnnounceHeads(g, events[0]), 0)
	expect(t, b, &now, 0, 0)
	put(t, b, now, broadcastertest.AnnounceHeads(g, events[1]), 0)
	put(t, b, now, broadcastertest.AnnounceHeads(g, events[2]), 0)
	d := expect(t, b, &now, headsPause, 0)
	if d.heads[0] != events[2].CID {
		t.Error("announced old heads")
	}
	put(t, b, now, broadcastertest.AnnounceHeads(g, events[2]), 0)
	put(t, b, now, broadcastertest.Announce(g, events[3]), 0)
	expect(t, b, &now, linger, 1)
	expectNothing(t, b, &now)
}

// A message that was lost on the way out is made up for by its topic's heads,
// after a pause and once.
func TestOutboxRetries(t *testing.T) {
	g := broadcastertest.Topic(t, "retry")
	events := broadcastertest.Chain(t, broadcastertest.Key(0), g, 1, 100, false)
	b, now := newOutbox(1<<20, 1<<20), epoch

	b.retry(g.ID(), now) // of a topic that has not sent: nothing
	expectNothing(t, b, &now)
	put(t, b, now, broadcastertest.Announce(g, events[0]), 0)
	expect(t, b, &now, 0, 1)
	now = now.Add(5 * time.Second) // gossipsub still has the message, and may drop it
	if d, _ := b.next(now); d != nil {
		t.Errorf("%d events are due, want nothing", len(d.events))
	}
	b.retry(g.ID(), now)
	b.retry(g.ID(), now)
	d := expect(t, b, &now, headsPause, 0)
	if d.heads[0] != events[0].CID {
		t.Error("announced other heads")
	}
	now = now.Add(headsPause / 2)
	put(t, b, now, broadcastertest.AnnounceHeads(g, events[0]), 0)
	b.retry(g.ID(), now) // they are on their way: no reason to wait longer
	expect(t, b, &now, headsPause/2, 0)
	expectNothing(t, b, &now)
}

// A message is full of bytes before it has too many events.
func TestSmallestEvents(t *testing.T) {
	g := broadcastertest.Topic(t, "s")
	e := broadcastertest.Chain(t, broadcastertest.Key(0), g, 1, 0, false)[0]
	if n := batchBytes / e.Size(); n > maxEvents {
		t.Errorf("a message holds %d events of %d bytes, limit %d", n, e.Size(), maxEvents)
	}
}
