package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/cairn-p2p/cairn/api"
	"github.com/cairn-p2p/cairn/delivery"
	"github.com/cairn-p2p/cairn/node"
	"github.com/cairn-p2p/cairn/types"
)

// stopTimeout is how long a node may take to stop before it is given up.
// Nothing that was acknowledged is lost then: that is durable already.
const stopTimeout = 4500 * time.Millisecond

// sameSignal is the time within which two signals are one: who ends a process
// group often tells its leader twice, as timeout(1) does.
const sameSignal = 100 * time.Millisecond

// errForced: a second signal, or stopTimeout, ended the node.
var errForced = errors.New("stopped before everything was closed; acknowledged events are durable")

// daemonFlags are the flags of run.
type daemonFlags struct {
	node.Config
	api       string
	replicate string
	pprof     bool
	dht       string
	rules     string
}

func newRun(a *app) *cobra.Command {
	var f daemonFlags
	cmd := &cobra.Command{
		Use:   "run --data-dir DIR",
		Short: "Run a node",
		Long: `Run a node until SIGINT or SIGTERM; a second one forces it to stop.

DIR is created if it is not there. Once the node answers, DIR/api.addr has the
address of its API and DIR/p2p.addrs, which comes last, the multiaddresses that
peers can dial, one a line. Both go when the node stops.`,
		Args: cobra.NoArgs,
		RunE: a.verb(func(ctx context.Context, cmd *cobra.Command, _ []string) error {
			if f.Archive && cmd.Flags().Changed("replicate") && f.replicate == "joined" {
				return usagef("--archive keeps all topics, and --replicate joined does not")
			}
			return a.runNode(ctx, f)
		}),
	}
	flags := cmd.Flags()
	flags.StringVar(&f.Dir, "data-dir", "", "the node's data directory (required)")
	flags.StringArrayVar(&f.Listen, "listen", node.DefaultListen(), "listen for peers at `MULTIADDR` (may be repeated)")
	flags.StringVar(&f.api, "api", "", "serve the API at `HOST:PORT`, a loopback address (env CAIRN_API_LISTEN; default "+defaultAPIListen+")")
	flags.StringArrayVar(&f.Bootstrap, "bootstrap", nil, "stay connected to the peer at `MULTIADDR` (may be repeated)")
	flags.StringVar(&f.Network, "network", node.DefaultNetwork, "the network's `NAME`: nodes of different networks ignore each other")
	flags.StringVar((*string)(&f.Role), "role", string(node.RoleReplica), "what the node does for others: relay, replica, or broker (a replica that serves light clients over libp2p)")
	flags.StringVar(&f.replicate, "replicate", "joined", "which topics to keep: joined, or all that gossip tells of")
	flags.BoolVar(&f.pprof, "pprof", false, "serve the profiles of net/http/pprof under /debug/pprof/ on the API's address")
	flags.StringVar(&f.dht, "dht", "server", "the node's part in the DHT: server, client (keeps nothing for others), or off")
	flags.BoolVar(&f.Archive, "archive", false, "keep all topics that gossip tells of while it runs, as --replicate all does, and be found as an archive of the network")
	flags.StringVar(&f.rules, "validators", "", "hold what consumers are given to the rules in `FILE`, TOML; the rest is suppressed")
	flags.BoolVar(&f.Restored, "restored", false, "DIR is an older copy of itself, such as a backup: append to a topic only after a sync with another replica of it, and let consumers wait for 'consumer reset'")
	return cmd
}

// config checks the flags and returns what they say.
func (f daemonFlags) config(log *slog.Logger) (node.Config, error) {
	cfg := f.Config
	cfg.Log = log
	switch f.replicate {
	case "joined":
		cfg.Replicate = node.Joined
	case "all":
		cfg.Replicate = node.All
	default:
		return cfg, usagef("--replicate %q: want joined or all", f.replicate)
	}
	switch f.dht {
	case "server":
		cfg.DHT = node.DHTServer
	case "client":
		cfg.DHT = node.DHTClient
	case "off":
		cfg.DHT = node.DHTOff
	default:
		return cfg, usagef("--dht %q: want server, client or off", f.dht)
	}
	if cfg.Dir == "" {
		return cfg, usagef("--data-dir is required")
	}
	if cfg.Network == "" {
		return cfg, usagef("--network is empty")
	}
	if err := api.CheckListen(f.api); err != nil {
		return cfg, err
	}
	if f.rules != "" {
		rules, err := delivery.LoadRules(f.rules, topicID)
		if errors.Is(err, types.ErrInvalidArgument) {
			return cfg, err // which begins with FILE:LINE:
		}
		if err != nil {
			return cfg, usagef("--validators: %v", err)
		}
		cfg.Validator = rules.Validator
	}
	return cfg, cfg.Validate()
}

