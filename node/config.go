package node

import (
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/libp2p/go-libp2p"
	"github.com/multiformats/go-multiaddr"

	"github.com/cairn-p2p/cairn/delivery"
	"github.com/cairn-p2p/cairn/store/badger"
	"github.com/cairn-p2p/cairn/syncer"
	"github.com/cairn-p2p/cairn/syncer/discovery"
	"github.com/cairn-p2p/cairn/types"
)

// Replicate says which topics a node keeps.
type Replicate int

const (
	// Joined: only the topics that were joined here.
	Joined Replicate = iota
	// All: every topic that gossip tells of too, within StrangerLimits.
	All
)

// Role says what a node does for others.
type Role string

const (
	// RoleRelay: it forwards gossip of all topics and serves the DHT, and keeps no
	// topic. Nothing can be fetched from it.
	RoleRelay Role = "relay"
	// RoleReplica: it keeps topics, and serves them to other replicas and to
	// whoever has the node.
	RoleReplica Role = "replica"
	// RoleBroker: a replica that serves light clients over libp2p too, which keep
	// no topic: protocol /cairn/deliver/1.
	RoleBroker Role = "broker"
)

// DHTMode is a node's part in the DHT, through which the replicas of a topic
// find each other.
type DHTMode = discovery.Mode

const (
	// DHTServer: it keeps records for others and answers their lookups.
	DHTServer = discovery.Server
	// DHTClient: it is found and finds others, and keeps nothing for them.
	DHTClient = discovery.Client
	// DHTOff: it only knows peers that it was told of.
	DHTOff = discovery.Off
)

// The defaults of Config.
const (
	DefaultNetwork = "main"
	DefaultMinFree = 512 << 20
)

// DefaultListen returns the multiaddresses that a node listens on by default.
func DefaultListen() []string {
	return []string{"/ip4/0.0.0.0/tcp/4460", "/ip4/0.0.0.0/udp/4460/quic-v1"}
}

// Limits of Config.
const (
	// maxNetworkName keeps protocol and pubsub names short.
	maxNetworkName = 64
	// maxBootstrap bounds the peers that are redialled for ever.
	maxBootstrap = 256
)

// Config says what a node is. The zero Config is a node in memory, with a new
// identity, on the default addresses and network.
type Config struct {
	// Dir is the data directory. Empty: everything is in memory and gone after
	// Close, the identity too.
	Dir string
	// Listen are the multiaddresses to listen on; nil: DefaultListen. Port 0
	// takes a free one.
	Listen []string
	// Bootstrap are multiaddresses, each with a /p2p/ peer id, of peers that
	// the node stays connected to.
	Bootstrap []string
	// Network keeps nodes apart that have nothing to do with each other; empty:
	// DefaultNetwork. Letters, digits, '-', '_' and '.'.
	Network string
	// Role is what the node does for others; empty: RoleReplica. A relay refuses
	// every join, and a Dir in which topics are joined: nothing in it is lost, and
	// it opens in another role.
	Role Role
	// Replicate says which topics to keep.
	Replicate Replicate
	// Strangers bounds what Replicate = All may cost. Zero: its defaults.
	Strangers StrangerLimits
	// Archive makes the node one that others may turn to for any topic: it
	// replicates All, prunes nothing, and is found through the DHT as an
	// archive of its network, unless that is off.
	Archive bool
	// DHT is the node's part in the DHT.
	DHT DHTMode
	// DHTTuning is for tests and simulations.
	DHTTuning DHTTuning
	// MinFree is the number of bytes of free disk below which appends and
	// backfill are refused; 0: DefaultMinFree, negative: no check.
	MinFree int64
	// Free returns the number of bytes that may still be written to the file
	// system of a directory; nil: the operating system says. For tests and
	// simulations.
	Free func(dir string) (uint64, error)
	// Now is the clock that events take their time from, and nothing else does:
	// an event's time is a hint for people. Nil: time.Now. For tests and
	// simulations.
	Now func() time.Time
	// Restored says that Dir is an older copy of itself, a backup for example.
	// Seqs of this node may be spent then of which nothing in it knows, and to
	// spend one again is a fork. So appends to a topic fail with
	// types.ErrRolledBack until this node was in sync with each connected
	// replica of it, at least one. It is not remembered: say it at each start
	// until that has happened. The copy's consumers give nothing until each is reset:
	// see delivery.Config.
	Restored bool
	// UnloadAfter is how long a topic that nobody uses stays in memory; 0: five
	// minutes.
	UnloadAfter time.Duration
	// Validator returns the validator of a topic, to which its consumers are
	// held; nil for one without. Plain subscriptions and queries are not.
	// Nil: no topic has one.
	Validator func(types.TopicID) delivery.Validator
	// Log takes the node's log; nil: nothing is logged.
	Log *slog.Logger
	// Host are added to the options of the node's libp2p host, for embedders and
	// simulations: another resource manager, another network below QUIC. What
	// the node sets itself (identity, security, muxer, connection manager and
	// gater, metrics) may not be set again: Open fails then.
	Host []libp2p.Option
	// Locked, when set, is called once Dir is locked, before anything else in
	// it is read or written. Its error ends the opening.
	Locked func() error
}

