package api

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"connectrpc.com/connect"
	"golang.org/x/sync/semaphore"

	cairnv1 "github.com/cairn-p2p/cairn/api/cairn/v1"
	"github.com/cairn-p2p/cairn/types"
)

// Limits of a stream of consumers.
const (
	// maxConsumers bounds the consumers of one stream: each takes two goroutines.
	maxConsumers = 256
	// maxCredit bounds the deliveries that a consumer may still be sent: more
	// can never be pending.
	maxCredit = 1 << 16
	// maxSettling bounds the settlements of a consumer that wait for the disk.
	maxSettling = 64
	// maxSettlingSize bounds the bytes of tokens that a stream holds.
	maxSettlingSize = 2 << 20
	// lagInterval is how long a consumer stands still before it is told that it
	// falls behind, and between two such notices.
	lagInterval = time.Second
)

// errClosing is why a consumer of a stream is handed nothing more: its client
// wants no more.
var errClosing = errors.New("closing")

// consumption is one call of Consume. receive reads its requests; each consumer
// that they name has a feed, so that none waits for another.
type consumption struct {
	svc      ConsumerService
	stream   consumeStream
	lagEvery time.Duration
	settling *semaphore.Weighted // of bytes of tokens that were received and not settled

	fail  context.CancelCauseFunc // ends the call
	feeds map[string]*feed        // owned by receive
	group sync.WaitGroup          // of the feeds' goroutines

	sending sync.Mutex // held while a response is sent
}

// consumeStream is what a consumption needs of its connection. One goroutine
// receives while another sends.
type consumeStream interface {
	Receive() (*cairnv1.ConsumeRequest, error) // io.EOF: the client has sent all
	Send(*cairnv1.ConsumeResponse) error
}

func newConsumption(svc ConsumerService, stream consumeStream) *consumption {
	return &consumption{
		svc:      svc,
		stream:   stream,
		lagEvery: lagInterval,
		settling: semaphore.NewWeighted(maxSettlingSize),
		feeds:    map[string]*feed{},
	}
}

func (h *handler) Consume(ctx context.Context, stream *connect.BidiStream[cairnv1.ConsumeRequest, cairnv1.ConsumeResponse]) error {
	ctx, cancel := h.waiting(ctx)
	defer cancel()
	return toWire(ctx, newConsumption(h.svc, stream).run(ctx, func() { stopReading(ctx) }))
}

// run serves the stream until the client has sent all and has its answers, or
// something fails. interrupt makes a pending Receive fail.
func (c *consumption) run(ctx context.Context, interrupt func()) error {
	ctx, c.fail = context.WithCancelCause(ctx)
	defer c.fail(nil)
	interrupted := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(interrupted)
		interrupt()
	})
	defer func() {
		if !stop() {
			<-interrupted // interrupt is of no use to anybody after run
		}
	}()
	err := c.receive(ctx)
	if err != nil {
		c.fail(err)
	}
	for _, f := range c.feeds {
		f.close()
		close(f.settlements)
	}
	c.group.Wait()
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return nil
}

// receive carries out requests until the client has sent all.
func (c *consumption) receive(ctx context.Context) error {
	for {
		m, err := c.stream.Receive()
		switch {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		}
		f, err := c.feed(ctx, m)
		if err == nil {
			err = f.request(ctx, m)
		}
		if err != nil {
			return err
		}
	}
}

// feed returns the feed of the consumer that a request names. It begins if there
// is none, and anew if it has ended and is given credit.
func (c *consumption) feed(ctx context.Context, m *cairnv1.ConsumeRequest) (*feed, error) {
	name := m.GetName()
	f := c.feeds[name]
	switch {
	case f != nil && (m.GetCredit() == 0 || !f.over()):
		return f, nil
	case f != nil:
		close(f.settlements)
	case name == "":
		return nil, fmt.Errorf("%w: a request names no consumer", types.ErrInvalidArgument)
	case len(c.feeds) == maxConsumers:
		return nil, fmt.Errorf("%w: more than %d consumers on a stream", types.ErrInvalidArgument, maxConsumers)
	}
	f = newFeed(ctx, c, name)
	c.feeds[name] = f
	c.group.Go(f.deliver)
	c.group.Go(f.settle)
	return f, nil
}

