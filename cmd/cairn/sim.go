package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/cairn-p2p/cairn/e2e"
	"github.com/cairn-p2p/cairn/node"
	"github.com/cairn-p2p/cairn/types"
)

// errBroken is how a scenario fails: what should hold does not.
var errBroken = errors.New("not all that should hold does")

func newSim(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "sim",
		Short: "Run many nodes in one process, with faults, and check that they converge",
	}
	cmd.AddCommand(newSimRun(a), newSimLs(a), newSimShow(a))
	return cmd
}

// simFlags are the flags of sim run.
type simFlags struct {
	seed    int64
	seedSet bool
	network string
	report  string
}

func newSimRun(a *app) *cobra.Command {
	var f simFlags
	cmd := &cobra.Command{
		Use:   "run FILE.toml|NAME",
		Short: "Run a scenario",
		Long: `Run a scenario: a file's, or the one of that name that comes with Cairn: a built-in one, or a case of the table in
docs/simulation.md, hostile peers among them.

The nodes are whole ones, in this process unless --network says otherwise, with their
data in a temporary directory. They run in real time. It exits with 0 only if every invariant held in the end. 'cairn
sim show NAME' prints a scenario as a file to begin with.`,
		Args: cobra.ExactArgs(1),
		RunE: a.verb(func(ctx context.Context, cmd *cobra.Command, args []string) error {
			f.seedSet = cmd.Flags().Changed("seed")
			return a.sim(ctx, args[0], f)
		}),
	}
	cmd.Flags().Int64Var(&f.seed, "seed", 0, "draw with the seed `N` instead of the scenario's")
	cmd.Flags().StringVar(&f.network, "network", e2e.Simulated.String(), "what the nodes speak through: simulated, loopback, or processes (loopback, each node a process of its own)")
	cmd.Flags().StringVar(&f.report, "report", "", "write a page with the course of the run, its DAG and the data of both into `FILE`")
	return cmd
}

func newSimLs(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "ls",
		Short: "List the built-in scenarios, the quickest first",
		Args:  cobra.NoArgs,
		RunE: a.verb(func(context.Context, *cobra.Command, []string) error {
			var rows []scenarioRow
			for _, s := range e2e.Builtin() {
				rows = append(rows, scenarioRow{s.Name, s.Nodes, s.Events, seconds(s.Duration), s.About})
			}
			return printList(a, rows, scenarioTable)
		}),
	}
}

func newSimShow(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "show NAME",
		Short: "Print a scenario that comes with Cairn as a file for 'cairn sim run'",
		Args:  cobra.ExactArgs(1),
		RunE: a.verb(func(_ context.Context, _ *cobra.Command, args []string) error {
			if a.output != formatTable {
				return usagef("a scenario's file is TOML, so -o %s makes no sense with it", a.output)
			}
			s, err := builtin(args[0])
			if err != nil {
				return err
			}
			text, err := s.TOML()
			if err != nil {
				return err
			}
			return write(a.stdout, text)
		}),
	}
}

// scenarioRow is a scenario in a list.
type scenarioRow struct {
	Name    string  `json:"name"`
	Nodes   int     `json:"nodes"`
	Events  int     `json:"events"`
	Seconds float64 `json:"seconds"` // of writing and faults
	About   string  `json:"about"`
}

var scenarioTable = table[scenarioRow]{
	{"NAME", 0, func(r *scenarioRow) string { return r.Name }},
	{"NODES", 0, func(r *scenarioRow) string { return strconv.Itoa(r.Nodes) }},
	{"EVENTS", 0, func(r *scenarioRow) string { return strconv.Itoa(r.Events) }},
	{"SECONDS", 0, func(r *scenarioRow) string { return strconv.FormatFloat(r.Seconds, 'f', 0, 64) }},
	{"ABOUT", 0, func(r *scenarioRow) string { return r.About }},
}

