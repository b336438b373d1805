package client

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/cairn-p2p/cairn/client/pb"
	"github.com/cairn-p2p/cairn/client/wire"
	"github.com/cairn-p2p/cairn/node"
	"github.com/cairn-p2p/cairn/types"
)

// Wherever the process ends, the next one sends what was signed as it was: nothing
// is lost, nothing is there twice, and no seq is used for two events.
func TestPublisherCrashes(t *testing.T) {
	for _, test := range []struct {
		name  string
		fault faulty
		// resent is what the next process sends: what was signed last and is not
		// known to be acknowledged.
		resent []string
	}{
		{"before it is signed", faulty{before: func(m *pb.Request) error {
			if m.GetHeads() != nil {
				return errCut
			}
			return nil
		}}, []string{"a", "b"}},
		{"signed and not sent", faulty{before: func(m *pb.Request) error {
			if m.GetSubmit() != nil {
				return errCut
			}
			return nil
		}}, []string{"c", "d"}},
		{"sent and not answered", faulty{answer: func(_ *pb.Request, r *pb.Response) error {
			if r.GetSubmit() != nil {
				return errCut
			}
			return nil
		}}, []string{"c", "d"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			n, kept := openBroker(t, "t")
			path, topic, ctx := newKeyPath(t), kept.ID(), testContext(t)
			p := openPublisher(t, path)
			good := dialed(t, n)
			if _, err := p.Publish(ctx, good, topic, drafts("a", "b")...); err != nil {
				t.Fatal(err)
			}
			test.fault.Broker = good
			if _, err := p.Publish(ctx, &test.fault, topic, drafts("c", "d")...); !errors.Is(err, errCut) {
				t.Fatal(err)
			}
			crash(t, p)

			p = openPublisher(t, path)
			events, err := p.Resend(ctx, good, topic)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.resent, payloads(events)); diff != "" {
				t.Error(diff)
			}
			crash(t, p) // it is sent once more, to no effect
			p = openPublisher(t, path)
			if _, err := p.Publish(ctx, good, topic, drafts("e")...); err != nil {
				t.Fatal(err)
			}
			if err := p.Close(); err != nil {
				t.Fatal(err)
			}
			want := []string{"a", "b", "c", "d", "e"}
			if test.resent[0] == "a" {
				want = []string{"a", "b", "e"}
			}
			if diff := cmp.Diff(want, payloads(ownEvents(t, kept, p.ID()))); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// What Stored could not take note of is sent, and told, again.
func TestPublisherStoredFails(t *testing.T) {
	n, kept := openBroker(t, "t")
	path, ctx := newKeyPath(t), testContext(t)
	b := dialed(t, n)
	p := openPublisher(t, path)
	p.Stored = func([]*types.Event) error { return errCut }
	if events, err := p.Publish(ctx, b, kept.ID(), drafts("a", "b")...); !errors.Is(err, errCut) || len(events) != 2 {
		t.Errorf("%d events, %v", len(events), err)
	}
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	p = openPublisher(t, path)
	defer p.Close() //nolint:errcheck // the test is over
	var told []string
	p.Stored = func(events []*types.Event) error {
		told = append(told, payloads(events)...)
		return nil
	}
	if _, err := p.Resend(ctx, b, kept.ID()); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"a", "b"}, told); diff != "" {
		t.Error(diff)
	}
	if got := ownEvents(t, kept, p.ID()); len(got) != 2 {
		t.Errorf("%d events at the broker", len(got))
	}
}

// What could not be written is not sent: after a crash its seq would be used for
// another event.
func TestPublisherSendsNothingUnsaved(t *testing.T) {
	n, kept := openBroker(t, "t")
	path, ctx := newKeyPath(t), testContext(t)
	p := openPublisher(t, path)
	defer p.Close() //nolint:errcheck // the test is over
	b := dialed(t, n)
	if _, err := p.Publish(ctx, b, kept.ID(), drafts("a")...); err != nil {
		t.Fatal(err)
	}
	dir := filepath.Dir(path)
	if err := os.Rename(dir, dir+".away"); err != nil { // the disk is full, say
		t.Fatal(err)
	}
	publish := func() ([]*types.Event, error) { return p.Publish(ctx, b, kept.ID(), drafts("b")...) }
	resend := func() ([]*types.Event, error) { return p.Resend(ctx, b, kept.ID()) }
	for i, call := range []func() ([]*types.Event, error){publish, resend, publish} {
		if events, err := call(); !errors.Is(err, os.ErrNotExist) || len(events) > 0 {
			t.Errorf("call %d: %d events, %v", i, len(events), err)
		}
	}
	if got := payloads(ownEvents(t, kept, p.ID())); len(got) != 1 {
		t.Errorf("at the broker are %q", got)
	}
	if err := os.Rename(dir+".away", dir); err != nil {
		t.Fatal(err)
	}
	if _, err := p.Resend(ctx, b, kept.ID()); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"a", "b"}, payloads(ownEvents(t, kept, p.ID()))); diff != "" {
		t.Error(diff)
	}
}

