package main

import (
	"bytes"
	"context"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/cairn-p2p/cairn/api"
	"github.com/cairn-p2p/cairn/node"
)

// What follows are the shapes that scripts rely on, in order. They repeat those
// of package api on purpose: changing one of those must fail here.
type (
	statusShape struct {
		PeerID        string   `json:"peer_id"`
		Version       string   `json:"version"`
		Network       string   `json:"network"`
		Role          string   `json:"role"`
		Addrs         []string `json:"addrs"`
		Peers         int      `json:"peers"`
		Topics        int      `json:"topics"`
		UptimeSeconds int64    `json:"uptime_seconds"`
	}
	eventShape struct {
		CID       string   `json:"cid"`
		Topic     string   `json:"topic"`
		TopicID   string   `json:"topic_id"`
		Publisher string   `json:"publisher"`
		Seq       uint64   `json:"seq"`
		Height    uint64   `json:"height"`
		Time      string   `json:"time"`
		Links     []string `json:"links"`
		Tags      []string `json:"tags"`
		Payload   []byte   `json:"payload"`
	}
	deliveryShape struct {
		eventShape
		Cursor string `json:"cursor"`
	}
	consumerDeliveryShape struct {
		deliveryShape
		DeliveryCount int    `json:"delivery_count"`
		AckToken      string `json:"ack_token"`
	}
	consumerShape struct {
		Name        string `json:"name"`
		Topic       string `json:"topic"`
		AckFloor    string `json:"ack_floor"`
		Pending     int    `json:"pending"`
		Waiting     int    `json:"waiting"`
		Redelivered int    `json:"redelivered"`
		Dead        int    `json:"dead"`
		Suppressed  int    `json:"suppressed"`
		Lag         uint64 `json:"lag"`
	}
	consumerSettingsShape struct {
		Name       string   `json:"name"`
		Topic      string   `json:"topic"`
		Tags       []string `json:"tags"`
		Publishers []string `json:"publishers"`
		From       string   `json:"from"`
		AckWait    string   `json:"ack_wait"`
		MaxPending int      `json:"max_pending"`
		MaxDeliver int      `json:"max_deliver"`
		BackOff    []string `json:"backoff"`
		CausalAcks bool     `json:"causal_acks"`
	}
	deadShape struct {
		CID           string `json:"cid"`
		Cursor        string `json:"cursor"`
		DeliveryCount int    `json:"delivery_count"`
		Reason        string `json:"reason"`
		Time          string `json:"time"`
	}
	headsShape struct {
		Topic     string   `json:"topic"`
		TopicID   string   `json:"topic_id"`
		Heads     []string `json:"heads"`
		HeadsHash string   `json:"heads_hash"`
		Events    uint64   `json:"events"`
	}
	topicShape struct {
		Topic   string   `json:"topic"`
		TopicID string   `json:"topic_id"`
		Joined  bool     `json:"joined"`
		State   string   `json:"state"`
		Events  uint64   `json:"events"`
		Heads   []string `json:"heads"`
	}
	topicStatusShape struct {
		Topic     string   `json:"topic"`
		TopicID   string   `json:"topic_id"`
		State     string   `json:"state"`
		Reason    string   `json:"reason"`
		Events    uint64   `json:"events"`
		Heads     []string `json:"heads"`
		HeadsHash string   `json:"heads_hash"`
		Pending   int      `json:"pending"`
		Missing   []struct {
			CID   string  `json:"cid"`
			Since *string `json:"since"`
			Asked []struct {
				Peer   string `json:"peer"`
				Answer string `json:"answer"`
			} `json:"asked"`
		} `json:"missing"`
		Peers []struct {
			Peer      string  `json:"peer"`
			InSync    bool    `json:"in_sync"`
			LastSync  *string `json:"last_sync"`
			HeadsHash string  `json:"heads_hash"`
			Paused    bool    `json:"paused"`
			Unproven  bool    `json:"unproven"`
		} `json:"peers"`
		Fetching  string `json:"fetching"`
		LastError string `json:"last_error"`
		Rungs     []struct {
			Name  string `json:"name"`
			Found string `json:"found"`
			Asked []struct {
				Peer   string `json:"peer"`
				Answer string `json:"answer"`
			} `json:"asked"`
		} `json:"rungs"`
		Climbed   *string `json:"climbed"`
		Offenders []struct {
			Peer    string  `json:"peer"`
			Count   int     `json:"count"`
			Reason  string  `json:"reason"`
			Last    *string `json:"last"`
			TopicID string  `json:"topic_id"`
		} `json:"offenders"`
	}
	peerShape struct {
		Peer      string   `json:"peer"`
		Addrs     []string `json:"addrs"`
		Direction string   `json:"direction"`
		LatencyMS int64    `json:"latency_ms"`
		Topics    int      `json:"topics"`

		Offences        int     `json:"offences"`
		LastOffence     string  `json:"last_offence"`
		LastOffenceTime *string `json:"last_offence_time"`
	}
	keyShape struct {
		PeerID    string `json:"peer_id"`
		PublicKey string `json:"public_key"`
	}
)

