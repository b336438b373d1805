package api

import (
	"context"
	"iter"
	"time"

	cairnv1 "github.com/cairn-p2p/cairn/api/cairn/v1"
	"github.com/cairn-p2p/cairn/api/cairn/v1/cairnv1connect"
)

// maxWait bounds how long a call waits for deliveries: a client that went away in
// silence is not waited for longer.
const maxWait = 5 * time.Minute

var _ cairnv1connect.ConsumerServiceHandler = (*handler)(nil)

func (h *handler) CreateConsumer(ctx context.Context, req *cairnv1.CreateConsumerRequest) (*cairnv1.CreateConsumerResponse, error) {
	c, err := h.svc.CreateConsumer(ctx, consumerSettingsFromProto(req.GetSettings()))
	if err != nil {
		return nil, toWire(ctx, err)
	}
	return &cairnv1.CreateConsumerResponse{Consumer: consumerToProto(c)}, nil
}

func (h *handler) GetConsumer(ctx context.Context, req *cairnv1.GetConsumerRequest) (*cairnv1.GetConsumerResponse, error) {
	c, err := h.svc.Consumer(ctx, req.GetName())
	if err != nil {
		return nil, toWire(ctx, err)
	}
	return &cairnv1.GetConsumerResponse{Consumer: consumerToProto(c)}, nil
}

func (h *handler) ListConsumers(ctx context.Context, _ *cairnv1.ListConsumersRequest) (*cairnv1.ListConsumersResponse, error) {
	all, err := h.svc.Consumers(ctx)
	if err != nil {
		return nil, toWire(ctx, err)
	}
	return &cairnv1.ListConsumersResponse{Consumers: each(all, func(c Consumer) *cairnv1.Consumer { return consumerToProto(&c) })}, nil
}

func (h *handler) RemoveConsumer(ctx context.Context, req *cairnv1.RemoveConsumerRequest) (*cairnv1.RemoveConsumerResponse, error) {
	if err := h.svc.RemoveConsumer(ctx, req.GetName()); err != nil {
		return nil, toWire(ctx, err)
	}
	return &cairnv1.RemoveConsumerResponse{}, nil
}

func (h *handler) NextDeliveries(ctx context.Context, req *cairnv1.NextDeliveriesRequest) (*cairnv1.NextDeliveriesResponse, error) {
	ctx, cancel := h.waiting(ctx)
	defer cancel()
	batch := int(min(max(req.GetBatch(), 1), MaxNext))
	deliveries, err := h.svc.Next(ctx, req.GetName(), batch, min(req.GetWait().AsDuration(), maxWait))
	if err != nil && len(deliveries) == 0 {
		return nil, toWire(ctx, err)
	}
	return &cairnv1.NextDeliveriesResponse{Deliveries: each(deliveries, func(d ConsumerDelivery) *cairnv1.ConsumerDelivery {
		return consumerDeliveryToProto(&d)
	})}, nil
}

func (h *handler) Settle(ctx context.Context, req *cairnv1.SettleRequest) (*cairnv1.SettleResponse, error) {
	s := settlementFromProto(req.GetSettlement())
	if err := s.Check(); err != nil {
		return nil, toWire(ctx, err)
	}
	settled, err := h.svc.Settle(ctx, req.GetName(), s)
	if err != nil {
		return nil, toWire(ctx, err)
	}
	return &cairnv1.SettleResponse{Settled: each(settled, settledToProto)}, nil
}

func (h *handler) ListDead(ctx context.Context, req *cairnv1.ListDeadRequest) (*cairnv1.ListDeadResponse, error) {
	dead, more, err := page(h.svc.Dead(ctx, req.GetName(), req.GetAfter()), req.GetLimit())
	if err != nil {
		return nil, toWire(ctx, err)
	}
	m := &cairnv1.ListDeadResponse{Dead: each(dead, deadLetterToProto)}
	if more {
		m.Next = dead[len(dead)-1].Cursor
	}
	return m, nil
}

func (h *handler) ListSuppressed(ctx context.Context, req *cairnv1.ListSuppressedRequest) (*cairnv1.ListSuppressedResponse, error) {
	suppressed, more, err := page(h.svc.Suppressed(ctx, req.GetName(), req.GetAfter()), req.GetLimit())
	if err != nil {
		return nil, toWire(ctx, err)
	}
	m := &cairnv1.ListSuppressedResponse{Suppressed: each(suppressed, suppressedEventToProto)}
	if more {
		m.Next = suppressed[len(suppressed)-1].Cursor
	}
	return m, nil
}

// page returns the first of rows, at most limit, where 0 is maxPage as is what is
// above, and whether there are more.
func page[T any](rows iter.Seq2[T, error], limit uint64) (first []T, more bool, err error) {
	if limit == 0 || limit > maxPage {
		limit = maxPage
	}
	for v, err := range rows {
		if err != nil {
			return nil, false, err
		}
		if uint64(len(first)) == limit {
			return first, true, nil
		}
		first = append(first, v)
	}
	return first, false, nil
}

func (h *handler) Requeue(ctx context.Context, req *cairnv1.RequeueRequest) (*cairnv1.RequeueResponse, error) {
	n, err := h.svc.Requeue(ctx, req.GetName(), req.GetCids())
	if err != nil {
		return nil, toWire(ctx, err)
	}
	return &cairnv1.RequeueResponse{Requeued: uint64(n)}, nil
}

func (h *handler) ResetConsumer(ctx context.Context, req *cairnv1.ResetConsumerRequest) (*cairnv1.ResetConsumerResponse, error) {
	c, err := h.svc.ResetConsumer(ctx, req.GetName(), req.GetFrom())
	if err != nil {
		return nil, toWire(ctx, err)
	}
	return &cairnv1.ResetConsumerResponse{Consumer: consumerToProto(c)}, nil
}