// send sends a response. When it fails, so does the call.
func (c *consumption) send(m *cairnv1.ConsumeResponse) {
	c.sending.Lock()
	defer c.sending.Unlock()
	c.sendLocked(m)
}

func (c *consumption) sendLocked(m *cairnv1.ConsumeResponse) {
	if err := c.stream.Send(m); err != nil {
		c.fail(err)
	}
}

// feed is one consumer on a stream: deliver hands out what the client has given
// credit for, and settle carries out what it says of that.
type feed struct {
	of   *consumption
	name string

	call        context.Context    // of the stream
	ctx         context.Context    // of what is handed out
	stop        context.CancelFunc // ends ctx
	settlements chan Settlement    // filled and closed by receive

	mu      sync.Mutex
	credit  int           // deliveries that may still be sent
	given   chan struct{} // holds a value when credit was given
	failure error         // why it ended; errClosing: its client wanted it
	ended   bool          // that is said

	// What follows is deliver's own.
	looked time.Time // when the lag was last looked at
	lag    uint64    // what it was then
	bound  bool      // the credit has been used up since
}

func newFeed(ctx context.Context, c *consumption, name string) *feed {
	f := &feed{of: c, name: name, call: ctx, settlements: make(chan Settlement, maxSettling), given: make(chan struct{}, 1), looked: time.Now()}
	f.ctx, f.stop = context.WithCancel(ctx)
	return f
}

