package syncer

import (
	"context"

	"github.com/ipfs/go-cid"

	"github.com/cairn-p2p/cairn/syncer/pb"
	"github.com/cairn-p2p/cairn/types"
)

// heldRequest asks which events are integrated in a topic.
type heldRequest struct {
	topic types.TopicID
	cids  []cid.Cid
}

func parseHeldRequest(m *pb.HeldRequest) (heldRequest, error) {
	var q heldRequest
	var err error
	if q.topic, err = parseCID(m.GetTopic()); err != nil {
		return q, err
	}
	if q.cids, err = parseCIDs(m.GetCids(), maxStops); err != nil {
		return q, err
	}
	if len(q.cids) == 0 {
		return q, offencef("Held without a CID")
	}
	return q, nil
}

func (q heldRequest) message() *pb.Request {
	m := &pb.HeldRequest{Topic: q.topic.Bytes()}
	for _, c := range q.cids {
		m.Cids = append(m.Cids, c.Bytes())
	}
	return &pb.Request{Request: &pb.Request_Held{Held: m}}
}

// held answers Held.
func (v *server) held(ctx context.Context, m *pb.HeldRequest) error {
	q, err := parseHeldRequest(m)
	if err != nil {
		return err
	}
	if err := v.allowance.spend(ctx, itemCost*len(q.cids)); err != nil {
		return err
	}
	missing, err := v.s.wanted(q.topic, q.cids)
	if err != nil {
		return v.failed(ctx, q.topic, err)
	}
	a := new(pb.HeldAnswer)
	for i, c := range q.cids {
		if !missing[c] {
			a.Bitmap |= 1 << i
		}
	}
	return v.write(ctx, &pb.Response{Answer: &pb.Response_Held{Held: a}})
}

// held asks which of up to maxStops events the peer has integrated. It returns
// one bool for each, in order.
func (c *client) held(topic types.TopicID, cids []cid.Cid) ([]bool, error) {
	if err := c.send(heldRequest{topic: topic, cids: cids}.message()); err != nil {
		return nil, err
	}
	m, err := c.next()
	if err != nil {
		return nil, err
	}
	bitmap := m.GetHeld().GetBitmap()
	if m.GetHeld() == nil || m.GetMore() || bitmap>>len(cids) != 0 {
		return nil, offencef("answer to Held is of another kind or length")
	}
	held := make([]bool, len(cids))
	for i := range held {
		held[i] = bitmap>>i&1 == 1
	}
	return held, nil
}
