package discovery

import (
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/peer"
)

// Mode is a node's part in the DHT.
type Mode int

const (
	// Server keeps records for others and answers their lookups. It is for
	// nodes that others can dial.
	Server Mode = iota
	// Client looks up and provides through others, and keeps nothing for them.
	Client
	// Off takes no part: nothing is provided, and lookups fail.
	Off
)

// Config is what Open needs. Host and Network are required.
type Config struct {
	Host host.Host
	// Network is part of the protocol's name: DHTs of different networks never
	// meet. No slash.
	Network string
	Mode    Mode
	// Bootstrap are peers to connect to whenever no peer of the DHT is known.
	Bootstrap []peer.AddrInfo
	// Archive provides the key under which the network's archive nodes are
	// found.
	Archive bool
	Log     *slog.Logger // default: none

	Tuning
}

// Tuning changes how a DHT behaves, for tests and simulations. Zero fields have
// the values that suit real networks.
type Tuning struct {
	// BucketSize is how many nodes hold each record, and how many peers a
	// bucket of the routing table has. Default 20.
	BucketSize int
	// Refresh is how often, at most, topics are provided again because nodes
	// of the DHT came or went. Default 10 minutes.
	Refresh time.Duration
	// Reprovide is the time in which every topic is provided again whatever
	// happens. Default 22 hours.
	Reprovide time.Duration
}

func (c *Config) complete() error {
	switch {
	case c.Host == nil:
		return errors.New("no host")
	case c.Network == "":
		return errors.New("no network")
	case c.Mode < Server || c.Mode > Off:
		return fmt.Errorf("unknown mode %d", c.Mode)
	case c.BucketSize < 0 || c.Refresh < 0 || c.Reprovide < 0:
		return errors.New("a tuning is negative")
	}
	if c.BucketSize == 0 {
		c.BucketSize = bucketSize
	}
	if c.Refresh == 0 {
		c.Refresh = refreshInterval
	}
	if c.Reprovide == 0 {
		c.Reprovide = reprovideInterval
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return nil
}
