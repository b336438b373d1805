package api

import (
	"context"

	"connectrpc.com/connect"

	cairnv1 "github.com/cairn-p2p/cairn/api/cairn/v1"
	"github.com/cairn-p2p/cairn/client/pb"
)

// Limits of one response.
const (
	// maxPage bounds the events of a page.
	maxPage = 1000
	// maxPageSize is the size in bytes of payload at which a page ends.
	maxPageSize = 1 << 20
	// maxChunk bounds the events of a streamed response, whose cost per event
	// is small from about a hundred on.
	maxChunk = 256
	// maxChunkSize is the size in bytes of payload at which a streamed response
	// goes out: it keeps the first event from waiting for many others.
	maxChunkSize = 64 << 10
)

func (h *handler) ListEvents(ctx context.Context, req *cairnv1.ListEventsRequest) (*cairnv1.ListEventsResponse, error) {
	q := queryFromProto(req.GetFilter())
	if q.Limit == 0 || q.Limit > maxPage {
		q.Limit = maxPage
	}
	limit := int(q.Limit)
	q.Limit++ // one more says that there is a next page
	page := &cairnv1.ListEventsResponse{}
	size := 0
	for e, err := range h.svc.Query(ctx, req.GetTopic(), q) {
		if err != nil {
			return nil, toWire(ctx, err)
		}
		if len(page.Events) == limit || size >= maxPageSize {
			page.Next = page.Events[len(page.Events)-1].GetCid()
			break
		}
		page.Events = append(page.Events, eventToProto(&e))
		size += len(e.Payload)
	}
	return page, nil
}

func (h *handler) Query(ctx context.Context, req *cairnv1.QueryRequest, stream *connect.ServerStream[cairnv1.QueryResponse]) error {
	chunk := &cairnv1.QueryResponse{}
	size := 0
	for e, err := range h.svc.Query(ctx, req.GetTopic(), queryFromProto(req.GetFilter())) {
		if err != nil {
			return toWire(ctx, err)
		}
		chunk.Events = append(chunk.Events, eventToProto(&e))
		size += len(e.Payload)
		if len(chunk.Events) < maxChunk && size < maxChunkSize {
			continue
		}
		if err := stream.Send(chunk); err != nil {
			return err
		}
		chunk.Events, size = nil, 0
	}
	if len(chunk.Events) == 0 {
		return nil
	}
	return stream.Send(chunk)
}

func (h *handler) Subscribe(ctx context.Context, req *cairnv1.SubscribeRequest, stream *connect.ServerStream[cairnv1.SubscribeResponse]) error {
	ctx, cancel := h.waiting(ctx)
	defer cancel()
	from := req.GetFrom()
	if from == "" {
		from = FromNow
	}
	for d, err := range h.svc.Subscribe(ctx, req.GetTopic(), from) {
		if err != nil {
			return toWire(ctx, err)
		}
		response := &cairnv1.SubscribeResponse{Cursor: d.Cursor}
		if d.CID != "" {
			response.Event = eventToProto(&d.Event)
		}
		if err := stream.Send(response); err != nil {
			return err
		}
	}
	return nil
}

func (h *handler) Deliver(ctx context.Context, req *pb.Request, stream *connect.ServerStream[pb.Response]) error {
	ctx, cancel := h.waiting(ctx)
	defer cancel()
	for r, err := range h.svc.Deliver(ctx, req) {
		if err == nil {
			err = stream.Send(r)
		}
		if err != nil {
			return toWire(ctx, err)
		}
	}
	return nil
}
