package syncer_test

import (
	"context"
	"errors"
	"io"
	"os"
	"sync"
	"testing"
	"time"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/cairn-p2p/cairn/syncer"
	"github.com/cairn-p2p/cairn/syncer/pb"
	"github.com/cairn-p2p/cairn/syncer/syncertest"
	"github.com/cairn-p2p/cairn/types"
)

// half is one direction of a pipe: a bounded buffer with deadlines, which only
// blocks in ways that testing/synctest understands.
type half struct {
	mu       sync.Mutex
	buf      []byte
	limit    int
	closed   bool
	reset    bool
	change   chan struct{}
	deadline [2]time.Time // of the reader and of the writer
}

const pipeBuffer = 256 << 10

func newHalf() *half { return &half{limit: pipeBuffer, change: make(chan struct{})} }

func (h *half) signal() {
	close(h.change)
	h.change = make(chan struct{})
}

// wait unlocks until something changes or the deadline passes.
func (h *half) wait(side int) error {
	change, deadline := h.change, h.deadline[side]
	h.mu.Unlock()
	defer h.mu.Lock()
	var expired <-chan time.Time
	if !deadline.IsZero() {
		timer := time.NewTimer(time.Until(deadline))
		defer timer.Stop()
		expired = timer.C
	}
	select {
	case <-change:
		return nil
	case <-expired:
		return os.ErrDeadlineExceeded
	}
}

var errReset = errors.New("stream reset")

func (h *half) Read(b []byte) (int, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for {
		switch {
		case h.reset:
			return 0, errReset
		case len(h.buf) > 0:
			n := copy(b, h.buf)
			h.buf = h.buf[n:]
			h.signal()
			return n, nil
		case h.closed:
			return 0, io.EOF
		}
		if err := h.wait(0); err != nil {
			return 0, err
		}
	}
}

func (h *half) Write(b []byte) (int, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for written := 0; ; {
		if h.reset || h.closed {
			return written, errReset
		}
		if n := min(len(b), h.limit-len(h.buf)); n > 0 {
			h.buf = append(h.buf, b[:n]...)
			b, written = b[n:], written+n
			h.signal()
		}
		if len(b) == 0 {
			return written, nil
		}
		if err := h.wait(1); err != nil {
			return written, err
		}
	}
}

func (h *half) set(f func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	f()
	h.signal()
}

// pipe is one end of a stream in memory.
type pipe struct{ in, out *half }

func newPipe() (a, b *pipe) {
	x, y := newHalf(), newHalf()
	return &pipe{in: x, out: y}, &pipe{in: y, out: x}
}

func (p *pipe) Read(b []byte) (int, error)  { return p.in.Read(b) }
func (p *pipe) Write(b []byte) (int, error) { return p.out.Write(b) }
func (p *pipe) CloseWrite() error           { p.out.set(func() { p.out.closed = true }); return nil }

func (p *pipe) Close() error {
	p.in.set(func() { p.in.closed = true })
	return p.CloseWrite()
}

func (p *pipe) Reset() error {
	for _, h := range []*half{p.in, p.out} {
		h.set(func() { h.reset = true })
	}
	return nil
}

func (p *pipe) SetReadDeadline(t time.Time) error {
	p.in.set(func() { p.in.deadline[0] = t })
	return nil
}

func (p *pipe) SetWriteDeadline(t time.Time) error {
	p.out.set(func() { p.out.deadline[1] = t })
	return nil
}

// readFrame reads one frame as a peer would that knows nothing of limits.
func readFrame(r io.Reader, m proto.Message) error {
	var size []byte
	for b := make([]byte, 1); ; {
		if _, err := io.ReadFull(r, b); err != nil {
			return err
		}
		if size = append(size, b[0]); b[0] < 0x80 {
			break
		}
	}
	n, _ := protowire.ConsumeVarint(size)
	b := make([]byte, n)
	if _, err := io.ReadFull(r, b); err != nil {
		return err
	}
	return proto.Unmarshal(b, m)
}

