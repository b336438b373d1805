package gossip

import (
	"context"
	"errors"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/cairn-p2p/cairn/broadcaster/broadcastertest"
	"github.com/cairn-p2p/cairn/types"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m)
}

func TestSuite(t *testing.T) {
	broadcastertest.Run(t, func(t *testing.T, s broadcastertest.Setup) []broadcastertest.Broadcaster {
		bs, _ := network(t, s.Nodes, s.Links)
		out := make([]broadcastertest.Broadcaster, len(bs))
		for i, b := range bs {
			out[i] = b
		}
		return out
	})
}

func TestConfigRefused(t *testing.T) {
	good := testConfig(t, 0, broadcastertest.NewNode())
	for name, spoil := range map[string]func(*Config){
		"no host":          func(c *Config) { c.Host = nil },
		"no key":           func(c *Config) { c.Key = nil },
		"no local":         func(c *Config) { c.Local = nil },
		"no verify":        func(c *Config) { c.Verify = nil },
		"no network":       func(c *Config) { c.Network = "" },
		"slash in network": func(c *Config) { c.Network = "a/b" },
		"long network":     func(c *Config) { c.Network = strings.Repeat("a", maxNetwork+1) },
		"many shards":      func(c *Config) { c.Shards = maxShards + 1 },
		"negative queue":   func(c *Config) { c.TopicQueue = -1 },
	} {
		cfg := good
		spoil(&cfg)
		if b, err := Open(context.Background(), cfg); !errors.Is(err, types.ErrInvalidArgument) {
			t.Errorf("%s: %v, %v", name, b, err)
		}
	}
}

// A second broadcaster can take over the host of a closed one, and one that
// fails to open leaves nothing behind.
func TestReopen(t *testing.T) {
	cfg := testConfig(t, 0, broadcastertest.NewNode())
	for range 2 {
		b := open(t, cfg)
		b.Close() //nolint:errcheck // it is always nil
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if b, err := Open(ctx, cfg); !errors.Is(err, context.Canceled) {
		t.Errorf("opened %v, %v after the context had ended", b, err)
	}
	if got := len(cfg.Host.Mux().Protocols()); got == 0 {
		t.Fatal("host has no protocols at all")
	}
	for _, p := range cfg.Host.Mux().Protocols() {
		if strings.HasPrefix(string(p), "/meshsub/") {
			t.Errorf("handler of %s is left behind", p)
		}
	}
}
