package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// taps stand between nodes and count the bytes that pass, as they are on the
// wire: framed and encrypted. Nil taps let nodes connect directly.
type taps struct {
	count atomic.Int64
	delay time.Duration // of every byte, each way

	mu      sync.Mutex
	closers []io.Closer
	running sync.WaitGroup
}

// bytes is what passed so far; 0 for nil taps.
func (t *taps) bytes() int64 {
	if t == nil {
		return 0
	}
	return t.count.Load()
}

// via returns an address that leads to addr, a loopback TCP multiaddress with
// a peer id, through a new tap.
func (t *taps) via(addr string) (string, error) {
	if t == nil {
		return addr, nil
	}
	parts := strings.Split(addr, "/") // "", ip4, host, tcp, port, p2p, id
	if len(parts) != 7 || parts[1] != "ip4" || parts[3] != "tcp" {
		return "", fmt.Errorf("no tap for %s", addr)
	}
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	t.keep(l)
	target := net.JoinHostPort(parts[2], parts[4])
	t.running.Go(func() { t.accept(l, target) })
	parts[4] = fmt.Sprint(l.Addr().(*net.TCPAddr).Port) //nolint:errcheck // it is a TCP listener
	return strings.Join(parts, "/"), nil
}

func (t *taps) keep(c io.Closer) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.closers = append(t.closers, c)
}

// accept forwards connections until the listener closes.
func (t *taps) accept(l net.Listener, target string) {
	for {
		in, err := l.Accept()
		if err != nil {
			return
		}
		out, err := net.Dial("tcp4", target)
		if err != nil {
			in.Close() //nolint:errcheck // the dialler sees it
			continue
		}
		t.keep(in)
		t.keep(out)
		t.running.Go(func() { t.forward(in, out) })
		t.running.Go(func() { t.forward(out, in) })
	}
}

func (t *taps) forward(from, to net.Conn) {
	out := io.Writer(tapped{to, &t.count})
	if t.delay == 0 {
		io.Copy(out, from) //nolint:errcheck // both ends see it
	} else {
		late := newDelayed(out, t.delay)
		io.Copy(late, from) //nolint:errcheck // as above
		late.close()
	}
	from.Close() //nolint:errcheck // as above
	to.Close()   //nolint:errcheck // as above
}

// close ends all connections and waits for what served them.
func (t *taps) close() error {
	if t == nil {
		return nil
	}
	t.mu.Lock()
	var err error
	for _, c := range t.closers {
		if e := c.Close(); !errors.Is(e, net.ErrClosed) {
			err = errors.Join(err, e)
		}
	}
	t.mu.Unlock()
	t.running.Wait()
	return err
}

// tapped counts what is written to it.
type tapped struct {
	io.Writer
	count *atomic.Int64
}

func (w tapped) Write(b []byte) (int, error) {
	n, err := w.Writer.Write(b)
	w.count.Add(int64(n))
	return n, err
}

// inFlight bounds what a delayed connection holds, in pieces of at most 32 KiB.
const inFlight = 1024

// delayed writes everything a while after it was given, in order, however much
// comes meanwhile.
type delayed struct {
	to     io.Writer
	delay  time.Duration
	pieces chan piece
	done   chan struct{}
}

type piece struct {
	b   []byte
	due time.Time
}

func newDelayed(to io.Writer, delay time.Duration) *delayed {
	d := &delayed{to: to, delay: delay, pieces: make(chan piece, inFlight), done: make(chan struct{})}
	go d.run()
	return d
}

func (d *delayed) run() {
	defer close(d.done)
	for p := range d.pieces {
		time.Sleep(time.Until(p.due))
		d.to.Write(p.b) //nolint:errcheck // the reader of the other end sees it
	}
}

func (d *delayed) Write(b []byte) (int, error) {
	d.pieces <- piece{bytes.Clone(b), time.Now().Add(d.delay)}
	return len(b), nil
}

// close writes what was given and waits for it.
func (d *delayed) close() {
	close(d.pieces)
	<-d.done
}
