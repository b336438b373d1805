package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strings"
)

// commitFault is a way in which the calls that a node's committer makes of its
// database go wrong. Its runs are the subtests of TestKillAtEachCall of
// store/badger whose names have in: one for each call.
type commitFault struct{ name, shows, in string }

func commitFaults() []commitFault {
	return []commitFault{
		{"call-fails", "a call of the committer that fails, one a run", "fails,_persisted_false"},
		{"call-persists", "a call of the committer that fails though it did its work", "fails,_persisted_true"},
		{"killed-at-commit", "killed before a commit or a sync, or right after it", "killed_at_"},
	}
}

// isFault reports whether a name is that of a commitFault.
func isFault(name string) bool {
	for _, f := range commitFaults() {
		if f.name == name {
			return true
		}
	}
	return false
}

// eventsSaid is what TestKillAtEachCall logs.
var eventsSaid = regexp.MustCompile(`each run has (\d+) events`)

// tryFaults runs them all and returns their lines of the table by their names, and
// how many of their runs failed. A run that fails has lost something, or differs
// from one without a fault.
func tryFaults(ctx context.Context) (lines map[string]string, bad, ran int, err error) {
	cmd := exec.CommandContext(ctx, "go", "test", "-json", "-v", "-count=1", "-run", "^TestKillAtEachCall$", "./store/badger")
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, 0, 0, err
	}
	if err := cmd.Start(); err != nil {
		return nil, 0, 0, err
	}
	runs, failed, events := map[string]int{}, map[string]int{}, ""
	for in := bufio.NewScanner(out); in.Scan(); {
		var e struct{ Action, Test, Output string }
		if json.Unmarshal(in.Bytes(), &e) != nil {
			continue // what a build prints
		}
		if m := eventsSaid.FindStringSubmatch(e.Output); m != nil {
			events = m[1]
		}
		for _, f := range commitFaults() {
			if _, sub, ok := strings.Cut(e.Test, "/"); !ok || !strings.Contains(sub, f.in) {
				continue
			}
			switch e.Action {
			case "pass":
				runs[f.name]++
			case "fail":
				runs[f.name]++
				failed[f.name]++
			}
		}
	}
	ended := cmd.Wait()
	lines = map[string]string{}
	for _, f := range commitFaults() {
		if runs[f.name] == 0 || events == "" {
			return nil, 0, 0, fmt.Errorf("TestKillAtEachCall had no run of %s: %v", f.name, ended)
		}
		bad, ran = bad+failed[f.name], ran+runs[f.name]
		lines[f.name] = fmt.Sprintf("| `%s` | %s | 1 | %d | - | %s | %d | - | - | - |\n", f.name, f.shows, runs[f.name], events, failed[f.name])
		fmt.Printf("%s: %d runs of %s events, %d did not hold\n", f.name, runs[f.name], events, failed[f.name])
	}
	return lines, bad, ran, nil
}
