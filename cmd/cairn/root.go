package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/cairn-p2p/cairn/api"
	"github.com/cairn-p2p/cairn/node"
)

// Where the API is when nothing says otherwise.
const (
	defaultAPI       = "http://127.0.0.1:7460"
	defaultAPIListen = "127.0.0.1:7460"
)

// app is one run of the program: what it was given, and its global flags.
type app struct {
	stdin          io.Reader
	stdout, stderr io.Writer
	getenv         func(string) string

	api     string
	output  format
	timeout time.Duration
	level   slog.Level

	started bool  // the command line was understood and its verb runs
	helpErr error // why --help printed none
}

const longHelp = `Cairn replicates topics of signed events between nodes.

'cairn run' is a node; the other verbs talk to one over its API.

TOPIC is a topic's name, 1 to 255 bytes of UTF-8, or "id:" and a topic's id.

Exit codes: 0 done, 1 failed, 2 usage or configuration, 3 daemon unreachable,
4 not found, 6 corrupt database, 7 data directory locked, 8 timed out.`

func newRoot(a *app) *cobra.Command {
	root := &cobra.Command{
		Use:           "cairn",
		Short:         "Replicate topics of signed events between nodes",
		Long:          longHelp,
		SilenceErrors: true,
		SilenceUsage:  true,
	}
	root.SetIn(a.stdin)
	root.SetOut(a.stdout)
	root.SetErr(a.stderr)
	flags := root.PersistentFlags()
	flags.StringVar(&a.api, "api", "", "the node's API, `URL` or HOST:PORT (env CAIRN_API; default "+defaultAPI+")")
	flags.VarP(&a.output, "output", "o", "how to print rows: table, json or ndjson")
	flags.DurationVar(&a.timeout, "timeout", 0, "give up after this `duration`, with exit code 8 (default: never)")
	flags.Var((*levelFlag)(&a.level), "log-level", "least level of what is logged to stderr: debug, info, warn or error")
	root.AddCommand(
		newRun(a), newDev(a), newStatus(a), newPub(a), newSub(a), newQuery(a), newGet(a),
		newTopic(a), newConsumer(a), newPeer(a), newKey(a), newSim(a), newVersion(a),
	)
	root.InitDefaultHelpCmd()
	root.InitDefaultCompletionCmd()
	makeStrict(root)
	help := root.HelpFunc()
	root.SetHelpFunc(func(cmd *cobra.Command, args []string) {
		if rest := cmd.Flags().Args(); cmd.HasSubCommands() && len(rest) > 0 {
			a.helpErr = unknownVerb(cmd, rest[0]) // cobra would print cmd's help and succeed
			return
		}
		help(cmd, args)
	})
	return root
}

// makeStrict makes cmd and all below it fail where cobra would print help and
// succeed: for a verb that is missing or unknown.
func makeStrict(cmd *cobra.Command) {
	for _, c := range cmd.Commands() {
		if c.Name() == "help" {
			c.Run = nil
			c.RunE = strictHelp
			continue
		}
		makeStrict(c)
	}
	if !cmd.HasSubCommands() {
		return
	}
	cmd.Args = cobra.ArbitraryArgs
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if len(args) == 0 {
			cmd.SetOut(cmd.ErrOrStderr())
			if err := cmd.Help(); err != nil {
				return err
			}
			return fmt.Errorf("%q needs a verb", cmd.CommandPath())
		}
		return unknownVerb(cmd, args[0])
	}
}

func unknownVerb(cmd *cobra.Command, verb string) error {
	if similar := cmd.SuggestionsFor(verb); len(similar) > 0 {
		return fmt.Errorf("unknown verb %q for %q; did you mean %q?", verb, cmd.CommandPath(), similar[0])
	}
	return fmt.Errorf("unknown verb %q for %q", verb, cmd.CommandPath())
}

func strictHelp(cmd *cobra.Command, args []string) error {
	about, rest, err := cmd.Root().Find(args)
	if err == nil && len(rest) > 0 {
		err = unknownVerb(about, rest[0])
	}
	if err != nil {
		return err
	}
	about.InitDefaultHelpFlag()
	return about.Help()
}

// verb makes a cobra function of f, which gets a context with the time-out.
func (a *app) verb(f func(ctx context.Context, cmd *cobra.Command, args []string) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		if a.timeout < 0 {
			return fmt.Errorf("--timeout %s is negative", a.timeout)
		}
		a.started = true
		ctx, cancel := a.withTimeout(context.Background())
		defer cancel()
		err := f(ctx, cmd, args)
		if a.exitCode(err) == exitTimeout && a.timeout > 0 {
			return fmt.Errorf("timed out after %s: %w", a.timeout, err)
		}
		return err
	}
}

func (a *app) withTimeout(ctx context.Context) (context.Context, context.CancelFunc) {
	if a.timeout > 0 {
		return context.WithTimeout(ctx, a.timeout)
	}
	return context.WithCancel(ctx)
}

// client returns a client of the node that the flags or the environment name.
// It connects to nothing yet.
func (a *app) client() (*api.Client, error) {
	address := firstOf(a.api, a.getenv("CAIRN_API"), defaultAPI)
	return api.NewClient(address)
}

// topicClient is client for a verb about a topic, whose name it checks first.
func (a *app) topicClient(topic string) (*api.Client, error) {
	if _, err := node.ParseTopicRef(topic); err != nil {
		return nil, err
	}
	return a.client()
}

// firstOf returns the first of values that is not empty, or "".
func firstOf(values ...string) string {
	for _, v := range values {
		if v != "" {
			return v
		}
	}
	return ""
}

// levelFlag is a slog.Level as a flag.
type levelFlag slog.Level

var _ pflag.Value = (*levelFlag)(nil)

func (l *levelFlag) Type() string   { return "level" }
func (l *levelFlag) String() string { return levelNames[slog.Level(*l)] }

func (l *levelFlag) Set(s string) error {
	for level, name := range levelNames {
		if name == s {
			*l = levelFlag(level)
			return nil
		}
	}
	return fmt.Errorf("want debug, info, warn or error")
}

var levelNames = map[slog.Level]string{
	slog.LevelDebug: "debug",
	slog.LevelInfo:  "info",
	slog.LevelWarn:  "warn",
	slog.LevelError: "error",
}
