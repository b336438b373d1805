package syncer_test

import (
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cairn-p2p/cairn/syncer"
	"github.com/cairn-p2p/cairn/syncer/pb"
	"github.com/cairn-p2p/cairn/syncer/syncertest"
	"github.com/cairn-p2p/cairn/types"
)

// uplink is what a node can send to all others together.
type uplink struct {
	rate int // bytes a second; 0: nothing is slow

	mu   sync.Mutex
	free time.Time // when the last byte so far will be through
}

// pass waits until n more bytes are through.
func (u *uplink) pass(n int) {
	if u.rate == 0 {
		return
	}
	u.mu.Lock()
	now := time.Now()
	if u.free.Before(now) {
		u.free = now
	}
	u.free = u.free.Add(time.Duration(n) * time.Second / time.Duration(u.rate))
	wait := u.free.Sub(now)
	u.mu.Unlock()
	time.Sleep(wait)
}

// behind is a client's stream to a node behind an uplink.
type behind struct {
	syncer.Stream
	uplink *uplink
}

func (s behind) Read(b []byte) (int, error) {
	n, err := s.Stream.Read(b[:min(len(b), 8<<10)])
	s.uplink.pass(n)
	return n, err
}

// joining is a fresh node that fetches a topic from servers behind uplinks.
type joining struct {
	*syncertest.Cluster // 0 is the fresh node, the others serve
	net                 *pipes
}

// newJoining makes a server of each rate, all of which have the same events in
// the same order.
func newJoining(t *testing.T, events int, rates ...int) *joining {
	c, net := cluster(t, 1+len(rates))
	j := &joining{Cluster: c, net: net}
	all := c.Locals[1].Append(c.Topic, events, 16)
	for i := range rates[1:] {
		give(t, c, 2+i, all)
	}
	uplinks := make(map[types.PeerID]*uplink)
	for i, rate := range rates {
		uplinks[c.Locals[1+i].ID()] = &uplink{rate: rate}
	}
	net.setRelay(func(to types.PeerID, st syncer.Stream) syncer.Stream {
		if u := uplinks[to]; u != nil {
			return behind{st, u}
		}
		return st
	})
	return j
}

// run connects the servers and returns how long the fresh node takes, and how
// many bytes the servers send until then.
func (j *joining) run(t *testing.T) (took time.Duration, bytes uint64) {
	t.Helper()
	begin := time.Now()
	for i := range j.Locals[1:] {
		j.Connect(0, 1+i)
	}
	j.AwaitEqual(0, 1)
	took = time.Since(begin)
	for _, s := range j.net.list[1:] {
		bytes += s.Stats().BytesOut
	}
	after(time.Minute) // for those that wait
	return took, bytes
}

// TestEqualServers: more servers of the same log, which are there from the start,
// make a join neither longer nor larger: a transfer that flows is not ended
// because another replica waits.
func TestEqualServers(t *testing.T) {
	var took time.Duration
	var bytes uint64
	for servers := 1; servers <= 3; servers++ {
		synctest.Test(t, func(t *testing.T) {
			rates := make([]int, servers)
			for i := range rates {
				rates[i] = 100 << 10
			}
			j := newJoining(t, 20_000, rates...)
			d, n := j.run(t)
			t.Logf("%d servers: %v, %d bytes, %d pulls", servers, d, n, len(pulls(j.net.sent())))
			if servers == 1 {
				took, bytes = d, n
			} else if d > took+100*time.Millisecond || n > bytes+bytes/10 {
				t.Errorf("%d servers take %v and %d bytes, one takes %v and %d", servers, d, n, took, bytes)
			}
			if v := j.Locals[0].Verified(); v != 20_000 {
				t.Errorf("%d events verified, want 20000, each once", v)
			}
		})
	}
}