// request carries out what a request asks of the consumer.
func (f *feed) request(ctx context.Context, m *cairnv1.ConsumeRequest) error {
	if err := f.add(m.GetCredit()); err != nil {
		return err
	}
	if m.GetSettle() != nil {
		s := settlementFromProto(m.GetSettle())
		if err := s.Check(); err != nil {
			return err
		}
		if err := f.of.settling.Acquire(ctx, s.size()); err != nil {
			return context.Cause(ctx)
		}
		select {
		case f.settlements <- s:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	if m.GetClose() {
		f.close()
	}
	return nil
}

// add gives credit.
func (f *feed) add(n uint64) error {
	if n == 0 {
		return nil
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if n > maxCredit || f.credit+int(n) > maxCredit {
		return fmt.Errorf("%w: consumer %q: credit for more than %d deliveries", types.ErrInvalidArgument, f.name, maxCredit)
	}
	f.credit += int(n)
	select {
	case f.given <- struct{}{}:
	default: // it was not noticed yet that there is some
	}
	return nil
}

// take takes n, which is no more than there is, from the credit and returns what
// is left.
func (f *feed) take(n int) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.credit -= n
	return f.credit
}

// close ends what is handed out, as the client wishes.
func (f *feed) close() { f.end(errClosing) }

// end ends what is handed out. The first reason counts.
func (f *feed) end(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.failure == nil {
		f.failure = err
	}
	f.stop()
}

// over reports whether the client was told, or is being told, that nothing more
// comes.
func (f *feed) over() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.ended
}

// deliver hands out deliveries until the feed ends, and says so.
func (f *feed) deliver() {
	defer f.stop()
	for f.ctx.Err() == nil {
		if err := f.next(); err != nil {
			f.end(err)
		}
	}
	if f.call.Err() != nil {
		return // nobody listens
	}
	f.mu.Lock()
	failure := f.failure
	f.mu.Unlock()
	ended := &cairnv1.Ended{}
	if !errors.Is(failure, errClosing) {
		ended.Reason, ended.Message = reasonOf(f.call, failure).word, failure.Error()
	}
	f.of.sending.Lock()
	defer f.of.sending.Unlock()
	f.mu.Lock()
	f.ended = true // it may begin again: the client may know as soon as this is sent, and what it is given then is sent behind it
	f.mu.Unlock()
	f.of.sendLocked(&cairnv1.ConsumeResponse{Name: f.name, Ended: ended})
}

// next hands out what there is and there is credit for, or waits for either.
func (f *feed) next() error {
	if time.Since(f.looked) >= f.of.lagEvery {
		if err := f.checkLag(); err != nil {
			return err
		}
	}
	credit := f.take(0)
	if credit == 0 {
		f.bound = true
		f.awaitCredit()
		return nil
	}
	batch, err := f.of.svc.Next(f.ctx, f.name, min(credit, MaxNext), f.untilLook())
	f.take(len(batch))
	if len(batch) > 0 {
		f.send(batch)
	}
	return err
}

// untilLook returns the time until the lag is to be looked at again.
func (f *feed) untilLook() time.Duration {
	return max(0, f.of.lagEvery-time.Since(f.looked))
}

// awaitCredit waits for credit, until the lag is to be looked at.
func (f *feed) awaitCredit() {
	timer := time.NewTimer(f.untilLook())
	defer timer.Stop()
	select {
	case <-f.given:
	case <-f.ctx.Done():
	case <-timer.C:
	}
}

// checkLag tells the client that the consumer lags, if it does so by the client's
// own doing and more than when last looked at.
func (f *feed) checkLag() error {
	c, err := f.of.svc.Consumer(f.ctx, f.name)
	if err != nil {
		return err
	}
	held := f.bound || c.Pending >= c.Settings.MaxPending || c.Waiting > 0 || c.Full
	if held && c.Lag > f.lag {
		f.of.send(&cairnv1.ConsumeResponse{Name: f.name, Lagged: &cairnv1.Lagged{Lag: c.Lag}})
	}
	f.looked, f.lag, f.bound = time.Now(), c.Lag, false
	return nil
}

// send sends deliveries in responses that keep no other consumer waiting for long.
func (f *feed) send(batch []ConsumerDelivery) {
	size, chunk := 0, &cairnv1.ConsumeResponse{Name: f.name}
	for i := range batch {
		chunk.Deliveries = append(chunk.Deliveries, consumerDeliveryToProto(&batch[i]))
		size += len(batch[i].Payload)
		if len(chunk.Deliveries) == maxChunk || size >= maxChunkSize || i == len(batch)-1 {
			f.of.send(chunk)
			size, chunk = 0, &cairnv1.ConsumeResponse{Name: f.name}
		}
	}
}

// settle carries out settlements until there are no more. After a failure it only
// takes them.
func (f *feed) settle() {
	var failed error
	for s := range f.settlements {
		waiting := []Settlement{s}
		for more := true; more; {
			select {
			case s, more = <-f.settlements:
				if more {
					waiting = append(waiting, s)
				}
			default:
				more = false
			}
		}
		for _, s := range merge(waiting) {
			if failed == nil {
				failed = f.carryOut(s)
			}
			f.of.settling.Release(s.size())
		}
	}
}

// merge makes one of settlements that follow each other and differ in their
// tokens alone, as far as one may have so many.
func merge(all []Settlement) []Settlement {
	merged := all[:1]
	for _, s := range all[1:] {
		last := &merged[len(merged)-1]
		if s.Kind == last.Kind && s.Delay == last.Delay && s.Reason == last.Reason && len(s.Tokens)+len(last.Tokens) <= MaxSettle {
			last.Tokens = append(last.Tokens, s.Tokens...)
		} else {
			merged = append(merged, s)
		}
	}
	return merged
}

// carryOut carries out a settlement and answers it. A failure ends the feed.
func (f *feed) carryOut(s Settlement) error {
	settled, err := f.of.svc.Settle(f.call, f.name, s)
	if err != nil {
		f.end(err)
		return err
	}
	f.of.send(&cairnv1.ConsumeResponse{Name: f.name, Settled: each(settled, settledToProto)})
	return nil
}

// size is about what the tokens take in memory: less than a stream may hold, as a
// request is at most maxRequest.
func (s Settlement) size() int64 {
	const overhead = 16 // of a string
	size := 0
	for _, t := range s.Tokens {
		size += overhead + len(t)
	}
	return int64(size)
}
