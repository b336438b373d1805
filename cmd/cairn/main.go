// Command cairn runs a Cairn node and talks to one that runs.
//
// Data goes to stdout and everything else to stderr; the exit code says what
// kind of failure it was. See README.md for the verbs, and exit.go for the
// codes.
package main

import (
	"io"
	"os"
)

func main() {
	os.Exit(run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr, os.Getenv))
}

// run carries out one command line and returns its exit code. It may leave a
// goroutine behind that reads stdin.
func run(args []string, stdin io.Reader, stdout, stderr io.Writer, getenv func(string) string) int {
	a := &app{stdin: stdin, stdout: stdout, stderr: stderr, getenv: getenv, output: formatTable}
	root := newRoot(a)
	root.SetArgs(args)
	cmd, err := root.ExecuteC()
	if err == nil {
		err = a.helpErr
	}
	if err != nil {
		a.complain(cmd, err)
	}
	return a.exitCode(err)
}
