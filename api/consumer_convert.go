package api

import (
	"math"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	cairnv1 "github.com/cairn-p2p/cairn/api/cairn/v1"
)

func consumerSettingsToProto(s ConsumerSettings) *cairnv1.ConsumerSettings {
	return &cairnv1.ConsumerSettings{
		Name:       s.Name,
		Topic:      s.Topic,
		Tags:       s.Tags,
		Publishers: s.Publishers,
		From:       s.From,
		AckWait:    durationToProto(s.AckWait),
		MaxPending: countToProto(s.MaxPending),
		MaxDeliver: countToProto(s.MaxDeliver),
		BackOff:    each(s.BackOff, durationpb.New),
		CausalAcks: s.CausalAcks,
	}
}

func consumerSettingsFromProto(m *cairnv1.ConsumerSettings) ConsumerSettings {
	return ConsumerSettings{
		Name:       m.GetName(),
		Topic:      m.GetTopic(),
		Tags:       list(m.GetTags()),
		Publishers: list(m.GetPublishers()),
		From:       m.GetFrom(),
		AckWait:    m.GetAckWait().AsDuration(),
		MaxPending: countFromProto(m.GetMaxPending()),
		MaxDeliver: countFromProto(m.GetMaxDeliver()),
		BackOff:    each(m.GetBackOff(), (*durationpb.Duration).AsDuration),
		CausalAcks: m.GetCausalAcks(),
	}
}

// durationToProto returns nil for 0, which stands for the default.
func durationToProto(d time.Duration) *durationpb.Duration {
	if d == 0 {
		return nil
	}
	return durationpb.New(d)
}

// countToProto returns a number that is refused in place of a negative one.
func countToProto(n int) uint64 {
	if n < 0 {
		return math.MaxUint64
	}
	return uint64(n)
}

func countFromProto(n uint64) int { return int(min(n, math.MaxInt)) }

func consumerToProto(c *Consumer) *cairnv1.Consumer {
	return &cairnv1.Consumer{
		Settings:    consumerSettingsToProto(c.Settings),
		TopicId:     c.TopicID,
		AckFloor:    c.AckFloor,
		Pending:     uint64(c.Pending),
		Waiting:     uint64(c.Waiting),
		Redelivered: uint64(c.Redelivered),
		Dead:        uint64(c.Dead),
		Suppressed:  uint64(c.Suppressed),
		Lag:         c.Lag,
	}
}

func consumerFromProto(m *cairnv1.Consumer) *Consumer {
	settings := consumerSettingsFromProto(m.GetSettings())
	return &Consumer{
		Name:        settings.Name,
		Topic:       settings.Topic,
		TopicID:     m.GetTopicId(),
		AckFloor:    m.GetAckFloor(),
		Pending:     countFromProto(m.GetPending()),
		Waiting:     countFromProto(m.GetWaiting()),
		Redelivered: countFromProto(m.GetRedelivered()),
		Dead:        countFromProto(m.GetDead()),
		Suppressed:  countFromProto(m.GetSuppressed()),
		Lag:         m.GetLag(),
		Settings:    settings,
	}
}

func consumerDeliveryToProto(d *ConsumerDelivery) *cairnv1.ConsumerDelivery {
	return &cairnv1.ConsumerDelivery{
		Event:         eventToProto(&d.Event),
		Cursor:        d.Cursor,
		DeliveryCount: uint64(d.Count),
		AckToken:      d.Token,
	}
}

func consumerDeliveryFromProto(m *cairnv1.ConsumerDelivery) ConsumerDelivery {
	return ConsumerDelivery{
		Delivery: Delivery{Event: eventFromProto(m.GetEvent()), Cursor: m.GetCursor()},
		Count:    countFromProto(m.GetDeliveryCount()),
		Token:    m.GetAckToken(),
	}
}

func settlementToProto(s Settlement) *cairnv1.Settlement {
	return &cairnv1.Settlement{Kind: s.Kind, Tokens: s.Tokens, Delay: durationToProto(s.Delay), Reason: s.Reason}
}

func settlementFromProto(m *cairnv1.Settlement) Settlement {
	return Settlement{Kind: m.GetKind(), Tokens: m.GetTokens(), Delay: m.GetDelay().AsDuration(), Reason: m.GetReason()}
}

func settledToProto(s Settled) *cairnv1.Settled {
	return &cairnv1.Settled{Token: s.Token, Refused: s.Refused}
}

func settledFromProto(m *cairnv1.Settled) Settled {
	return Settled{Token: m.GetToken(), Refused: m.GetRefused()}
}

func deadLetterToProto(d DeadLetter) *cairnv1.DeadLetter {
	return &cairnv1.DeadLetter{
		Cid:           d.CID,
		Cursor:        d.Cursor,
		DeliveryCount: uint64(d.Count),
		Reason:        d.Reason,
		Time:          timeToProto(d.Time.Time),
	}
}

func deadLetterFromProto(m *cairnv1.DeadLetter) DeadLetter {
	return DeadLetter{
		CID:    m.GetCid(),
		Cursor: m.GetCursor(),
		Count:  countFromProto(m.GetDeliveryCount()),
		Reason: m.GetReason(),
		Time:   Time{timeFromProto(m.GetTime())},
	}
}

func suppressedEventToProto(s SuppressedEvent) *cairnv1.SuppressedEvent {
	return &cairnv1.SuppressedEvent{Cid: s.CID, Cursor: s.Cursor, Reason: s.Reason}
}

func suppressedEventFromProto(m *cairnv1.SuppressedEvent) SuppressedEvent {
	return SuppressedEvent{CID: m.GetCid(), Cursor: m.GetCursor(), Reason: m.GetReason()}
}
