package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/cairn-p2p/cairn/api"
)

// maxListed is how many heads or missing events a status for people lists.
const maxListed = 12

// printTopicStatus prints a status, unless err is what became of it.
func (a *app) printTopicStatus(s *api.TopicStatus, err error) error {
	if err != nil {
		return err
	}
	if a.output != formatTable {
		return a.printObject(s, nil)
	}
	return write(a.stdout, appendTopicStatus(nil, s, time.Now()))
}

// appendTopicStatus appends a status for people: what is known of the topic,
// then what is missing and who was asked, then the other replicas.
func appendTopicStatus(b []byte, s *api.TopicStatus, now time.Time) []byte {
	short := shortPeers(peersOf(s))
	b = appendFields(b, topicStatusFields(s, short))
	b = appendMissing(b, s.Missing, short, now)
	if len(s.Peers) == 0 {
		return b
	}
	t := replicaTable(short, now).fit(s.Peers)
	b = t.appendHeader(append(b, '\n'))
	for _, r := range s.Peers {
		b = t.appendRow(b, r)
	}
	return b
}

// peersOf returns every peer that a status names.
func peersOf(s *api.TopicStatus) []string {
	var ids []string
	for _, p := range s.Peers {
		ids = append(ids, p.Peer)
	}
	for _, m := range s.Missing {
		for _, asked := range m.Asked {
			ids = append(ids, asked.Peer)
		}
	}
	return ids
}

// statusNames is the width of the names of a status's fields.
const statusNames = len("heads hash")

func topicStatusFields(s *api.TopicStatus, short func(string) string) []field {
	fields := []field{
		{"topic", s.Topic},
		{"topic id", s.TopicID},
		{"state", s.State},
	}
	reason := s.Reason
	for _, id := range peersOf(s) {
		reason = strings.ReplaceAll(reason, id, short(id))
	}
	fields = append(fields, listField("reason", wrap(dash(reason), pageWidth-statusNames-len(columnGap)))...)
	fields = append(
		fields,
		fieldf("events", "%d", s.Events),
		fieldf("pending", "%d", s.Pending),
		field{"heads hash", s.HeadsHash},
	)
	fields = append(fields, listField("heads", someOf(s.Heads, "'cairn topic heads' lists all"))...)
	if len(s.Missing) == 0 {
		fields = append(fields, field{"missing", "-"})
	}
	return fields
}

// someOf returns the first of values and, if there are more, a line that says
// so.
func someOf(values []string, where string) []string {
	if len(values) <= maxListed {
		return values
	}
	some := append([]string(nil), values[:maxListed]...)
	return append(some, fmt.Sprintf("… and %d more; %s", len(values)-maxListed, where))
}

// appendMissing appends each missing event with those that were asked for it.
func appendMissing(b []byte, missing []api.Missing, short func(string) string, now time.Time) []byte {
	if len(missing) == 0 {
		return b
	}
	b = fmt.Appendf(b, "\nMISSING (%d)\n", len(missing))
	for _, m := range missing[:min(len(missing), maxListed)] {
		noticed := now
		if !m.Since.IsZero() {
			noticed = m.Since.Time
		}
		b = fmt.Appendf(b, "%s  noticed %s\n", m.CID, ago(noticed, now))
		if len(m.Asked) == 0 {
			b = append(b, "  nobody was asked yet\n"...)
		}
		for _, asked := range m.Asked {
			b = appendAsked(b, short(asked.Peer), asked.Answer)
		}
	}
	if more := len(missing) - maxListed; more > 0 {
		b = fmt.Appendf(b, "… and %d more; -o json lists all\n", more)
	}
	return b
}

// appendAsked appends one peer's answer.
func appendAsked(b []byte, peer, answer string) []byte {
	begin := "  asked " + printable(peer) + ": "
	indent := strings.Repeat(" ", 4)
	for i, line := range wrap(answer, pageWidth-len(begin)) {
		if i > 0 {
			begin = indent
		}
		b = fmt.Appendf(b, "%s%s\n", begin, printable(line))
	}
	return b
}

func replicaTable(short func(string) string, now time.Time) table[api.Replica] {
	return table[api.Replica]{
		{"REPLICA", 0, func(r *api.Replica) string { return short(r.Peer) }},
		{"STATE", 0, func(r *api.Replica) string {
			if r.InSync {
				return "in sync"
			}
			return "differs"
		}},
		{"LAST IN SYNC", 0, func(r *api.Replica) string {
			if r.LastSync.IsZero() {
				return "never"
			}
			return ago(r.LastSync.Time, now)
		}},
		{"HEADS HASH", 0, func(r *api.Replica) string {
			if r.HeadsHash == "" {
				return "unknown"
			}
			return r.HeadsHash[:min(len(r.HeadsHash), shortHash)]
		}},
	}
}