// testNode is a node with its API, in this process.
type testNode struct{ api, p2p string }

func startNode(t *testing.T) testNode {
	t.Helper()
	n, err := node.Open(t.Context(), node.Config{Listen: []string{"/ip4/127.0.0.1/tcp/0"}})
	if err != nil {
		t.Fatal(err)
	}
	return serveTestNode(t, n)
}

// serveTestNode serves the API of a node until the test ends, and closes it.
func serveTestNode(t *testing.T, n *node.Node) testNode {
	t.Helper()
	l, err := api.Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- api.Serve(ctx, l, api.NewLocal(n, "v0"), nil) }()
	t.Cleanup(func() {
		cancel()
		if err := <-served; err != nil {
			t.Error(err)
		}
		if err := n.Close(); err != nil {
			t.Error(err)
		}
	})
	return testNode{api: l.Addr().String(), p2p: n.Addrs()[0]}
}

// cairn runs a command line that must succeed and returns its stdout.
func (n testNode) cairn(t *testing.T, args ...string) string {
	t.Helper()
	code, stdout, stderr := n.run(args)
	if code != exitOK {
		t.Fatalf("cairn %q: exit code %d: %s", args, code, stderr)
	}
	return stdout
}

// fails runs a command line that must not succeed and returns its exit code and
// its stderr.
func (n testNode) fails(t *testing.T, args ...string) (code int, stderr string) {
	t.Helper()
	code, _, stderr = n.run(args)
	if code == exitOK {
		t.Errorf("cairn %q succeeded", args)
	}
	return code, stderr
}

func (n testNode) run(args []string) (code int, stdout, stderr string) {
	var out, errs bytes.Buffer
	args = append([]string{"--timeout", "20s"}, args...)
	getenv := func(name string) string { return map[string]string{"CAIRN_API": n.api}[name] }
	code = run(args, strings.NewReader("a\n<b>\n"), &out, &errs, getenv)
	return code, out.String(), errs.String()
}

