package main

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/cairn-p2p/cairn/api"
)

func TestShortPeers(t *testing.T) {
	for _, test := range []struct {
		ids  []string
		want string // of the first
	}{
		{[]string{"12D3KooWabcdefgh"}, "…abcdefgh"},
		{[]string{"12D3KooWabcdefgh", "12D3KooWabcdefgh"}, "…abcdefgh"},
		{[]string{"12D3KooWabcdefgh", "12D3KooVabcdefgh"}, "…Wabcdefgh"},
		{[]string{"12D3KooWabcdefgh", "22D3KooWabcdefgh"}, "12D3KooWabcdefgh"},
		{[]string{"short", "12D3KooWabcdefgh"}, "short"},
	} {
		if got := shortPeers(test.ids)(test.ids[0]); got != test.want {
			t.Errorf("%q: %s, want %s", test.ids, got, test.want)
		}
	}
}

func TestAgo(t *testing.T) {
	now := time.Unix(1e9, 0)
	for d, want := range map[time.Duration]string{
		-time.Hour:                "just now",
		0:                         "just now",
		999 * time.Millisecond:    "just now",
		time.Second:               "1s ago",
		59*time.Second + 9e8:      "59s ago",
		time.Minute:               "1m ago",
		time.Hour - 1:             "59m ago",
		47 * time.Hour:            "47h ago",
		48 * time.Hour:            "2d ago",
		10000*time.Hour + 59*6e10: "416d ago",
	} {
		if got := ago(now.Add(-d), now); got != want {
			t.Errorf("%s: %q, want %q", d, got, want)
		}
	}
}

func TestWrap(t *testing.T) {
	for text, want := range map[string]string{
		"":                         "",
		"one":                      "one",
		"one two three":            "one two|three",
		"größer größer":            "größer|größer",
		"unbreakable-word and end": "unbreakable-word|and end",
		" spaces   between ":       "spaces|between",
	} {
		if got := strings.Join(wrap(text, 8), "|"); got != want {
			t.Errorf("wrap %q: %q, want %q", text, got, want)
		}
	}
}

