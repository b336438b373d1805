//go:build process && linux

package e2e

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ipfs/go-cid"

	"github.com/cairn-p2p/cairn/node"
	"github.com/cairn-p2p/cairn/types"
)

// wire is some network namespaces, hosts, each with a veth pair to a bridge in
// one more. Nothing leads out of them.
type wire struct {
	t     testing.TB
	hub   string // the namespace of the bridge; port i is the host's end there
	hosts []string
}

// link is the name of each host's end of its veth pair.
const link = "eth0"

// newWire makes a wire of n hosts, which goes when the test ends. Without the
// right to make one, or the means, it skips the test.
func newWire(t testing.TB, n int) *wire {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root, to make network namespaces")
	}
	if _, err := exec.LookPath("ip"); err != nil {
		t.Skip("needs ip, of the package iproute2")
	}
	prefix := fmt.Sprintf("cairn-%d-%04x-", os.Getpid(), rand.N(1<<16))
	w := &wire{t: t, hub: prefix + "hub"}
	if err := w.add(w.hub); err != nil {
		t.Skipf("no network namespace can be made here: %v", err)
	}
	if err := w.ip(w.hub, "link", "add", "bridge", "type", "bridge"); err != nil {
		t.Skipf("no bridge can be made here: %v", err)
	}
	w.must(w.hub, "link", "set", "bridge", "up")
	for i := range n {
		host := fmt.Sprintf("%s%d", prefix, i)
		if err := w.add(host); err != nil {
			t.Fatal(err)
		}
		w.hosts = append(w.hosts, host)
		if err := w.ip(w.hub, "link", "add", port(i), "type", "veth", "peer", "name", link, "netns", host); err != nil {
			t.Skipf("no veth pair can be made here: %v", err)
		}
		w.must(w.hub, "link", "set", port(i), "master", "bridge", "up")
		w.must(host, "address", "add", address(i)+"/24", "dev", link)
		w.must(host, "link", "set", link, "up")
		w.must(host, "link", "set", "lo", "up")
	}
	return w
}

func port(i int) string    { return fmt.Sprintf("port%d", i) }
func address(i int) string { return fmt.Sprintf("10.77.0.%d", i+1) }

// add makes a namespace, which goes when the test ends, and all that is in it.
func (w *wire) add(name string) error {
	if err := execute("ip", "netns", "add", name); err != nil {
		return err
	}
	w.t.Cleanup(func() {
		if err := execute("ip", "netns", "delete", name); err != nil {
			w.t.Error(err)
		}
	})
	return nil
}

// ip runs ip in a namespace.
func (w *wire) ip(in string, args ...string) error {
	return execute("ip", append([]string{"-n", in}, args...)...)
}

func (w *wire) must(in string, args ...string) {
	w.t.Helper()
	if err := w.ip(in, args...); err != nil {
		w.t.Fatal(err)
	}
}

// spoil makes what a host sends late, and loses some of it, until mend is
// called. It reports false where the kernel has no netem.
func (w *wire) spoil(i int) (mend func(), ok bool) {
	w.t.Helper()
	err := execute("tc", "-n", w.hosts[i], "qdisc", "add", "dev", link, "root", "netem", "delay", "50ms", "10ms", "loss", "10%")
	if err != nil && (errors.Is(err, exec.ErrNotFound) || strings.Contains(err.Error(), "kind is unknown") ||
		strings.Contains(err.Error(), "No such file or directory")) { // of older kernels
		w.t.Logf("neither loss nor delay, for want of netem: %v", err)
		return nil, false
	}
	if err != nil {
		w.t.Fatal(err)
	}
	return func() {
		w.t.Helper()
		if err := execute("tc", "-n", w.hosts[i], "qdisc", "delete", "dev", link, "root"); err != nil {
			w.t.Fatal(err)
		}
	}, true
}

// start runs a daemon on a host.
func (w *wire) start(i int, dir string, bootstrap ...*daemon) *daemon {
	w.t.Helper()
	return startDaemonIn(w.t, w.hosts[i], fmt.Sprintf("/ip4/%s/tcp/4460", address(i)), dir, bootstrap...)
}

// execute runs a command; what it said is in the error.
func execute(name string, args ...string) error {
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s %s: %w: %s", name, strings.Join(args, " "), err, strings.TrimSpace(string(out)))
	}
	return nil
}

