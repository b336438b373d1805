package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// mutant is a mistake to be made in the code.
type mutant struct {
	name     string   // the patch's file name without its end
	mistake  string   // what is wrong, in a sentence
	packages []string // whose tests should catch it
	files    []mutation
}

// mutation is what a patch changes in one file.
type mutation struct {
	path  string // from the module's root, with slashes
	hunks []hunk
}

// hunk replaces one run of whole lines, each with its newline, by another. Line
// numbers do not count: where the old lines are is found by what they say.
type hunk struct{ before, after string }

// load reads the patches of dir, sorted by name.
func load(dir string) ([]mutant, error) {
	names, err := filepath.Glob(filepath.Join(dir, "*.patch"))
	if err != nil {
		return nil, err
	}
	if len(names) == 0 {
		return nil, fmt.Errorf("no patches in %s: run this in the module's root", dir)
	}
	slices.Sort(names)
	mutants := make([]mutant, 0, len(names))
	for _, name := range names {
		b, err := os.ReadFile(name)
		if err != nil {
			return nil, err
		}
		m, err := parse(string(b))
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		m.name = strings.TrimSuffix(filepath.Base(name), ".patch")
		mutants = append(mutants, m)
	}
	return mutants, nil
}

// parse reads a patch: a header, then a unified diff of existing files.
func parse(patch string) (mutant, error) {
	header, diff, ok := strings.Cut(patch, "\n--- a/")
	if !ok {
		return mutant{}, errors.New("no line that begins with --- a/")
	}
	var m mutant
	for line := range strings.Lines(header) {
		line = strings.TrimSpace(line)
		if strings.HasPrefix(line, "diff --git ") {
			break
		}
		if tests, ok := strings.CutPrefix(line, "Tests:"); ok {
			m.packages = strings.Fields(tests)
		} else {
			m.mistake = strings.TrimSpace(m.mistake + " " + line)
		}
	}
	if m.mistake == "" || len(m.packages) == 0 {
		return mutant{}, errors.New("the header says not what is wrong, or not whose Tests: should catch it")
	}
	for file := range strings.SplitSeq(diff, "\n--- a/") {
		f, err := parseFile(strings.TrimSuffix(file, "\n"))
		if err != nil {
			return mutant{}, err
		}
		m.files = append(m.files, f)
	}
	return m, nil
}

// parseFile reads the part of a diff that is about one file, behind its "--- a/".
func parseFile(text string) (mutation, error) {
	lines := strings.Split(text, "\n")
	f := mutation{path: lines[0]}
	if path.Ext(f.path) != ".go" || strings.HasSuffix(f.path, "_test.go") || !filepath.IsLocal(f.path) {
		return f, fmt.Errorf("%s: a mistake is made in Go code, not in tests", f.path)
	}
	if len(lines) < 2 || lines[1] != "+++ b/"+f.path {
		return f, fmt.Errorf("%s: the file must exist before and after", f.path)
	}
	for _, line := range lines[2:] {
		if strings.HasPrefix(line, "@@ ") {
			f.hunks = append(f.hunks, hunk{})
			continue
		}
		if len(f.hunks) == 0 {
			return f, fmt.Errorf("%s: %q outside a hunk", f.path, line)
		}
		if err := f.hunks[len(f.hunks)-1].add(line); err != nil {
			return f, fmt.Errorf("%s: %w", f.path, err)
		}
	}
	for _, h := range f.hunks {
		if h.before == h.after {
			return f, fmt.Errorf("%s: a hunk that changes nothing", f.path)
		}
	}
	return f, nil
}

func (h *hunk) add(line string) error {
	mark, rest := " ", "" // an empty line whose space an editor took
	if line != "" {
		mark, rest = line[:1], line[1:]
	}
	switch mark {
	case " ":
		h.before += rest + "\n"
		h.after += rest + "\n"
	case "-":
		h.before += rest + "\n"
	case "+":
		h.after += rest + "\n"
	default:
		return fmt.Errorf("%q in a hunk", line)
	}
	return nil
}

// errStale marks a patch that does not fit the code any more.
var errStale = errors.New("patch does not apply")

// apply returns the mutated text of a file. The old lines of each hunk must be
// there exactly once.
func (f mutation) apply(text string) (string, error) {
	text = "\n" + text // so that every line has a newline before it
	for _, h := range f.hunks {
		if n := strings.Count(text, "\n"+h.before); n != 1 {
			return "", fmt.Errorf("%w: %s has these lines %d times:\n%s", errStale, f.path, n, h.before)
		}
		text = strings.Replace(text, "\n"+h.before, "\n"+h.after, 1)
	}
	return text[1:], nil
}

// overlay writes the mutated files of the module at root into dir, and beside
// them the file that the go command's -overlay takes. It returns its name.
func (m mutant) overlay(root, dir string) (string, error) {
	root, err := filepath.Abs(root)
	if err != nil {
		return "", err
	}
	replace := make(map[string]string)
	for i, f := range m.files {
		source := filepath.Join(root, filepath.FromSlash(f.path))
		text, err := os.ReadFile(source)
		if err != nil {
			return "", fmt.Errorf("%w: %w", errStale, err)
		}
		mutated, err := f.apply(string(text))
		if err != nil {
			return "", err
		}
		replace[source] = filepath.Join(dir, fmt.Sprintf("%d.go", i))
		if err := os.WriteFile(replace[source], []byte(mutated), 0o600); err != nil {
			return "", err
		}
	}
	b, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		return "", err
	}
	name := filepath.Join(dir, "overlay.json")
	return name, os.WriteFile(name, b, 0o600)
}
