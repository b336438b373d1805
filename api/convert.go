package api

import (
	"time"

	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	cairnv1 "github.com/cairn-p2p/cairn/api/cairn/v1"
)

// The functions of this file turn the structs of Service into messages, and
// back. Every message may be nil or lack fields.

// each applies f to every element of s. The result is never nil.
func each[A, B any](s []A, f func(A) B) []B {
	out := make([]B, len(s))
	for i, v := range s {
		out[i] = f(v)
	}
	return out
}

func timeToProto(t time.Time) *timestamppb.Timestamp {
	if t.IsZero() {
		return nil
	}
	return timestamppb.New(t)
}

func timeFromProto(t *timestamppb.Timestamp) time.Time {
	if t == nil {
		return time.Time{}
	}
	return t.AsTime()
}

func statusToProto(s *Status) *cairnv1.GetStatusResponse {
	return &cairnv1.GetStatusResponse{
		PeerId:    s.PeerID,
		Version:   s.Version,
		Network:   s.Network,
		Addrs:     s.Addrs,
		Peers:     uint64(s.Peers),
		Topics:    uint64(s.Topics),
		Uptime:    durationpb.New(time.Duration(s.UptimeSeconds) * time.Second),
		PublicKey: s.PublicKey,
		Role:      s.Role,
	}
}

func statusFromProto(m *cairnv1.GetStatusResponse) *Status {
	return &Status{
		PeerID:        m.GetPeerId(),
		Version:       m.GetVersion(),
		Network:       m.GetNetwork(),
		Addrs:         list(m.GetAddrs()),
		Peers:         int(m.GetPeers()),
		Topics:        int(m.GetTopics()),
		UptimeSeconds: m.GetUptime().GetSeconds(),
		PublicKey:     m.GetPublicKey(),
		Role:          m.GetRole(),
	}
}

func peerToProto(p Peer) *cairnv1.Peer {
	return &cairnv1.Peer{
		Peer:      p.Peer,
		Addrs:     p.Addrs,
		Direction: p.Direction,
		Latency:   durationpb.New(time.Duration(p.LatencyMS) * time.Millisecond),
		Topics:    uint64(p.Topics),

		Offences:        uint64(p.Offences),
		LastOffence:     p.LastOffence,
		LastOffenceTime: timeToProto(p.LastOffenceTime.Time),
	}
}

func peerFromProto(m *cairnv1.Peer) Peer {
	return Peer{
		Peer:      m.GetPeer(),
		Addrs:     list(m.GetAddrs()),
		Direction: m.GetDirection(),
		LatencyMS: m.GetLatency().AsDuration().Milliseconds(),
		Topics:    int(m.GetTopics()),

		Offences:        int(m.GetOffences()),
		LastOffence:     m.GetLastOffence(),
		LastOffenceTime: Time{timeFromProto(m.GetLastOffenceTime())},
	}
}

func topicToProto(t *Topic) *cairnv1.Topic {
	return &cairnv1.Topic{
		Topic:   t.Topic,
		TopicId: t.TopicID,
		Joined:  t.Joined,
		State:   t.State,
		Events:  t.Events,
		Heads:   t.Heads,
	}
}

func topicFromProto(m *cairnv1.Topic) *Topic {
	return &Topic{
		Topic:   m.GetTopic(),
		TopicID: m.GetTopicId(),
		Joined:  m.GetJoined(),
		State:   m.GetState(),
		Events:  m.GetEvents(),
		Heads:   list(m.GetHeads()),
	}
}

func headsToProto(h *Heads) *cairnv1.GetHeadsResponse {
	return &cairnv1.GetHeadsResponse{
		Topic:     h.Topic,
		TopicId:   h.TopicID,
		Heads:     h.Heads,
		HeadsHash: h.HeadsHash,
		Events:    h.Events,
	}
}

func headsFromProto(m *cairnv1.GetHeadsResponse) *Heads {
	return &Heads{
		Topic:     m.GetTopic(),
		TopicID:   m.GetTopicId(),
		Heads:     list(m.GetHeads()),
		HeadsHash: m.GetHeadsHash(),
		Events:    m.GetEvents(),
	}
}

func topicStatusToProto(s *TopicStatus) *cairnv1.TopicStatus {
	return &cairnv1.TopicStatus{
		Topic:     s.Topic,
		TopicId:   s.TopicID,
		State:     s.State,
		Reason:    s.Reason,
		Events:    s.Events,
		Heads:     s.Heads,
		HeadsHash: s.HeadsHash,
		Pending:   uint64(s.Pending),
		Missing:   each(s.Missing, missingToProto),
		Peers:     each(s.Peers, replicaToProto),
		Fetching:  s.Fetching,
		LastError: s.LastError,
		Rungs:     each(s.Rungs, rungToProto),
		Climbed:   timeToProto(s.Climbed.Time),
		Offenders: each(s.Offenders, offenderToProto),
	}
}

