package api

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"iter"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/cairn-p2p/cairn/client/pb"
	"github.com/cairn-p2p/cairn/crdt"
	"github.com/cairn-p2p/cairn/node"
	"github.com/cairn-p2p/cairn/types"
)

// Local is the Service of a node in this process.
type Local struct {
	node    *node.Node
	version string
}

var _ Service = (*Local)(nil)

// NewLocal returns the service of n, whose release is version. It does not own
// n.
func NewLocal(n *node.Node, version string) *Local { return &Local{node: n, version: version} }

var _ Operator = (*Local)(nil)

// Gatherer implements Operator.
func (l *Local) Gatherer() prometheus.Gatherer { return l.node.Gatherer() }

// Checks implements Operator.
func (l *Local) Checks() []node.Check { return l.node.Checks() }

// Status implements Service.
func (l *Local) Status(context.Context) (*Status, error) {
	key := l.node.Publisher()
	return &Status{
		PeerID:        l.node.ID().String(),
		Version:       l.version,
		Network:       l.node.Network(),
		Role:          string(l.node.Role()),
		Addrs:         list(l.node.Addrs()),
		Peers:         len(l.node.Peers()),
		Topics:        len(l.node.Topics()),
		UptimeSeconds: int64(l.node.Uptime() / time.Second),
		PublicKey:     key[:],
	}, nil
}

// Peers implements Service.
func (l *Local) Peers(context.Context) ([]Peer, error) {
	peers := []Peer{}
	for _, p := range l.node.Peers() {
		peers = append(peers, Peer{
			Peer:      p.ID.String(),
			Addrs:     list(p.Addrs),
			Direction: p.Direction,
			LatencyMS: (p.Latency + time.Millisecond - 1).Milliseconds(), // 0 is for unknown
			Topics:    p.Topics,

			Offences:        p.Offence.Count,
			LastOffence:     p.Offence.Reason,
			LastOffenceTime: Time{p.Offence.Last},
		})
	}
	return peers, nil
}

// Connect implements Service.
func (l *Local) Connect(ctx context.Context, addr string) error { return l.node.Connect(ctx, addr) }

// Join implements Service.
func (l *Local) Join(ctx context.Context, topic string) (*Topic, error) {
	t, err := l.node.Join(ctx, topic)
	if err != nil {
		return nil, err
	}
	return describe(ctx, t)
}

// Create implements Service.
func (l *Local) Create(ctx context.Context, name, owner string, writers []string) (*Topic, error) {
	w, err := ParseWriters(owner, writers)
	if err != nil {
		return nil, err
	}
	t, err := l.node.Create(ctx, name, w.Owner, w.Writers)
	if err != nil {
		return nil, err
	}
	return describe(ctx, t)
}

// Writers are who may publish to a restricted topic.
type Writers struct {
	Owner   types.Publisher // zero: the node's own key
	Writers []types.Publisher
}

// ParseWriters reads an owner, which may be empty, and writers. The error is
// types.ErrInvalidArgument.
func ParseWriters(owner string, writers []string) (Writers, error) {
	var w Writers
	if owner != "" {
		p, err := types.ParsePublisher(owner)
		if err != nil {
			return w, fmt.Errorf("owner: %w", err)
		}
		w.Owner = p
	}
	for _, text := range writers {
		p, err := types.ParsePublisher(text)
		if err != nil {
			return w, fmt.Errorf("writer: %w", err)
		}
		w.Writers = append(w.Writers, p)
	}
	return w, nil
}

// Leave implements Service.
func (l *Local) Leave(ctx context.Context, topic string) (*Topic, error) {
	if err := l.node.Leave(ctx, topic); err != nil {
		return nil, err
	}
	t, err := l.node.Find(topic)
	if err != nil {
		return nil, err
	}
	return describe(ctx, t)
}

