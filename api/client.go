package api

import (
	"context"
	"fmt"
	"io"
	"iter"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"connectrpc.com/connect"

	cairnv1 "github.com/cairn-p2p/cairn/api/cairn/v1"
	"github.com/cairn-p2p/cairn/api/cairn/v1/cairnv1connect"
	"github.com/cairn-p2p/cairn/client/pb"
	"github.com/cairn-p2p/cairn/types"
)

// dialTimeout bounds how long a connection to a node may take.
const dialTimeout = 5 * time.Second

// maxResponse is the size in bytes of the largest response that a client
// takes: lists of topics and heads are one response.
const maxResponse = 64 << 20

// Client is the Service of a node in another process. Its errors are those of
// Service, for errors.Is, and ErrUnreachable. It retries nothing. Its methods
// are safe for concurrent use.
type Client struct {
	url  string
	http *http.Transport
	rpc  cairnv1connect.NodeServiceClient

	consumers cairnv1connect.ConsumerServiceClient
}

var _ Service = (*Client)(nil)

// NewClient returns a client of the node whose API is at address: a URL, or
// HOST:PORT. It connects at the first call. The error is
// types.ErrInvalidArgument.
func NewClient(address string) (*Client, error) {
	if !strings.Contains(address, "://") {
		address = "http://" + address
	}
	u, err := url.Parse(address)
	if err != nil || u.Scheme != "http" || u.Hostname() == "" || u.User != nil ||
		u.Path != "" && u.Path != "/" || u.RawQuery != "" || u.Fragment != "" {
		return nil, fmt.Errorf("%w: API address %q: want http://HOST:PORT", types.ErrInvalidArgument, address)
	}
	if port := u.Port(); port != "" {
		if err := checkPort(port); err != nil {
			return nil, fmt.Errorf("%w: API address %q: %w", types.ErrInvalidArgument, address, err)
		}
	}
	protocols := new(http.Protocols)
	protocols.SetUnencryptedHTTP2(true)
	transport := &http.Transport{
		Protocols:   protocols,
		DialContext: (&net.Dialer{Timeout: dialTimeout}).DialContext,
	}
	c := &Client{url: "http://" + u.Host, http: transport}
	c.useProtocol()
	return c, nil
}

// useProtocol sets the client's protocol: without options it is Connect's.
func (c *Client) useProtocol(options ...connect.ClientOption) {
	options = append(options, connect.WithReadMaxBytes(maxResponse),
		connect.WithAcceptCompression("gzip", nil, nil)) // the node is on this machine: compressing takes longer than sending
	c.rpc = cairnv1connect.NewNodeServiceClient(&http.Client{Transport: c.http}, c.url, options...)
	c.consumers = cairnv1connect.NewConsumerServiceClient(&http.Client{Transport: c.http}, c.url, options...)
}

// Close gives up the client's idle connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// fail is the error of a call.
func (c *Client) fail(ctx context.Context, err error) error { return fromWire(ctx, c.url, err) }

// Status implements Service.
func (c *Client) Status(ctx context.Context) (*Status, error) {
	m, err := c.rpc.GetStatus(ctx, &cairnv1.GetStatusRequest{})
	if err != nil {
		return nil, c.fail(ctx, err)
	}
	return statusFromProto(m), nil
}

// Peers implements Service.
func (c *Client) Peers(ctx context.Context) ([]Peer, error) {
	m, err := c.rpc.ListPeers(ctx, &cairnv1.ListPeersRequest{})
	if err != nil {
		return nil, c.fail(ctx, err)
	}
	return each(m.GetPeers(), peerFromProto), nil
}

// Connect implements Service.
func (c *Client) Connect(ctx context.Context, addr string) error {
	_, err := c.rpc.ConnectPeer(ctx, &cairnv1.ConnectPeerRequest{Addr: addr})
	return c.fail(ctx, err)
}

// Join implements Service.
func (c *Client) Join(ctx context.Context, topic string) (*Topic, error) {
	m, err := c.rpc.JoinTopic(ctx, &cairnv1.JoinTopicRequest{Topic: topic})
	if err != nil {
		return nil, c.fail(ctx, err)
	}
	return topicFromProto(m.GetTopic()), nil
}

// Create implements Service.
func (c *Client) Create(ctx context.Context, name, owner string, writers []string) (*Topic, error) {
	m, err := c.rpc.CreateTopic(ctx, &cairnv1.CreateTopicRequest{Name: name, Owner: owner, Writers: writers})
	if err != nil {
		return nil, c.fail(ctx, err)
	}
	return topicFromProto(m.GetTopic()), nil
}

// Leave implements Service.
func (c *Client) Leave(ctx context.Context, topic string) (*Topic, error) {
	m, err := c.rpc.LeaveTopic(ctx, &cairnv1.LeaveTopicRequest{Topic: topic})
	if err != nil {
		return nil, c.fail(ctx, err)
	}
	return topicFromProto(m.GetTopic()), nil
}

