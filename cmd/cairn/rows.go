package main

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/cairn-p2p/cairn/api"
)

// timeLayout is how tables show a moment, in UTC.
const timeLayout = "2006-01-02 15:04:05Z"

// eventTable is for rows that come one after another, so its widths are those
// of what most cells hold.
func eventTable[T any](event func(*T) *api.Event) table[T] {
	cell := func(f func(*api.Event) string) func(*T) string {
		return func(v *T) string { return f(event(v)) }
	}
	return table[T]{
		{"CID", 59, cell(func(e *api.Event) string { return e.CID })},
		{"HEIGHT", 7, cell(func(e *api.Event) string { return strconv.FormatUint(e.Height, 10) })},
		{"TIME", len(timeLayout), cell(func(e *api.Event) string { return e.Time.UTC().Format(timeLayout) })},
		{"PUBLISHER", 10, cell(func(e *api.Event) string { return shortPeer(e.Publisher) })},
		{"TAGS", 8, cell(func(e *api.Event) string { return dash(strings.Join(e.Tags, ",")) })},
		{"PAYLOAD", 0, cell(func(e *api.Event) string { return preview(e.Payload) })},
	}
}

// shortPeerLength is how many characters of a peer's id tell it apart from
// all but a few.
const shortPeerLength = 8

// shortPeer returns the end of a peer's id.
func shortPeer(id string) string { return ending(id, shortPeerLength) }

func dash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

func eventFields(e *api.Event) []field {
	fields := []field{
		{"cid", e.CID},
		{"topic", e.Topic},
		{"topic id", e.TopicID},
		{"publisher", e.Publisher},
		fieldf("seq", "%d", e.Seq),
		fieldf("height", "%d", e.Height),
		{"time", e.Time.String()},
	}
	fields = append(fields, listField("links", e.Links)...)
	return append(fields, field{"tags", dash(strings.Join(e.Tags, ","))}, field{"payload", string(e.Payload)})
}

func topicTable() table[api.Topic] {
	return table[api.Topic]{
		{"TOPIC", 0, func(t *api.Topic) string { return dash(t.Topic) }},
		{"STATE", 0, func(t *api.Topic) string { return t.State }},
		{"JOINED", 0, func(t *api.Topic) string { return yesNo(t.Joined) }},
		{"EVENTS", 0, func(t *api.Topic) string { return strconv.FormatUint(t.Events, 10) }},
		{"HEADS", 0, func(t *api.Topic) string { return strconv.Itoa(len(t.Heads)) }},
		{"ID", 0, func(t *api.Topic) string { return t.TopicID }},
	}
}

func yesNo(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

// shortPeersOf is shortPeers for rows.
func shortPeersOf(peers []api.Peer) func(string) string {
	ids := make([]string, len(peers))
	for i, p := range peers {
		ids[i] = p.Peer
	}
	return shortPeers(ids)
}

func peerTable(short func(string) string) table[api.Peer] {
	return table[api.Peer]{
		{"PEER", 0, func(p *api.Peer) string { return short(p.Peer) }},
		{"DIRECTION", 0, func(p *api.Peer) string { return p.Direction }},
		{"LATENCY", 0, func(p *api.Peer) string {
			if p.LatencyMS == 0 {
				return "-"
			}
			return fmt.Sprintf("%d ms", p.LatencyMS)
		}},
		{"TOPICS", 0, func(p *api.Peer) string { return strconv.Itoa(p.Topics) }},
		{"ADDRESS", 0, func(p *api.Peer) string {
			if len(p.Addrs) < 2 {
				return strings.Join(p.Addrs, "")
			}
			return fmt.Sprintf("%s and %d more", p.Addrs[0], len(p.Addrs)-1)
		}},
	}
}

func headsFields(h *api.Heads) []field {
	fields := []field{
		{"topic", h.Topic},
		{"topic id", h.TopicID},
		fieldf("events", "%d", h.Events),
		{"heads hash", h.HeadsHash},
	}
	return append(fields, listField("heads", h.Heads)...)
}