func topicStatusFromProto(m *cairnv1.TopicStatus) *TopicStatus {
	return &TopicStatus{
		Topic:     m.GetTopic(),
		TopicID:   m.GetTopicId(),
		State:     m.GetState(),
		Reason:    m.GetReason(),
		Events:    m.GetEvents(),
		Heads:     list(m.GetHeads()),
		HeadsHash: m.GetHeadsHash(),
		Pending:   int(m.GetPending()),
		Missing:   each(m.GetMissing(), missingFromProto),
		Peers:     each(m.GetPeers(), replicaFromProto),
		Fetching:  m.GetFetching(),
		LastError: m.GetLastError(),
		Rungs:     each(m.GetRungs(), rungFromProto),
		Climbed:   Time{timeFromProto(m.GetClimbed())},
		Offenders: each(m.GetOffenders(), offenderFromProto),
	}
}

func missingToProto(m Missing) *cairnv1.TopicStatus_Missing {
	return &cairnv1.TopicStatus_Missing{
		Cid:   m.CID,
		Since: timeToProto(m.Since.Time),
		Asked: each(m.Asked, askedToProto),
	}
}

func missingFromProto(m *cairnv1.TopicStatus_Missing) Missing {
	return Missing{
		CID:   m.GetCid(),
		Since: Time{timeFromProto(m.GetSince())},
		Asked: each(m.GetAsked(), askedFromProto),
	}
}

func askedToProto(a Asked) *cairnv1.TopicStatus_Asked {
	return &cairnv1.TopicStatus_Asked{Peer: a.Peer, Answer: a.Answer}
}

func askedFromProto(m *cairnv1.TopicStatus_Asked) Asked {
	return Asked{Peer: m.GetPeer(), Answer: m.GetAnswer()}
}

func rungToProto(r Rung) *cairnv1.TopicStatus_Rung {
	return &cairnv1.TopicStatus_Rung{Name: r.Name, Found: r.Found, Asked: each(r.Asked, askedToProto)}
}

func rungFromProto(m *cairnv1.TopicStatus_Rung) Rung {
	return Rung{Name: m.GetName(), Found: m.GetFound(), Asked: each(m.GetAsked(), askedFromProto)}
}

func offenderToProto(o Offender) *cairnv1.TopicStatus_Offender {
	return &cairnv1.TopicStatus_Offender{
		Peer:    o.Peer,
		Count:   uint64(o.Count),
		Reason:  o.Reason,
		Last:    timeToProto(o.Last.Time),
		TopicId: o.TopicID,
	}
}

func offenderFromProto(m *cairnv1.TopicStatus_Offender) Offender {
	return Offender{
		Peer:    m.GetPeer(),
		Count:   int(m.GetCount()),
		Reason:  m.GetReason(),
		Last:    Time{timeFromProto(m.GetLast())},
		TopicID: m.GetTopicId(),
	}
}

func replicaToProto(r Replica) *cairnv1.TopicStatus_Replica {
	return &cairnv1.TopicStatus_Replica{
		Peer:      r.Peer,
		InSync:    r.InSync,
		LastSync:  timeToProto(r.LastSync.Time),
		HeadsHash: r.HeadsHash,
		Paused:    r.Paused,
		Unproven:  r.Unproven,
	}
}

func replicaFromProto(m *cairnv1.TopicStatus_Replica) Replica {
	return Replica{
		Peer:      m.GetPeer(),
		InSync:    m.GetInSync(),
		LastSync:  Time{timeFromProto(m.GetLastSync())},
		HeadsHash: m.GetHeadsHash(),
		Paused:    m.GetPaused(),
		Unproven:  m.GetUnproven(),
	}
}

func eventToProto(e *Event) *cairnv1.Event {
	return &cairnv1.Event{
		Cid:       e.CID,
		Topic:     e.Topic,
		TopicId:   e.TopicID,
		Publisher: e.Publisher,
		Seq:       e.Seq,
		Height:    e.Height,
		Time:      timeToProto(e.Time.Time),
		Links:     e.Links,
		Tags:      e.Tags,
		Payload:   e.Payload,
	}
}

func eventFromProto(m *cairnv1.Event) Event {
	return Event{
		CID:       m.GetCid(),
		Topic:     m.GetTopic(),
		TopicID:   m.GetTopicId(),
		Publisher: m.GetPublisher(),
		Seq:       m.GetSeq(),
		Height:    m.GetHeight(),
		Time:      Time{timeFromProto(m.GetTime())},
		Links:     list(m.GetLinks()),
		Tags:      list(m.GetTags()),
		Payload:   list(m.GetPayload()),
	}
}

func draftToProto(d Draft) *cairnv1.Draft {
	return &cairnv1.Draft{Payload: d.Payload, Tags: d.Tags}
}

func draftFromProto(m *cairnv1.Draft) Draft {
	return Draft{Payload: m.GetPayload(), Tags: m.GetTags()}
}

func queryToProto(q Query) *cairnv1.Filter {
	return &cairnv1.Filter{
		After:     q.After,
		Reverse:   q.Reverse,
		Since:     timeToProto(q.Since),
		Until:     timeToProto(q.Until),
		Tag:       q.Tag,
		Publisher: q.Publisher,
		Limit:     q.Limit,
	}
}

func queryFromProto(m *cairnv1.Filter) Query {
	return Query{
		After:     m.GetAfter(),
		Reverse:   m.GetReverse(),
		Since:     timeFromProto(m.GetSince()),
		Until:     timeFromProto(m.GetUntil()),
		Tag:       m.GetTag(),
		Publisher: m.GetPublisher(),
		Limit:     m.GetLimit(),
	}
}
