package api

import (
	"context"
	"fmt"

	cairnv1 "github.com/cairn-p2p/cairn/api/cairn/v1"
	"github.com/cairn-p2p/cairn/api/cairn/v1/cairnv1connect"
	"github.com/cairn-p2p/cairn/types"
)

// handler answers the protocol's calls with a Service.
type handler struct {
	svc Service
	// draining ends when the server stops. Calls that wait for something to
	// happen end with it; the others finish.
	draining context.Context
}

var _ cairnv1connect.NodeServiceHandler = (*handler)(nil)

// errStopping is why calls that wait end when the server stops.
var errStopping = fmt.Errorf("the node stops: %w", types.ErrClosed)

// waiting returns the context of a call that ends when the server stops.
func (h *handler) waiting(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	stop := context.AfterFunc(h.draining, func() { cancel(errStopping) })
	return ctx, func() { stop(); cancel(nil) }
}

func (h *handler) GetStatus(ctx context.Context, _ *cairnv1.GetStatusRequest) (*cairnv1.GetStatusResponse, error) {
	s, err := h.svc.Status(ctx)
	if err != nil {
		return nil, toWire(ctx, err)
	}
	return statusToProto(s), nil
}

func (h *handler) ListPeers(ctx context.Context, _ *cairnv1.ListPeersRequest) (*cairnv1.ListPeersResponse, error) {
	peers, err := h.svc.Peers(ctx)
	if err != nil {
		return nil, toWire(ctx, err)
	}
	return &cairnv1.ListPeersResponse{Peers: each(peers, peerToProto)}, nil
}

func (h *handler) ConnectPeer(ctx context.Context, req *cairnv1.ConnectPeerRequest) (*cairnv1.ConnectPeerResponse, error) {
	ctx, cancel := h.waiting(ctx)
	defer cancel()
	if err := h.svc.Connect(ctx, req.GetAddr()); err != nil {
		return nil, toWire(ctx, err)
	}
	return &cairnv1.ConnectPeerResponse{}, nil
}

func (h *handler) JoinTopic(ctx context.Context, req *cairnv1.JoinTopicRequest) (*cairnv1.JoinTopicResponse, error) {
	t, err := h.svc.Join(ctx, req.GetTopic())
	if err != nil {
		return nil, toWire(ctx, err)
	}
	return &cairnv1.JoinTopicResponse{Topic: topicToProto(t)}, nil
}

func (h *handler) CreateTopic(ctx context.Context, req *cairnv1.CreateTopicRequest) (*cairnv1.CreateTopicResponse, error) {
	t, err := h.svc.Create(ctx, req.GetName(), req.GetOwner(), req.GetWriters())
	if err != nil {
		return nil, toWire(ctx, err)
	}
	return &cairnv1.CreateTopicResponse{Topic: topicToProto(t)}, nil
}

func (h *handler) LeaveTopic(ctx context.Context, req *cairnv1.LeaveTopicRequest) (*cairnv1.LeaveTopicResponse, error) {
	t, err := h.svc.Leave(ctx, req.GetTopic())
	if err != nil {
		return nil, toWire(ctx, err)
	}
	return &cairnv1.LeaveTopicResponse{Topic: topicToProto(t)}, nil
}

func (h *handler) ListTopics(ctx context.Context, _ *cairnv1.ListTopicsRequest) (*cairnv1.ListTopicsResponse, error) {
	topics, err := h.svc.Topics(ctx)
	if err != nil {
		return nil, toWire(ctx, err)
	}
	return &cairnv1.ListTopicsResponse{Topics: each(topics, func(t Topic) *cairnv1.Topic { return topicToProto(&t) })}, nil
}

func (h *handler) GetHeads(ctx context.Context, req *cairnv1.GetHeadsRequest) (*cairnv1.GetHeadsResponse, error) {
	heads, err := h.svc.Heads(ctx, req.GetTopic())
	if err != nil {
		return nil, toWire(ctx, err)
	}
	return headsToProto(heads), nil
}

func (h *handler) GetTopicStatus(ctx context.Context, req *cairnv1.GetTopicStatusRequest) (*cairnv1.GetTopicStatusResponse, error) {
	s, err := h.svc.TopicStatus(ctx, req.GetTopic())
	if err != nil {
		return nil, toWire(ctx, err)
	}
	return &cairnv1.GetTopicStatusResponse{Status: topicStatusToProto(s)}, nil
}

func (h *handler) WaitTopic(ctx context.Context, req *cairnv1.WaitTopicRequest) (*cairnv1.WaitTopicResponse, error) {
	ctx, cancel := h.waiting(ctx)
	defer cancel()
	s, err := h.svc.Wait(ctx, req.GetTopic(), Until{Events: req.GetEvents(), Synced: req.GetSynced()})
	if err != nil {
		return nil, toWire(ctx, err)
	}
	return &cairnv1.WaitTopicResponse{Status: topicStatusToProto(s)}, nil
}

func (h *handler) Publish(ctx context.Context, req *cairnv1.PublishRequest) (*cairnv1.PublishResponse, error) {
	if len(req.GetEvents()) == 0 { // a misspelt field, more likely than a wish
		return nil, toWire(ctx, fmt.Errorf("%w: no events to publish", types.ErrInvalidArgument))
	}
	cids, err := h.svc.Publish(ctx, req.GetTopic(), each(req.GetEvents(), draftFromProto))
	if err != nil {
		return nil, toWire(ctx, err)
	}
	return &cairnv1.PublishResponse{Cids: cids}, nil
}

func (h *handler) GetEvent(ctx context.Context, req *cairnv1.GetEventRequest) (*cairnv1.GetEventResponse, error) {
	e, err := h.svc.Event(ctx, req.GetCid())
	if err != nil {
		return nil, toWire(ctx, err)
	}
	return &cairnv1.GetEventResponse{Event: eventToProto(e)}, nil
}
