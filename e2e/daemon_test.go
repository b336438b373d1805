//go:build process

package e2e

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// binary is the program under test, built once without cgo.
var binary = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "cairn-e2e-")
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, "cairn")
	build := exec.Command("go", "build", "-o", path, "../cmd/cairn")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	build.Stderr = os.Stderr
	return path, build.Run()
})

func TestMain(m *testing.M) {
	code := m.Run()
	if path, err := binary(); err == nil {
		os.RemoveAll(filepath.Dir(path)) //nolint:errcheck // in the temporary directory
	}
	os.Exit(code)
}

// daemon is a `cairn run` process.
type daemon struct {
	t    testing.TB
	in   string // its network namespace; empty: the test's
	dir  string
	cmd  *exec.Cmd
	api  string // URL
	p2p  string // one multiaddress
	gone chan struct{}
	err  error // why it ended; read it after gone
}

// startDaemon runs a daemon on free ports and waits until it is ready.
func startDaemon(t testing.TB, dir string, bootstrap ...*daemon) *daemon {
	t.Helper()
	return startDaemonIn(t, "", "/ip4/127.0.0.1/tcp/0", dir, bootstrap...)
}

// startDaemonIn runs a daemon in a network namespace, where it listens on a
// multiaddress.
func startDaemonIn(t testing.TB, in, listen, dir string, bootstrap ...*daemon) *daemon {
	t.Helper()
	path, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	args := argv(in, path, "run", "--data-dir", dir, "--listen", listen, "--api", "127.0.0.1:0")
	for _, b := range bootstrap {
		args = append(args, "--bootstrap", b.p2p)
	}
	d := &daemon{t: t, in: in, dir: dir, cmd: exec.Command(args[0], args[1:]...), gone: make(chan struct{})}
	var stderr bytes.Buffer
	d.cmd.Stderr = &stderr
	// A killed daemon leaves its files: those of before say nothing.
	for _, name := range []string{"api.addr", "p2p.addrs"} {
		if err := os.Remove(filepath.Join(dir, name)); err != nil && !errors.Is(err, os.ErrNotExist) {
			t.Fatal(err)
		}
	}
	if err := d.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		d.err = d.cmd.Wait()
		close(d.gone)
	}()
	t.Cleanup(func() {
		d.kill()
		if t.Failed() {
			t.Logf("daemon in %s said:\n%s", dir, stderr.String())
		}
	})
	d.p2p = strings.Fields(d.await("p2p.addrs"))[0] // the last file to appear
	d.api = "http://" + strings.TrimSpace(d.await("api.addr"))
	return d
}

// argv is the command line that runs a program in a network namespace. What it
// starts becomes the program, so its pid is the program's.
func argv(in, path string, args ...string) []string {
	if in == "" {
		return append([]string{path}, args...)
	}
	return append([]string{"ip", "netns", "exec", in, path}, args...)
}

// await returns the content of a file that the daemon writes when it is ready.
func (d *daemon) await(name string) string {
	d.t.Helper()
	for {
		b, err := os.ReadFile(filepath.Join(d.dir, name))
		if err == nil {
			return string(b)
		}
		select {
		case <-d.gone:
			d.t.Fatalf("daemon ended: %v", d.err)
		case <-d.t.Context().Done():
			d.t.Fatalf("no %s in time", name)
		case <-time.After(5 * time.Millisecond):
		}
	}
}

func (d *daemon) kill() {
	d.cmd.Process.Kill() //nolint:errcheck // it may be gone already
	<-d.gone
}

// stop ends the daemon as a user does, and demands exit code 0.
func (d *daemon) stop() {
	d.t.Helper()
	if err := d.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		d.t.Fatal(err)
	}
	<-d.gone
	if d.err != nil {
		d.t.Fatalf("daemon ended with %v", d.err)
	}
}

// command returns a client's command that talks to the daemon.
func (d *daemon) command(ctx context.Context, args ...string) *exec.Cmd {
	path, _ := binary() //nolint:errcheck // it was built to start the daemon
	all := argv(d.in, path, append([]string{"--api", d.api}, args...)...)
	cmd := exec.CommandContext(ctx, all[0], all[1:]...)
	cmd.Stderr = os.Stderr
	return cmd
}

// run runs a client's command and returns what it printed.
func (d *daemon) run(stdin io.Reader, args ...string) string {
	d.t.Helper()
	cmd := d.command(d.t.Context(), args...)
	cmd.Stdin = stdin
	out, err := cmd.Output()
	if err != nil {
		d.t.Fatalf("cairn %s: %v", strings.Join(args, " "), err)
	}
	return string(out)
}

// heads is what `topic heads -o json` prints.
type heads struct {
	Events    int      `json:"events"`
	Heads     []string `json:"heads"`
	HeadsHash string   `json:"heads_hash"`
}

func (d *daemon) heads() heads {
	d.t.Helper()
	var h heads
	if err := json.Unmarshal([]byte(d.run(nil, "topic", "heads", topicName, "-o", "json")), &h); err != nil {
		d.t.Fatal(err)
	}
	return h
}

// equal waits until all daemons have the same heads hash and at least want
// events, and returns that state.
func equal(t testing.TB, want int, daemons ...*daemon) heads {
	t.Helper()
	for {
		first := daemons[0].heads()
		same := first.Events >= want
		for _, d := range daemons[1:] {
			same = same && d.heads().HeadsHash == first.HeadsHash
		}
		if same {
			return first
		}
		select {
		case <-t.Context().Done():
			t.Fatal("not equal in time")
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// cids returns the CIDs that the daemon has, as a set.
func (d *daemon) cids() map[string]bool {
	d.t.Helper()
	set := map[string]bool{}
	lines := bufio.NewScanner(strings.NewReader(d.run(nil, "query", topicName, "-o", "ndjson")))
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var row struct{ CID string }
		if err := json.Unmarshal(lines.Bytes(), &row); err != nil {
			d.t.Fatal(err)
		}
		set[row.CID] = true
	}
	return set
}
