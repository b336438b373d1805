package api

import (
	"context"
	"errors"
	"fmt"
	"io"

	"connectrpc.com/connect"
	"golang.org/x/sync/semaphore"

	cairnv1 "github.com/cairn-p2p/cairn/api/cairn/v1"
	"github.com/cairn-p2p/cairn/types"
)

// Limits of a stream of drafts.
const (
	// maxGather bounds the drafts that are published together. Group commit
	// gains little beyond a few hundred.
	maxGather = 1024
	// maxAhead bounds the bytes that a stream holds of drafts that came while
	// others were published: two commits' worth.
	maxAhead = 2 * types.MaxBatchSize
	// draftOverhead is what a draft counts beside its payload and tags.
	draftOverhead = 64
)

// publication is one call of PublishStream: receive reads its requests and
// publish answers them, so that the next drafts arrive during a commit.
type publication struct {
	svc      Service
	stream   publishStream
	requests chan publishRequest
	ahead    *semaphore.Weighted // of bytes that were received and not published

	topic string // owned by publish, as is count
	count uint64 // drafts acknowledged
}

// publishStream is what a publication needs of its connection. One goroutine
// receives while another sends.
type publishStream interface {
	Receive() (*cairnv1.PublishStreamRequest, error) // io.EOF: the client has sent all
	Send(*cairnv1.PublishStreamResponse) error
}

func newPublication(svc Service, stream publishStream) *publication {
	return &publication{
		svc:      svc,
		stream:   stream,
		requests: make(chan publishRequest, maxGather),
		ahead:    semaphore.NewWeighted(maxAhead),
	}
}

type publishRequest struct {
	topic  string
	drafts []Draft
	size   int64
}

func (h *handler) PublishStream(ctx context.Context, stream *connect.BidiStream[cairnv1.PublishStreamRequest, cairnv1.PublishStreamResponse]) error {
	ctx, cancel := h.waiting(ctx)
	defer cancel()
	p := newPublication(h.svc, stream)
	received := make(chan error, 1)
	go func() {
		defer close(p.requests)
		received <- p.receive(ctx)
	}()
	err := p.publish(ctx)
	cancel()
	stopReading(ctx)
	if ended := <-received; err == nil {
		err = ended
	}
	return toWire(ctx, err)
}

// receive reads requests until the client has sent all or ctx ends.
func (p *publication) receive(ctx context.Context) error {
	for {
		m, err := p.stream.Receive()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		r := publishRequest{topic: m.GetTopic(), drafts: each(m.GetEvents(), draftFromProto)}
		for _, d := range r.drafts {
			r.size += d.size()
		}
		r.size = min(r.size, maxAhead)
		if err := p.ahead.Acquire(ctx, r.size); err != nil {
			return context.Cause(ctx)
		}
		select {
		case p.requests <- r:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// publish publishes what has been received, again and again, until all is or
// something fails.
func (p *publication) publish(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return &DraftError{Index: p.count, Err: context.Cause(ctx)}
		case r, ok := <-p.requests:
			if !ok {
				return nil
			}
			if err := p.publishFrom(ctx, r); err != nil {
				return err
			}
		}
	}
}

// publishFrom publishes a request together with those that wait behind it.
func (p *publication) publishFrom(ctx context.Context, r publishRequest) error {
	var drafts []Draft
	size := int64(0)
	for {
		if err := p.checkTopic(r.topic); err != nil {
			return err
		}
		drafts = append(drafts, r.drafts...)
		size += r.size
		if len(drafts) >= maxGather || size >= types.MaxBatchSize {
			break
		}
		var more bool
		if r, more = p.next(); !more {
			break
		}
	}
	defer p.ahead.Release(size)
	return p.append(ctx, drafts)
}

// next returns a request if one waits.
func (p *publication) next() (publishRequest, bool) {
	select {
	case r, ok := <-p.requests:
		return r, ok
	default:
		return publishRequest{}, false
	}
}

// checkTopic holds the stream to one topic.
func (p *publication) checkTopic(topic string) error {
	if p.topic == "" {
		p.topic = topic
	}
	if topic != "" && topic != p.topic || p.topic == "" {
		return fmt.Errorf("%w: the first request of a stream names its topic, and no later one another", types.ErrInvalidArgument)
	}
	return nil
}

// append publishes drafts, up to the first that no event may hold, and
// acknowledges them.
func (p *publication) append(ctx context.Context, drafts []Draft) error {
	var bad error
	for i, d := range drafts {
		if bad = d.Check(); bad != nil {
			drafts = drafts[:i]
			break
		}
	}
	cids, err := p.svc.Publish(ctx, p.topic, drafts)
	if err != nil {
		return &DraftError{Index: p.count, Err: err}
	}
	if len(cids) > 0 {
		if err := p.stream.Send(&cairnv1.PublishStreamResponse{Cids: cids}); err != nil {
			return err
		}
		p.count += uint64(len(cids))
	}
	if bad != nil {
		return &DraftError{Index: p.count, Err: bad}
	}
	return nil
}

// size is about what a draft takes in memory.
func (d Draft) size() int64 {
	size := draftOverhead + len(d.Payload)
	for _, t := range d.Tags {
		size += len(t)
	}
	return int64(size)
}