// topicID returns the id of the topic that a reference is to.
func topicID(ref string) (types.TopicID, error) {
	r, err := node.ParseTopicRef(ref)
	return r.ID, err
}

// runNode runs a node from start to stop. ctx bounds only the start.
func (a *app) runNode(ctx context.Context, f daemonFlags) error {
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	signal.Ignore(syscall.SIGPIPE) // of a log that nobody reads any more
	defer signal.Stop(signals)
	log := slog.New(slog.NewTextHandler(a.stderr, &slog.HandlerOptions{Level: a.level}))
	f.api = firstOf(f.api, a.getenv("CAIRN_API_LISTEN"), defaultAPIListen)
	cfg, err := f.config(log)
	if err != nil {
		return err
	}
	return (&daemon{cfg: cfg, api: f.api, pprof: f.pprof, signals: signals, log: log}).run(ctx)
}

// daemon is a node with its API.
type daemon struct {
	cfg     node.Config
	api     string
	pprof   bool
	signals <-chan os.Signal
	log     *slog.Logger

	node  *node.Node
	addrs addrFiles
}

// run starts the daemon, waits for a signal, and stops it.
func (d *daemon) run(ctx context.Context) error {
	started := make(chan error, 1)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var listener net.Listener
	go func() {
		var err error
		listener, err = d.start(ctx)
		started <- err
	}()
	select {
	case err := <-started:
		if err != nil {
			return err
		}
	case s := <-d.signals:
		d.log.Info("stopping before the start is done", "signal", s.String())
		cancel()
		return d.awaitStop(func() error {
			if err := <-started; err != nil {
				return nil // what was opened is closed
			}
			return errors.Join(listener.Close(), d.node.Close())
		})
	}
	return d.serve(listener)
}

// start opens the node and the API's listener. The data directory is locked
// before anything in it is touched.
func (d *daemon) start(ctx context.Context) (net.Listener, error) {
	d.addrs = addrFiles{dir: d.cfg.Dir}
	d.cfg.Locked = d.addrs.remove // those of a node that was killed
	n, err := node.Open(ctx, d.cfg)
	if err != nil {
		return nil, err
	}
	d.node = n
	l, err := api.Listen(d.api)
	if err != nil {
		return nil, errors.Join(err, n.Close())
	}
	return l, nil
}

// serve answers the API until a signal comes, then stops everything.
func (d *daemon) serve(l net.Listener) error {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	served := make(chan error, 1)
	server := &api.Server{Service: api.NewLocal(d.node, version().Version), Log: d.log, Pprof: d.pprof}
	go func() { served <- server.Serve(ctx, l) }()
	failed := d.addrs.write(l.Addr().String(), d.node.Addrs())
	if failed == nil {
		d.log.Info("ready", "peer", d.node.ID().String(), "api", l.Addr().String(), "data", d.cfg.Dir)
		select {
		case s := <-d.signals:
			server.Drain()
			d.log.Info("stopping", "signal", s.String())
		case failed = <-served:
			served <- nil
		case <-d.node.Done(): // a part of it failed: Close says which
		}
	}
	return d.awaitStop(func() error {
		err := errors.Join(failed, d.addrs.remove())
		cancel()
		return errors.Join(err, <-served, d.node.Close())
	})
}

// awaitStop returns what stop does, unless a second signal comes or it takes
// too long.
func (d *daemon) awaitStop(stop func() error) error {
	stopped := make(chan error, 1)
	go func() { stopped <- stop() }()
	begun := time.Now()
	timeout := time.NewTimer(stopTimeout)
	defer timeout.Stop()
	for {
		select {
		case err := <-stopped:
			return err
		case s := <-d.signals:
			if time.Since(begun) < sameSignal {
				continue
			}
			return fmt.Errorf("second signal, %s: %w", s, errForced)
		case <-timeout.C:
			return fmt.Errorf("not stopped in %s: %w", stopTimeout, errForced)
		}
	}
}
