package syncer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/cairn-p2p/cairn/syncer/pb"
	"github.com/cairn-p2p/cairn/types"
)

// stream is what the protocol needs of a libp2p stream.
type stream interface {
	io.Reader
	io.Writer
	CloseWrite() error // ends the sending side, after what was written
	Close() error
	Reset() error // makes every call under way fail
	SetReadDeadline(time.Time) error
	SetWriteDeadline(time.Time) error
}

// client is a lane's side of a stream, opened when first needed and again
// after a failure. Requests may be sent before earlier answers are read. It is
// for one goroutine at a time.
type client struct {
	s    *Syncer
	peer *peer

	stream stream // nil: none open
	frames *frameReader
	stop   func() bool // detaches the stream from its context

	slow   func(rate int) error // whether a transfer that slow is to end; nil: none is under way
	waited time.Duration        // spent waiting for the peer in this window
	begin  int                  // bytes read before it
}

// remoteError is an answer that says why there is none.
type remoteError struct {
	code   pb.Error_Code
	reason string
}

func (e *remoteError) Error() string { return fmt.Sprintf("peer answers %s: %q", e.code, e.reason) }

func isRemote(err error, code pb.Error_Code) bool {
	var e *remoteError
	return errors.As(err, &e) && e.code == code
}

// open opens the stream unless it is open. It ends with ctx.
func (c *client) open(ctx context.Context) error {
	if c.stream != nil {
		return nil
	}
	dialCtx, cancel := context.WithTimeout(ctx, c.s.iv.Dial)
	defer cancel()
	st, err := c.s.dial(dialCtx, c.peer.id)
	if err != nil {
		return fmt.Errorf("open stream: %w", err)
	}
	bytes := counted{st, &c.s.count}
	c.stream, c.frames = bytes, newFrameReader(bytes, maxResponse)
	c.stop = context.AfterFunc(ctx, func() { st.Reset() }) //nolint:errcheck // nothing left to do
	return nil
}

// close ends the stream in order. libp2p waits with it for a peer that has not
// answered yet which protocol it speaks; the end of the context ends that too.
func (c *client) close() {
	if c.stream != nil {
		c.stream.Close() //nolint:errcheck // nothing was promised
		c.stop()
		c.stream = nil
	}
}

// reset gives the stream up, with the answers under way.
func (c *client) reset() {
	if c.stream != nil {
		c.stop()
		c.stream.Reset() //nolint:errcheck // nothing left to do
		c.stream = nil
	}
}

// send sends a request.
func (c *client) send(m *pb.Request) error {
	m.Network = c.s.net
	b, err := encodeFrame(m, maxRequest)
	if err != nil {
		return fmt.Errorf("encode request: %w", err)
	}
	if err := c.stream.SetWriteDeadline(time.Now().Add(c.s.iv.Frame)); err != nil {
		return fmt.Errorf("send request: %w", err)
	}
	if _, err := c.stream.Write(b); err != nil {
		return fmt.Errorf("send request: %w", err)
	}
	return nil
}

// next reads the next frame of an answer. An answer that is an error is a
// remoteError.
func (c *client) next() (*pb.Response, error) {
	if err := c.checkRate(); err != nil { // not before what was read is used
		return nil, err
	}
	start := time.Now()
	if err := c.stream.SetReadDeadline(start.Add(c.s.iv.Frame)); err != nil {
		return nil, fmt.Errorf("read answer: %w", err)
	}
	b, err := c.frames.next()
	if err != nil {
		return nil, fmt.Errorf("read answer: %w", noEOF(err))
	}
	c.waited += time.Since(start)
	m, err := decodeResponse(b)
	if err != nil {
		return nil, err
	}
	if e := m.GetError(); e != nil {
		reason := e.GetReason()
		return nil, &remoteError{code: e.GetCode(), reason: reason[:min(len(reason), maxReason)]}
	}
	return m, nil
}

// bulk begins a transfer that has to make a minimum rate; slow is asked about one
// below turnRate. Nil ends it.
func (c *client) bulk(slow func(rate int) error) { c.slow, c.waited, c.begin = slow, 0, c.frames.read }

// checkRate ends a transfer that trickles, or is slow while another replica may
// be faster. Only the time spent waiting for the peer counts, over windows of
// Intervals.Turn, or of Intervals.Frame for a slow one.
func (c *client) checkRate() error {
	if c.slow == nil || c.waited < c.s.iv.Turn {
		return nil
	}
	rate := int(float64(c.frames.read-c.begin) / c.waited.Seconds())
	if rate < turnRate {
		if err := c.slow(rate); err != nil {
			return err
		}
		if c.waited < c.s.iv.Frame {
			return nil
		}
		if rate < minRate {
			return fmt.Errorf("transfer makes %d bytes a second, want %d", rate, minRate)
		}
	}
	c.waited, c.begin = 0, c.frames.read
	return nil
}

// runOffer tells the peer of t's heads.
func (s *Syncer) runOffer(c *client, t *topic) {
	if err := s.offer(c, t); err != nil {
		c.reset()
		s.log.Debug("offer heads", "peer", c.peer.id, "topic", t.id, "err", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	c.peer.offering = false
}

func (s *Syncer) offer(c *client, t *topic) error {
	h, err := s.local.Heads(t.id)
	if err != nil {
		return err
	}
	if !s.offerWanted(c.peer, t, h.Hash) {
		return nil
	}
	o := offer{topic: t.id, hash: h.Hash}
	for _, head := range h.Heads[:min(len(h.Heads), maxOfferHeads)] {
		o.heads = append(o.heads, head.CID)
	}
	if err := c.open(c.peer.ctx); err != nil {
		return err
	}
	return c.send(o.message())
}

// offerWanted reports whether the peer is still not known to have the heads.
func (s *Syncer) offerWanted(p *peer, t *topic, heads types.Hash) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := p.replicas[t]
	return r != nil && r.held && !r.paused && r.heads != heads
}