// bounded is a test that gives up, and tidies up, long before `go test` would.
type bounded struct {
	testing.TB
	ctx context.Context
}

func (b bounded) Context() context.Context { return b.ctx }

// writer keeps publishing on a daemon, a line every 20 ms.
type writer struct {
	d    *daemon
	stop context.CancelFunc // ends what it writes
	err  chan error         // how pub ended, once

	mu    sync.Mutex
	acks  []string      // CIDs of what is durable
	grown chan struct{} // closed, and made anew, when there are more
}

func newWriter(d *daemon) *writer {
	d.t.Helper()
	w := &writer{d: d, err: make(chan error, 1), grown: make(chan struct{})}
	pub := d.command(d.t.Context(), "pub", topicName, "--lines")
	pub.Stderr = nil
	in, err := pub.StdinPipe()
	if err != nil {
		d.t.Fatal(err)
	}
	out, err := pub.StdoutPipe()
	if err != nil {
		d.t.Fatal(err)
	}
	if err := pub.Start(); err != nil {
		d.t.Fatal(err)
	}
	var writing context.Context
	writing, w.stop = context.WithCancel(d.t.Context())
	go func() {
		defer in.Close() //nolint:errcheck // pub has gone, or reads its end
		pace := time.NewTicker(20 * time.Millisecond)
		defer pace.Stop()
		for n := 0; writing.Err() == nil; n++ {
			if _, err := fmt.Fprintf(in, "%s %d\n", d.in, n); err != nil {
				return
			}
			select {
			case <-pace.C:
			case <-writing.Done():
			}
		}
	}()
	go func() {
		w.read(out)
		w.err <- pub.Wait()
	}()
	return w
}

func (w *writer) read(out io.Reader) {
	for lines := bufio.NewScanner(out); lines.Scan(); {
		w.mu.Lock()
		w.acks = append(w.acks, lines.Text())
		close(w.grown)
		w.grown = make(chan struct{})
		w.mu.Unlock()
	}
}

// more waits until n more events are acknowledged than now.
func (w *writer) more(n int) {
	w.d.t.Helper()
	w.mu.Lock()
	want := len(w.acks) + n
	w.mu.Unlock()
	for {
		w.mu.Lock()
		have, grown := len(w.acks), w.grown
		w.mu.Unlock()
		if have >= want {
			return
		}
		select {
		case <-grown:
		case err := <-w.err:
			w.d.t.Fatalf("pub in %s ended after %d of %d events: %v", w.d.in, have, want, err)
		case <-w.d.t.Context().Done():
			w.d.t.Fatalf("pub in %s has %d of %d events acknowledged", w.d.in, have, want)
		}
	}
}

// end waits until pub has ended, and wants its exit code. It returns what was
// acknowledged.
func (w *writer) end(want int) []string {
	w.d.t.Helper()
	w.stop()
	err := <-w.err
	var exit *exec.ExitError
	code := 0
	if errors.As(err, &exit) {
		code = exit.ExitCode()
	}
	if code != want || err != nil && exit == nil {
		w.d.t.Fatalf("pub in %s ended with %v, want exit code %d", w.d.in, err, want)
	}
	return w.acks
}

// has reports whether the daemon has an event. It reports false when there is
// no time left.
func (d *daemon) has(id string) bool {
	d.t.Helper()
	get := d.command(d.t.Context(), "get", id)
	get.Stderr = nil
	err := get.Run()
	var exit *exec.ExitError
	if err != nil && (!errors.As(err, &exit) || exit.ExitCode() != 4) && d.t.Context().Err() == nil {
		d.t.Fatalf("get in %s: %v, want exit code 0 or 4", d.in, err)
	}
	return err == nil
}

// gets waits until the daemon has an event.
func (d *daemon) gets(id string) {
	d.t.Helper()
	for !d.has(id) {
		if !sleep(d.t.Context(), 100*time.Millisecond) {
			d.t.Fatalf("%s has no %s in time", d.in, id)
		}
	}
}

// mark publishes an event, and returns its CID.
func (d *daemon) mark() string {
	d.t.Helper()
	return strings.TrimSpace(d.run(nil, "pub", topicName, "mark"))
}