// simRow is what came of a scenario.
type simRow struct {
	Scenario         string             `json:"scenario"`
	Network          string             `json:"network"`
	Seed             uint64             `json:"seed"`
	Nodes            int                `json:"nodes"`
	Events           int                `json:"events"`
	Acknowledged     int                `json:"acknowledged"`
	Lost             int                `json:"lost"` // of the acknowledged ones, those that not every node has
	Heads            int                `json:"heads"`
	Converged        *float64           `json:"converged_seconds"`  // after the last fault or append; null: never
	BytesPerEvent    float64            `json:"bytes_per_event"`    // that all nodes together sent; 0 from processes, which are not looked into
	MessagesPerEvent float64            `json:"messages_per_event"` // frames of gossip and sync; 0 from processes
	PacketsPerEvent  float64            `json:"packets_per_event"`  // 0 but on the simulated network, which alone sees them
	Redundant        float64            `json:"redundant"`          // events that came by sync to nodes that had them, by those needed; 0 from processes too
	Peaks            simPeaks           `json:"peaks"`
	Attacks          []e2e.AttackResult `json:"attacks,omitempty"` // in the order in which they began
	Held             bool               `json:"held"`              // everything that should
	Wrong            []string           `json:"wrong"`             // what did not
}

// simPeaks is the most that samples found while a scenario ran.
type simPeaks struct {
	Heap       uint64 `json:"heap_bytes"` // of the whole process
	Disk       int64  `json:"disk_bytes"` // of all nodes
	Pending    int64  `json:"pending_bytes"`
	MaxPending int64  `json:"pending_bytes_cap"` // of any node, as the next two
	Streams    int    `json:"streams"`
	MaxStreams int    `json:"streams_cap"`
	MaxDisk    uint64 `json:"disk_bytes_cap,omitempty"` // stated of attacks alone, as the growth of the heap
	Growth     uint64 `json:"heap_growth_bytes,omitempty"`
	MaxGrowth  uint64 `json:"heap_growth_bytes_cap,omitempty"`
}

var simTable = table[simRow]{
	{"SCENARIO", 0, func(r *simRow) string { return r.Scenario }},
	{"NETWORK", 0, func(r *simRow) string { return r.Network }},
	{"SEED", 0, func(r *simRow) string { return strconv.FormatUint(r.Seed, 10) }},
	{"NODES", 0, func(r *simRow) string { return strconv.Itoa(r.Nodes) }},
	{"EVENTS", 0, func(r *simRow) string { return strconv.Itoa(r.Events) }},
	{"HEADS", 0, func(r *simRow) string { return strconv.Itoa(r.Heads) }},
	{"SECONDS TO EQUAL", 0, func(r *simRow) string {
		if r.Converged == nil {
			return "-"
		}
		return strconv.FormatFloat(*r.Converged, 'f', 3, 64)
	}},
	{"BYTES/EVENT", 0, func(r *simRow) string { return seen(r.BytesPerEvent, 0) }},
	{"MESSAGES/EVENT", 0, func(r *simRow) string { return seen(r.MessagesPerEvent, 1) }},
	{"REDUNDANT", 0, func(r *simRow) string {
		if !r.inside() {
			return "-"
		}
		return strconv.FormatFloat(100*r.Redundant, 'f', 1, 64) + "%"
	}},
	{"LOST", 0, func(r *simRow) string { return strconv.Itoa(r.Lost) }},
	{"HELD", 0, func(r *simRow) string { return yesNo(r.Held) }},
}

// inside reports whether the nodes ran in this process, where they can be looked
// into: else their transfer and peaks are not known.
func (r *simRow) inside() bool { return r.Network != e2e.Processes.String() }

// seen is a figure that not every network sees.
func seen(f float64, digits int) string {
	if f == 0 {
		return "-"
	}
	return strconv.FormatFloat(f, 'f', digits, 64)
}

