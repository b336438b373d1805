package node

import (
	"errors"
	"testing"

	"github.com/cairn-p2p/cairn/delivery"
	"github.com/cairn-p2p/cairn/types"
)

func TestRelayJoinsNothing(t *testing.T) {
	cfg := loopback(t.TempDir())
	cfg.Role = RoleRelay
	n := open(t, cfg)
	if n.Role() != RoleRelay {
		t.Errorf("role %s", n.Role())
	}
	for what, do := range map[string]func() error{
		"join":    func() error { _, err := n.Join(t.Context(), "topic"); return err },
		"publish": func() error { _, err := n.JoinToPublish(t.Context(), "topic"); return err },
		"create":  func() error { _, err := n.Create(t.Context(), "topic", types.Publisher{}, nil); return err },
		"create consumer": func() error {
			_, err := n.CreateConsumer(t.Context(), "topic", delivery.Settings{Name: "c"})
			return err
		},
		"join by id": func() error {
			_, err := n.Join(t.Context(), "id:"+types.SumCID([]byte("some topic")).String())
			return err
		},
	} {
		if err := do(); !errors.Is(err, types.ErrRelay) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if len(n.Topics()) != 0 || len(n.Consumers().List()) != 0 {
		t.Error("something came of it")
	}
	if _, err := n.Join(t.Context(), ""); !errors.Is(err, types.ErrInvalidArgument) {
		t.Errorf("join no name: %v", err)
	}
}

// What was joined in a directory is neither lost nor silently let go of; what was
// left may be read.
func TestRelayRefusesDirectoryWithJoinedTopics(t *testing.T) {
	cfg := loopback(t.TempDir())
	n := open(t, cfg)
	if _, err := join(t, n, "a").Append(t.Context(), []byte("payload")); err != nil {
		t.Fatal(err)
	}
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
	relay := cfg
	relay.Role = RoleRelay
	if _, err := Open(t.Context(), relay); !errors.Is(err, types.ErrRelay) || !errors.Is(err, types.ErrInvalidArgument) {
		t.Fatalf("open: %v", err)
	}
	n = open(t, cfg)
	topic, err := n.Find("a")
	if err != nil || !topic.Joined() {
		t.Fatalf("after the refusal: %v", err)
	}
	if err := n.Leave(t.Context(), "a"); err != nil {
		t.Fatal(err)
	}
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
	n = open(t, relay)
	if topic, err = n.Find("a"); err != nil {
		t.Fatal(err)
	}
	if s, err := topic.Status(t.Context()); err != nil || s.Events != 1 || s.State != Paused {
		t.Errorf("%d events, %s, %v", s.Events, s.State, err)
	}
	if _, err := n.Join(t.Context(), "a"); !errors.Is(err, types.ErrRelay) {
		t.Errorf("join again: %v", err)
	}
}

func TestRelayKeepsNotAll(t *testing.T) {
	for _, cfg := range []Config{{Role: RoleRelay, Replicate: All}, {Role: RoleRelay, Archive: true}, {Role: "router"}} {
		if err := cfg.Validate(); !errors.Is(err, types.ErrInvalidArgument) {
			t.Errorf("%+v: %v", cfg, err)
		}
	}
}
