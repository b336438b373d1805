package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"os"
	"os/signal"
	"regexp"
	"slices"
	"strings"
	"time"
)

// rowTimeout bounds one run of one row: several times what the slowest takes.
const rowTimeout = 4 * time.Minute

// suiteTimeout bounds a suite, so that whoever runs it knows how long to wait at
// most. Those in unbounded have none: their rows are as large as asked for.
const suiteTimeout = 8 * time.Minute

var unbounded = map[string]bool{"growth": true}

// errSuiteTimeout is why a suite ended early.
var errSuiteTimeout = fmt.Errorf("not done in %v: only the rows above were measured; -select some, or fewer -runs", suiteTimeout)

// suites are the subcommands.
var suites = map[string]func(*bench) error{
	"append":   (*bench).appends,
	"converge": (*bench).converges,
	"deliver":  (*bench).delivers,
	"join":     (*bench).joins,
	"heal":     (*bench).heals,
	"growth":   (*bench).growth,
	"latency":  (*bench).latencies,
	"topics":   (*bench).topics,
	"limits":   (*bench).limits,
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := run(ctx, os.Args[1:], os.Stdout)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// run carries out one suite and prints its table.
func run(ctx context.Context, args []string, out io.Writer) (err error) {
	b := &bench{ctx: ctx, progress: os.Stderr}
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	flags.IntVar(&b.runs, "runs", 3, "run each row `N` times and print the best")
	flags.Float64Var(&b.scale, "scale", 1, "multiply the numbers of events, for a quick look without goals")
	selected := flags.String("select", "", "only rows whose name matches `REGEXP`")
	profiles := flags.String("profile", "", "write cpu, allocs, block and mutex profiles of the measured work into `DIR`")
	if err := flags.Parse(args); err != nil {
		return err
	}
	suite := suites[flags.Arg(0)]
	if suite == nil || flags.NArg() != 1 || b.runs < 1 || b.scale <= 0 {
		return fmt.Errorf("want one of %s", strings.Join(slices.Sorted(maps.Keys(suites)), ", "))
	}
	if b.selected, err = regexp.Compile(*selected); err != nil {
		return fmt.Errorf("-select: %w", err)
	}
	if b.dir, err = os.MkdirTemp("", "cairn-bench-"); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(b.dir)) }()
	if *profiles != "" {
		if b.profiler, err = newProfiler(*profiles); err != nil {
			return err
		}
	}
	defer b.bound(flags.Arg(0))()
	return b.print(out, suite(b))
}

// bound gives a suite its time.
func (b *bench) bound(suite string) (cancel context.CancelFunc) {
	if unbounded[suite] {
		return func() {}
	}
	b.ctx, cancel = context.WithTimeoutCause(b.ctx, suiteTimeout, errSuiteTimeout)
	return cancel
}

// print prints the rows that a suite measured until it ended with err, and returns
// that, with what ended it. The goals are for what has its full size.
func (b *bench) print(out io.Writer, err error) error {
	if cause := context.Cause(b.ctx); err != nil && errors.Is(cause, errSuiteTimeout) {
		err = fmt.Errorf("%w: %w", cause, err)
	}
	if b.scale != 1 {
		for i := range b.rows {
			r := &b.rows[i]
			r.goal, r.notes = "", append(r.notes, fmt.Sprintf("at -scale %g", b.scale))
		}
	}
	return errors.Join(err, printTable(out, b.rows))
}

// bench is what the suites share.
type bench struct {
	ctx      context.Context
	dir      string // for all data
	runs     int
	scale    float64
	selected *regexp.Regexp
	profiler *profiler // nil: none
	progress io.Writer
	rows     []row
}

// scaled returns n events times the scale, at least few.
func (b *bench) scaled(n int) int { return max(64, int(float64(n)*b.scale)) }

// scaledTime returns d times the scale, but never more than d.
func (b *bench) scaledTime(d time.Duration) time.Duration {
	return time.Duration(float64(d) * min(1, b.scale))
}

// row runs a row as often as was asked and keeps the fastest. It reports
// whether the row was selected.
func (b *bench) row(name string, measure func(context.Context, *row) error) (*row, error) {
	return b.rowOf(name, b.runs, measure)
}

// rowOnce is row for what takes its time, and as long in each run.
func (b *bench) rowOnce(name string, measure func(context.Context, *row) error) (*row, error) {
	return b.rowOf(name, 1, measure)
}

func (b *bench) rowOf(name string, runs int, measure func(context.Context, *row) error) (*row, error) {
	if !b.selected.MatchString(name) {
		return nil, nil
	}
	var best *row
	for i := range runs {
		fmt.Fprintf(b.progress, "%s: run %d of %d\n", name, i+1, runs)
		ctx, cancel := context.WithTimeout(b.ctx, rowTimeout)
		r := row{name: name}
		err := measure(ctx, &r)
		cancel()
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		if best == nil || r.time() < best.time() {
			best = &r
		}
	}
	b.rows = append(b.rows, *best)
	return &b.rows[len(b.rows)-1], nil
}

// temp makes a directory of its own for one run.
func (b *bench) temp() (string, error) { return os.MkdirTemp(b.dir, "") }
