package client

import (
	"context"
	"errors"
	"iter"
	"path/filepath"
	"testing"
	"time"

	"github.com/cairn-p2p/cairn/client/pb"
	"github.com/cairn-p2p/cairn/keyfile"
	"github.com/cairn-p2p/cairn/node"
	"github.com/cairn-p2p/cairn/types"
)

// patience bounds a test that waits for another node.
const patience = time.Minute

func testContext(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

// openBroker returns a node that serves light clients, and keeps the topic.
func openBroker(t testing.TB, topic string, bootstrap ...string) (*node.Node, *node.Topic) {
	t.Helper()
	n, err := node.Open(testContext(t), node.Config{
		Role: node.RoleBroker, Listen: []string{"/ip4/127.0.0.1/tcp/0"}, DHT: node.DHTOff, Bootstrap: bootstrap,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := n.Close(); err != nil {
			t.Error(err)
		}
	})
	kept, err := n.Join(testContext(t), topic)
	if err != nil {
		t.Fatal(err)
	}
	return n, kept
}

// dialed returns a node as a broker over libp2p.
func dialed(t testing.TB, n *node.Node) *Remote {
	t.Helper()
	r, err := Dial(testContext(t), n.Addrs()[0], n.Network())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	})
	return r
}

func newKeyPath(t testing.TB) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "k")
	key, err := keyfile.New()
	if err == nil {
		err = keyfile.Write(path, key)
	}
	if err != nil {
		t.Fatal(err)
	}
	return path
}

func openPublisher(t testing.TB, path string) *Publisher {
	t.Helper()
	p, err := OpenPublisher(path)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// crash ends a publisher as the end of its process does: nothing is saved.
func crash(t testing.TB, p *Publisher) {
	t.Helper()
	if err := p.lock.Close(); err != nil {
		t.Fatal(err)
	}
}

func drafts(payloads ...string) []Draft {
	var list []Draft
	for _, p := range payloads {
		list = append(list, Draft{Payload: []byte(p)})
	}
	return list
}

// faulty is a broker of whose answers a test makes what it wants.
type faulty struct {
	Broker
	before func(*pb.Request) error               // in place of the request, if it is an error
	answer func(*pb.Request, *pb.Response) error // in place of a frame of the answer, likewise; it may change the frame
}

func (f *faulty) Deliver(ctx context.Context, m *pb.Request) iter.Seq2[*pb.Response, error] {
	return func(yield func(*pb.Response, error) bool) {
		if f.before != nil {
			if err := f.before(m); err != nil {
				yield(nil, err)
				return
			}
		}
		for r, err := range f.Broker.Deliver(ctx, m) {
			if err == nil && f.answer != nil {
				err = f.answer(m, r)
			}
			if !yield(r, err) || err != nil {
				return
			}
		}
	}
}

// errCut is the end of a connection, or of the process.
var errCut = errors.New("cut")

// ownEvents returns a publisher's events at a node in the order of their seqs, and
// demands that these are 1, 2, 3 and so on, each behind the one before.
func ownEvents(t testing.TB, kept *node.Topic, p types.Publisher) []*types.Event {
	t.Helper()
	var events []*types.Event
	for e, err := range kept.Query(types.Query{Publisher: &p}) {
		if err != nil {
			t.Fatal(err)
		}
		events = append(events, e)
		if e.Seq != uint64(len(events)) {
			t.Errorf("event %d of the publisher has seq %d", len(events), e.Seq)
		}
	}
	return events
}

func payloads(events []*types.Event) []string {
	var list []string
	for _, e := range events {
		list = append(list, string(e.Payload))
	}
	return list
}
