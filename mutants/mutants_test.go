package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"go/ast"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestPatches: every patch fits the code as it is, and what it makes of it
// compiles. Whether the tests catch it is for `make mutants`.
func TestPatches(t *testing.T) {
	mutants, err := load(".")
	if err != nil {
		t.Fatal(err)
	}
	compile := newCompiler(t, mutants)
	for _, m := range mutants {
		t.Run(m.name, func(t *testing.T) {
			for _, pkg := range m.packages {
				if tests, err := filepath.Glob(filepath.Join("..", pkg, "*_test.go")); err != nil || len(tests) == 0 {
					t.Errorf("package %s has no tests (%v)", pkg, err)
				}
			}
			for _, f := range m.files {
				compile.check(t, f)
			}
		})
	}
}

// compiler checks the types of mutated packages against the compiled form of what
// they import, which takes a hundredth of the time of compiling them all.
type compiler struct {
	files    *token.FileSet
	importer types.Importer
	packages map[string][]string // the files of each, by directory
}

// newCompiler makes one for the packages that mutants change.
func newCompiler(t *testing.T, mutants []mutant) *compiler {
	t.Helper()
	args := []string{"list", "-export", "-deps", "-json=Dir,ImportPath,Export,GoFiles"}
	for _, m := range mutants {
		for _, f := range m.files {
			args = append(args, "./"+path.Dir(f.path))
		}
	}
	cmd := exec.CommandContext(t.Context(), "go", args...)
	cmd.Dir = ".."
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	c := &compiler{files: token.NewFileSet(), packages: map[string][]string{}}
	exports := map[string]string{}
	for d := json.NewDecoder(bytes.NewReader(out)); ; {
		var pkg struct {
			Dir, ImportPath, Export string
			GoFiles                 []string
		}
		if err := d.Decode(&pkg); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		c.packages[pkg.Dir], exports[pkg.ImportPath] = pkg.GoFiles, pkg.Export
	}
	c.importer = importer.ForCompiler(c.files, "gc", func(path string) (io.ReadCloser, error) {
		return os.Open(exports[path])
	})
	return c
}

// check reports what the compiler would have against a package of which one file
// is mutated.
func (c *compiler) check(t *testing.T, f mutation) {
	t.Helper()
	changed, err := filepath.Abs(filepath.Join("..", filepath.FromSlash(f.path)))
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Dir(changed)
	var parsed []*ast.File
	for _, name := range c.packages[dir] {
		name = filepath.Join(dir, name)
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		source := string(text)
		if name == changed {
			if source, err = f.apply(source); err != nil {
				t.Fatal(err)
			}
		}
		file, err := parser.ParseFile(c.files, name, source, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		parsed = append(parsed, file)
	}
	if len(parsed) == 0 {
		t.Fatalf("%s is in no package", f.path)
	}
	config := types.Config{Importer: c.importer, Error: func(err error) { t.Error(err) }}
	config.Check(dir, c.files, parsed, nil) //nolint:errcheck // all of them go to Error
}

// A module with a function, and a test of half of what it promises.
var sample = map[string]string{
	"go.mod":     "module sample\n\ngo 1.26\n",
	"sum/sum.go": "package sum\n\nfunc Sum(a, b int) int {\n\tif a == 0 {\n\t\treturn b\n\t}\n\treturn a + b\n}\n\nfunc Double(a int) int { return a + a }\n",
	"sum/sum_test.go": `package sum

import "testing"

func TestSum(t *testing.T) {
	t.Run("small", func(t *testing.T) {
		if Sum(1, 2) != 3 {
			t.Fail()
		}
	})
}
`,
}

const header = "A mistake.\nTests: ./sum\n\n--- a/sum/sum.go\n+++ b/sum/sum.go\n@@ -7,1 +7,1 @@\n"

func TestVerdicts(t *testing.T) {
	root := t.TempDir()
	for name, text := range sample {
		name = filepath.Join(root, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	r := runner{root: root, timeout: testTimeout}
	if err := r.passes(t.Context(), []string{"./sum"}); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name, hunk string
		want       verdict
		by, reason string
	}{
		{"caught", "-\treturn a + b\n+\treturn a - b\n", caught, "./sum TestSum/small", ""},
		{"survived", "-\t\treturn b\n+\t\treturn 1\n", survived, "", ""},
		{"hangs", "-\treturn a + b\n+\tselect {}\n", caught, "./sum TestSum/small", ""},
		{"does not compile", "-\treturn a + b\n+\treturn a +\n", invalid, "", "does not compile"},
		{"does not apply", "-\treturn b + a\n+\treturn a\n", invalid, "", errStale.Error()},
		{"applies twice", "-\n+\n+\n", invalid, "", errStale.Error()},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := r
			m, err := parse(header + test.hunk)
			if err != nil {
				t.Fatal(err)
			}
			if test.name == "hangs" {
				r.timeout = time.Second // which this mutant outlasts whatever it is
			}
			res, err := r.try(t.Context(), m)
			if err != nil {
				t.Fatal(err)
			}
			if res.verdict != test.want || res.by.String() != test.by || (res.err == nil) != (test.reason == "") {
				t.Fatalf("%s by %q: %v; want %s by %q", res.verdict, res.by, res.err, test.want, test.by)
			}
			if res.err != nil && !strings.Contains(res.err.Error(), test.reason) {
				t.Errorf("error %v, want %q in it", res.err, test.reason)
			}
		})
	}
	before, err := os.ReadFile(filepath.Join(root, "sum", "sum.go"))
	if err != nil || string(before) != sample["sum/sum.go"] {
		t.Errorf("the code was changed (%v):\n%s", err, before)
	}
}

