package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/cairn-p2p/cairn/api"
	"github.com/cairn-p2p/cairn/client"
	"github.com/cairn-p2p/cairn/types"
)

// The exit codes. Scripts depend on them.
const (
	exitOK          = 0
	exitFailed      = 1
	exitUsage       = 2 // or configuration
	exitUnreachable = 3 // no daemon answers
	exitNotFound    = 4
	exitIntegrity   = 6 // the database is corrupt
	exitLocked      = 7 // another process uses the data directory
	exitTimeout     = 8
)

// errUsage marks an error in what was typed.
var errUsage = errors.New("usage")

// usageError is an errUsage that says no more than its text.
type usageError struct{ text string }

func (e *usageError) Error() string { return e.text }
func (e *usageError) Unwrap() error { return errUsage }

func usagef(format string, args ...any) error {
	return &usageError{fmt.Sprintf(format, args...)}
}

// codes maps errors to codes; the first match counts.
var codes = []struct {
	err  error
	code int
}{
	{errUsage, exitUsage},
	{types.ErrLocked, exitLocked},
	{types.ErrCorrupt, exitIntegrity},
	{types.ErrIdentity, exitUsage},
	{types.ErrNewerFormat, exitUsage},
	{types.ErrWrongNetwork, exitUsage},
	{types.ErrInvalidCursor, exitUsage},
	{types.ErrInvalidArgument, exitUsage},
	{types.ErrNotFound, exitNotFound},
	{context.DeadlineExceeded, exitTimeout},
	{api.ErrUnreachable, exitUnreachable},
	{client.ErrUnreachable, exitUnreachable},
	{types.ErrClosed, exitUnreachable}, // the daemon stops
}

// exitCode returns the code for what a command line came to. What fails before
// its verb starts is an error in the command line.
func (a *app) exitCode(err error) int {
	if err == nil {
		return exitOK
	}
	if !a.started {
		return exitUsage
	}
	for _, e := range codes {
		if errors.Is(err, e.err) {
			return e.code
		}
	}
	return exitFailed
}

// complain says on stderr what went wrong and, where there is something, what
// to do about it.
func (a *app) complain(cmd *cobra.Command, err error) {
	fmt.Fprintf(a.stderr, "cairn: %v\n", err)
	a.evidence(err)
	switch {
	case !a.started || errors.Is(err, errUsage):
		fmt.Fprintf(a.stderr, "Usage: %s\nRun '%s --help' for more.\n", cmd.UseLine(), cmd.CommandPath())
	case errors.Is(err, api.ErrUnreachable):
		fmt.Fprintln(a.stderr, "Is 'cairn run' running? --api or CAIRN_API says where its API is; DIR/api.addr names it.")
	case errors.Is(err, api.ErrLogReplaced):
		fmt.Fprintln(a.stderr, "'cairn consumer reset NAME --from start|now|CURSOR' has it begin anew.")
	case errors.Is(err, client.ErrUnreachable):
		fmt.Fprintln(a.stderr, "Does a node run there with 'cairn run --role broker'? Its DIR/p2p.addrs has its multiaddresses.")
	case errors.Is(err, client.ErrUnknownEvents):
		fmt.Fprintln(a.stderr, "Put the right FILE.state back. If it is lost, and nobody else uses the key, --adopt goes on from what this broker has.")
	case errors.Is(err, types.ErrForkedKey):
		fmt.Fprintln(a.stderr, "Two nodes have this identity. Stop one of them and give it a data directory of its own.")
	case errors.Is(err, types.ErrNotWriter):
		fmt.Fprintln(a.stderr, "Only the topic's owner and writers publish to it; 'cairn key show' prints this node's key.")
	case errors.Is(err, types.ErrDiskFull):
		fmt.Fprintln(a.stderr, "Free some space: the node resumes by itself.")
	}
}