func newSimRow(r *e2e.Result) simRow {
	each := max(float64(r.Events), 1)
	var converged *float64
	if r.Equal {
		s := seconds(r.Converged)
		converged = &s
	}
	return simRow{
		Scenario: r.Scenario, Network: r.Medium, Seed: r.Seed, Nodes: r.Nodes,
		Events: r.Events, Acknowledged: r.Acknowledged, Lost: r.Lost, Heads: r.Heads,
		Converged:        converged,
		BytesPerEvent:    float64(r.Bytes) / each,
		MessagesPerEvent: float64(r.Messages) / each,
		PacketsPerEvent:  float64(r.Packets) / each,
		Redundant:        float64(r.Redundant) / max(float64(r.Needed), 1),
		Peaks: simPeaks{
			Heap: r.Peaks.Heap, Disk: r.Peaks.Disk,
			Pending: r.Peaks.Pending, MaxPending: node.MaxPending,
			Streams: r.Peaks.Streams, MaxStreams: node.MaxStreams,
			MaxDisk: r.DiskCap, Growth: r.Growth, MaxGrowth: r.GrowthCap,
		},
		Attacks: r.Attacks,
		Held:    len(r.Wrong) == 0,
		Wrong:   append([]string{}, r.Wrong...),
	}
}

// sim runs a scenario and prints what came of it.
func (a *app) sim(ctx context.Context, arg string, f simFlags) error {
	s, err := scenario(arg)
	if err != nil {
		return err
	}
	o := e2e.Options{}
	switch f.network {
	case e2e.Simulated.String():
	case e2e.Loopback.String():
		o.Medium = e2e.Loopback
	case e2e.Processes.String():
		o.Medium = e2e.Processes
		if o.Binary, err = os.Executable(); err != nil {
			return fmt.Errorf("find this program: %w", err)
		}
	default:
		return usagef("--network %q: want %s, %s or %s", f.network, e2e.Simulated, e2e.Loopback, e2e.Processes)
	}
	if f.seedSet {
		if f.seed < 0 {
			return usagef("--seed %d is negative", f.seed)
		}
		s.Seed = uint64(f.seed)
	}
	if f.report != "" {
		if err := checkReport(f.report); err != nil {
			return err
		}
		o.Trace = true
	}
	if l := s.Link; o.Medium != e2e.Simulated && (l.Loss > 0 || l.Jitter > 0 || l.Bandwidth > 0) {
		fmt.Fprintf(a.stderr, "cairn: the network of %s is this machine's, so that what [link] says is left out\n", f.network) //nolint:errcheck // only a note
	}
	running, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	defer stop()
	p := a.newProgress(s.Events)
	o.Progress = show(p)
	r, err := e2e.Run(running, s, o)
	p.end()
	if err != nil && running.Err() != nil && ctx.Err() == nil {
		return errInterrupted
	}
	if err != nil {
		return err
	}
	if err := printList(a, []simRow{newSimRow(r)}, simTable); err != nil {
		return err
	}
	if f.report != "" {
		if err := writeReport(f.report, r); err != nil {
			return err
		}
	}
	if len(r.Wrong) > 0 {
		return fmt.Errorf("%w:\n%s", errBroken, strings.Join(r.Wrong, "\n"))
	}
	return nil
}

// show makes a progress bar follow a run.
func show(p progress) func(e2e.Progress) {
	events := 0
	return func(now e2e.Progress) {
		if now.Fault != "" {
			p.phase(now.Fault)
		}
		if now.Events > events {
			p.add(now.Events - events)
			events = now.Events
		}
	}
}

// scenario returns a file's scenario, or the one of that name that comes with
// Cairn.
func scenario(arg string) (e2e.Scenario, error) {
	if !strings.HasSuffix(arg, ".toml") {
		return builtin(arg)
	}
	s, err := e2e.Load(arg)
	if errors.Is(err, fs.ErrNotExist) {
		return s, usagef("%v", err)
	}
	return s, err
}

func builtin(name string) (e2e.Scenario, error) {
	s, ok := e2e.Named(name)
	if !ok {
		return s, fmt.Errorf("scenario %q: %w: 'cairn sim ls' lists the built-in ones, and a file's name ends in .toml", name, types.ErrNotFound)
	}
	return s, nil
}
