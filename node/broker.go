package node

import (
	"context"
	"errors"
	"io"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/golang-lru/v2"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"golang.org/x/time/rate"
	"google.golang.org/protobuf/proto"

	"github.com/cairn-p2p/cairn/client/pb"
	"github.com/cairn-p2p/cairn/client/wire"
)

// What light clients may cost a broker.
const (
	// brokerStreams and brokerStreamsPerPeer bound the streams that are served at
	// once. A subscription takes one for as long as it lives, with a frame of up to
	// 256 KiB and what the peer's window holds.
	brokerStreams        = 256
	brokerStreamsPerPeer = 8
	// brokerRate bounds the bytes moved for one peer, a second and at once, in
	// and out, and those that its filters pass over.
	brokerRate = 64 << 20
	// brokerRequest is what a request counts, brokerEvent what each event
	// submitted and each CID asked for counts, beside their bytes: the first costs a
	// signature check. What is refused for good counts brokerRate more, a second.
	brokerRequest = 2 << 10
	brokerEvent   = 2 << 10
	// brokerPeers bounds the peers whose use of it is remembered: connecting anew
	// does not refill it.
	brokerPeers = 1024
)

// broker serves light clients over libp2p; the zero one serves none.
type broker struct {
	n     *Node
	tasks sync.WaitGroup
	bytes *lru.Cache[peer.ID, *rate.Limiter]

	mu      sync.Mutex
	closed  bool
	total   int
	streams map[peer.ID][]*served // in the order in which they came
}

// served is a stream of a light client.
type served struct {
	peer peer.ID
	kick context.CancelFunc
}

// openBroker lets the node serve light clients, if that is its role.
func (n *Node) openBroker() error {
	if n.cfg.Role != RoleBroker {
		return nil
	}
	cache, err := lru.New[peer.ID, *rate.Limiter](brokerPeers)
	if err != nil {
		return err
	}
	b := &n.broker
	b.n, b.bytes, b.streams = n, cache, map[peer.ID][]*served{}
	n.host.SetStreamHandler(wire.Protocol, b.handle)
	n.onClose(b.close)
	return nil
}

// close returns once no stream is served any more. The node's context has ended.
func (b *broker) close() error {
	b.mu.Lock()
	b.closed = true
	b.mu.Unlock()
	b.n.host.RemoveStreamHandler(wire.Protocol)
	b.tasks.Wait()
	return nil
}

// errBusy: the peer, or all together, have as many streams as is allowed.
var errBusy = &answerError{pb.Error_CODE_BUSY, "too many streams; try again later"}

// enter counts a stream of the peer, which kick ends. When all are taken, a peer
// that has none gets the place of the newest of those of the peer with most, so
// that one peer cannot keep the others out. Its connection is kept no longer than
// any other: strangers who subscribe and stay must not shut out replicas, and a
// client that is cut off goes on where it was.
func (b *broker) enter(p peer.ID, kick context.CancelFunc) (*served, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	own := len(b.streams[p])
	if own >= brokerStreamsPerPeer {
		return nil, errBusy
	}
	if b.total >= brokerStreams {
		var most []*served
		for _, streams := range b.streams {
			if len(streams) > len(most) {
				most = streams
			}
		}
		if own > 0 || len(most) < 2 {
			return nil, errBusy
		}
		last := most[len(most)-1]
		b.drop(last)
		last.kick()
	}
	s := &served{peer: p, kick: kick}
	b.streams[p] = append(b.streams[p], s)
	b.total++
	return s, nil
}

// open returns the number of streams that are served.
func (b *broker) open() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.total
}

func (b *broker) leave(s *served) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.drop(s)
}

// drop stops counting a stream, if it still counts.
func (b *broker) drop(s *served) {
	i := slices.Index(b.streams[s.peer], s)
	if i < 0 {
		return
	}
	b.total--
	b.streams[s.peer] = slices.Delete(b.streams[s.peer], i, i+1)
	if len(b.streams[s.peer]) == 0 {
		delete(b.streams, s.peer)
	}
}