// A crash between any two steps of many runs, with a broker that loses requests and
// answers at random places: each line once, in order.
func TestPublisherCrashesAgainAndAgain(t *testing.T) {
	n, kept := openBroker(t, "t")
	path, topic, ctx := newKeyPath(t), kept.ID(), testContext(t)
	good := dialed(t, n)
	told := map[string]string{} // CID → payload
	var self types.Publisher
	var want []string
	for round, next := 0, 0; round < 60; round++ {
		p := openPublisher(t, path)
		self = p.ID()
		p.Stored = func(events []*types.Event) error {
			for _, e := range events {
				told[e.CID.String()] = string(e.Payload)
			}
			return nil
		}
		calls := 0
		cut := func() error {
			if calls++; calls == 1+round%7 {
				return errCut
			}
			return nil
		}
		b := &faulty{Broker: good}
		if round%2 == 0 {
			b.before = func(*pb.Request) error { return cut() }
		} else {
			b.answer = func(*pb.Request, *pb.Response) error { return cut() }
		}
		if _, err := p.Resend(ctx, b, topic); err != nil && !errors.Is(err, errCut) {
			t.Fatal(err)
		} else if err == nil {
			next = len(told) // all that was signed was told
			for range 3 {
				payload := fmt.Sprint(next)
				if _, err := p.Publish(ctx, b, topic, drafts(payload)...); errors.Is(err, errCut) {
					break
				} else if err != nil {
					t.Fatal(err)
				}
				next++
			}
		}
		crash(t, p)
	}
	p := openPublisher(t, path)
	if _, err := p.Publish(ctx, good, topic, drafts("last")...); err != nil {
		t.Fatal(err)
	}
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	events := ownEvents(t, kept, self)
	for i := range len(events) - 1 {
		want = append(want, fmt.Sprint(i))
	}
	if diff := cmp.Diff(append(want, "last"), payloads(events)); diff != "" {
		t.Error(diff)
	}
	if len(events) < 40 {
		t.Errorf("only %d events", len(events))
	}
}

