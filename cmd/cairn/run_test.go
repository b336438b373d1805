package main

import (
	"errors"
	"os"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// Two signals at once are one; a later one ends the node by force.
func TestSecondSignal(t *testing.T) {
	for _, test := range []struct {
		name   string
		second time.Duration // after the first
		forced bool
	}{{"at once", 0, false}, {"later", time.Second, true}} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				signals := make(chan os.Signal, 1)
				d := &daemon{signals: signals}
				go func() {
					time.Sleep(test.second)
					signals <- syscall.SIGTERM
				}()
				err := d.awaitStop(func() error {
					time.Sleep(2 * time.Second)
					return nil
				})
				if errors.Is(err, errForced) != test.forced {
					t.Errorf("stopped with %v, want force: %v", err, test.forced)
				}
				time.Sleep(2 * time.Second) // what was to stop
			})
		})
	}
}
