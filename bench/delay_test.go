package main

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"
)

// dialThrough connects to an echo server through a delay. The connection and
// all behind it end with the test.
func dialThrough(t *testing.T, d *delay) net.Conn {
	t.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan struct{})
	go func() {
		defer close(served)
		c, err := l.Accept()
		if err != nil {
			return
		}
		io.Copy(c, c) //nolint:errcheck // the other end sees it
		c.Close()     //nolint:errcheck // as above
	}()
	addr, err := d.via(fmt.Sprintf("/ip4/127.0.0.1/tcp/%d/p2p/echo", l.Addr().(*net.TCPAddr).Port))
	if err != nil {
		t.Fatal(err)
	}
	parts := strings.Split(addr, "/")
	c, err := net.Dial("tcp4", net.JoinHostPort(parts[2], parts[4]))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		c.Close() //nolint:errcheck // the test is over
		if err := d.close(); err != nil {
			t.Error(err)
		}
		l.Close() //nolint:errcheck // as above
		<-served
	})
	return c
}

// Nothing arrives before its time. How much later it does is the machine's
// affair.
func TestDelayIsNeverLess(t *testing.T) {
	const rtt = 60 * time.Millisecond
	dialled := time.Now()
	c := dialThrough(t, &delay{rtt: rtt})
	echo := func() {
		t.Helper()
		if _, err := c.Write([]byte{1}); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(c, make([]byte, 1)); err != nil {
			t.Fatal(err)
		}
	}
	echo()
	if took := time.Since(dialled); took < 2*rtt {
		t.Errorf("the first answer came %v after the dial: want a handshake and a round trip, %v", took, 2*rtt)
	}
	start := time.Now()
	echo()
	if took := time.Since(start); took < rtt {
		t.Errorf("an answer came after %v, want at least %v", took, rtt)
	}
}

// Bytes come out as they went in, more of them than the delay holds at once
// would be if it waited for each.
func TestDelayKeepsBytes(t *testing.T) {
	c := dialThrough(t, &delay{rtt: 2 * time.Millisecond})
	sent := make([]byte, 4<<20)
	for i := range sent {
		sent[i] = byte(i * i >> 8)
	}
	failed := make(chan error, 1)
	go func() {
		_, err := c.Write(sent)
		failed <- err
	}()
	got := make([]byte, len(sent))
	if _, err := io.ReadFull(c, got); err != nil {
		t.Fatal(err)
	}
	if err := <-failed; err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, sent) {
		t.Error("other bytes came back than were sent")
	}
}

func TestDelayOfClosedAndStrangeAddresses(t *testing.T) {
	d := &delay{}
	if _, err := d.via("/ip4/127.0.0.1/udp/1/quic-v1/p2p/x"); err == nil {
		t.Error("no error for an address that is not TCP")
	}
	if err := d.close(); err != nil {
		t.Fatal(err)
	}
	if _, err := d.via("/ip4/127.0.0.1/tcp/1/p2p/x"); err == nil {
		t.Error("no error after close")
	}
}
