//go:build process

package e2e

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cairn-p2p/cairn/api"
)

// cable forwards connections to a daemon that changes, and can be cut.
type cable struct {
	listener net.Listener

	mu    sync.Mutex
	to    string // HOST:PORT
	conns map[net.Conn]bool
}

func newCable(t *testing.T) *cable {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c := &cable{listener: l, conns: map[net.Conn]bool{}}
	var group sync.WaitGroup
	group.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			group.Go(func() { c.forward(conn) })
		}
	})
	t.Cleanup(func() {
		l.Close() //nolint:errcheck // it only accepted
		c.cut()
		group.Wait()
	})
	return c
}

func (c *cable) plug(d *daemon) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.to = strings.TrimPrefix(d.api, "http://")
}

// cut closes all connections. Later ones are not affected.
func (c *cable) cut() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for conn := range c.conns {
		conn.Close() //nolint:errcheck // that is the point
	}
}

func (c *cable) forward(near net.Conn) {
	c.mu.Lock()
	to := c.to
	c.mu.Unlock()
	far, err := net.Dial("tcp", to)
	if err != nil {
		near.Close() //nolint:errcheck // nobody is there
		return
	}
	c.mu.Lock()
	c.conns[near], c.conns[far] = true, true
	c.mu.Unlock()
	var group sync.WaitGroup
	for _, way := range [][2]net.Conn{{near, far}, {far, near}} {
		group.Go(func() {
			io.Copy(way[0], way[1]) //nolint:errcheck // it ends when either is closed
			near.Close()            //nolint:errcheck // as above
			far.Close()             //nolint:errcheck // as above
		})
	}
	group.Wait()
	c.mu.Lock()
	delete(c.conns, near)
	delete(c.conns, far)
	c.mu.Unlock()
}

// reader is the client of one consumer, which remembers what it was given through
// all connections. One goroutine at a time uses it.
type reader struct {
	t        *testing.T
	name     string
	events   int             // to see
	progress *atomic.Int64   // events that all readers have seen
	seen     map[string]bool // CIDs
	counts   map[string]int  // the last delivery count of a CID
	early    map[string]bool // CIDs that were linked to by what was given before them
	acked    map[string]bool // CIDs whose acknowledgement is known to be durable
	tokens   map[string]string
	again    int // deliveries of what was seen
}

// take checks a delivery.
func (r *reader) take(d api.ConsumerDelivery) {
	if d.Count <= r.counts[d.CID] {
		r.t.Errorf("%s: %s was delivered for the %d. time after the %d.", r.name, d.CID, d.Count, r.counts[d.CID])
	}
	r.counts[d.CID] = d.Count
	if r.acked[d.CID] {
		r.t.Errorf("%s: %s was delivered after its acknowledgement was durable", r.name, d.CID)
	}
	// What was linked to and did not arrive was given before, to a connection
	// that was cut.
	if d.Count == 1 && r.early[d.CID] {
		r.t.Errorf("%s: %s was delivered for the first time after an event that links to it", r.name, d.CID)
	}
	r.tokens[d.Token] = d.CID
	if r.seen[d.CID] {
		r.again++
		return
	}
	r.seen[d.CID] = true
	r.progress.Add(1)
	for _, link := range d.Links {
		if !r.seen[link] {
			r.early[link] = true
		}
	}
}

// settled notes which acknowledgements are durable.
func (r *reader) settled(all []api.Settled) {
	for _, s := range all {
		if s.Refused == "" || s.Refused == "settled" {
			r.acked[r.tokens[s.Token]] = true
		}
	}
}

// whole reports whether the reader has seen everything.
func (r *reader) whole() bool { return len(r.seen) == r.events }

// readAll has readers share one stream, again and again, until each has seen
// everything, and then settles what is left of a connection that was cut.
func readAll(ctx context.Context, c *api.Client, readers []*reader) error {
	for slices.ContainsFunc(readers, func(r *reader) bool { return !r.whole() }) {
		if err := retry(ctx, func() error { return readSome(ctx, c, readers) }); err != nil {
			return err
		}
	}
	for _, r := range readers {
		if err := retry(ctx, func() error { return r.mop(ctx, c) }); err != nil {
			return err
		}
	}
	return nil
}

// retry does something until nobody cuts it off.
func retry(ctx context.Context, work func() error) error {
	for {
		if err := work(); !errors.Is(err, api.ErrUnreachable) {
			return err
		}
		if !sleep(ctx, lookAgain) {
			return ctx.Err()
		}
	}
}

