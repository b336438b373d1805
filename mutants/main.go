package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"os/signal"
	"slices"
	"strings"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	write := flag.String("write", "", "write the table to this `file`, as Markdown; the rows of mutants that are not tried stay as they are")
	timeout := flag.Duration("timeout", testTimeout, "end the tests of a package after this `time`, and count the mutant as caught; more than 3m on a busy machine")
	flag.Usage = func() {
		fmt.Fprint(flag.CommandLine.Output(), "usage: go run ./mutants [-write FILE] [-timeout TIME] [NAME…]\n\n"+
			"Tries the named mutants of the module in the working directory, or all.\nExits 1 unless each was caught.\n\n")
		flag.PrintDefaults()
	}
	flag.Parse()
	if err := run(ctx, flag.Args(), *write, *timeout); err != nil {
		fmt.Fprintln(os.Stderr, "mutants:", err)
		os.Exit(1)
	}
}

// run tries the named mutants, or all, and prints a line for each.
func run(ctx context.Context, names []string, file string, timeout time.Duration) error {
	mutants, err := load("mutants")
	if err != nil {
		return err
	}
	var all []string
	for _, m := range mutants {
		all = append(all, m.name)
	}
	if mutants, err = choose(mutants, names); err != nil {
		return err
	}
	r := runner{root: ".", timeout: timeout}
	if err := r.passes(ctx, packagesOf(mutants)); err != nil {
		return err
	}
	var results []result
	bad := 0
	for _, m := range mutants {
		res, err := r.try(ctx, m)
		if err != nil {
			return err
		}
		fmt.Printf("%-9s %-30s %5.1f s  %s\n", res.verdict, res.name, res.took.Seconds(), res.by)
		if res.err != nil {
			fmt.Println(res.err)
		}
		if res.verdict != caught {
			bad++
		}
		results = append(results, res)
		if file == "" {
			continue
		}
		if err := writeTable(file, results, all); err != nil { // each time: a run takes long
			return err
		}
	}
	if bad > 0 {
		return fmt.Errorf("%d of %d mutants were not caught", bad, len(results))
	}
	return nil
}

// choose returns the mutants of these names, or all if there is none.
func choose(mutants []mutant, names []string) ([]mutant, error) {
	if len(names) == 0 {
		return mutants, nil
	}
	chosen := make([]mutant, 0, len(names))
	for _, name := range names {
		i := slices.IndexFunc(mutants, func(m mutant) bool { return m.name == name })
		if i < 0 {
			return nil, fmt.Errorf("there is no mutant %q", name)
		}
		chosen = append(chosen, mutants[i])
	}
	return chosen, nil
}

func packagesOf(mutants []mutant) []string {
	var packages []string
	for _, m := range mutants {
		packages = append(packages, m.packages...)
	}
	slices.Sort(packages)
	return slices.Compact(packages)
}

// writeTable writes the table of what came of the mutants that were tried into a
// file, with the rows that it has of others that there are.
func writeTable(name string, results []result, all []string) error {
	old, err := os.ReadFile(name)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return os.WriteFile(name, []byte(table(rowsOf(string(old)), results, all)), 0o644)
}

// rowsOf returns the rows of a table by the names of their mutants.
func rowsOf(text string) map[string]string {
	rows := map[string]string{}
	for line := range strings.Lines(text) {
		if rest, ok := strings.CutPrefix(line, "| `"); ok {
			name, _, _ := strings.Cut(rest, "`")
			rows[name] = line
		}
	}
	return rows
}

// table returns as Markdown a row for each of all mutants, in their order: what came of
// it, or else what the rows of before say.
func table(rows map[string]string, results []result, all []string) string {
	for _, r := range results {
		by := ""
		if r.verdict == caught {
			by = fmt.Sprintf("%s `%s`", r.by.pkg, r.by.test)
		}
		rows[r.name] = fmt.Sprintf("| `%s` | %s | %s | %s | %.1f |\n", r.name, r.mistake, r.verdict, by, r.took.Seconds())
	}
	var b strings.Builder
	b.WriteString("# Mutants\n\n" +
		"Written by `make mutants`, or for some of them by `go run ./mutants -write docs/mutants.md NAME…`. Each row is a mistake in a patch of `mutants/`, and the first test that failed when it was made.\n\n" +
		"| mutant | the mistake | verdict | by | seconds |\n| --- | --- | --- | --- | --- |\n")
	for _, name := range all {
		b.WriteString(rows[name])
	}
	return b.String()
}
