package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/rogpeppe/go-internal/testscript"
)

// varies is what a document's transcript has of another run: tokens, CIDs, cursors,
// times and the ends of peer ids. Tokens and cursors may end with a dash, behind
// which there is no end of a word.
var varies = regexp.MustCompile(`\bbafyrei[a-z2-7]{52}\b|\bk[A-Za-z0-9_-]{19}|\bc[A-Za-z0-9_-]{12}|\b\d{4}-\d\d-\d\d \d\d:\d\d:\d\dZ|…[A-Za-z0-9]{8}\b`)

// console FILE runs the commands of a document's console blocks, and holds the
// document to what they print. What varies stands for one thing wherever it stands.
func console(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: console FILE")
	}
	text, err := os.ReadFile(filepath.Join("..", "..", "docs", args[0]))
	ts.Check(err)
	steps := consoleSteps(string(text))
	if len(steps) == 0 {
		ts.Fatalf("no console block in %s", args[0])
	}
	is := map[string]string{} // here, by what the document has
	code := 0
	for _, s := range steps {
		command := varies.ReplaceAllStringFunc(s.command, func(written string) string {
			if now, ok := is[written]; ok {
				return now
			}
			return written
		})
		var printed bytes.Buffer
		cmd := exec.Command("bash", "-c", fmt.Sprintf("(exit %d); %s", code, command))
		cmd.Dir, cmd.Stdout, cmd.Stderr = ts.Getenv("WORK"), &printed, &printed
		for _, name := range []string{"PATH", "HOME", "CAIRN_API"} {
			cmd.Env = append(cmd.Env, name+"="+ts.Getenv(name))
		}
		if err := cmd.Run(); cmd.ProcessState == nil {
			ts.Fatalf("%s: %v", command, err)
		}
		code = cmd.ProcessState.ExitCode()
		written, now := varies.FindAllString(s.output, -1), varies.FindAllString(printed.String(), -1)
		for i := range min(len(written), len(now)) {
			if was, ok := is[written[i]]; ok && was != now[i] {
				ts.Fatalf("%s:\n%sof which %s is %s", command, printed.String(), now[i], was)
			}
			is[written[i]] = now[i]
		}
		if varies.ReplaceAllString(s.output, "*") != varies.ReplaceAllString(printed.String(), "*") {
			ts.Fatalf("%s prints\n%sThe document has\n%s", command, printed.String(), s.output)
		}
	}
}

// step is a command of a console block, and what it prints.
type step struct{ command, output string }

func consoleSteps(text string) (steps []step) {
	for _, part := range strings.Split(text, "```console\n")[1:] {
		block, _, _ := strings.Cut(part, "```")
		for _, s := range strings.Split("\n"+block, "\n$ ")[1:] {
			command, output, _ := strings.Cut(s, "\n")
			if output != "" && !strings.HasSuffix(output, "\n") {
				output += "\n"
			}
			steps = append(steps, step{command, output})
		}
	}
	return steps
}