// Topics implements Service.
func (c *Client) Topics(ctx context.Context) ([]Topic, error) {
	m, err := c.rpc.ListTopics(ctx, &cairnv1.ListTopicsRequest{})
	if err != nil {
		return nil, c.fail(ctx, err)
	}
	return each(m.GetTopics(), func(t *cairnv1.Topic) Topic { return *topicFromProto(t) }), nil
}

// Heads implements Service.
func (c *Client) Heads(ctx context.Context, topic string) (*Heads, error) {
	m, err := c.rpc.GetHeads(ctx, &cairnv1.GetHeadsRequest{Topic: topic})
	if err != nil {
		return nil, c.fail(ctx, err)
	}
	return headsFromProto(m), nil
}

// TopicStatus implements Service.
func (c *Client) TopicStatus(ctx context.Context, topic string) (*TopicStatus, error) {
	m, err := c.rpc.GetTopicStatus(ctx, &cairnv1.GetTopicStatusRequest{Topic: topic})
	if err != nil {
		return nil, c.fail(ctx, err)
	}
	return topicStatusFromProto(m.GetStatus()), nil
}

// Wait implements Service.
func (c *Client) Wait(ctx context.Context, topic string, until Until) (*TopicStatus, error) {
	m, err := c.rpc.WaitTopic(ctx, &cairnv1.WaitTopicRequest{Topic: topic, Events: until.Events, Synced: until.Synced})
	if err != nil {
		return nil, c.fail(ctx, err)
	}
	return topicStatusFromProto(m.GetStatus()), nil
}

// Publish implements Service.
func (c *Client) Publish(ctx context.Context, topic string, drafts []Draft) ([]string, error) {
	m, err := c.rpc.Publish(ctx, &cairnv1.PublishRequest{Topic: topic, Events: each(drafts, draftToProto)})
	if err != nil {
		return nil, c.fail(ctx, err)
	}
	return m.GetCids(), nil
}

// Event implements Service.
func (c *Client) Event(ctx context.Context, cid string) (*Event, error) {
	m, err := c.rpc.GetEvent(ctx, &cairnv1.GetEventRequest{Cid: cid})
	if err != nil {
		return nil, c.fail(ctx, err)
	}
	e := eventFromProto(m.GetEvent())
	return &e, nil
}

// Query implements Service.
func (c *Client) Query(ctx context.Context, topic string, q Query) iter.Seq2[Event, error] {
	return func(yield func(Event, error) bool) {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		stream, err := c.rpc.Query(ctx, &cairnv1.QueryRequest{Topic: topic, Filter: queryToProto(q)})
		if err != nil {
			yield(Event{}, c.fail(ctx, err))
			return
		}
		defer stream.Close() //nolint:errcheck // everything was read, or nobody wants it
		for stream.Receive() {
			for _, e := range stream.Msg().GetEvents() {
				if !yield(eventFromProto(e), nil) {
					return
				}
			}
		}
		if err := stream.Err(); err != nil {
			yield(Event{}, c.fail(ctx, err))
		}
	}
}

// String returns the URL of the node's API.
func (c *Client) String() string { return c.url }

// Deliver implements Service, so that the client is a client.Broker.
func (c *Client) Deliver(ctx context.Context, m *pb.Request) iter.Seq2[*pb.Response, error] {
	return func(yield func(*pb.Response, error) bool) {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		stream, err := c.rpc.Deliver(ctx, m)
		if err != nil {
			yield(nil, c.fail(ctx, err))
			return
		}
		defer stream.Close() //nolint:errcheck // the answer was read, or nobody wants it
		for stream.Receive() {
			if !yield(stream.Msg(), nil) {
				return
			}
		}
		if err := stream.Err(); err != nil {
			yield(nil, c.fail(ctx, err))
		}
	}
}

// Subscribe implements Service. A node that stops ends it with types.ErrClosed
// or ErrUnreachable; subscribe again from the last cursor.
func (c *Client) Subscribe(ctx context.Context, topic, from string) iter.Seq2[Delivery, error] {
	return func(yield func(Delivery, error) bool) {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		stream, err := c.rpc.Subscribe(ctx, &cairnv1.SubscribeRequest{Topic: topic, From: from})
		if err != nil {
			yield(Delivery{}, c.fail(ctx, err))
			return
		}
		defer stream.Close() //nolint:errcheck // it never ends by itself
		for stream.Receive() {
			m := stream.Msg()
			if !yield(Delivery{Event: eventFromProto(m.GetEvent()), Cursor: m.GetCursor()}, nil) {
				return
			}
		}
		err = stream.Err()
		if err == nil { // a node ends a subscription only with an error
			err = io.ErrUnexpectedEOF
		}
		yield(Delivery{}, c.fail(ctx, err))
	}
}
