package main

import (
	"context"
	"encoding/hex"
	"fmt"
	"time"

	"github.com/multiformats/go-multiaddr"
	"github.com/spf13/cobra"

	"github.com/cairn-p2p/cairn/api"
)

func newStatus(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "status",
		Short: "Describe the node",
		Args:  cobra.NoArgs,
		RunE: a.verb(func(ctx context.Context, _ *cobra.Command, _ []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			s, err := c.Status(ctx)
			if err != nil {
				return err
			}
			fields := []field{
				{"peer id", s.PeerID},
				{"version", s.Version},
				{"network", s.Network},
				{"role", s.Role},
				fieldf("uptime", "%s", time.Duration(s.UptimeSeconds)*time.Second),
				fieldf("peers", "%d", s.Peers),
				fieldf("topics", "%d", s.Topics),
			}
			return a.printObject(s, append(fields, listField("addresses", s.Addrs)...))
		}),
	}
}

func newPeer(a *app) *cobra.Command {
	peer := &cobra.Command{Use: "peer", Short: "List peers and connect to them"}
	peer.AddCommand(&cobra.Command{
		Use:   "ls",
		Short: "List the connected peers",
		Args:  cobra.NoArgs,
		RunE: a.verb(func(ctx context.Context, _ *cobra.Command, _ []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			peers, err := c.Peers(ctx)
			if err != nil {
				return err
			}
			return a.printPeers(peers, time.Now())
		}),
	}, &cobra.Command{
		Use:   "connect MULTIADDR",
		Short: "Connect to the peer at a multiaddress that ends in /p2p/ and its id",
		Args:  cobra.ExactArgs(1),
		RunE:  a.verb(a.connectPeer),
	})
	return peer
}

// printPeers prints peers, and for people what those did that broke the
// protocol.
func (a *app) printPeers(peers []api.Peer, now time.Time) error {
	short := shortPeersOf(peers)
	if err := printList(a, peers, peerTable(short)); err != nil || a.output != formatTable {
		return err
	}
	var offenders []api.Offender
	for _, p := range peers {
		if p.Offences > 0 {
			offenders = append(offenders, api.Offender{Peer: p.Peer, Count: p.Offences, Reason: p.LastOffence, Last: p.LastOffenceTime})
		}
	}
	return write(a.stdout, appendOffenders(nil, offenders, short, now))
}

// connectedRow is what 'peer connect' prints.
type connectedRow struct {
	Peer string `json:"peer"`
}

func (a *app) connectPeer(ctx context.Context, _ *cobra.Command, args []string) error {
	addr, err := multiaddr.NewMultiaddr(args[0])
	if err != nil {
		return usagef("multiaddress %q: %v", args[0], err)
	}
	rest, last := multiaddr.SplitLast(addr)
	if len(rest) == 0 {
		return usagef("multiaddress %q has no address before its last part", args[0])
	}
	if last == nil || last.Protocol().Code != multiaddr.P_P2P {
		return usagef("multiaddress %q does not end in /p2p/ and a peer id", args[0])
	}
	id := last.Value()
	c, err := a.client()
	if err != nil {
		return err
	}
	if err := c.Connect(ctx, args[0]); err != nil {
		return err
	}
	return a.printObject(connectedRow{id}, []field{{"connected to", id}})
}

func newKey(a *app) *cobra.Command {
	key := &cobra.Command{Use: "key", Short: "Show the node's key, or make one"}
	key.AddCommand(&cobra.Command{
		Use:   "show",
		Short: "Show the node's peer id and its Ed25519 public key in hex",
		Args:  cobra.NoArgs,
		RunE:  a.verb(a.showKey),
	}, newKeyNew(a))
	return key
}

// keyRow is what 'key show' prints.
type keyRow struct {
	PeerID    string `json:"peer_id"`
	PublicKey string `json:"public_key"` // Ed25519, in hex
}

func (a *app) showKey(ctx context.Context, _ *cobra.Command, _ []string) error {
	c, err := a.client()
	if err != nil {
		return err
	}
	s, err := c.Status(ctx)
	if err != nil {
		return err
	}
	row := keyRow{PeerID: s.PeerID, PublicKey: hex.EncodeToString(s.PublicKey)}
	return a.printObject(row, []field{{"peer id", row.PeerID}, {"public key", row.PublicKey}})
}

func newVersion(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Show this program's version",
		Args:  cobra.NoArgs,
		RunE: a.verb(func(context.Context, *cobra.Command, []string) error {
			row := version()
			if a.output == formatTable {
				return write(a.stdout, fmt.Appendf(nil, "cairn %s (%s, %s)\n", row.Version, row.Go, row.Platform))
			}
			return a.printObject(row, nil)
		}),
	}
}