// TestSlowServers: where all servers are slow, each is tried once, and then one
// is kept.
func TestSlowServers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const rate = 40 << 10
		j := newJoining(t, 20_000, rate, rate, rate)
		d, n := j.run(t)
		t.Logf("%v, %d bytes", d, n)
		turns, last := 0, types.PeerID("")
		for _, r := range j.net.sent() {
			// Not to find out where to start.
			if p := r.m.GetPull(); r.from == j.Locals[0].ID() && p != nil && p.GetLimit() != 1 && r.to != last {
				turns, last = turns+1, r.to
			}
		}
		if turns > 6 { // one of each, and another where a rate was measured badly
			t.Errorf("%d turns of three equal servers, want one of each, and then one that stays", turns)
		}
		if d > time.Duration(n)*time.Second/rate+time.Second {
			t.Errorf("took %v for %d bytes at %d a second", d, n, rate)
		}
	})
}

// TestGoesOnElsewhere: a transfer that moves from a slow server to another goes
// on where it ended if the other has the same log so far.
func TestGoesOnElsewhere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		j := newJoining(t, 32_000, 20<<10, 1<<20)
		j.Connect(0, 1)
		after(90 * time.Second) // some thousands of events
		had := j.Events(0)
		if had < 5000 {
			t.Fatalf("%d events in 90 s, want more than one in 8", had)
		}
		j.net.sent()
		j.Connect(0, 2)
		after(time.Minute)
		if j.Hash(0) != j.Hash(1) {
			t.Fatalf("%d events of 32000 a minute after a fast server came", j.Events(0))
		}
		var list []*pb.PullRequest
		for _, p := range pulls(j.net.sent()) {
			if p.GetLimit() != 1 {
				list = append(list, p)
			}
		}
		if len(list) != 1 || list[0].Cids || list[0].After.GetNumber() < uint64(had) {
			t.Errorf("goes on with %v, want events from %d or later", list, had)
		}
		if v := j.Locals[0].Verified(); v != 32_000 {
			t.Errorf("%d events verified, want 32000, each once", v)
		}
	})
}

// distant returns a stream to a peer from which, and to which, everything takes
// d.
func distant(st syncer.Stream, d time.Duration) syncer.Stream {
	near, far := newPipe()
	go carry(far, st, d)
	go carry(st, far, d)
	return near
}

// carry carries what one stream reads to another, d later.
func carry(from, to syncer.Stream, d time.Duration) {
	type piece struct {
		b   []byte
		due time.Time
	}
	pieces := make(chan piece, 1<<16)
	go func() {
		for p := range pieces {
			time.Sleep(time.Until(p.due))
			to.Write(p.b) //nolint:errcheck // the reader finds out
		}
		to.CloseWrite() //nolint:errcheck // nothing left to do
	}()
	defer close(pieces)
	for {
		b := make([]byte, 32<<10)
		n, err := from.Read(b)
		if n > 0 {
			pieces <- piece{b[:n], time.Now().Add(d)}
		}
		if err != nil {
			return
		}
	}
}

// TestReadAhead: a pull as CIDs waits neither for the events of one page nor for
// the next page: 4,096 events a round trip, and a few round trips before and
// after.
func TestReadAhead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const events, held, hop = 36_000, 8000, 50 * time.Millisecond
		c, net := cluster(t, 2)
		all := c.Locals[0].Append(c.Topic, events, 16)
		c.Locals[1].Append(c.Topic, 1, 16) // so that the logs differ from the start
		give(t, c, 1, all[:held])
		net.setRelay(func(_ types.PeerID, st syncer.Stream) syncer.Stream { return distant(st, hop) })
		begin := time.Now()
		c.Connect(0, 1)
		for c.Events(1) <= events {
			<-c.Locals[1].Changed()
		}
		took := time.Since(begin)
		list := pulls(net.sent())
		t.Logf("%v, %d pulls", took, len(list))
		if limit := 2 * hop * (events/4096 + 8); took > limit {
			t.Errorf("%d events of %d took %v at a round trip of %v, want at most %v", events-held, events, took, 2*hop, limit)
		}
		if n := c.Locals[1].Verified(); n != events-held {
			t.Errorf("%d events verified, want %d", n, events-held)
		}
		c.Disconnect(0, 1)
		after(time.Minute)
	})
}
