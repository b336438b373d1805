package api

import (
	"context"
	"encoding/hex"
	"time"

	"github.com/ipfs/go-cid"

	"github.com/cairn-p2p/cairn/node"
	"github.com/cairn-p2p/cairn/types"
)

func describe(ctx context.Context, t *node.Topic) (*Topic, error) {
	s, err := t.Status(ctx)
	if err != nil {
		return nil, err
	}
	return &Topic{
		Topic:   t.Name(),
		TopicID: t.ID().String(),
		Joined:  t.Joined(),
		State:   s.State,
		Events:  s.Events,
		Heads:   headTexts(s.Heads),
	}, nil
}

func statusRow(name string, id types.TopicID, s node.Status) *TopicStatus {
	row := &TopicStatus{
		Topic:     name,
		TopicID:   id.String(),
		State:     s.State,
		Reason:    s.Reason,
		Events:    s.Events,
		Heads:     headTexts(s.Heads),
		HeadsHash: hashText(s.HeadsHash),
		Pending:   s.Pending,
		Missing:   []Missing{},
		Peers:     []Replica{},
		Fetching:  peerText(s.Fetching),
		LastError: s.LastError,
		Rungs:     []Rung{},
		Climbed:   Time{s.Climbed},
		Offenders: []Offender{},
	}
	for _, m := range s.Missing {
		row.Missing = append(row.Missing, Missing{CID: m.CID.String(), Since: Time{m.Since}, Asked: askedRows(m.Asked)})
	}
	for _, p := range s.Peers {
		row.Peers = append(row.Peers, Replica{
			Peer:      p.Peer.String(),
			InSync:    p.InSync,
			LastSync:  Time{p.LastSync},
			HeadsHash: hashText(p.HeadsHash),
			Paused:    p.Paused,
			Unproven:  p.Unproven,
		})
	}
	for _, r := range s.Rungs {
		row.Rungs = append(row.Rungs, Rung{Name: r.Name, Found: r.Found, Asked: askedRows(r.Asked)})
	}
	for _, o := range s.Offenders {
		offender := Offender{Peer: o.Peer.String(), Count: o.Count, Reason: o.Reason, Last: Time{o.Last}}
		if o.Topic.Defined() {
			offender.TopicID = o.Topic.String()
		}
		row.Offenders = append(row.Offenders, offender)
	}
	return row
}

func askedRows(answers []node.Answer) []Asked {
	return each(answers, func(a node.Answer) Asked { return Asked{Peer: a.Peer.String(), Answer: a.Answer} })
}

// hashText returns h in hex, or "" for the zero hash, which is none.
func hashText(h types.Hash) string {
	if h == (types.Hash{}) {
		return ""
	}
	return hex.EncodeToString(h[:])
}

// peerText returns a peer's id, or "" for none.
func peerText(p types.PeerID) string {
	if p == "" {
		return ""
	}
	return p.String()
}

// NewEvent returns an event as the API has it; topic is the topic's name.
func NewEvent(topic string, e *types.Event) Event { return (&eventRows{topic: topic}).row(e) }

// eventRows makes rows of a topic's events. Consecutive events are often of one
// publisher, whose text takes longer than all else.
type eventRows struct {
	topic string // its name

	id, publisher string // texts of those of the last event
	last          *types.Event
}

func (r *eventRows) row(e *types.Event) Event {
	if r.last == nil || r.last.Publisher != e.Publisher {
		r.publisher = e.Publisher.String()
	}
	if r.last == nil {
		r.id = e.Topic.String()
	}
	r.last = e
	return Event{
		CID:       e.CID.String(),
		Topic:     r.topic,
		TopicID:   r.id,
		Publisher: r.publisher,
		Seq:       e.Seq,
		Height:    e.Height,
		Time:      Time{time.Unix(0, e.Time).UTC()},
		Links:     cidTexts(e.Links),
		Tags:      list(e.Tags),
		Payload:   list(e.Payload),
	}
}

func cidTexts(cids []cid.Cid) []string {
	texts := make([]string, len(cids))
	for i, c := range cids {
		texts[i] = c.String()
	}
	return texts
}

// headTexts returns the CIDs of heads in the order of their bytes.
func headTexts(heads []types.Head) []string {
	cids := make([]cid.Cid, len(heads))
	for i, h := range heads {
		cids[i] = h.CID
	}
	types.SortCIDs(cids)
	return cidTexts(cids)
}