// Topics implements Service.
func (l *Local) Topics(ctx context.Context) ([]Topic, error) {
	topics := []Topic{}
	for _, t := range l.node.Topics() {
		row, err := describe(ctx, t)
		if err != nil {
			return nil, err
		}
		topics = append(topics, *row)
	}
	for _, u := range l.node.Unsupported() {
		topics = append(topics, Topic{TopicID: u.ID.String(), State: u.Status().State, Heads: []string{}})
	}
	return topics, nil
}

// Heads implements Service.
func (l *Local) Heads(ctx context.Context, topic string) (*Heads, error) {
	t, err := l.node.Find(topic)
	if err != nil {
		return nil, err
	}
	s, err := t.State(ctx)
	if err != nil {
		return nil, fmt.Errorf("heads of %q: %w", t.Name(), err)
	}
	return &Heads{
		Topic:     t.Name(),
		TopicID:   t.ID().String(),
		Heads:     headTexts(s.Heads),
		HeadsHash: hex.EncodeToString(s.HeadsHash[:]),
		Events:    s.Events,
	}, nil
}

// TopicStatus implements Service.
func (l *Local) TopicStatus(ctx context.Context, topic string) (*TopicStatus, error) {
	if u, ok := l.node.FindUnsupported(topic); ok {
		return statusRow("", u.ID, u.Status()), nil
	}
	t, err := l.node.Find(topic)
	if err != nil {
		return nil, err
	}
	s, err := t.Status(ctx)
	if err != nil {
		return nil, err
	}
	return statusRow(t.Name(), t.ID(), s), nil
}

// Wait implements Service.
func (l *Local) Wait(ctx context.Context, topic string, until Until) (*TopicStatus, error) {
	t, err := l.node.Find(topic)
	if err != nil {
		return nil, err
	}
	s, err := t.Wait(ctx, func(s node.Status) bool {
		return s.Events >= until.Events && (!until.Synced || s.State == node.Synced)
	})
	if err != nil {
		return nil, fmt.Errorf("wait for %q, which has %d events and is %s: %w", t.Name(), s.Events, s.State, err)
	}
	return statusRow(t.Name(), t.ID(), s), nil
}

// Publish implements Service.
func (l *Local) Publish(ctx context.Context, topic string, drafts []Draft) ([]string, error) {
	batch := make([]crdt.Draft, len(drafts))
	for i, d := range drafts {
		if err := d.Check(); err != nil {
			return nil, fmt.Errorf("draft %d: %w", i, err)
		}
		batch[i] = crdt.Draft{Payload: d.Payload, Tags: d.Tags}
	}
	t, err := l.node.JoinToPublish(ctx, topic)
	if err != nil {
		return nil, err
	}
	if len(batch) == 0 {
		return []string{}, nil
	}
	events, err := t.AppendBatch(ctx, batch)
	if err != nil {
		return nil, err
	}
	cids := make([]string, len(events))
	for i, e := range events {
		cids[i] = e.CID.String()
	}
	return cids, nil
}

// Check holds a draft to the limits. The error is types.ErrInvalidArgument.
func (d Draft) Check() error {
	if len(d.Payload) > types.MaxPayload {
		return fmt.Errorf("%w: payload of %d bytes, limit %d", types.ErrInvalidArgument, len(d.Payload), types.MaxPayload)
	}
	tags := slices.Clone(d.Tags)
	slices.Sort(tags)
	if err := types.CheckTags(slices.Compact(tags)); err != nil {
		return fmt.Errorf("%w: %w", types.ErrInvalidArgument, err)
	}
	return nil
}

// Event implements Service.
func (l *Local) Event(_ context.Context, id string) (*Event, error) {
	c, err := types.ParseCID(id)
	if err != nil {
		return nil, err
	}
	e, t, err := l.node.Get(c)
	if err != nil {
		return nil, err
	}
	row := (&eventRows{topic: t.Name()}).row(e)
	return &row, nil
}

