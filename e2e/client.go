package e2e

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"

	"github.com/cairn-p2p/cairn/crdt"
	"github.com/cairn-p2p/cairn/node"
	"github.com/cairn-p2p/cairn/types"
)

const (
	// maxAnswer bounds what is read of an answer of an API, in bytes: a status
	// with many heads is the longest.
	maxAnswer = 64 << 20
	// maxIdle is how many connections to an API wait for their next call: as
	// many as there may be writers at home on one node, within reason.
	maxIdle = 256
)

// client calls the API of a node in another process: plain HTTP and JSON, as
// docs/cli.md has it.
type client struct {
	url  string
	http *http.Client
}

func newClient(address string) client {
	return client{"http://" + address, &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: maxIdle}}}
}

func (c client) close() {
	if c.http != nil {
		c.http.CloseIdleConnections()
	}
}

// call has a method answer a request; both are encoded as JSON.
func (c client) call(ctx context.Context, method string, request, answer any) error {
	body, err := json.Marshal(request)
	if err != nil {
		return fmt.Errorf("%s: %w", method, err)
	}
	text, err := c.ask(ctx, http.MethodPost, "/cairn.v1.NodeService/"+method, body)
	if err == nil {
		err = json.Unmarshal(text, answer)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", method, err)
	}
	return nil
}

// ready reports why the node should not be sent work, if it should not.
func (c client) ready(ctx context.Context) error {
	_, err := c.ask(ctx, http.MethodGet, "/readyz", nil)
	return err
}

// ask returns what the API answers, unless that is an error.
func (c client) ask(ctx context.Context, method, path string, body []byte) ([]byte, error) {
	r, err := http.NewRequestWithContext(ctx, method, c.url+path, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	r.Header.Set("Content-Type", "application/json")
	got, err := c.http.Do(r)
	if err != nil {
		return nil, err
	}
	defer got.Body.Close() //nolint:errcheck // it was read
	text, err := io.ReadAll(io.LimitReader(got.Body, maxAnswer))
	if err == nil && got.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", got.Status, text)
	}
	return text, err
}

// The API's messages, as far as they are used.
type (
	topicRequest struct {
		Topic string `json:"topic"`
	}
	joinAnswer struct {
		Topic struct {
			ID string `json:"topic_id"`
		} `json:"topic"`
	}
	draft struct {
		Payload []byte   `json:"payload"`
		Tags    []string `json:"tags"`
	}
	publishRequest struct {
		Topic  string  `json:"topic"`
		Events []draft `json:"events"`
	}
	publishAnswer struct {
		CIDs []string `json:"cids"`
	}
	statusAnswer struct {
		Status struct {
			State     string `json:"state"`
			Reason    string `json:"reason"`
			Events    uint64 `json:"events,string"`
			HeadsHash string `json:"heads_hash"`
			Pending   int    `json:"pending,string"`
		} `json:"status"`
	}
)

func (c client) join(ctx context.Context, name string) (topic, error) {
	var got joinAnswer
	if err := c.call(ctx, "JoinTopic", topicRequest{name}, &got); err != nil {
		return nil, err
	}
	id, err := types.ParseCID(got.Topic.ID)
	if err != nil {
		return nil, fmt.Errorf("join topic: %w", err)
	}
	return &distant{c, id, name}, nil
}

// distant is a topic of a node in another process.
type distant struct {
	client client
	id     types.TopicID
	name   string
}

func (d *distant) ID() types.TopicID { return d.id }
func (d *distant) Name() string      { return d.name }

// Append returns an event of which only the topic and the CID are known.
func (d *distant) Append(ctx context.Context, payload []byte, tags ...string) (*types.Event, error) {
	var got publishAnswer
	if err := d.client.call(ctx, "Publish", publishRequest{d.name, []draft{{payload, tags}}}, &got); err != nil {
		return nil, err
	}
	if len(got.CIDs) != 1 {
		return nil, fmt.Errorf("publish: %d CIDs for one event", len(got.CIDs))
	}
	id, err := types.ParseCID(got.CIDs[0])
	if err != nil {
		return nil, fmt.Errorf("publish: %w", err)
	}
	return &types.Event{Body: types.Body{Topic: d.id}, CID: id}, nil
}

// State returns how many events there are, the heads hash, and how many are
// pending.
func (d *distant) State(ctx context.Context) (crdt.State, error) {
	s, err := d.status(ctx)
	return crdt.State{Events: s.Events, HeadsHash: s.HeadsHash, PendingEvents: s.Pending}, err
}

// Wait asks again and again until the status is as it should be, and returns
// what status does.
func (d *distant) Wait(ctx context.Context, until func(node.Status) bool) (node.Status, error) {
	for {
		s, err := d.status(ctx)
		if err != nil || until(s) {
			return s, err
		}
		if !sleep(ctx, lookAgain) {
			return s, ctx.Err()
		}
	}
}

// status returns the state, its reason, and what State does.
func (d *distant) status(ctx context.Context) (node.Status, error) {
	var got statusAnswer
	if err := d.client.call(ctx, "GetTopicStatus", topicRequest{d.name}, &got); err != nil {
		return node.Status{}, err
	}
	s := node.Status{State: got.Status.State, Reason: got.Status.Reason, Events: got.Status.Events, Pending: got.Status.Pending}
	hash, err := hex.DecodeString(got.Status.HeadsHash)
	if err != nil || len(hash) != len(s.HeadsHash) {
		return s, fmt.Errorf("topic status: %q is no heads hash", got.Status.HeadsHash)
	}
	copy(s.HeadsHash[:], hash)
	return s, nil
}
