package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	write := flag.String("write", "", "write the table to this `file`, as Markdown")
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
	all := len(mutants)
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

func writeTable(name string, results []result, all int) error {
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	return errors.Join(table(f, results, all), f.Close())
}

// table writes as Markdown what came of those mutants, of all there are, that
// were tried.
func table(w io.Writer, results []result, all int) error {
	var b strings.Builder
	var sum time.Duration
	b.WriteString("# Mutants\n\n" +
		"Written by `make mutants`. Each row is a mistake in a patch of `mutants/`, and the first test that failed when it was made.\n\n" +
		"| mutant | the mistake | verdict | by | seconds |\n| --- | --- | --- | --- | --- |\n")
	for _, r := range results {
		by := ""
		if r.verdict == caught {
			by = fmt.Sprintf("%s `%s`", r.by.pkg, r.by.test)
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s | %.1f |\n", r.name, r.mistake, r.verdict, by, r.took.Seconds())
		sum += r.took
	}
	fmt.Fprintf(&b, "\n%d of %d mutants were tried, in %.0f s.\n", len(results), all, sum.Seconds())
	_, err := io.WriteString(w, b.String())
	return err
}