// Five hosts, each with a stack of its own, keep publishing while one's cable
// is cut, one's line is bad, one's interface is down and one's daemon is killed
// with SIGKILL. What was acknowledged is everywhere in the end.
func TestHosts(t *testing.T) {
	const each = 25 // events of every writer in each part
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	w := newWire(bounded{t, ctx}, 5)
	var acknowledged []string
	var daemons []*daemon
	var writers []*writer
	base := t.TempDir()
	dir := func(i int) string { return filepath.Join(base, fmt.Sprint(i)) }
	for i := range w.hosts {
		d := w.start(i, dir(i), daemons...)
		daemons, writers = append(daemons, d), append(writers, newWriter(d))
	}
	load := func(of ...int) {
		t.Helper()
		for _, i := range of {
			writers[i].more(each)
		}
	}
	load(0, 1, 2, 3, 4)

	// The cable of 4 is cut: both sides go on, and hear nothing of each other.
	w.must(w.hub, "link", "set", port(4), "down")
	here, there := daemons[0].mark(), daemons[4].mark()
	acknowledged = append(acknowledged, here, there)
	load(0, 1, 2, 3, 4)
	for i, d := range daemons[:4] {
		if d.gets(here); d.has(there) {
			t.Errorf("host %d heard of what host 4 wrote behind a cut cable", i)
		}
	}
	if daemons[4].has(here) {
		t.Error("host 4 heard of what host 0 wrote behind a cut cable")
	}
	w.must(w.hub, "link", "set", port(4), "up")
	daemons[4].gets(here)
	daemons[0].gets(there)
	t.Log("a cut cable healed")

	// The line of 1 is bad.
	if mend, ok := w.spoil(1); ok {
		load(0, 1, 2, 3, 4)
		here, there = daemons[0].mark(), daemons[1].mark()
		acknowledged = append(acknowledged, here, there)
		daemons[1].gets(here)
		daemons[0].gets(there)
		mend()
		t.Log("a bad line was borne")
	}

	// 0, from which all others started, is killed in the middle of its work, while
	// the interface of 3 is down: 3 cannot see it go.
	w.must(w.hosts[3], "link", "set", link, "down")
	load(0, 3)
	daemons[0].kill()
	acknowledged = append(acknowledged, writers[0].end(3)...)
	load(1, 2, 3, 4)
	daemons[0] = w.start(0, dir(0), daemons[1:]...)
	writers[0] = newWriter(daemons[0])
	load(0, 1, 2, 3, 4)
	w.must(w.hosts[3], "link", "set", link, "up")
	here, there = daemons[0].mark(), daemons[3].mark()
	acknowledged = append(acknowledged, here, there)
	daemons[3].gets(here)
	daemons[0].gets(there)
	t.Log("a killed daemon is back")

	for _, w := range writers {
		acknowledged = append(acknowledged, w.end(0)...)
	}
	h := equal(w.t, len(acknowledged), daemons...)
	for _, d := range daemons {
		d.stop()
	}
	t.Logf("%d events acknowledged, %d there, %d heads", len(acknowledged), h.Events, len(h.Heads))
	checkDirs(t, acknowledged, dir(0), dir(1), dir(2), dir(3), dir(4))
}

// checkDirs holds what daemons left in their directories to the invariants.
func checkDirs(t *testing.T, acknowledged []string, dirs ...string) {
	t.Helper()
	var want []cid.Cid
	for _, text := range acknowledged {
		id, err := types.ParseCID(text)
		if err != nil {
			t.Fatal(err)
		}
		want = append(want, id)
	}
	apart := newSimulated(Link{Loss: 1, Bandwidth: defaultBandwidth}, 0)
	defer apart.close()
	var replicas []Replica
	for i, dir := range dirs {
		n, err := apart.open(t.Context(), i, node.Config{Dir: dir, DHT: node.DHTOff})
		if err != nil {
			t.Fatal(err)
		}
		defer n.Close() //nolint:errcheck // it was only read
		here := n.(local)
		topic, err := here.Topic(t.Context(), topicName)
		if err != nil {
			t.Fatal(err)
		}
		r, err := readReplica(t.Context(), fmt.Sprintf("host %d", i), topic)
		if err != nil {
			t.Fatal(err)
		}
		r.Publisher = here.Publisher()
		replicas = append(replicas, r)
	}
	for _, wrong := range Check(replicas, want) {
		t.Error(wrong)
	}
}