// TestFailsWithoutMutant: what fails anyway says nothing about a mutant.
func TestFailsWithoutMutant(t *testing.T) {
	if err := (runner{root: t.TempDir()}).passes(t.Context(), []string{"./sum"}); err == nil {
		t.Error("tests that cannot run passed")
	}
}

func TestParseRefuses(t *testing.T) {
	const hunk = "-\treturn b\n+\treturn a\n"
	for name, patch := range map[string]string{
		"no diff":        "A mistake.\nTests: ./sum\n",
		"no sentence":    strings.Replace(header, "A mistake.\n", "", 1) + hunk,
		"no packages":    strings.Replace(header, "Tests: ./sum", "Tests:", 1) + hunk,
		"a test":         strings.ReplaceAll(header, "sum.go", "sum_test.go") + hunk,
		"another file":   strings.Replace(header, "+++ b/sum/sum.go", "+++ b/sum/other.go", 1) + hunk,
		"outside":        strings.ReplaceAll(header, "sum/sum.go", "../sum.go") + hunk,
		"nothing":        header + " \treturn b\n",
		"no hunk":        strings.Replace(header, "@@ -7,1 +7,1 @@\n", "", 1) + hunk,
		"no end of line": header + hunk + "\\ No newline at end of file\n",
	} {
		if _, err := parse(patch); err == nil {
			t.Errorf("%s: parsed", name)
		}
	}
}

// TestFirstFailure: tests that could not be built have caught nothing.
func TestFirstFailure(t *testing.T) {
	for _, test := range []struct {
		name, output, by string
		failed, err      bool
	}{
		{"pass", `{"Action":"pass","Test":"TestA"}{"Action":"pass"}`, "", false, false},
		{"test", `{"Action":"fail","Test":"TestA/x"}{"Action":"fail","Test":"TestA"}{"Action":"fail"}`, "TestA/x", true, false},
		{"package", `{"Action":"output","Output":"panic"}{"Action":"fail"}`, "", true, false},
		{"broken off", `{"Action":"run","Test":"TestA"}{"Action":"run","Test":"TestB"}{"Action":"pass","Test":"TestB"}{"Action":"fail"}`, "TestA", true, false},
		{"build", `{"Action":"build-fail"}{"Action":"fail","FailedBuild":"sum"}`, "", false, true},
		{"cut off", `{"Action":"pass","Te`, "", false, true},
	} {
		f, failed, err := firstFailure(strings.NewReader(test.output))
		if f.test != test.by || failed != test.failed || (err != nil) != test.err {
			t.Errorf("%s: by %q, failed %v, error %v", test.name, f.test, failed, err)
		}
	}
}

func TestChoose(t *testing.T) {
	mutants := []mutant{{name: "a", packages: []string{"./x"}}, {name: "b", packages: []string{"./y", "./x"}}}
	if got, err := choose(mutants, []string{"b"}); err != nil || len(got) != 1 || got[0].name != "b" {
		t.Errorf("chose %v (%v), want b", got, err)
	}
	if _, err := choose(mutants, []string{"c"}); err == nil {
		t.Error("chose a mutant that is not there")
	}
	if got := strings.Join(packagesOf(mutants), " "); got != "./x ./y" {
		t.Errorf("packages %s", got)
	}
}

// A table has a row for each mutant there is: what this run saw, or else what the
// file said before.
func TestTable(t *testing.T) {
	before := rowsOf("# Mutants\n\n| mutant | … |\n| --- |\n| `a` | old |\n| `b` | kept |\n| `gone` | old |\n")
	m := mutant{name: "a", mistake: "A mistake."}
	got := table(before, []result{{mutant: m, verdict: caught, by: failure{"./x", "TestX"}}}, []string{"a", "b"})
	if want := "\n| `a` | A mistake. | caught | ./x `TestX` | 0.0 |\n| `b` | kept |\n"; !strings.HasSuffix(got, want) {
		t.Errorf("not %q at the end of\n%s", want, got)
	}
}

// The table that is committed has every mutant, caught.
func TestTableIsWhole(t *testing.T) {
	mutants, err := load(".")
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join("..", "docs", "mutants.md"))
	if err != nil {
		t.Fatal(err)
	}
	rows := rowsOf(string(text))
	for _, m := range mutants {
		if row := rows[m.name]; !strings.Contains(row, "| "+m.mistake+" | caught |") {
			t.Errorf("no row of %s, or an old one: go run ./mutants -write docs/mutants.md %s", m.name, m.name)
		}
	}
	if len(rows) != len(mutants) {
		t.Errorf("%d rows for %d mutants", len(rows), len(mutants))
	}
}
