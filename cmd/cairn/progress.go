package main

import (
	"os"
	"time"

	"github.com/schollz/progressbar/v3"
)

// progress shows how far something is. Its methods are safe for concurrent
// use.
type progress interface {
	phase(name string) // what is being done now
	add(n int)
	end() // leaves nothing behind on the screen
}

// newProgress returns a bar of length n on stderr, or nothing that is seen if
// that is not a terminal.
func (a *app) newProgress(n int) progress {
	f, ok := a.stderr.(*os.File)
	if !ok || !isTerminal(f) {
		return noProgress{}
	}
	const (
		width    = 32                    // characters
		throttle = 65 * time.Millisecond // between two pictures
	)
	return bar{progressbar.NewOptions(
		n,
		progressbar.OptionSetWriter(f),
		progressbar.OptionSetWidth(width),
		progressbar.OptionThrottle(throttle),
		progressbar.OptionShowCount(),
		progressbar.OptionShowIts(),
		progressbar.OptionSetItsString("events"),
		progressbar.OptionSetPredictTime(false),
		progressbar.OptionClearOnFinish(),
	)}
}

// bar is a progress bar. That a terminal cannot be written to stops nothing.
type bar struct{ *progressbar.ProgressBar }

func (b bar) phase(name string) { b.Describe(padRight(name)) }
func (b bar) add(n int)         { b.Add(n) }   //nolint:errcheck // see bar
func (b bar) end()              { b.Finish() } //nolint:errcheck // see bar

// padRight keeps a bar at one place while its description changes.
func padRight(name string) string { return name + padding(name, len("node-64 cut off")) }

type noProgress struct{}

func (noProgress) phase(string) {}
func (noProgress) add(int)      {}
func (noProgress) end()         {}