func writeFrame(w io.Writer, m proto.Message) error {
	b, err := proto.Marshal(m)
	if err != nil {
		return err
	}
	_, err = w.Write(append(protowire.AppendVarint(nil, uint64(len(b))), b...))
	return err
}

// pipes is a network of syncers whose streams are pipes. It counts the
// requests that pass, and tells when they did.
type pipes struct {
	iv     syncer.Intervals
	locals []*syncertest.Local
	list   []*syncer.Syncer
	tasks  sync.WaitGroup

	mu       sync.Mutex
	relay    func(to types.PeerID, st syncer.Stream) syncer.Stream // nil: none
	up       map[[2]types.PeerID]bool
	requests []request
}

type request struct {
	from, to types.PeerID
	at       time.Time
	m        *pb.Request
}

func newPipes(t testing.TB, iv syncer.Intervals, locals []*syncertest.Local) *pipes {
	return newPipesWith(t, iv, locals, nil)
}

func newPipesWith(t testing.TB, iv syncer.Intervals, locals []*syncertest.Local, f syncer.Finder) *pipes {
	n := &pipes{iv: iv, locals: locals, up: make(map[[2]types.PeerID]bool)}
	for i, l := range locals {
		c := syncer.Config{Local: l, Log: testLog(t), Intervals: iv, Finder: f}
		n.list = append(n.list, syncer.NewOn(c, func(_ context.Context, to types.PeerID) (syncer.Stream, error) {
			return n.dial(i, to)
		}))
	}
	return n
}

func (n *pipes) setRelay(f func(to types.PeerID, st syncer.Stream) syncer.Stream) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.relay = f
}

func (n *pipes) dial(from int, to types.PeerID) (syncer.Stream, error) {
	id := n.locals[from].ID()
	n.mu.Lock()
	defer n.mu.Unlock()
	if !n.up[[2]types.PeerID{id, to}] {
		return nil, errors.New("not connected")
	}
	for i, l := range n.locals {
		if l.ID() == to {
			a, b := newPipe()
			n.tasks.Go(func() { n.list[i].Serve(context.Background(), id, b) }) //nolint:errcheck // tests look at the client
			var st syncer.Stream = a
			if n.relay != nil {
				st = n.relay(to, st)
			}
			return &spy{Stream: st, n: n, from: id, to: to}, nil
		}
	}
	return nil, errors.New("no such peer")
}

// spy is a client's end that notes the requests it sends.
type spy struct {
	syncer.Stream
	n        *pipes
	from, to types.PeerID
}

func (s *spy) Write(b []byte) (int, error) {
	_, size := protowire.ConsumeVarint(b)
	m := new(pb.Request)
	if err := proto.Unmarshal(b[size:], m); err == nil {
		s.n.mu.Lock()
		s.n.requests = append(s.n.requests, request{from: s.from, to: s.to, at: time.Now(), m: m})
		s.n.mu.Unlock()
	}
	return s.Stream.Write(b)
}

// sent returns the requests so far, and forgets them.
func (n *pipes) sent() []request {
	n.mu.Lock()
	defer n.mu.Unlock()
	list := n.requests
	n.requests = nil
	return list
}

func (n *pipes) Syncers() []syncertest.Syncer {
	var list []syncertest.Syncer
	for _, s := range n.list {
		list = append(list, s)
	}
	return list
}

func (n *pipes) link(i, j int, up bool) {
	n.mu.Lock()
	a, b := n.locals[i].ID(), n.locals[j].ID()
	n.up[[2]types.PeerID{a, b}], n.up[[2]types.PeerID{b, a}] = up, up
	n.mu.Unlock()
}

func (n *pipes) Connect(i, j int) {
	n.link(i, j, true)
	n.list[i].Connected(n.locals[j].ID())
	n.list[j].Connected(n.locals[i].ID())
}

func (n *pipes) Disconnect(i, j int) {
	n.link(i, j, false)
	n.list[i].Disconnected(n.locals[j].ID())
	n.list[j].Disconnected(n.locals[i].ID())
}