// A status that has everything in it, as a person sees it.
func TestTopicStatusText(t *testing.T) {
	now := time.Unix(1e9, 0)
	before := func(d time.Duration) api.Time { return api.Time{Time: now.Add(-d)} }
	const a, b = "12D3KooWAAAAAAAAaaaaaaaa", "12D3KooWBBBBBBBBbbbbbbbb"
	s := &api.TopicStatus{
		Topic:   "t",
		TopicID: "bafytopic",
		State:   "behind",
		Reason:  "the last exchange with 1 of 2 connected replicas failed: " + b + " closed the stream before it had answered",
		Events:  12, Heads: []string{"bafyhead1", "bafyhead2"}, HeadsHash: "00ff", Pending: 3,
		Missing: []api.Missing{
			{CID: "bafymissing1", Since: before(12 * time.Second), Asked: []api.Asked{{Peer: b, Answer: "absent"}, {Peer: a, Answer: "\x1b[31m"}}},
			{CID: "bafymissing2"},
		},
		Peers: []api.Replica{
			{Peer: a, InSync: true, LastSync: before(3 * time.Second), HeadsHash: "00ff", Paused: true},
			{Peer: b, Unproven: true},
		},
		Fetching:  a,
		LastError: a + ": the stream was reset",
		Rungs: []api.Rung{
			{Name: "connected peers", Found: "2 of 2 have the topic", Asked: []api.Asked{
				{Peer: b, Answer: "an event with links that are not integrated came before them, and that is a long story"},
			}},
			{Name: "archives", Found: "none found"},
		},
		Climbed: before(2 * time.Minute),
		Offenders: []api.Offender{
			{Peer: b, Count: 2, Reason: "claims heads that it does not serve", Last: before(time.Second)},
			{Peer: a, Count: 1, Reason: "\x1b[31m", Last: before(time.Hour)},
		},
	}
	want := `topic       t
topic id    bafytopic
state       behind
reason      the last exchange with 1 of 2 connected replicas failed: …bbbbbbbb
            closed the stream before it had answered
last error  …aaaaaaaa: the stream was reset
events      12
pending     3
heads hash  00ff
heads       bafyhead1
            bafyhead2

MISSING (2)
bafymissing1  noticed 12s ago
  asked …bbbbbbbb: absent
  asked …aaaaaaaa: "\x1b[31m"
bafymissing2  noticed just now
  nobody was asked yet

TRIED IN VAIN  2m ago
connected peers: 2 of 2 have the topic
  asked …bbbbbbbb: an event with links that are not integrated came before them,
    and that is a long story
archives: none found

REPLICA    STATE                              LAST IN SYNC  HEADS HASH
…aaaaaaaa  in sync, paused, fetching from it  3s ago        00ff
…bbbbbbbb  unproven                           never         unknown

OFFENDERS (2)
…bbbbbbbb  2 times, last 1s ago: claims heads that it does not serve
…aaaaaaaa  once, 1h ago: "\x1b[31m"
`
	if got := string(appendTopicStatus(nil, s, now)); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

// What is too much for a screen is counted.
func TestLongTopicStatus(t *testing.T) {
	var s api.TopicStatus
	for range maxListed + 5 {
		s.Heads = append(s.Heads, "head")
		s.Missing = append(s.Missing, api.Missing{CID: "missing"})
	}
	got := string(appendTopicStatus(nil, &s, time.Now()))
	if strings.Count(got, "… and 5 more") != 2 || strings.Count(got, "missing  noticed") != maxListed {
		t.Errorf("got\n%s", got)
	}
}

func TestPeerTable(t *testing.T) {
	now := time.Unix(1e9, 0)
	peers := []api.Peer{
		{Peer: "12D3KooWAAAAAAAAaaaaaaaa", Addrs: []string{"/ip4/127.0.0.1/tcp/1"}, Direction: "inbound", LatencyMS: 3, Topics: 1},
		{
			Peer: "12D3KooWBBBBBBBBbbbbbbbb", Addrs: []string{"/ip4/127.0.0.1/tcp/2", "/ip4/127.0.0.1/udp/2/quic-v1"}, Direction: "outbound",
			Offences: 3, LastOffence: "bad witness", LastOffenceTime: api.Time{Time: now.Add(-time.Hour)},
		},
	}
	var out bytes.Buffer
	if err := (&app{stdout: &out, output: formatTable}).printPeers(peers, now); err != nil {
		t.Fatal(err)
	}
	want := `PEER       DIRECTION  LATENCY  TOPICS  ADDRESS
…aaaaaaaa  inbound    3 ms     1       /ip4/127.0.0.1/tcp/1
…bbbbbbbb  outbound   -        0       /ip4/127.0.0.1/tcp/2 and 1 more

OFFENDERS (1)
…bbbbbbbb  3 times, last 1h ago: bad witness
`
	if out.String() != want {
		t.Errorf("got\n%swant\n%s", out.String(), want)
	}
}

func TestNextSteps(t *testing.T) {
	rows := []devRow{{Node: "node-1", API: defaultAPI}, {Node: "node-2", API: "http://127.0.0.1:7461"}}
	got := nextSteps("bin/cairn", rows)
	for _, line := range []string{
		"\n  bin/cairn pub greetings \"hello from node-1\"\n",
		"\n  bin/cairn --api http://127.0.0.1:7461 sub greetings --from start --count 1\n",
	} {
		if !strings.Contains(got, line) {
			t.Errorf("no %q in\n%s", line, got)
		}
	}
	for argv0, want := range map[string]string{
		"bin/cairn":                           "bin/cairn",
		"/tmp/go-build123/b001/exe/cairn":     "go run ./cmd/cairn",
		"/root/.cache/go-build/12/12-d/cairn": "go run ./cmd/cairn",
		"/home/with space/cairn":              "cairn",
	} {
		if got := command(argv0); got != want {
			t.Errorf("%s: %s, want %s", argv0, got, want)
		}
	}
}

func TestAPIAddress(t *testing.T) {
	for _, test := range []struct {
		first string
		i     int
		want  string // "": refused
	}{
		{"127.0.0.1:7460", 0, "127.0.0.1:7460"},
		{"127.0.0.1:7460", 2, "127.0.0.1:7462"},
		{"127.0.0.1:0", 5, "127.0.0.1:0"},
		{"[::1]:65534", 1, "[::1]:65535"},
		{"[::1]:65535", 1, ""},
		{"localhost:http", 0, ""},
		{"localhost", 0, ""},
	} {
		got, err := apiAddress(test.first, test.i)
		if got != test.want || (err != nil) != (test.want == "") {
			t.Errorf("%s, node %d: %q, %v; want %q", test.first, test.i, got, err, test.want)
		}
	}
}