// DHTTuning changes the DHT's sizes and times. Zero fields have the values that
// suit real networks.
type DHTTuning struct {
	discovery.Tuning
	// Lookup takes the place of the times between lookups of a topic's
	// replicas: those while few are known and those at random.
	Lookup time.Duration
}

// intervals are the syncer's, as tuned.
func (t DHTTuning) intervals() syncer.Intervals {
	return syncer.Intervals{Lookup: t.Lookup, Active: t.Lookup, Dormant: t.Lookup}
}

// StrangerLimits bounds the topics that a node keeps though nobody here joined
// them.
type StrangerLimits struct {
	Topics int // at most so many; 0: 1,000
	// Bytes bounds the whole store, one's own topics included: while it takes
	// more, no topic is adopted and those that were do not grow. One's own go on.
	// 0: 1 GiB.
	Bytes int64
}

// Validate reports what is wrong with the configuration. The error is
// types.ErrInvalidArgument.
func (c *Config) Validate() error {
	if err := c.check(); err != nil {
		return fmt.Errorf("%w: %w", types.ErrInvalidArgument, err)
	}
	return nil
}

func (c *Config) check() error {
	for _, a := range c.Listen {
		if err := checkListen(a); err != nil {
			return fmt.Errorf("listen address %q: %w", a, err)
		}
	}
	if len(c.Bootstrap) > maxBootstrap {
		return fmt.Errorf("%d bootstrap peers, limit %d", len(c.Bootstrap), maxBootstrap)
	}
	for _, a := range c.Bootstrap {
		if _, err := parsePeer(a); err != nil {
			return fmt.Errorf("bootstrap peer: %w", err)
		}
	}
	if len(c.Network) > maxNetworkName || !utf8.ValidString(c.Network) ||
		strings.ContainsFunc(c.Network, func(r rune) bool { return !isNetworkRune(r) }) {
		return fmt.Errorf("network %q: want up to %d letters, digits, '-', '_' or '.'", c.Network, maxNetworkName)
	}
	switch c.Role {
	case "", RoleRelay, RoleReplica, RoleBroker:
	default:
		return fmt.Errorf("role %q is none of %s, %s and %s", c.Role, RoleRelay, RoleReplica, RoleBroker)
	}
	if c.Role == RoleRelay && (c.Replicate != Joined || c.Archive) {
		return errors.New("a relay keeps no topic, so that it can neither replicate all topics nor be an archive")
	}
	if c.Role == RoleRelay && c.Validator != nil {
		return errors.New("a relay has no consumers that validators could hold anything from")
	}
	if c.Replicate != Joined && c.Replicate != All {
		return fmt.Errorf("replicate %d is neither Joined nor All", c.Replicate)
	}
	if c.DHT < DHTServer || c.DHT > DHTOff {
		return fmt.Errorf("DHT mode %d is none of DHTServer, DHTClient and DHTOff", c.DHT)
	}
	if c.UnloadAfter < 0 {
		return fmt.Errorf("unload after %v", c.UnloadAfter)
	}
	if t := c.DHTTuning; t.BucketSize < 0 || t.Refresh < 0 || t.Reprovide < 0 || t.Lookup < 0 {
		return fmt.Errorf("DHT tuning %+v is negative", t)
	}
	return nil
}

// checkListen reports why a is no address to listen on: TCP, or QUIC over UDP.
func checkListen(a string) error {
	m, err := multiaddr.NewMultiaddr(a)
	if err != nil {
		return err
	}
	var names []string
	for _, c := range m {
		names = append(names, c.Protocol().Name)
	}
	switch len(names) {
	case 2:
		if isIP(names[0]) && names[1] == "tcp" {
			return nil
		}
	case 3:
		if isIP(names[0]) && names[1] == "udp" && names[2] == "quic-v1" {
			return nil
		}
	}
	return fmt.Errorf("want /ip4/ADDRESS/tcp/PORT or /ip4/ADDRESS/udp/PORT/quic-v1, or the same with ip6")
}

func isIP(protocol string) bool { return protocol == "ip4" || protocol == "ip6" }

func isNetworkRune(r rune) bool {
	return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' || r == '_' || r == '.'
}

// minFree is MinFree in the store's terms.
func (c *Config) minFree() uint64 {
	if c.MinFree < 0 {
		return badger.NoMinFree
	}
	return uint64(c.MinFree)
}

// withDefaults fills in what was left zero.
func (c Config) withDefaults() Config {
	if c.Listen == nil {
		c.Listen = DefaultListen()
	}
	if c.Role == "" {
		c.Role = RoleReplica
	}
	if c.Network == "" {
		c.Network = DefaultNetwork
	}
	if c.UnloadAfter == 0 {
		c.UnloadAfter = unloadAfter
	}
	if c.MinFree == 0 {
		c.MinFree = DefaultMinFree
	}
	if c.Strangers.Topics == 0 {
		c.Strangers.Topics = 1000
	}
	if c.Strangers.Bytes == 0 {
		c.Strangers.Bytes = 1 << 30
	}
	if c.Archive {
		c.Replicate = All
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return c
}
