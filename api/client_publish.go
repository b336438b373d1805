package api

import (
	"context"
	"errors"
	"io"

	"connectrpc.com/connect"

	cairnv1 "github.com/cairn-p2p/cairn/api/cairn/v1"
)

// draftStream is the client's side of PublishStream.
type draftStream = connect.BidiStreamForClientSimple[cairnv1.PublishStreamRequest, cairnv1.PublishStreamResponse]

// PublishStream joins a topic and publishes the drafts that come on a channel,
// until that is closed, without waiting for one before it sends the next; those
// of one value travel together and should take less than half a megabyte unless
// they are one. It calls acknowledged with the CIDs of durable events, in the
// order of the drafts, and stops when that fails. It returns nil once every
// draft is acknowledged.
//
// It stops at the first draft that fails, with a *DraftError around an error of
// Publish. After types.ErrClosed or ErrUnreachable the drafts that were sent
// and not acknowledged may or may not have been published.
func (c *Client) PublishStream(ctx context.Context, topic string, drafts <-chan []Draft, acknowledged func(cids []string) error) error {
	call, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := c.rpc.PublishStream(call)
	if err != nil {
		return c.fail(ctx, err)
	}
	sent := make(chan uint64, 1)
	go func() { sent <- sendDrafts(call, stream, topic, drafts) }()
	count, err := receiveCIDs(stream, acknowledged)
	cancel()
	total := <-sent
	var stopped *stoppedError
	switch {
	case errors.As(err, &stopped):
		return stopped.err
	case err == nil && count == total:
		return nil
	case err == nil: // the end came before all answers
		err = io.ErrUnexpectedEOF
	}
	if info := errorInfo(err); info != nil {
		count = info.GetIndex()
	}
	return &DraftError{Index: count, Err: c.fail(ctx, err)}
}

// sendDrafts sends what comes on the channel and returns how many drafts that
// was. Why a send fails is told to the one who receives.
func sendDrafts(ctx context.Context, stream *draftStream, topic string, drafts <-chan []Draft) uint64 {
	count := uint64(0)
	request := &cairnv1.PublishStreamRequest{Topic: topic}
	for {
		if err := stream.Send(request); err != nil {
			return count
		}
		count += uint64(len(request.GetEvents()))
		select {
		case batch, ok := <-drafts:
			if !ok {
				stream.CloseRequest() //nolint:errcheck // as for Send
				return count
			}
			request = &cairnv1.PublishStreamRequest{Events: each(batch, draftToProto)}
		case <-ctx.Done():
			return count
		}
	}
}

// receiveCIDs passes on what the node acknowledges, until it has ended the
// stream, and returns how many CIDs that was.
func receiveCIDs(stream *draftStream, acknowledged func([]string) error) (uint64, error) {
	count := uint64(0)
	for {
		m, err := stream.Receive()
		if errors.Is(err, io.EOF) {
			return count, nil
		}
		if err != nil {
			return count, err
		}
		count += uint64(len(m.GetCids()))
		if err := acknowledged(m.GetCids()); err != nil {
			return count, &stoppedError{err}
		}
	}
}

// stoppedError is why the caller stopped a stream.
type stoppedError struct{ err error }

func (e *stoppedError) Error() string { return e.err.Error() }
