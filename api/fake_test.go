package api

import (
	"context"
	"errors"
	"iter"
	"net"
	"testing"
	"time"

	"github.com/cairn-p2p/cairn/node"
)

// fake is a Service of which a test replaces single methods.
type fake struct {
	Service   // nil: other methods panic
	status    func(ctx context.Context) (*Status, error)
	wait      func(ctx context.Context) (*TopicStatus, error)
	publish   func(ctx context.Context, topic string, drafts []Draft) ([]string, error)
	subscribe func(ctx context.Context) iter.Seq2[Delivery, error]
	query     func(ctx context.Context, q Query) iter.Seq2[Event, error]

	topicStatus func(ctx context.Context) (*TopicStatus, error)
	peers       func(ctx context.Context) ([]Peer, error)
}

func (f *fake) Status(ctx context.Context) (*Status, error) { return f.status(ctx) }

func (f *fake) Peers(ctx context.Context) ([]Peer, error) { return f.peers(ctx) }

func (f *fake) TopicStatus(ctx context.Context, _ string) (*TopicStatus, error) {
	return f.topicStatus(ctx)
}

func (f *fake) Wait(ctx context.Context, _ string, _ Until) (*TopicStatus, error) { return f.wait(ctx) }

func (f *fake) Publish(ctx context.Context, topic string, drafts []Draft) ([]string, error) {
	return f.publish(ctx, topic, drafts)
}

func (f *fake) Subscribe(ctx context.Context, _, _ string) iter.Seq2[Delivery, error] {
	return f.subscribe(ctx)
}

func (f *fake) Query(ctx context.Context, _ string, q Query) iter.Seq2[Event, error] {
	return f.query(ctx, q)
}

// serve serves svc on a free port until the test ends or stop is called, which
// waits for Serve to return.
func serve(t *testing.T, svc Service) (client *Client, stop func()) {
	t.Helper()
	l, err := Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return serveOn(t, l, svc)
}

func serveOn(t *testing.T, l net.Listener, svc Service) (client *Client, stop func()) {
	t.Helper()
	return serveServer(t, l, &Server{Service: svc})
}

func serveServer(t *testing.T, l net.Listener, s *Server) (client *Client, stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- s.Serve(ctx, l) }()
	stopped := false
	stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		if err := <-served; err != nil {
			t.Errorf("Serve returned %v", err)
		}
	}
	t.Cleanup(stop)
	client, err := NewClient(l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	return client, stop
}

// serveNode serves a node in memory.
func serveNode(t *testing.T) *Client {
	t.Helper()
	n, err := node.Open(t.Context(), node.Config{Listen: []string{"/ip4/127.0.0.1/tcp/0"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := n.Close(); err != nil {
			t.Errorf("close node: %v", err)
		}
	})
	client, _ := serve(t, NewLocal(n, "v0"))
	return client
}

// wantErr fails the test unless err is target.
func wantErr(t *testing.T, err, target error) {
	t.Helper()
	if !errors.Is(err, target) {
		t.Errorf("error %v, want %v", err, target)
	}
}

// soon bounds calls that are meant to end by themselves.
func soon(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	t.Cleanup(cancel)
	return ctx
}
