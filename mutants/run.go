package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"time"
)

// testTimeout ends the tests of a package that a mistake makes hang. It is
// several times what the slowest of them takes.
const testTimeout = 3 * time.Minute

// verdict is what came of a mutant.
type verdict string

const (
	caught   verdict = "caught"
	survived verdict = "SURVIVED" // no test failed
	invalid  verdict = "INVALID"  // it is no mutant of this code: see the result's err
)

// result is a mutant's verdict.
type result struct {
	mutant
	verdict verdict
	by      failure // of the first package that caught it
	took    time.Duration
	err     error // why it is invalid
}

// failure is the first test of a package that failed. One whose name is empty
// is of the package as a whole.
type failure struct{ pkg, test string }

func (f failure) String() string { return strings.TrimSpace(f.pkg + " " + f.test) }

// runner tries mutants of the module at root.
type runner struct {
	root    string
	timeout time.Duration // of the tests of a package
}

// try makes the mistake and runs the tests of its packages, until those of one
// fail. The error is the context's, or one of the file system.
func (r runner) try(ctx context.Context, m mutant) (result, error) {
	begin := time.Now()
	res := result{mutant: m, verdict: survived}
	dir, err := os.MkdirTemp("", "mutant-")
	if err != nil {
		return res, err
	}
	defer os.RemoveAll(dir) //nolint:errcheck // temporary
	overlay, err := m.overlay(r.root, dir)
	for _, pkg := range m.packages {
		if err != nil || res.verdict == caught {
			break
		}
		var by failure
		var failed bool
		if by, failed, err = r.test(ctx, pkg, overlay); failed {
			res.verdict, res.by = caught, by
		}
	}
	res.took = time.Since(begin)
	if err != nil {
		res.verdict, res.err = invalid, err
	}
	return res, ctx.Err()
}

// test runs the tests of a package over the mutated code and returns the first
// that failed.
func (r runner) test(ctx context.Context, pkg, overlay string) (f failure, failed bool, err error) {
	cmd := r.command(ctx, "test", "-json", "-count=1", "-failfast", "-vet=off",
		"-timeout", r.timeout.String(), "-overlay", overlay, pkg)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, runErr := cmd.Output()
	f, failed, err = firstFailure(bytes.NewReader(out))
	f.pkg = pkg
	if err == nil && failed == (runErr == nil) {
		err = fmt.Errorf("go test %s: %v\n%s", pkg, runErr, &stderr)
	}
	return f, failed, err
}

// firstFailure reads what go test -json prints of one package. Of a package that
// broke off, by a panic or the timeout, it is the test that began last and did
// not end. The error is for code that does not compile.
func firstFailure(r io.Reader) (f failure, failed bool, err error) {
	var open []string // tests that have begun and not ended
	var compiler strings.Builder
	for d := json.NewDecoder(r); ; {
		var line struct{ Action, Test, Output, FailedBuild string }
		switch err := d.Decode(&line); {
		case errors.Is(err, io.EOF):
			return f, failed, nil
		case err != nil:
			return f, false, fmt.Errorf("read what go test prints: %w", err)
		case line.FailedBuild != "":
			return f, false, fmt.Errorf("mutated code does not compile: %s", &compiler)
		}
		switch line.Action {
		case "build-output":
			compiler.WriteString(line.Output)
		case "run":
			open = append(open, line.Test)
		case "pass", "skip", "fail":
			open = slices.DeleteFunc(open, func(name string) bool { return name == line.Test })
		}
		if line.Action != "fail" || failed {
			continue
		}
		f.test, failed = line.Test, true // a subtest fails before what it is part of
		if line.Test == "" && len(open) > 0 {
			f.test = open[len(open)-1]
		}
	}
}

// passes runs the tests of packages on the code as it is, unless the go command
// knows that they pass. Without that a failure under a mutant means nothing.
func (r runner) passes(ctx context.Context, packages []string) error {
	out, err := r.command(ctx, append([]string{"test", "-vet=off", "-timeout", max(r.timeout, 10*time.Minute).String()}, packages...)...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("the tests fail without any mutant: %w\n%s", err, out)
	}
	return nil
}

func (r runner) command(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir = r.root
	// Rapid would leave what it found in testdata, and take long to make it small.
	cmd.Env = append(cmd.Environ(), "RAPID_NOFAILFILE=1", "RAPID_SHRINKTIME=1s")
	return cmd
}
