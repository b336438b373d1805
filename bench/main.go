package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"regexp"
	"runtime"
	"strconv"
	"time"
)

// defaultSetup bounds what comes before the measurement: filling a node with
// 10,000 events one by one, or making two groups equal in themselves.
const defaultSetup = 5 * time.Minute

// quickSetup and quickCap keep --quick, once it is built, under two minutes
// whatever is not done: Cairn's two cells take seconds, the other system's at most
// 55 s each.
const (
	quickSetup = 15 * time.Second
	quickCap   = 40 * time.Second
)

// stderrTail is how much is shown of what a cell that died said, in bytes.
const stderrTail = 500

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := run(ctx, os.Args[1:], os.Stdout)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// options are the flags.
type options struct {
	quick    bool
	works    *regexp.Regexp
	systems  *regexp.Regexp
	setup    time.Duration
	limit    time.Duration
	writers  int
	work     string // with system: measure one cell in this process
	system   string
	dir      string
	progress io.Writer
}

func parse(args []string) (options, error) {
	o := options{progress: os.Stderr}
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	flags.BoolVar(&o.quick, "quick", false, "converge 3 × 1,000 and join 1,000 alone, on the first two systems, in less than two minutes")
	flags.DurationVar(&o.limit, "cap", 2*time.Minute, "give up on a cell after `TIME`")
	flags.DurationVar(&o.setup, "setup", defaultSetup, "give up on what comes before a cell's measurement after `TIME`")
	flags.IntVar(&o.writers, "writers", 4, "concurrent writers on each node where nodes converge, heal or share topics")
	selected := flags.String("select", "", "only rows whose name matches `REGEXP`")
	compared := flags.String("systems", "", "only Cairn and systems whose name matches `REGEXP`")
	flags.StringVar(&o.work, "cell-work", "", "measure this row alone and print the result as JSON (with -cell-system)")
	flags.StringVar(&o.system, "cell-system", "", "on this system")
	flags.StringVar(&o.dir, "cell-dir", "", "with its data here")
	err := flags.Parse(args)
	if err == nil && (flags.NArg() != 0 || o.writers < 1 || o.limit <= 0 || o.setup <= 0) {
		err = errors.New("want flags alone, at least one writer, and times above 0")
	}
	if o.quick {
		o.setup, o.limit = min(o.setup, quickSetup), min(o.limit, quickCap)
	}
	if err == nil {
		o.works, err = regexp.Compile(*selected)
	}
	if err == nil {
		o.systems, err = regexp.Compile(*compared)
	}
	return o, err
}

func run(ctx context.Context, args []string, out io.Writer) error {
	o, err := parse(args)
	if err != nil {
		return err
	}
	if o.work != "" {
		return o.cell(ctx, out)
	}
	return o.table(ctx, out)
}

// table measures every row on every system, each in a process of its own: what
// one leaves behind does not slow the next.
func (o *options) table(ctx context.Context, out io.Writer) error {
	begun := time.Now()
	var names []string
	fmt.Fprintf(out, "%d cores, %s/%s, %s; %d writers a node; cap %s a cell.\n\n",
		runtime.NumCPU(), runtime.GOOS, runtime.GOARCH, runtime.Version(), o.writers, o.limit)
	for i, s := range systems() {
		if i == 0 || o.selects(s, i) {
			names = append(names, s.name)
			fmt.Fprintf(out, "- %s: %s\n", s.name, s.setup)
		}
	}
	fmt.Fprintln(out)
	var rows []row
	bad := 0
	for _, w := range works() {
		if o.quick && !w.quick || !o.works.MatchString(w.name) {
			continue
		}
		r := row{work: w.name}
		for i, name := range names {
			fmt.Fprintf(o.progress, "%s, %s: ", w.name, name)
			start := time.Now()
			res := o.process(ctx, name, w.name)
			fmt.Fprintf(o.progress, "%s %s%s (%s with what came before)\n",
				res.cell(), res.reached(), res.Failed, short(time.Since(start)))
			if res.Failed != "" || i == 0 && !res.done() {
				bad++
			}
			r.results = append(r.results, res)
		}
		if ctx.Err() != nil {
			break // with the rows before this one
		}
		rows = append(rows, r)
	}
	if err := printTable(out, names, rows); err != nil {
		return err
	}
	fmt.Fprintf(out, "\nAll of it took %s.\n", short(time.Since(begun)))
	if ctx.Err() != nil {
		return fmt.Errorf("interrupted after %d rows", len(rows))
	}
	if bad > 0 {
		return fmt.Errorf("%d cells failed, or were not done by %s", bad, names[0])
	}
	return nil
}

// selects reports whether a system other than the first is compared.
func (o *options) selects(s system, i int) bool {
	switch {
	case o.systems.String() != "":
		return o.systems.MatchString(s.name)
	case o.quick:
		return i == 1
	default:
		return !s.optional
	}
}

// process measures one cell in a new process.
func (o *options) process(ctx context.Context, system, work string) result {
	ctx, cancel := context.WithTimeout(ctx, o.setup+2*o.limit)
	defer cancel()
	res, err := o.start(ctx, system, work)
	if err != nil {
		return result{Failed: err.Error()}
	}
	return res
}

func (o *options) start(ctx context.Context, system, work string) (res result, err error) {
	self, err := os.Executable()
	if err != nil {
		return res, err
	}
	dir, err := os.MkdirTemp("", "cairn-bench-")
	if err != nil {
		return res, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	var stderr bytes.Buffer
	cmd := exec.CommandContext(ctx, self, "-cell-system", system, "-cell-work", work, "-cell-dir", dir,
		"-setup", o.setup.String(), "-cap", o.limit.String(), "-writers", strconv.Itoa(o.writers))
	cmd.Stderr = &stderr
	answer, err := cmd.Output()
	if err != nil {
		text := stderr.Bytes()
		return res, fmt.Errorf("%w: %s", err, text[max(0, len(text)-stderrTail):])
	}
	return res, json.Unmarshal(answer, &res)
}

// cell measures one row on one system, prints the result and leaves the nodes
// to end with the process: go-ds-crdt can take minutes to close.
func (o *options) cell(ctx context.Context, out io.Writer) error {
	for _, s := range systems() {
		for _, w := range works() {
			if s.name == o.system && w.name == o.work {
				l := &lab{system: s, dir: o.dir, writers: o.writers, setup: o.setup, limit: o.limit}
				l.attempt(ctx, w)
				return json.NewEncoder(out).Encode(l.result)
			}
		}
	}
	return fmt.Errorf("no row %q or no system %q", o.work, o.system)
}

// attempt runs a row and keeps what went wrong as its result.
func (l *lab) attempt(ctx context.Context, w work) {
	ctx, cancel := context.WithTimeout(ctx, l.setup+l.limit)
	defer cancel()
	err := w.run(ctx, l)
	switch {
	case err == nil:
	case ctx.Err() != nil && l.result.Took == 0:
		l.result.NotDone, l.result.Took = "before the measurement: "+err.Error(), l.setup+l.limit
	default:
		l.result.Failed = err.Error()
	}
}
