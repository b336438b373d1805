package main

import (
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"time"
)

const (
	// chunk and chunks bound what is under way in one direction, 64 MiB: more
	// than any window of the transports above it.
	chunk  = 64 << 10
	chunks = 1024
)

// delay stands between nodes and makes their connections long: what comes in
// goes out half a round trip later. It does not limit the rate.
type delay struct {
	rtt time.Duration

	mu      sync.Mutex
	closed  bool
	closers []io.Closer
	running sync.WaitGroup
}

// via returns an address that leads to addr, a loopback TCP multiaddress with
// a peer id.
func (d *delay) via(addr string) (string, error) {
	parts := strings.Split(addr, "/") // "", ip4, host, tcp, port, p2p, id
	if len(parts) != 7 || parts[1] != "ip4" || parts[3] != "tcp" {
		return "", fmt.Errorf("no delay for %s", addr)
	}
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	if !d.keep(l) {
		return "", net.ErrClosed
	}
	target := net.JoinHostPort(parts[2], parts[4])
	d.running.Go(func() { d.accept(l, target) })
	_, parts[4], err = net.SplitHostPort(l.Addr().String())
	return strings.Join(parts, "/"), err
}

// keep has close close c too; it closes it at once if close was called.
func (d *delay) keep(c io.Closer) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		c.Close() //nolint:errcheck // nothing was written to it
		return false
	}
	d.closers = append(d.closers, c)
	return true
}

// accept forwards connections until the listener closes.
func (d *delay) accept(l net.Listener, target string) {
	for {
		in, err := l.Accept()
		if err != nil {
			return
		}
		opened := time.Now()
		out, err := net.Dial("tcp4", target)
		if err != nil {
			in.Close() //nolint:errcheck // the dialler sees it
			continue
		}
		if !d.keep(in) || !d.keep(out) {
			return
		}
		// TCP's own handshake takes a round trip before the first byte.
		d.running.Go(func() { d.forward(in, out, opened.Add(d.rtt)) })
		d.running.Go(func() { d.forward(out, in, opened.Add(d.rtt)) })
	}
}

type late struct {
	due   time.Time
	bytes []byte
}

// forward sends on what from gives, in order, half a round trip after it came,
// and nothing before notBefore and as long again.
func (d *delay) forward(from, to net.Conn, notBefore time.Time) {
	queue := make(chan late, chunks)
	d.running.Go(func() {
		defer to.Close() //nolint:errcheck // both ends see it
		for l := range queue {
			time.Sleep(time.Until(l.due))
			if _, err := to.Write(l.bytes); err != nil {
				from.Close() //nolint:errcheck // so that reading ends, too
			}
		}
	})
	for {
		b := make([]byte, chunk)
		n, err := from.Read(b)
		if n > 0 {
			came := time.Now()
			if came.Before(notBefore) {
				came = notBefore
			}
			queue <- late{came.Add(d.rtt / 2), b[:n]}
		}
		if err != nil {
			close(queue)
			return
		}
	}
}

// close ends all connections and waits for what served them.
func (d *delay) close() error {
	d.mu.Lock()
	d.closed = true
	var err error
	for _, c := range d.closers {
		if e := c.Close(); !errors.Is(e, net.ErrClosed) {
			err = errors.Join(err, e)
		}
	}
	d.mu.Unlock()
	d.running.Wait()
	return err
}