// mop acknowledges what comes again, until nothing is pending.
func (r *reader) mop(ctx context.Context, c *api.Client) error {
	for {
		info, err := c.Consumer(ctx, r.name)
		if err != nil || info.Pending == 0 {
			return err
		}
		got, err := c.Next(ctx, r.name, api.MaxNext, time.Second)
		if err != nil {
			return err
		}
		if len(got) == 0 {
			continue
		}
		s := api.Settlement{Kind: api.Ack}
		for _, d := range got {
			r.take(d)
			s.Tokens = append(s.Tokens, d.Token)
		}
		settled, err := c.Settle(ctx, r.name, s)
		if err != nil {
			return err
		}
		r.settled(settled)
	}
}

// readSome reads until the connection is cut or everything is seen and settled.
func readSome(ctx context.Context, c *api.Client, readers []*reader) error {
	const window = 256
	stream, err := c.Consume(ctx)
	if err != nil {
		return err
	}
	defer stream.Close()
	left, unsettled := map[string]*reader{}, map[string]int{}
	for _, r := range readers {
		if !r.whole() {
			left[r.name] = r
			if err := stream.Credit(r.name, window); err != nil {
				break // Receive says why
			}
		}
	}
	for len(left) > 0 {
		m, err := stream.Receive()
		if err != nil {
			return err
		}
		if m.Ended {
			return fmt.Errorf("%s ended: %w", m.Name, m.Err)
		}
		r := left[m.Name]
		if r == nil {
			continue
		}
		var tokens []string
		for _, d := range m.Deliveries {
			r.take(d)
			tokens = append(tokens, d.Token)
		}
		r.settled(m.Settled)
		unsettled[m.Name] += len(tokens) - len(m.Settled)
		if r.whole() && unsettled[m.Name] == 0 {
			delete(left, m.Name)
		}
		if len(tokens) > 0 {
			stream.Settle(m.Name, api.Settlement{Kind: api.Ack, Tokens: tokens}) //nolint:errcheck // Receive says why
			stream.Credit(m.Name, len(tokens))                                   //nolint:errcheck // as above
		}
	}
	return nil
}

// 100 consumers read 10,000 events of two publishers while these are written. Their
// daemon is killed twice and their connections are cut ten times: each sees every
// event, first deliveries are in causal order, and nothing comes again whose
// acknowledgement was durable.
func TestConsumersThroughKillsAndCuts(t *testing.T) {
	const consumers, streams, events = 100, 10, 10_000
	b := startDaemon(t, t.TempDir())
	c := startDaemon(t, t.TempDir(), b)
	dir := t.TempDir()
	a := startDaemon(t, dir, b, c)
	for _, d := range []*daemon{a, b, c} {
		d.run(nil, "topic", "join", topicName)
	}
	wire := newCable(t)
	wire.plug(a)
	ctx, cancel := context.WithCancelCause(t.Context())
	defer cancel(nil)
	var progress atomic.Int64
	var groups [streams][]*reader
	for i := range consumers {
		r := &reader{
			t: t, name: fmt.Sprint("consumer-", i), events: events, progress: &progress,
			seen: map[string]bool{}, counts: map[string]int{}, early: map[string]bool{}, acked: map[string]bool{}, tokens: map[string]string{},
		}
		a.run(nil, "consumer", "create", r.name, topicName, "--ack-wait", "5s")
		groups[i%streams] = append(groups[i%streams], r)
	}
	var working sync.WaitGroup
	for _, d := range []*daemon{b, c} {
		working.Go(func() { d.run(lines(events/2), "pub", topicName, "--lines") })
	}
	for _, readers := range groups {
		client, err := api.NewClient(wire.listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer client.Close()
		working.Go(func() {
			if err := readAll(ctx, client, readers); err != nil {
				cancel(err)
			}
		})
	}
	// Twelve faults, as the work proceeds.
	const faults = 12
	for i := range faults {
		for progress.Load() < int64(consumers*events/(faults+1)*(i+1)) {
			if !sleep(ctx, lookAgain) {
				t.Fatal(context.Cause(ctx))
			}
		}
		if i == 3 || i == 8 {
			a.kill()
			a = startDaemon(t, dir, b, c)
			wire.plug(a)
		} else {
			wire.cut()
		}
	}
	working.Wait()
	if err := context.Cause(ctx); err != nil {
		t.Fatal(err)
	}
	all := a.cids()
	if len(all) != events {
		t.Fatalf("the daemon has %d events, want %d", len(all), events)
	}
	again := 0
	for _, readers := range groups {
		for _, r := range readers {
			again += r.again
			for cid := range all {
				if !r.seen[cid] {
					t.Errorf("%s never saw %s", r.name, cid)
				}
			}
		}
	}
	t.Logf("%d events came again, of %d", again, consumers*events)
	client, err := api.NewClient(a.api)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	rows, err := client.Consumers(ctx)
	if err != nil || len(rows) != consumers {
		t.Fatalf("%d consumers, %v", len(rows), err)
	}
	for _, row := range rows {
		if row.Pending != 0 || row.Lag != 0 || row.Dead != 0 {
			t.Errorf("%+v", row)
		}
	}
}
