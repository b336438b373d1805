package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"cairn": main})
}

// TestScripts runs the command line as scripts do: real processes, exit codes,
// files and signals.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: filepath.Join("testdata", "script"),
		Setup: func(env *testscript.Env) error {
			env.Setenv("ESC", "\x1b[31m")
			env.Values[followersKey{}] = map[string]*exec.Cmd{}
			return nil
		},
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){
			"exits":   exits,
			"ready":   ready,
			"envfile": envFile,
			"field":   fieldOf,
			"lines":   writeLines,
			"count":   writeCount,
			"follow":  follow,
			"found":   found,
			"dirname": dirName,
			"empty":   empty,
			"http":    httpGet,

			"firstlines": firstLines,
			"uniqlines":  uniqLines,
			"document":   document,
			"console":    console,
		},
	})
}

// exits CODE CMD ARG... runs a command that must end with the code.
func exits(ts *testscript.TestScript, neg bool, args []string) {
	want, err := strconv.Atoi(args[0])
	if neg || err != nil {
		ts.Fatalf("usage: exits CODE CMD ARG...")
	}
	got := 0
	err = ts.Exec(args[1], args[2:]...)
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		got = exit.ExitCode()
	} else {
		ts.Check(err)
	}
	if got != want {
		ts.Fatalf("exit code %d, want %d", got, want)
	}
}

// patience bounds what a script waits for of a process.
const patience = 20 * time.Second

// ready DIR NAME waits until the node in DIR is ready, and sets NAME to the
// address of its API and NAME_P2P to its first multiaddress.
func ready(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: ready DIR NAME")
	}
	dir := ts.MkAbs(args[0])
	pollFile(ts, filepath.Join(dir, "p2p.addrs"), func(string) bool { return true })
	addr, p2p := ts.ReadFile(filepath.Join(dir, "api.addr")), ts.ReadFile(filepath.Join(dir, "p2p.addrs"))
	ts.Setenv(args[1], strings.TrimSpace(addr))
	first, _, _ := strings.Cut(p2p, "\n")
	ts.Setenv(args[1]+"_P2P", first)
}

// pollFile polls, as there is nothing to wait on in another process.
func pollFile(ts *testscript.TestScript, path string, until func(text string) bool) {
	for begin := time.Now(); time.Since(begin) < patience; time.Sleep(5 * time.Millisecond) {
		if b, err := os.ReadFile(path); err == nil && until(string(b)) {
			return
		}
	}
	ts.Fatalf("waited %s for %s", patience, path)
}

// found PATTERN NAME waits until a file matches, and sets NAME to its path.
func found(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: found PATTERN NAME")
	}
	for begin := time.Now(); time.Since(begin) < patience; time.Sleep(5 * time.Millisecond) {
		paths, err := filepath.Glob(ts.MkAbs(args[0]))
		ts.Check(err)
		if len(paths) > 0 {
			ts.Setenv(args[1], paths[0])
			return
		}
	}
	ts.Fatalf("waited %s for %s", patience, args[0])
}

// dirname PATH NAME sets NAME to the directory of a path.
func dirName(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: dirname PATH NAME")
	}
	ts.Setenv(args[1], filepath.Dir(args[0]))
}

// empty DIR demands that nothing is in DIR.
func empty(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: empty DIR")
	}
	entries, err := os.ReadDir(ts.MkAbs(args[0]))
	ts.Check(err)
	if len(entries) > 0 {
		ts.Fatalf("%s is in %s", entries[0].Name(), args[0])
	}
}

// http CODE PATH FILE gets a path of the API at CAIRN_API, which must answer
// with the code, into FILE.
func httpGet(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 3 {
		ts.Fatalf("usage: http CODE PATH FILE")
	}
	client := http.Client{Timeout: patience, Transport: &http.Transport{DisableKeepAlives: true}}
	res, err := client.Get("http://" + ts.Getenv("CAIRN_API") + args[1])
	ts.Check(err)
	defer res.Body.Close() //nolint:errcheck // it is read
	text, err := io.ReadAll(res.Body)
	ts.Check(err)
	ts.Check(os.WriteFile(ts.MkAbs(args[2]), text, 0o644))
	if strconv.Itoa(res.StatusCode) != args[0] {
		ts.Fatalf("%s answers %s, want %s: %s", args[1], res.Status, args[0], text)
	}
}

