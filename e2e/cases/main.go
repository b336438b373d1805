// Command cases runs every case of package e2e for several seeds, in real time,
// and writes what came of them as a table.
package main

import (
	"context"
	"flag"
	"fmt"
	"maps"
	"os"
	"os/signal"
	"runtime/debug"
	"slices"
	"strings"

	"github.com/cairn-p2p/cairn/e2e"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	seeds := flag.Int("seeds", 3, "run each case with the seeds 1 to `N`")
	write := flag.String("write", "", "write the table into this `file`, between its two marks")
	flag.Usage = func() {
		fmt.Fprint(flag.CommandLine.Output(), "usage: go run ./e2e/cases [-seeds N] [-write FILE] [NAME…]\n\n"+
			"Runs the named cases, or all. Exits 1 unless each held with every seed and lost nothing.\n\n")
		flag.PrintDefaults()
	}
	flag.Parse()
	if err := run(ctx, flag.Args(), *seeds, *write); err != nil {
		fmt.Fprintln(os.Stderr, "cases:", err)
		os.Exit(1)
	}
}

// run runs the named cases, or all, and prints a line for each run.
func run(ctx context.Context, names []string, seeds int, file string) error {
	if seeds < 1 {
		return fmt.Errorf("-seeds %d: want at least 1", seeds)
	}
	scenarios := slices.DeleteFunc(slices.Clone(names), isFault)
	var cases []e2e.Case
	if len(names) == 0 || len(scenarios) > 0 {
		var err error
		if cases, err = choose(e2e.Cases(), scenarios); err != nil {
			return err
		}
	}
	var rows []row
	faults, bad, ran := map[string]string{}, 0, 0
	if len(scenarios) < len(names) || len(names) == 0 {
		var err error
		if faults, bad, ran, err = tryFaults(ctx); err != nil {
			return err
		}
		if file != "" {
			if err := replace(file, rows, faults); err != nil {
				return err
			}
		}
	}
	for _, c := range cases {
		r := row{c: c}
		for seed := 1; seed <= seeds; seed++ {
			result, err := play(ctx, c, uint64(seed))
			if err != nil {
				return err
			}
			fmt.Println(line(result))
			ran++
			if !held(result) {
				bad++
			}
			r.results = append(r.results, result)
		}
		rows = append(rows, r)
		if file != "" { // each time: all of them take long
			if err := replace(file, rows, faults); err != nil {
				return err
			}
		}
	}
	if file == "" {
		fmt.Print(table(rows, faults))
	}
	if bad > 0 {
		return fmt.Errorf("%d of %d runs did not hold", bad, ran)
	}
	return nil
}

// choose returns the cases of these names, or all if there is none.
func choose(cases []e2e.Case, names []string) ([]e2e.Case, error) {
	if len(names) == 0 {
		return cases, nil
	}
	chosen := make([]e2e.Case, 0, len(names))
	for _, name := range names {
		i := slices.IndexFunc(cases, func(c e2e.Case) bool { return c.Name == name })
		if i < 0 {
			return nil, fmt.Errorf("there is no case %q", name)
		}
		chosen = append(chosen, cases[i])
	}
	return chosen, nil
}

// play runs a case once.
func play(ctx context.Context, c e2e.Case, seed uint64) (*e2e.Result, error) {
	debug.FreeOSMemory() // the peak of the heap is not to be that of the run before
	s := c.Scenario
	s.Seed = seed
	return e2e.Run(ctx, s, e2e.Options{})
}

func held(r *e2e.Result) bool { return len(r.Wrong) == 0 && r.Lost == 0 }

// line is what a run showed, for who waits for the others.
func line(r *e2e.Result) string {
	verdict := "held"
	if !held(r) {
		verdict = fmt.Sprintf("%d lost, %s", r.Lost, strings.Join(append([]string{"DID NOT HOLD"}, r.Wrong...), "\n\t"))
	}
	return fmt.Sprintf("%s, seed %d: %d events, %.3f s to equal, %s", r.Scenario, r.Seed, r.Events, r.Converged.Seconds(), verdict)
}

// row is what came of a case.
type row struct {
	c       e2e.Case
	results []*e2e.Result
}

// table returns the rows as Markdown, in the order of the cases. Those that were
// not run keep the lines that they had.
func table(rows []row, had map[string]string) string {
	lines := maps.Clone(had)
	if lines == nil {
		lines = map[string]string{}
	}
	for _, r := range rows {
		lines[r.c.Name] = r.line()
	}
	var b strings.Builder
	b.WriteString(header)
	for _, c := range e2e.Cases() {
		b.WriteString(lines[c.Name])
	}
	for _, f := range commitFaults() {
		b.WriteString(lines[f.name])
	}
	return b.String()
}

const header = "| case | shows | nodes | runs | seeds | events | lost | seconds to equal | redundant | peaks, of their caps |\n" +
	"| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |\n"

// line returns the row as Markdown.
func (r row) line() string {
	return fmt.Sprintf("| `%s` | %s | %d | %d | %s | %s | %d | %s | %.1f%% | %s |\n", r.c.Name, r.c.Shows, r.c.Nodes, len(r.results),
		r.span("%.0f", func(r *e2e.Result) float64 { return float64(r.Seed) }),
		r.span("%.0f", func(r *e2e.Result) float64 { return float64(r.Events) }), r.lost(),
		r.span("%.2f", func(r *e2e.Result) float64 { return r.Converged.Seconds() }),
		100*r.most(func(r *e2e.Result) float64 { return float64(r.Redundant) / max(float64(r.Needed), 1) }), r.peaks())
}

// span returns the least and the greatest of a value, or the one that it always
// was.
func (r row) span(format string, of func(*e2e.Result) float64) string {
	least, most := fmt.Sprintf(format, -r.most(func(r *e2e.Result) float64 { return -of(r) })), fmt.Sprintf(format, r.most(of))
	if least == most {
		return most
	}
	return least + " to " + most
}

// most returns the greatest of a value.
func (r row) most(of func(*e2e.Result) float64) float64 {
	m := of(r.results[0])
	for _, one := range r.results[1:] {
		m = max(m, of(one))
	}
	return m
}

func (r row) lost() int {
	n := 0
	for _, one := range r.results {
		n += one.Lost
	}
	return n
}

// peaks returns the greatest peak of each kind, with its cap.
func (r row) peaks() string {
	var all []string
	for k, p := range r.results[0].List() {
		p.Value = uint64(r.most(func(r *e2e.Result) float64 { return float64(r.List()[k].Value) }))
		all = append(all, p.String())
	}
	return strings.Join(all, "; ")
}

// The marks between which the table is in a file.
const (
	begin = "<!-- cases: made by make sim-table -->\n"
	end   = "<!-- end of cases -->\n"
)

// replace puts the rows, and lines by their names, into the table between the marks
// of a file.
func replace(file string, rows []row, lines map[string]string) error {
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	before, rest, found := strings.Cut(string(text), begin)
	old, after, ended := strings.Cut(rest, end)
	if !found || !ended {
		return fmt.Errorf("%s has not both marks, %q and %q", file, begin, end)
	}
	had := map[string]string{}
	for line := range strings.Lines(old) {
		if name, _, ok := strings.Cut(strings.TrimPrefix(line, "| `"), "`"); ok {
			had[name] = line
		}
	}
	maps.Copy(had, lines)
	return os.WriteFile(file, []byte(before+begin+"\n"+table(rows, had)+"\n"+end+after), 0o644)
}
