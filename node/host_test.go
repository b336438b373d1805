package node

import (
	"errors"
	"testing"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/config"
)

// Config.Host reaches the libp2p host, and an option that fails ends the
// opening.
func TestHostOptions(t *testing.T) {
	applied := false
	cfg := loopback("")
	cfg.Host = []libp2p.Option{func(*config.Config) error {
		applied = true
		return nil
	}}
	open(t, cfg)
	if !applied {
		t.Error("an option was not applied")
	}
	want := errors.New("refused")
	cfg.Host = []libp2p.Option{func(*config.Config) error { return want }}
	if n, err := Open(t.Context(), cfg); !errors.Is(err, want) {
		t.Errorf("opened %v, %v; want %v", n, err, want)
	}
}