// document FILE runs the first sh block of a document of docs/ as it is written.
func document(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: document FILE")
	}
	text, err := os.ReadFile(filepath.Join("..", "..", "docs", args[0]))
	ts.Check(err)
	_, rest, _ := strings.Cut(string(text), "```sh\n")
	block, _, found := strings.Cut(rest, "```")
	if !found {
		ts.Fatalf("no sh block in %s", args[0])
	}
	script := filepath.Join(ts.Getenv("WORK"), args[0]+".sh")
	ts.Check(os.WriteFile(script, []byte(block), 0o644))
	// What it leaves running goes with it, also where it fails.
	ts.Check(ts.Exec("bash", "-ec", `trap 'kill $(jobs -p) 2>/dev/null || :' EXIT; . "$0"`, script))
}

// envfile NAME FILE sets NAME to the file's text without surrounding space.
func envFile(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: envfile NAME FILE")
	}
	ts.Setenv(args[0], strings.TrimSpace(ts.ReadFile(args[1])))
}

// firstlines FILE NAME... sets each NAME to a line of the file, from the first on.
func firstLines(ts *testscript.TestScript, neg bool, args []string) {
	lines := strings.Split(ts.ReadFile(args[0]), "\n")
	if neg || len(args) < 2 || len(lines) < len(args) {
		ts.Fatalf("usage: firstlines FILE NAME...")
	}
	for i, name := range args[1:] {
		ts.Setenv(name, lines[i])
	}
}

// uniqlines FILE WANT demands that FILE has the lines of WANT in their order, once
// lines that came before are left out.
func uniqLines(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: uniqlines FILE WANT")
	}
	var first strings.Builder
	seen := map[string]bool{}
	for line := range strings.Lines(ts.ReadFile(args[0])) {
		if !seen[line] {
			seen[line] = true
			first.WriteString(line)
		}
	}
	if want := ts.ReadFile(args[1]); first.String() != want {
		ts.Fatalf("%s has the lines\n%s, want\n%s", args[0], first.String(), want)
	}
}

// field NAME ROWS FILE writes a field of each row to FILE, a line each.
func fieldOf(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 3 {
		ts.Fatalf("usage: field NAME ROWS FILE")
	}
	var out strings.Builder
	for line := range strings.Lines(ts.ReadFile(args[1])) {
		var row map[string]any
		ts.Check(json.Unmarshal([]byte(line), &row))
		fmt.Fprintln(&out, row[args[0]])
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[2]), []byte(out.String()), 0o644))
}

// lines FILE LENGTH... writes lines of so many characters. After a "." instead
// of a last length, the last line is not terminated.
func writeLines(ts *testscript.TestScript, neg bool, args []string) {
	var out strings.Builder
	terminated := true
	for _, arg := range args[1:] {
		if arg == "." {
			terminated = false
			continue
		}
		n, err := strconv.Atoi(arg)
		ts.Check(err)
		out.WriteString(strings.Repeat("x", n) + "\n")
	}
	text := out.String()
	if !terminated {
		text = strings.TrimSuffix(text, "\n")
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(text), 0o644))
}

// count FILE N writes the numbers from 1 to N, a line each.
func writeCount(ts *testscript.TestScript, neg bool, args []string) {
	n, err := strconv.Atoi(args[1])
	ts.Check(err)
	var out strings.Builder
	for i := range n {
		fmt.Fprintln(&out, i+1)
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(out.String()), 0o644))
}

// followersKey is the key of what follow has started, by the path of its output.
type followersKey struct{}

// follow start TOPIC FILE starts a 'cairn sub' of the whole topic into FILE; follow
// consume NAME TOPIC FILE one of a consumer, which acknowledges; follow await FILE N waits until it has N rows; follow stop FILE interrupts
// it, which must end it with 0.
func follow(ts *testscript.TestScript, neg bool, args []string) {
	followers := ts.Value(followersKey{}).(map[string]*exec.Cmd)
	switch args[0] {
	case "start", "consume":
		flags, file := []string{args[1], "--from", "start"}, args[len(args)-1]
		if args[0] == "consume" {
			flags = []string{args[2], "--consumer", args[1], "--ack", "auto"}
		}
		out, err := os.Create(ts.MkAbs(file))
		ts.Check(err)
		cmd := exec.Command("cairn", append([]string{"--api", ts.Getenv("CAIRN_API"), "-o", "ndjson", "sub"}, flags...)...)
		cmd.Stdout = out
		ts.Check(cmd.Start())
		followers[ts.MkAbs(file)] = cmd
		ts.Defer(func() {
			cmd.Process.Kill() //nolint:errcheck // it has ended unless the script failed
			out.Close()        //nolint:errcheck // as above
		})
	case "await":
		n, err := strconv.Atoi(args[2])
		ts.Check(err)
		pollFile(ts, ts.MkAbs(args[1]), func(text string) bool { return strings.Count(text, "\n") >= n })
	case "stop":
		cmd := followers[ts.MkAbs(args[1])]
		ts.Check(cmd.Process.Signal(os.Interrupt))
		ts.Check(cmd.Wait())
	}
}
