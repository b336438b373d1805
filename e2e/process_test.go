//go:build process

package e2e

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// lines returns n payloads, one a line.
func lines(n int) io.Reader {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "%0255d\n", i)
	}
	return strings.NewReader(b.String())
}

// Every CID that `pub --lines` printed is durable: three times the daemon is
// killed in the middle and comes back on other ports, and in the end it and its
// peer have them all. Guards against defect 8 of the peers too: a crash in the
// middle left branches that were never completed.
func TestKilledInTheMiddleOfPub(t *testing.T) {
	const kills, acknowledged = 3, 1000
	dir := t.TempDir()
	peer := startDaemon(t, t.TempDir())
	peer.run(nil, "topic", "join", topicName)
	printed := map[string]bool{}
	for range kills {
		d := startDaemon(t, dir, peer)
		pub := d.command(t.Context(), "pub", topicName, "--lines")
		pub.Stdin = lines(1 << 20) // more than there is time for
		pub.Stderr = nil
		out, err := pub.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := pub.Start(); err != nil {
			t.Fatal(err)
		}
		acks := bufio.NewScanner(out)
		for n := 0; acks.Scan(); n++ {
			printed[acks.Text()] = true
			if n == acknowledged {
				d.kill()
			}
		}
		var exit *exec.ExitError
		if err := pub.Wait(); !errors.As(err, &exit) || exit.ExitCode() != 3 {
			t.Errorf("pub ended with %v, want exit code 3", err)
		}
	}
	if len(printed) < kills*acknowledged {
		t.Fatalf("only %d acknowledgements", len(printed))
	}
	d := startDaemon(t, dir, peer)
	h := equal(t, len(printed), d, peer)
	t.Logf("%d acknowledged, %d events, %d heads", len(printed), h.Events, len(h.Heads))
	for name, set := range map[string]map[string]bool{"killed": d.cids(), "peer": peer.cids()} {
		for cid := range printed {
			if !set[cid] {
				t.Errorf("the %s daemon lost %s", name, cid)
			}
		}
	}
}

func TestProcessesConverge(t *testing.T) {
	const each = 1000
	var daemons []*daemon
	for range 3 {
		d := startDaemon(t, t.TempDir(), daemons...)
		d.run(nil, "topic", "join", topicName)
		daemons = append(daemons, d)
	}
	var group sync.WaitGroup
	for _, d := range daemons {
		group.Go(func() {
			if n := strings.Count(d.run(lines(each), "pub", topicName, "--lines"), "\n"); n != each {
				t.Errorf("%d CIDs, want %d", n, each)
			}
		})
	}
	group.Wait()
	if h := equal(t, 3*each, daemons...); h.Events != 3*each {
		t.Errorf("%d events", h.Events)
	}
}

// A process that joins late, on a topic that has gone quiet.
func TestLateProcess(t *testing.T) {
	const events = 10000
	first := startDaemon(t, t.TempDir())
	first.run(lines(events), "pub", topicName, "--lines")
	late := startDaemon(t, t.TempDir(), first)
	late.run(nil, "topic", "join", topicName)
	late.run(nil, "topic", "wait", topicName, "--events", fmt.Sprint(events), "--synced")
	if h := equal(t, events, first, late); h.Events != events {
		t.Errorf("%d events", h.Events)
	}
}

// A second daemon on the same directory is refused and touches nothing.
func TestSecondDaemonIsRefused(t *testing.T) {
	dir := t.TempDir()
	d := startDaemon(t, dir)
	before := snapshot(t, dir)
	second := d.command(t.Context(), "run", "--data-dir", dir, "--listen", "/ip4/127.0.0.1/tcp/0")
	second.Env = append(os.Environ(), "CAIRN_API_LISTEN=127.0.0.1:0")
	second.Args = append(second.Args[:1], second.Args[3:]...) // without --api URL
	second.Stderr = nil
	out, err := second.CombinedOutput()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != 7 {
		t.Fatalf("second daemon ended with %v, want exit code 7: %s", err, out)
	}
	if !strings.Contains(string(out), fmt.Sprint(d.cmd.Process.Pid)) {
		t.Errorf("it does not name the holder: %s", out)
	}
	after := snapshot(t, dir)
	for name, content := range before {
		if after[name] != content {
			t.Errorf("%s was touched", name)
		}
	}
	d.stop()
	for _, name := range []string{"api.addr", "p2p.addrs"} {
		if _, err := os.Stat(filepath.Join(dir, name)); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s after shutdown: %v", name, err)
		}
	}
}

// snapshot returns the content of the small files in dir.
func snapshot(t *testing.T, dir string) map[string]string {
	t.Helper()
	files := map[string]string{}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if e.Type().IsRegular() {
			b, err := os.ReadFile(filepath.Join(dir, e.Name()))
			if err != nil {
				t.Fatal(err)
			}
			files[e.Name()] = string(b)
		}
	}
	return files
}

// BenchmarkProcess publishes 10,000 events of 255 bytes through `pub --lines`, and
// has a fresh process join them: from `topic join` to holding all.
func BenchmarkProcess(b *testing.B) {
	const events = 10000
	var pub, join time.Duration
	for b.Loop() {
		first := startDaemon(b, b.TempDir())
		begun := time.Now()
		first.run(lines(events), "pub", topicName, "--lines")
		pub += time.Since(begun)
		late := startDaemon(b, b.TempDir(), first)
		begun = time.Now()
		late.run(nil, "topic", "join", topicName)
		late.run(nil, "topic", "wait", topicName, "--events", fmt.Sprint(events))
		join += time.Since(begun)
		if h := equal(b, events, first, late); h.Events != events {
			b.Fatalf("%d events", h.Events)
		}
		first.stop()
		late.stop()
	}
	b.ReportMetric(pub.Seconds()/float64(b.N), "s/pub")
	b.ReportMetric(join.Seconds()/float64(b.N), "s/join")
}
