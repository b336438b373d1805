//go:build process

package e2e

import (
	"bufio"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"testing"
)

// A daemon that is killed in the middle of a large join goes on where it was:
// after the restart it receives no more than it still lacks, and what was on the
// way or not yet noted.
func TestKilledInTheMiddleOfAJoin(t *testing.T) {
	const (
		events = 100_000
		enough = events / 2 // there when it is killed, and more by then
		noted  = 4096       // a position is durable after so many
		ahead  = 5 * 1000   // events between the wire and the store
	)
	first := startDaemon(t, t.TempDir())
	first.run(lines(events), "pub", topicName, "--lines")
	dir := t.TempDir()
	d := startDaemon(t, dir, first)
	d.run(nil, "topic", "join", topicName)
	d.run(nil, "topic", "wait", topicName, "--events", fmt.Sprint(enough))
	size := d.metric(received) / d.metric(synced) // of an event on the wire, with what is on the way
	d.kill()

	d = startDaemon(t, dir) // alone, to see what it has
	had := d.heads().Events
	d.stop()
	if had < enough || had > events*9/10 {
		t.Fatalf("%d events of %d when it was killed, want some and not nearly all", had, events)
	}
	d = startDaemon(t, dir, first)
	d.run(nil, "topic", "wait", topicName, "--events", fmt.Sprint(events), "--synced")
	equal(t, events, first, d)
	n, bytes := d.metric(synced), d.metric(received)
	t.Logf("%d events of %.0f bytes before, %.0f after in %.0f bytes", had, size, n, bytes)
	if want := float64(events - had); n != want {
		t.Errorf("%.0f events came by sync, want %.0f", n, want)
	}
	if limit := float64(events-had+noted+ahead) * size; bytes > limit {
		t.Errorf("%.0f bytes received for %d events, want at most %.0f", bytes, events-had, limit)
	}
}

// Lines of the daemon's metrics.
const (
	received = `cairn_sync_bytes_total{direction="in"}`
	synced   = `cairn_events_total{source="sync"}`
)

// metric returns the value of one line of the daemon's metrics.
func (d *daemon) metric(name string) float64 {
	d.t.Helper()
	answer, err := http.Get(d.api + "/metrics")
	if err != nil {
		d.t.Fatal(err)
	}
	defer answer.Body.Close()
	for lines := bufio.NewScanner(answer.Body); lines.Scan(); {
		if value, ok := strings.CutPrefix(lines.Text(), name+" "); ok {
			v, err := strconv.ParseFloat(value, 64)
			if err != nil {
				d.t.Fatal(err)
			}
			return v
		}
	}
	d.t.Fatalf("no metric %s", name)
	return 0
}
