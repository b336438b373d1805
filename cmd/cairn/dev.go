package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/cairn-p2p/cairn/api"
)

// Limits of dev.
const (
	// maxNodes is what one process serves without running out of file handles
	// where 1,024 are allowed.
	maxNodes = 64
	// maxDemo keeps a demo within minutes, and a gigabyte of disk.
	maxDemo = 1_000_000
)

// errInterrupted ends a demo that a signal came into.
var errInterrupted = errors.New("interrupted")

// devFlags are the flags of dev.
type devFlags struct {
	api   string
	nodes int
	keep  string
	demo  int
}

func newDev(a *app) *cobra.Command {
	var f devFlags
	cmd := &cobra.Command{
		Use:   "dev",
		Short: "Run several connected nodes at once, to try things out",
		Long: `Run several nodes in one process, connected to each other over loopback, until
SIGINT or SIGTERM; a second one forces them to stop. Their APIs are on the ports from
7460 on. Each keeps its data in a temporary directory, which goes in the end, or in
DIR/node-1, DIR/node-2, … with --keep.

--demo N takes free ports, publishes N events on all nodes at once, cuts the last node
off for half of them, heals it, and prints what came of it. It succeeds only if all
nodes have the same DAG in the end and the node that was cut off did miss events.`,
		Args: cobra.NoArgs,
		RunE: a.verb(func(ctx context.Context, cmd *cobra.Command, _ []string) error {
			return a.dev(ctx, cmd, f)
		}),
	}
	flags := cmd.Flags()
	flags.IntVar(&f.nodes, "nodes", 3, "how many nodes, 1 to 64")
	flags.StringVar(&f.keep, "keep", "", "keep the nodes' data in `DIR`")
	flags.IntVar(&f.demo, "demo", 0, "show how `N` events heal a cut, and end; 2 to 1,000,000")
	flags.StringVar(&f.api, "api", "", "serve the first API at `HOST:PORT`, a loopback address, and the others on the following ports; port 0: free ones (env CAIRN_API_LISTEN; default "+defaultAPIListen+")")
	return cmd
}

// check reports what is wrong with the flags.
func (f devFlags) check(cmd *cobra.Command) error {
	demo := cmd.Flag("demo").Changed
	switch {
	case f.nodes < 1 || f.nodes > maxNodes:
		return usagef("--nodes %d: want 1 to %d", f.nodes, maxNodes)
	case demo && f.nodes < 2:
		return usagef("--nodes %d: a demo needs 2 at least, one to be cut off", f.nodes)
	case demo && (f.demo < 2 || f.demo > maxDemo):
		return usagef("--demo %d: want 2 to %d", f.demo, maxDemo)
	case demo && cmd.Flag("api").Changed:
		return usagef("--demo takes free ports, so --api makes no sense with it")
	case cmd.Flag("keep").Changed && f.keep == "":
		return usagef("--keep is empty")
	}
	if err := api.CheckListen(f.api); err != nil {
		return err
	}
	if _, err := apiAddress(f.api, f.nodes-1); err != nil {
		return usagef("--api %s: %v", f.api, err)
	}
	return nil
}

// dev runs a cluster from start to stop. ctx bounds its start, or the whole
// demo.
func (a *app) dev(ctx context.Context, cmd *cobra.Command, f devFlags) error {
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	defer signal.Stop(signals)
	f.api = firstOf(f.api, a.getenv("CAIRN_API_LISTEN"), defaultAPIListen)
	if f.demo > 0 {
		f.api = "127.0.0.1:0"
	}
	if err := f.check(cmd); err != nil {
		return err
	}
	level := a.level
	if !cmd.Flag("log-level").Changed {
		level = slog.LevelWarn // that several nodes are ready is printed
	}
	c, err := newCluster(f.keep, f.api, slog.New(slog.NewTextHandler(a.stderr, &slog.HandlerOptions{Level: level})))
	if err != nil {
		return err
	}
	interrupted, interrupt := context.WithCancel(context.Background())
	defer interrupt()
	ended := make(chan struct{})
	defer close(ended)
	go func() {
		for {
			select {
			case s := <-signals:
				if interrupted.Err() != nil {
					c.signal(s) // one after that of stop
				}
				interrupt()
			case <-ended:
				return
			}
		}
	}()
	err = a.runCluster(ctx, interrupted, c, f)
	return errors.Join(err, c.stop())
}

// runCluster starts c and does what f says with it.
func (a *app) runCluster(ctx, interrupted context.Context, c *cluster, f devFlags) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(interrupted, cancel)()
	defer context.AfterFunc(c.failed, cancel)()
	err := c.start(ctx, f.nodes)
	if err == nil && f.demo > 0 {
		err = a.demo(ctx, c, f.demo)
	}
	switch {
	case interrupted.Err() != nil && f.demo > 0 && err != nil:
		return errInterrupted
	case interrupted.Err() != nil:
		return nil // that is how dev ends
	case err != nil || f.demo > 0:
		return err
	}
	if err := a.printNodes(c); err != nil {
		return err
	}
	select {
	case <-interrupted.Done():
	case <-c.failed.Done(): // stop says why
	}
	return nil
}

// devRow is a node of dev.
type devRow struct {
	Node string `json:"node"`
	API  string `json:"api"` // URL
	P2P  string `json:"p2p"` // multiaddress
	Dir  string `json:"dir"`
}

var devTable = table[devRow]{
	{"NODE", 0, func(r *devRow) string { return r.Node }},
	{"API", 0, func(r *devRow) string { return r.API }},
	{"FOR PEERS", 0, func(r *devRow) string { return r.P2P }},
}

// printNodes prints a line for each node, and what to do with them.
func (a *app) printNodes(c *cluster) error {
	var rows []devRow
	for i, d := range c.daemons {
		rows = append(rows, devRow{Node: nodeName(i), API: c.urls[i], P2P: d.node.Addrs()[0], Dir: d.cfg.Dir})
	}
	if err := printList(a, rows, devTable); err != nil {
		return err
	}
	return write(a.stderr, []byte(nextSteps(command(os.Args[0]), rows)))
}

// nextSteps is what to type next, ready to be copied.
func nextSteps(cairn string, rows []devRow) string {
	first, last := rows[0], rows[len(rows)-1]
	at := func(r devRow, verb string) string {
		if r.API == defaultAPI {
			return fmt.Sprintf("  %s %s\n", cairn, verb)
		}
		return fmt.Sprintf("  %s --api %s %s\n", cairn, r.API, verb)
	}
	return "\nIn another terminal, publish on " + first.Node + " and read on " + last.Node + ":\n\n" +
		at(first, `pub greetings "hello from `+first.Node+`"`) +
		at(last, "sub greetings --from start --count 1") +
		at(last, "topic status greetings") +
		at(last, "topic graph greetings > greetings.svg") +
		"\nCtrl-C stops the nodes. '" + cairn + " dev --demo 1000' shows how a cut heals.\n"
}

// command is how the program that runs as argv0 was called, and can be again:
// 'go run' leaves its program in a place that goes with it.
func command(argv0 string) string {
	if strings.Contains(filepath.ToSlash(argv0), "/go-build") {
		return "go run ./cmd/cairn"
	}
	if strings.ContainsAny(argv0, " '\"$") {
		return "cairn"
	}
	return argv0
}

// seconds is d for rows, to the millisecond.
func seconds(d time.Duration) float64 {
	return float64(d.Round(time.Millisecond).Milliseconds()) / 1000
}