// A broker that lacks the key's last events is given them, or time; one that
// acknowledged them is named.
func TestPublisherBringsWhatIsMissing(t *testing.T) {
	first, kept := openBroker(t, "t")
	second, other := openBroker(t, "t") // not connected to the first
	path, topic, ctx := newKeyPath(t), kept.ID(), testContext(t)
	p := openPublisher(t, path)
	defer p.Close() //nolint:errcheck // the test is over
	for i := range 5 {
		if _, err := p.Publish(ctx, dialed(t, first), topic, drafts(fmt.Sprint(i))...); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := p.Publish(ctx, dialed(t, second), topic, drafts("5")...); err != nil {
		t.Fatal(err)
	}
	if got := len(ownEvents(t, other, p.ID())); got != 6 {
		t.Errorf("%d events at the second broker", got)
	}
	// A first event of somebody else, which the second lacks, and the key's own
	// behind it: nothing but time helps.
	if _, err := kept.Append(ctx, []byte("x")); err != nil {
		t.Fatal(err)
	}
	if _, err := p.Publish(ctx, dialed(t, first), topic, drafts("6")...); err != nil {
		t.Fatal(err)
	}
	waits := make(chan error, 100)
	p.Warn = func(err error) { waits <- err }
	done := make(chan error, 1)
	go func() {
		_, err := p.Publish(ctx, dialed(t, second), topic, drafts("7")...)
		done <- err
	}()
	if err := <-waits; !strings.Contains(err.Error(), "waiting") {
		t.Error(err)
	}
	if err := second.Connect(ctx, first.Addrs()[0]); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if got := len(ownEvents(t, other, p.ID())); got != 8 {
		t.Errorf("%d events at the second broker", got)
	}
}

// Several chains, and many heads: links are chosen as a replica does, and all of it
// is integrated.
func TestPublisherManyHeads(t *testing.T) {
	n, kept := openBroker(t, "t")
	ctx := testContext(t)
	for range 100 { // a head each: none sees another
		lone, err := node.Open(ctx, node.Config{Listen: []string{}, DHT: node.DHTOff})
		if err != nil {
			t.Fatal(err)
		}
		topic, err := lone.Join(ctx, "t")
		if err != nil {
			t.Fatal(err)
		}
		e, err := topic.Append(ctx, []byte("head"))
		if err != nil {
			t.Fatal(err)
		}
		if err := lone.Close(); err != nil {
			t.Fatal(err)
		}
		if answer, err := newSource(dialed(t, n), kept.ID()).submit(ctx, []*types.Event{e}); err != nil || answer.missing != nil || answer.refused != nil {
			t.Fatal(answer, err)
		}
	}
	p := openPublisher(t, newKeyPath(t))
	defer p.Close() //nolint:errcheck // the test is over
	events, err := p.Publish(ctx, dialed(t, n), kept.ID(), drafts(make([]string, wire.MaxChain+10)...)...)
	if err != nil || len(events) != wire.MaxChain+10 {
		t.Fatal(len(events), err)
	}
	if len(events[0].Links) != types.MaxLinks {
		t.Errorf("the first has %d links", len(events[0].Links))
	}
	if heads, err := kept.Heads(ctx); err != nil || len(heads) != 1 {
		t.Errorf("%d heads: %v", len(heads), err)
	}
	ownEvents(t, kept, p.ID())
}

// A key is used by one at a time, and its state is taken as it is or not at all.
func TestPublisherState(t *testing.T) {
	_, kept := openBroker(t, "t")
	path := newKeyPath(t)
	p := openPublisher(t, path)
	if _, err := OpenPublisher(path); !errors.Is(err, types.ErrLocked) {
		t.Errorf("second use: %v", err)
	}
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(path, link); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenPublisher(link); !errors.Is(err, types.ErrLocked) {
		t.Errorf("second use by a link: %v", err)
	}
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(path + ".state"); err == nil {
		t.Error("there is a state although nothing was signed")
	}
	other := openPublisher(t, newKeyPath(t))
	defer other.Close() //nolint:errcheck // the test is over
	for name, text := range map[string]string{
		"not JSON":       "{",
		"of another key": fmt.Sprintf(`{"version":1,"publisher":%q,"topics":{}}`, other.ID()),
		"newer":          fmt.Sprintf(`{"version":2,"publisher":%q,"topics":{}}`, p.ID()),
		"unknown field":  fmt.Sprintf(`{"version":1,"publisher":%q,"topics":{},"x":1}`, p.ID()),
		"goes on":        fmt.Sprintf(`{"version":1,"publisher":%q,"topics":{}}{}`, p.ID()),
		"no topic":       fmt.Sprintf(`{"version":1,"publisher":%q,"topics":{"x":{}}}`, p.ID()),
		"empty topic":    fmt.Sprintf(`{"version":1,"publisher":%q,"topics":{%q:null}}`, p.ID(), kept.ID()),
		"last unspent":   fmt.Sprintf(`{"version":1,"publisher":%q,"topics":{%q:{"spent":1,"last":{"seq":2,"cid":%q,"height":1}}}}`, p.ID(), kept.ID(), kept.ID()),
		"last without":   fmt.Sprintf(`{"version":1,"publisher":%q,"topics":{%q:{"spent":1,"last":{"seq":1,"cid":"","height":1}}}}`, p.ID(), kept.ID()),
		"bad event":      fmt.Sprintf(`{"version":1,"publisher":%q,"topics":{%q:{"spent":1,"last":{},"unsent":[{"body":"AA==","witness":"AA=="}]}}}`, p.ID(), kept.ID()),
	} {
		if err := os.WriteFile(path+".state", []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := OpenPublisher(path); !errors.Is(err, types.ErrCorrupt) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := OpenPublisher(filepath.Join(t.TempDir(), "none")); !errors.Is(err, types.ErrIdentity) {
		t.Errorf("no key: %v", err)
	}
}

// What the key was used for elsewhere is found out before anything is signed.
func TestPublisherRefuses(t *testing.T) {
	n, kept := openBroker(t, "t")
	path, topic, ctx := newKeyPath(t), kept.ID(), testContext(t)
	b := dialed(t, n)
	p := openPublisher(t, path)
	if _, err := p.Publish(ctx, b, topic, drafts("1")...); err != nil {
		t.Fatal(err)
	}
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	old, err := os.ReadFile(path + ".state")
	if err != nil {
		t.Fatal(err)
	}
	p = openPublisher(t, path)
	if _, err := p.Publish(ctx, b, topic, drafts("2")...); err != nil {
		t.Fatal(err)
	}
	crash(t, p)
	if err := os.WriteFile(path+".state", old, 0o600); err != nil {
		t.Fatal(err)
	}
	p = openPublisher(t, path)
	if _, err := p.Publish(ctx, b, topic, drafts("3")...); !errors.Is(err, ErrUnknownEvents) {
		t.Errorf("old state: %v", err)
	}
	crash(t, p)
	if err := os.Remove(path + ".state"); err != nil {
		t.Fatal(err)
	}
	p = openPublisher(t, path)
	if _, err := p.Publish(ctx, b, topic, drafts("3")...); !errors.Is(err, ErrUnknownEvents) {
		t.Errorf("no state: %v", err)
	}
	if given, err := p.Adopt(ctx, b, topic); err != nil || len(given) > 0 {
		t.Fatal(given, err)
	}
	if _, err := p.Publish(ctx, b, topic, drafts("3")...); err != nil {
		t.Fatal(err)
	}
	// What is given up leaves its seq unused.
	cutting := &faulty{Broker: b, before: func(m *pb.Request) error {
		if m.GetSubmit() != nil {
			return errCut
		}
		return nil
	}}
	if _, err := p.Publish(ctx, cutting, topic, drafts("never")...); !errors.Is(err, errCut) {
		t.Fatal(err)
	}
	if given, err := p.Adopt(ctx, b, topic); err != nil || len(given) != 1 || given[0].Seq != 4 {
		t.Fatal(given, err)
	}
	events, err := p.Publish(ctx, b, topic, drafts("5")...)
	if err != nil || events[0].Seq != 5 {
		t.Fatal(events, err)
	}
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	// A restricted topic is its writers' alone.
	restricted, err := n.Create(ctx, "r", types.Publisher{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	p = openPublisher(t, path)
	defer p.Close() //nolint:errcheck // the test is over
	if _, err := p.Publish(ctx, b, restricted.ID(), drafts("x")...); !errors.Is(err, types.ErrNotWriter) {
		t.Errorf("not a writer: %v", err)
	}
	if _, err := p.Publish(ctx, b, topic, Draft{Tags: []string{""}}); !errors.Is(err, types.ErrInvalidArgument) {
		t.Errorf("empty tag: %v", err)
	}
	if _, err := p.Publish(ctx, b, topic, Draft{Payload: make([]byte, types.MaxPayload)}, Draft{Payload: make([]byte, types.MaxPayload)}); err != nil {
		t.Errorf("largest payloads: %v", err)
	}
}

// A broker that has joined the topic a moment ago does not know of the key's events
// elsewhere: without a state file nothing is signed before it does.
func TestPublisherWaitsForTheFirstSync(t *testing.T) {
	first, kept := openBroker(t, "t")
	path, ctx := newKeyPath(t), testContext(t)
	p := openPublisher(t, path)
	if _, err := p.Publish(ctx, dialed(t, first), kept.ID(), drafts(make([]string, 2000)...)...); err != nil {
		t.Fatal(err)
	}
	crash(t, p)
	if err := os.Remove(path + ".state"); err != nil {
		t.Fatal(err)
	}
	second, other := openBroker(t, "other", first.Addrs()[0])
	if _, err := other.Wait(ctx, func(node.Status) bool { return len(second.Peers()) > 0 }); err != nil {
		t.Fatal(err)
	}
	b := dialed(t, second)
	p = openPublisher(t, path)
	defer p.Close() //nolint:errcheck // the test is over
	if _, err := second.Join(ctx, "t"); err != nil {
		t.Fatal(err)
	}
	if events, err := p.Publish(ctx, b, kept.ID(), drafts("again")...); !errors.Is(err, ErrUnknownEvents) {
		t.Errorf("%d events: %v", len(events), err)
	}
	if _, err := p.Adopt(ctx, b, kept.ID()); err != nil {
		t.Fatal(err)
	}
	if events, err := p.Publish(ctx, b, kept.ID(), drafts("again")...); err != nil || events[0].Seq != 2001 {
		t.Errorf("%v: %v", events, err)
	}
}

// As long as a broker says that it is fetching the topic, its silence about the key
// means nothing: neither Publish nor Adopt goes by it.
func TestPublisherWaitsWhileSyncing(t *testing.T) {
	n, kept := openBroker(t, "t")
	ctx := testContext(t)
	b := dialed(t, n)
	for name, call := range map[string]func(*Publisher, Broker) error{
		"publish": func(p *Publisher, b Broker) error {
			_, err := p.Publish(ctx, b, kept.ID(), drafts("x")...)
			return err
		},
		"adopt": func(p *Publisher, b Broker) error {
			_, err := p.Adopt(ctx, b, kept.ID())
			return err
		},
	} {
		p := openPublisher(t, newKeyPath(t))
		asked, waits := 0, 0
		p.Warn = func(error) { waits++ }
		syncing := &faulty{Broker: b, answer: func(_ *pb.Request, r *pb.Response) error {
			if a := r.GetHeads(); a != nil {
				if asked++; asked < 3 {
					a.Syncing, a.Own = true, nil
				}
			}
			return nil
		}}
		if err := call(p, syncing); err != nil || asked != 3 || waits != 2 {
			t.Errorf("%s: %d requests, %d warnings, %v", name, asked, waits, err)
		}
		crash(t, p)
	}
}

// What a client submits travels on as what a node appends does.
func TestSubmittedIsAnnounced(t *testing.T) {
	first, kept := openBroker(t, "t")
	_, other := openBroker(t, "t", first.Addrs()[0])
	ctx := testContext(t)
	if _, err := other.Wait(ctx, func(s node.Status) bool { return s.State == node.Synced }); err != nil {
		t.Fatal(err)
	}
	p := openPublisher(t, newKeyPath(t))
	defer p.Close() //nolint:errcheck // the test is over
	if _, err := p.Publish(ctx, dialed(t, first), kept.ID(), drafts("a", "b")...); err != nil {
		t.Fatal(err)
	}
	if _, err := other.Wait(ctx, func(s node.Status) bool { return s.Events == 2 }); err != nil {
		t.Fatal(err)
	}
}

// A call ends with its context, whatever it waits for.
func TestPublishIsCancelled(t *testing.T) {
	n, kept := openBroker(t, "t")
	p := openPublisher(t, newKeyPath(t))
	defer p.Close() //nolint:errcheck // the test is over
	ctx, cancel := context.WithCancel(testContext(t))
	p.Warn = func(error) { cancel() }
	b := &faulty{Broker: dialed(t, n), answer: func(_ *pb.Request, r *pb.Response) error {
		if a := r.GetSubmit(); a != nil {
			a.Stored, a.Refused = nil, &pb.Refusal{Reason: "paused", Later: true}
		}
		return nil
	}}
	if _, err := p.Publish(ctx, b, kept.ID(), drafts("x")...); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

// Whatever height the broker gives the key's own last event, among however many
// heads, what links to it has the right one.
func TestPublisherKnowsItsOwnHeight(t *testing.T) {
	_, kept := openBroker(t, "t")
	p := openPublisher(t, newKeyPath(t))
	defer p.Close() //nolint:errcheck // the test is over
	last := types.SumCID([]byte("last"))
	state := &topicState{Spent: 3, Last: ownEvent{Seq: 3, CID: last.String(), Height: 7}}
	at := &standing{heads: []types.Head{{CID: last, Height: 1 << 40}}}
	for i := range 2 * types.MaxLinks {
		at.heads = append(at.heads, types.Head{CID: types.SumCID([]byte{byte(i)}), Height: 2})
	}
	events, err := p.build(kept.ID(), state, at, drafts("a"))
	if err != nil {
		t.Fatal(err)
	}
	if events[0].Height != 8 || events[0].Seq != 4 || !slices.Contains(events[0].Links, last) {
		t.Errorf("height %d, seq %d, links %v", events[0].Height, events[0].Seq, events[0].Links)
	}
}

// A head so high that nothing fits above it is the broker's lie, not a mistake of the
// publisher's.
func TestPublisherHighestHead(t *testing.T) {
	n, kept := openBroker(t, "t")
	p := openPublisher(t, newKeyPath(t))
	defer p.Close() //nolint:errcheck // the test is over
	id := types.SumCID([]byte("head"))
	b := &faulty{Broker: dialed(t, n), answer: func(_ *pb.Request, r *pb.Response) error {
		if a := r.GetHeads(); a != nil {
			a.Heads = []*pb.Head{{Cid: id.Bytes(), Height: 1<<63 - 1}}
		}
		return nil
	}}
	var v *Violation
	if _, err := p.Publish(testContext(t), b, kept.ID(), drafts("a")...); !errors.As(err, &v) || v.Kind != KindHeads || v.Link != id.String() {
		t.Error(err)
	}
}

// What was submitted cannot be missing.
func TestMissingOfWhatWasSubmitted(t *testing.T) {
	n, kept := openBroker(t, "t")
	p := openPublisher(t, newKeyPath(t))
	defer p.Close() //nolint:errcheck // the test is over
	b := &faulty{Broker: dialed(t, n), answer: func(_ *pb.Request, r *pb.Response) error {
		if a := r.GetSubmit(); a != nil {
			a.Stored, a.Missing = nil, a.GetStored()[:1]
		}
		return nil
	}}
	var v *Violation
	if _, err := p.Publish(testContext(t), b, kept.ID(), drafts("a", "b")...); !errors.As(err, &v) || v.Kind != KindAnswer {
		t.Error(err)
	}
}

// A broker that acknowledges an event and lacks it again and again does not keep a
// client for ever.
func TestMissingOfWhatWasAcknowledged(t *testing.T) {
	n, kept := openBroker(t, "t")
	p := openPublisher(t, newKeyPath(t))
	defer p.Close() //nolint:errcheck // the test is over
	good := dialed(t, n)
	first, err := p.Publish(testContext(t), good, kept.ID(), drafts("a")...)
	if err != nil {
		t.Fatal(err)
	}
	submits := 0
	b := &faulty{Broker: good, answer: func(m *pb.Request, r *pb.Response) error {
		if a := r.GetSubmit(); a != nil {
			if submits++; string(a.GetStored()[0]) != first[0].CID.KeyString() {
				a.Stored, a.Missing = nil, [][]byte{first[0].CID.Bytes()}
			}
		}
		return nil
	}}
	var v *Violation
	if _, err := p.Publish(testContext(t), b, kept.ID(), drafts("b")...); !errors.As(err, &v) || v.Kind != KindLost || v.CID != first[0].CID.String() {
		t.Error(err)
	}
	if submits != 3 { // the new event, the one that is missing, the new event
		t.Errorf("%d submits", submits)
	}
}

// Frames that bring nothing do not keep a client for ever.
func TestEmptyFrames(t *testing.T) {
	n, kept := openBroker(t, "t")
	appendMany(t, kept, 1)
	good := dialed(t, n)
	for name, kind := range map[string]func(*pb.Response){
		"heads":   func(r *pb.Response) { r.Answer = &pb.Response_Heads{Heads: &pb.HeadsAnswer{}} },
		"events":  func(r *pb.Response) { r.Answer = &pb.Response_Events{Events: &pb.EventsAnswer{}} },
		"entries": func(r *pb.Response) { r.Answer = &pb.Response_Entries{Entries: &pb.Entries{}} },
	} {
		b := brokerFunc(func(ctx context.Context, m *pb.Request) iter.Seq2[*pb.Response, error] {
			return func(yield func(*pb.Response, error) bool) {
				for r, err := range good.Deliver(ctx, m) {
					if r.GetEvents() == nil && !yield(r, err) || err != nil {
						return
					}
					if name == "heads" && m.GetHeads() == nil || name == "events" && m.GetEvents() == nil {
						continue
					}
					for more := true; more; {
						empty := new(pb.Response)
						kind(empty)
						more = yield(empty, nil)
					}
					return
				}
			}
		})
		s := newSource(b, kept.ID())
		var err error
		switch heads, failed := s.heads(testContext(t), n.Publisher()); {
		case name == "entries":
			seen, opened := OpenSeen("", Subscription{Topic: kept.ID()})
			if opened != nil {
				t.Fatal(opened)
			}
			for _, err = range Subscribe(testContext(t), b, Subscription{Topic: kept.ID()}, seen) {
				continue
			}
			seen.Close() //nolint:errcheck // it is temporary
		case failed != nil:
			err = failed
		default:
			err = s.prove(testContext(t), heads.heads)
		}
		var v *Violation
		if !errors.As(err, &v) || v.Kind != KindAnswer {
			t.Errorf("%s: %v", name, err)
		}
	}
}

type brokerFunc func(context.Context, *pb.Request) iter.Seq2[*pb.Response, error]

func (f brokerFunc) Deliver(ctx context.Context, m *pb.Request) iter.Seq2[*pb.Response, error] {
	return f(ctx, m)
}

func (f brokerFunc) String() string { return "a broker" }
