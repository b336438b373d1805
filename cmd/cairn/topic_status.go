package main

import (
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

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
// then what is missing and who was asked, what was tried, the other replicas,
// and who broke the protocol.
func appendTopicStatus(b []byte, s *api.TopicStatus, now time.Time) []byte {
	short := shortPeers(peersOf(s))
	b = appendFields(b, topicStatusFields(s, short))
	b = appendMissing(b, s.Missing, short, now)
	b = appendRungs(b, s, short, now)
	if len(s.Peers) > 0 {
		t := replicaTable(s, short, now).fit(s.Peers)
		b = t.appendHeader(append(b, '\n'))
		for _, r := range s.Peers {
			b = t.appendRow(b, r)
		}
	}
	return appendOffenders(b, s.Offenders, short, now)
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
	for _, r := range s.Rungs {
		for _, asked := range r.Asked {
			ids = append(ids, asked.Peer)
		}
	}
	for _, o := range s.Offenders {
		ids = append(ids, o.Peer)
	}
	if s.Fetching != "" {
		ids = append(ids, s.Fetching)
	}
	return ids
}

// statusNames is the width of the names of a status's fields.
const statusNames = len("heads hash")

func topicStatusFields(s *api.TopicStatus, short func(string) string) []field {
	fields := []field{
		{"topic", dash(s.Topic)},
		{"topic id", s.TopicID},
		{"state", s.State},
	}
	sentence := func(name, text string) {
		for _, id := range peersOf(s) {
			text = strings.ReplaceAll(text, id, short(id))
		}
		fields = append(fields, listField(name, wrap(dash(text), pageWidth-statusNames-len(columnGap)))...)
	}
	sentence("reason", s.Reason)
	if s.LastError != "" && !strings.Contains(s.Reason, s.LastError) {
		sentence("last error", s.LastError)
	}
	fields = append(
		fields,
		fieldf("events", "%d", s.Events),
		fieldf("pending", "%d", s.Pending),
		field{"heads hash", dash(s.HeadsHash)},
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
	return appendWrapped(b, "  asked "+printable(peer)+": ", answer)
}

// leastText is the width that text has beside whatever begins its first line.
const leastText = 40

// appendWrapped appends text behind begin, its further lines indented.
func appendWrapped(b []byte, begin, text string) []byte {
	for _, line := range wrap(text, max(leastText, pageWidth-utf8.RuneCountInString(begin))) {
		b = fmt.Appendf(b, "%s%s\n", begin, printable(line))
		begin = strings.Repeat(" ", 4)
	}
	return b
}

// appendRungs appends what was tried in vain to get what is missing.
func appendRungs(b []byte, s *api.TopicStatus, short func(string) string, now time.Time) []byte {
	if len(s.Rungs) == 0 {
		return b
	}
	b = fmt.Appendf(b, "\nTRIED IN VAIN  %s\n", ago(s.Climbed.Time, now))
	for _, r := range s.Rungs {
		b = appendWrapped(b, printable(r.Name)+": ", r.Found)
		for _, asked := range r.Asked {
			b = appendAsked(b, short(asked.Peer), asked.Answer)
		}
	}
	return b
}

// appendOffenders appends who broke the protocol, and how.
func appendOffenders(b []byte, offenders []api.Offender, short func(string) string, now time.Time) []byte {
	if len(offenders) == 0 {
		return b
	}
	b = fmt.Appendf(b, "\nOFFENDERS (%d)\n", len(offenders))
	for _, o := range offenders[:min(len(offenders), maxListed)] {
		b = appendOffence(b, short(o.Peer), o.Reason, o.Count, o.Last, now)
	}
	if more := len(offenders) - maxListed; more > 0 {
		b = fmt.Appendf(b, "… and %d more; -o json lists all\n", more)
	}
	return b
}

// appendOffence appends what one peer did.
func appendOffence(b []byte, peer, reason string, count int, last api.Time, now time.Time) []byte {
	times := fmt.Sprintf("%d times, last %s", count, ago(last.Time, now))
	if count == 1 {
		times = "once, " + ago(last.Time, now)
	}
	return appendWrapped(b, fmt.Sprintf("%s  %s: ", printable(peer), times), reason)
}

// replicaState says in a word or two how another replica stands.
func replicaState(r *api.Replica, fetching bool) string {
	state := "differs"
	switch {
	case r.InSync:
		state = "in sync"
	case r.Unproven:
		state = "unproven"
	}
	if r.Paused {
		state += ", paused"
	}
	if fetching {
		state += ", fetching from it"
	}
	return state
}

func replicaTable(s *api.TopicStatus, short func(string) string, now time.Time) table[api.Replica] {
	return table[api.Replica]{
		{"REPLICA", 0, func(r *api.Replica) string { return short(r.Peer) }},
		{"STATE", 0, func(r *api.Replica) string { return replicaState(r, r.Peer == s.Fetching) }},
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
