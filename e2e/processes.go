package e2e

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/libp2p/go-libp2p"

	"github.com/cairn-p2p/cairn/node"
)

// processes is the network of this machine with each node in a process of its
// own, which is talked to over its API.
type processes struct {
	binary  string
	failed  func(error) // told of a process that ended by itself
	listens []string    // where nodes listened before: they do so again
}

// open starts `cairn run`, and returns once it answers.
func (p *processes) open(ctx context.Context, index int, cfg node.Config) (instance, error) {
	q := &process{index: index, dir: cfg.Dir, failed: p.failed, gone: make(chan struct{})}
	if err := q.forget(); err != nil {
		return nil, err
	}
	dht := "off"
	if cfg.DHT == node.DHTServer {
		dht = "server"
	}
	q.cmd = exec.Command(p.binary, "run", "--data-dir", cfg.Dir, "--api", "127.0.0.1:0",
		"--listen", cmp.Or(p.listens[index], anyPort), "--network", cfg.Network, "--dht", dht)
	for _, b := range cfg.Bootstrap {
		q.cmd.Args = append(q.cmd.Args, "--bootstrap", b)
	}
	if q.stderr.log = cfg.Log; cfg.Log != nil {
		q.cmd.Args = append(q.cmd.Args, "--log-level", "debug")
	}
	q.cmd.Stderr = &q.stderr
	if err := q.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start a node: %w", err)
	}
	go q.watch()
	if err := q.ready(ctx); err != nil {
		return nil, errors.Join(err, q.kill())
	}
	p.listens[index] = bare(q.p2p)
	return q, nil
}

// place is not asked for: no fault that this medium can show needs another host.
func (p *processes) place(int) (listen string, way []libp2p.Option) { return anyPort, nil }

// set does nothing: no fault that this medium can show keeps nodes apart.
func (p *processes) set(conditions) {}

func (p *processes) traffic() (bytes, packets uint64) { return 0, 0 }

func (p *processes) close() {}

// The files in a data directory that say where its node is. The second comes
// last.
const (
	apiFile = "api.addr"
	p2pFile = "p2p.addrs"
)

const (
	// lookForFile is how often a file that a process will write is looked for.
	lookForFile = 5 * time.Millisecond
	// closePatience is after how long a process that should end is killed. It
	// gives itself less.
	closePatience = 30 * time.Second
)

// process is a `cairn run`.
type process struct {
	index  int
	dir    string
	cmd    *exec.Cmd
	stderr stderr
	failed func(error)
	client client
	p2p    string // its multiaddress

	ending atomic.Bool   // somebody wants it to end
	gone   chan struct{} // closed once it has
	err    error         // how it ended, nil for exit code 0; read it after gone
}

// forget removes the files of a node that was killed: they say nothing of the
// next one.
func (p *process) forget() error {
	for _, name := range []string{p2pFile, apiFile} {
		if err := os.Remove(filepath.Join(p.dir, name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("forget where a node was: %w", err)
		}
	}
	return nil
}

// watch waits for the end of the process. It is the only one to wait for it.
func (p *process) watch() {
	p.err = p.cmd.Wait()
	wanted := p.ending.Load()
	close(p.gone)
	if !wanted {
		p.failed(fmt.Errorf("node %d ended by itself: %w", p.index, p.ended()))
	}
}

// ended says how a process ended that should not have. Call it after gone.
func (p *process) ended() error {
	return fmt.Errorf("%w; it said last:\n%s", cmp.Or(p.err, errors.New("exit status 0")), p.stderr.last())
}

// ready waits until the process answers, and can be written to.
func (p *process) ready(ctx context.Context) error {
	for {
		p2p, err := os.ReadFile(filepath.Join(p.dir, p2pFile))
		if err == nil {
			p.p2p, _, _ = strings.Cut(string(p2p), "\n")
			break
		}
		select {
		case <-time.After(lookForFile):
		case <-p.gone:
			return fmt.Errorf("node %d did not start: %w", p.index, p.ended())
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	api, err := os.ReadFile(filepath.Join(p.dir, apiFile))
	if err != nil {
		return fmt.Errorf("find the API of a node: %w", err)
	}
	p.client = newClient(strings.TrimSpace(string(api)))
	if err := p.client.ready(ctx); err != nil { // too little disk, for example
		return fmt.Errorf("node %d is not ready: %w", p.index, err)
	}
	return nil
}

func (p *process) addr() string { return p.p2p }

// kill ends the process with SIGKILL, as nothing else could end it.
func (p *process) kill() error {
	p.ending.Store(true)
	if err := p.cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("kill node %d: %w", p.index, err)
	}
	<-p.gone
	p.client.close()
	return nil
}

// Close ends the process as its user would, and wants its exit code to be 0.
func (p *process) Close() error {
	select {
	case <-p.gone: // it was killed, or watch has told
		return nil
	default:
	}
	p.ending.Store(true)
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return errors.Join(fmt.Errorf("stop node %d: %w", p.index, err), p.kill())
	}
	patience := time.NewTimer(closePatience)
	defer patience.Stop()
	select {
	case <-p.gone:
		p.client.close()
		if p.err != nil {
			return p.ended()
		}
		return nil
	case <-patience.C:
		return errors.Join(fmt.Errorf("node %d did not stop in %v", p.index, closePatience), p.kill())
	}
}

// Stats returns nothing.
func (p *process) Stats() node.Stats { return node.Stats{} }

func (p *process) join(ctx context.Context, name string) (topic, error) {
	return p.client.join(ctx, name)
}

// maxStderr is how many of the last bytes of what a process said are kept: a
// panic's beginning is in them.
const maxStderr = 64 << 10

// stderr takes what a process says. It is safe for concurrent use.
type stderr struct {
	log *slog.Logger // gets every line; nil: nobody does

	mu   sync.Mutex
	kept []byte // the last of it, at most maxStderr
	line []byte // what came of a line that is not whole
}

// Write implements io.Writer.
func (s *stderr) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.kept = append(s.kept, b...)
	s.kept = s.kept[max(0, len(s.kept)-maxStderr):]
	if s.log == nil {
		return len(b), nil
	}
	s.line = append(s.line, b...)
	for {
		line, rest, whole := strings.Cut(string(s.line), "\n")
		if !whole {
			return len(b), nil
		}
		s.log.Info(line)
		s.line = []byte(rest)
	}
}

func (s *stderr) last() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return string(s.kept)
}