// start counts a task that close waits for; false: it is too late.
func (b *broker) start() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.closed {
		b.tasks.Add(1)
	}
	return !b.closed
}

// handle serves a stream that a client opened, in the host's goroutine.
func (b *broker) handle(st network.Stream) {
	if !b.start() {
		st.Reset() //nolint:errcheck // nothing left to do
		return
	}
	defer b.tasks.Done()
	ctx, cancel := context.WithCancel(b.n.running)
	defer cancel()
	stop := context.AfterFunc(ctx, func() { st.Reset() }) //nolint:errcheck // nothing left to do
	c := &clientStream{broker: b, stream: st, limiter: b.limiter(st.Conn().RemotePeer())}
	s, err := b.enter(st.Conn().RemotePeer(), cancel)
	if err == nil {
		defer b.leave(s)
		err = c.serve(ctx, cancel)
	} else {
		err = (&answerer{n: b.n, send: c.send(ctx, true)}).end(ctx, err)
	}
	if stop() && err == nil {
		st.CloseWrite() //nolint:errcheck // all answers are written
	} else {
		st.Reset() //nolint:errcheck // nothing left to do
	}
	// However long the client keeps its side open.
	st.SetReadDeadline(time.Now()) //nolint:errcheck // of a stream that was reset there is nothing to read
	c.watch.Wait()
	st.Close() //nolint:errcheck // nothing left to do
}

func (b *broker) limiter(p peer.ID) *rate.Limiter {
	b.mu.Lock()
	defer b.mu.Unlock()
	l, ok := b.bytes.Get(p)
	if !ok {
		l = rate.NewLimiter(brokerRate, brokerRate)
		b.bytes.Add(p, l)
	}
	return l
}

// clientStream is a stream that is being served.
type clientStream struct {
	*broker
	stream  network.Stream
	limiter *rate.Limiter
	watch   sync.WaitGroup
}

// serve reads the stream's request and answers it. A client that closes its side,
// or sends more, ends the answer.
func (c *clientStream) serve(ctx context.Context, cancel context.CancelFunc) error {
	if err := c.stream.SetReadDeadline(time.Now().Add(wire.FrameTimeout)); err != nil {
		return err
	}
	m := new(pb.Request)
	if err := wire.NewReader(c.stream).Read(m); err != nil {
		if errors.Is(err, wire.ErrMalformed) {
			return (&answerer{n: c.n, send: c.send(ctx, true)}).end(ctx, malformed("%v", err))
		}
		return err
	}
	looked := len(m.GetEvents().GetCids()) + len(m.GetSubmit().GetEvents())
	if err := c.limiter.WaitN(ctx, min(brokerRate, brokerRequest+proto.Size(m)+brokerEvent*looked)); err != nil {
		return err
	}
	if err := c.stream.SetReadDeadline(time.Time{}); err != nil {
		return err
	}
	c.watch.Go(func() {
		io.ReadFull(c.stream, make([]byte, 1)) //nolint:errcheck // whatever comes, the answer ends
		cancel()
	})
	send := c.send(ctx, m.GetSubscribe() == nil)
	if m.GetNetwork() != c.n.cfg.Network {
		return (&answerer{n: c.n, send: send}).end(ctx, &answerError{pb.Error_CODE_UNSUPPORTED, "this node is of another network"})
	}
	return c.n.deliver(ctx, m, send, func(ctx context.Context, n int) error { return c.limiter.WaitN(ctx, min(brokerRate, n)) })
}

// send returns what writes frames to the client. It blocks while the peer is over
// its allowance or does not read: a subscriber may be as slow as it likes, and
// with hurry nobody may.
func (c *clientStream) send(ctx context.Context, hurry bool) func(*pb.Response) error {
	return func(m *pb.Response) error {
		b, err := wire.Encode(m)
		if err != nil {
			return err
		}
		if err := c.limiter.WaitN(ctx, min(brokerRate, len(b))); err != nil {
			return err
		}
		if hurry {
			if err := c.stream.SetWriteDeadline(time.Now().Add(wire.FrameTimeout)); err != nil {
				return err
			}
		}
		_, err = c.stream.Write(b)
		return err
	}
}