// wantShape fails the test unless text is JSON of exactly the shape T: it must
// decode into T, and T must encode to it again.
func wantShape[T any](t *testing.T, text string) T {
	t.Helper()
	var v T
	d := json.NewDecoder(strings.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(&v); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	if d.More() {
		t.Fatalf("%s: more than one document", text)
	}
	var got bytes.Buffer
	if err := json.Compact(&got, []byte(text)); err != nil {
		t.Fatal(err)
	}
	want, err := marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	if got.String() != string(want) {
		t.Errorf("got  %s\nwant %s", got.String(), want)
	}
	times := strings.NewReplacer(`"last_sync":null`, "", `"climbed":null`, "", `"last_offence_time":null`, "")
	if strings.Contains(times.Replace(string(want)), ":null") {
		t.Errorf("%s: null where a value belongs", want)
	}
	return v
}

func TestShapes(t *testing.T) {
	n := startNode(t)
	cids := strings.Fields(n.cairn(t, "pub", "t", "--lines", "--tag", "x"))
	n.cairn(t, "topic", "join", "empty")

	wantShape[statusShape](t, n.cairn(t, "status", "-o", "json"))
	wantShape[keyShape](t, n.cairn(t, "key", "show", "-o", "json"))
	wantShape[versionRow](t, n.cairn(t, "version", "-o", "json"))
	wantShape[[]peerShape](t, n.cairn(t, "peer", "ls", "-o", "json"))
	for _, topic := range []string{"t", "empty"} {
		wantShape[headsShape](t, n.cairn(t, "topic", "heads", topic, "-o", "json"))
		wantShape[topicStatusShape](t, n.cairn(t, "topic", "status", topic, "-o", "json"))
		wantShape[topicStatusShape](t, n.cairn(t, "topic", "wait", topic, "--events", "0", "-o", "ndjson"))
		wantShape[topicShape](t, n.cairn(t, "topic", "join", topic, "-o", "json"))
		wantShape[[]eventShape](t, n.cairn(t, "query", topic, "-o", "json"))
	}
	wantShape[[]topicShape](t, n.cairn(t, "topic", "ls", "-o", "json"))
	wantShape[topicShape](t, n.cairn(t, "topic", "leave", "empty", "-o", "json"))
	e := wantShape[eventShape](t, n.cairn(t, "get", cids[1], "-o", "json"))
	if string(e.Payload) != "<b>" || e.Seq != 2 || e.Height != 2 || len(e.Links) != 1 || e.Links[0] != cids[0] {
		t.Errorf("event %+v", e)
	}
	if at, err := time.Parse("2006-01-02T15:04:05.000000000Z", e.Time); err != nil || time.Since(at).Abs() > time.Minute {
		t.Errorf("time %q", e.Time)
	}
	rows := strings.Split(strings.TrimSuffix(n.cairn(t, "query", "t", "-o", "ndjson"), "\n"), "\n")
	if len(rows) != len(cids) {
		t.Fatalf("%d rows, want %d", len(rows), len(cids))
	}
	for i, row := range rows {
		if e := wantShape[eventShape](t, row); e.CID != cids[i] {
			t.Errorf("row %d is %s, want %s", i, e.CID, cids[i])
		}
	}
	deliveries := strings.Split(strings.TrimSuffix(n.cairn(t, "sub", "t", "--from", "start", "--count", "2", "-o", "ndjson"), "\n"), "\n")
	for i, row := range deliveries {
		if d := wantShape[deliveryShape](t, row); d.CID != cids[i] || strings.HasPrefix(d.Cursor, "-") || d.Cursor == "" {
			t.Errorf("delivery %d is %+v", i, d)
		}
	}
}

func TestShapesOfConsumers(t *testing.T) {
	n := startNode(t)
	cids := strings.Fields(n.cairn(t, "pub", "t", "--lines"))
	settings := wantShape[consumerSettingsShape](t, n.cairn(t, "consumer", "create", "c", "t", "--backoff", "1s,5m", "-o", "json"))
	if settings.From != "start" || settings.AckWait != "30s" || len(settings.BackOff) != 2 || settings.BackOff[1] != "5m0s" {
		t.Errorf("settings %+v", settings)
	}
	if c := wantShape[consumerShape](t, n.cairn(t, "consumer", "info", "c", "-o", "json")); c.AckFloor != "start" || c.Lag != 2 {
		t.Errorf("consumer %+v", c)
	}
	rows := strings.Split(strings.TrimSuffix(n.cairn(t, "consumer", "next", "c", "--batch", "2", "-o", "ndjson"), "\n"), "\n")
	for i, row := range rows {
		d := wantShape[consumerDeliveryShape](t, row)
		if d.CID != cids[i] || d.DeliveryCount != 1 || d.AckToken == "" || strings.HasPrefix(d.AckToken, "-") {
			t.Errorf("delivery %d is %+v", i, d)
		}
		n.cairn(t, "consumer", "term", "c", d.AckToken, "--reason", "<why>")
	}
	if dead := wantShape[[]deadShape](t, n.cairn(t, "consumer", "dead", "c", "-o", "json")); len(dead) != 2 || dead[0].CID != cids[0] || dead[0].Reason != "<why>" {
		t.Errorf("dead letters %+v", dead)
	}
	if text := n.cairn(t, "consumer", "requeue", "c", cids[1], "-o", "ndjson"); text != "{\"requeued\":1}\n" {
		t.Errorf("requeued %q", text)
	}
	if text := n.cairn(t, "consumer", "suppressed", "c", "-o", "json"); text != "[]\n" {
		t.Errorf("suppressed %q", text)
	}
	wantShape[consumerDeliveryShape](t, n.cairn(t, "sub", "t", "--consumer", "c", "--count", "1", "-o", "ndjson"))
	wantShape[[]consumerShape](t, n.cairn(t, "consumer", "ls", "-o", "json"))
	wantShape[consumerShape](t, n.cairn(t, "consumer", "reset", "c", "--from", "now", "-o", "ndjson"))
	if text := n.cairn(t, "consumer", "rm", "c", "-o", "json"); text != "" {
		t.Errorf("rm prints %q", text)
	}
}

// TestShapesOfPeers has what only a second node brings.
func TestShapesOfPeers(t *testing.T) {
	a, b := startNode(t), startNode(t)
	a.cairn(t, "pub", "t", "x")
	b.cairn(t, "topic", "join", "t")
	b.cairn(t, "peer", "connect", a.p2p)
	b.cairn(t, "topic", "wait", "t", "--events", "1", "--synced")
	s := wantShape[topicStatusShape](t, b.cairn(t, "topic", "status", "t", "-o", "json"))
	if len(s.Peers) != 1 || !s.Peers[0].InSync || s.Peers[0].LastSync == nil {
		t.Errorf("status %+v", s)
	}
	peers := wantShape[[]peerShape](t, b.cairn(t, "peer", "ls", "-o", "json"))
	if len(peers) != 1 || peers[0].Direction != "outbound" || len(peers[0].Addrs) == 0 {
		t.Errorf("peers %+v", peers)
	}
}