// Query implements Service.
func (l *Local) Query(ctx context.Context, topic string, q Query) iter.Seq2[Event, error] {
	return func(yield func(Event, error) bool) {
		selected, err := q.parse()
		if err != nil {
			yield(Event{}, err)
			return
		}
		t, err := l.node.Find(topic)
		if err != nil {
			yield(Event{}, err)
			return
		}
		name := t.Name()
		rows := eventRows{topic: name}
		for e, err := range t.Query(selected) {
			if err == nil {
				err = ctx.Err()
			}
			if err != nil {
				yield(Event{}, fmt.Errorf("query %q: %w", name, err))
				return
			}
			if !yield(rows.row(e), nil) {
				return
			}
		}
	}
}

// Subscribe implements Service.
func (l *Local) Subscribe(ctx context.Context, topic, from string) iter.Seq2[Delivery, error] {
	return func(yield func(Delivery, error) bool) {
		t, begin, err := l.subscription(ctx, topic, from)
		if err != nil {
			yield(Delivery{}, err)
			return
		}
		first := Delivery{}
		if begin != (types.Cursor{}) {
			first.Cursor = begin.String()
		}
		if !yield(first, nil) {
			return
		}
		rows := eventRows{topic: t.Name()}
		for d, err := range t.Subscribe(ctx, begin) {
			if err != nil {
				yield(Delivery{}, fmt.Errorf("subscribe to %q: %w", t.Name(), err))
				return
			}
			if !yield(Delivery{Event: rows.row(d.Event), Cursor: d.Cursor.String()}, nil) {
				return
			}
		}
		yield(Delivery{}, context.Cause(ctx))
	}
}

// errEnough ends an answer whose reader wants no more of it.
var errEnough = errors.New("enough")

// Deliver implements Service.
func (l *Local) Deliver(ctx context.Context, m *pb.Request) iter.Seq2[*pb.Response, error] {
	return func(yield func(*pb.Response, error) bool) {
		err := l.node.Deliver(ctx, m, func(r *pb.Response) error {
			if !yield(r, nil) {
				return errEnough
			}
			return nil
		})
		if err != nil && !errors.Is(err, errEnough) {
			yield(nil, err)
		}
	}
}

// subscription joins the topic and finds where in its log to begin.
func (l *Local) subscription(ctx context.Context, topic, from string) (*node.Topic, types.Cursor, error) {
	begin, err := parseFrom(from)
	if err != nil {
		return nil, begin, err
	}
	if begin != (types.Cursor{}) {
		if err := l.checkCursor(topic, begin); err != nil { // before the topic is joined
			return nil, begin, err
		}
	}
	t, err := l.node.Join(ctx, topic)
	if err == nil && from == FromNow {
		begin, err = t.End()
	}
	return t, begin, err
}

// checkCursor reports whether begin is a position in the log of a topic that is
// held here.
func (l *Local) checkCursor(topic string, begin types.Cursor) error {
	t, err := l.node.Find(topic)
	if errors.Is(err, types.ErrNotFound) {
		return fmt.Errorf("%w: topic %q has no log here", types.ErrInvalidCursor, topic)
	}
	if err != nil {
		return err
	}
	return t.CheckCursor(begin)
}

// CheckFrom reports whether a subscription can begin at from, as far as that can
// be said without a node. The error is types.ErrInvalidCursor.
func CheckFrom(from string) error {
	_, err := parseFrom(from)
	return err
}

// parseFrom returns the cursor in from, or the zero one for FromStart and
// FromNow.
func parseFrom(from string) (types.Cursor, error) {
	if from == FromStart || from == FromNow {
		return types.Cursor{}, nil
	}
	c, err := types.ParseCursor(from)
	if err == nil && c == (types.Cursor{}) { // no node gives this one
		err = fmt.Errorf("%w: %q is of no log", types.ErrInvalidCursor, from)
	}
	return c, err
}
