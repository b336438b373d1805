package api

import (
	"context"
	"iter"
	"time"

	"github.com/cairn-p2p/cairn/client/pb"
)

// Service is what a node answers. Topics, CIDs, cursors, peers and publishers
// are text, which the service checks: malformed is types.ErrInvalidArgument, or
// types.ErrInvalidCursor for a cursor. topic is a topic's name, or "id:" and
// its id; where a method does not say that it joins the topic, one that the
// node does not hold is types.ErrNotFound. Methods are safe for concurrent use
// and end with ctx.
type Service interface {
	ConsumerService

	// Status describes the node.
	Status(ctx context.Context) (*Status, error)
	// Peers returns the connected peers, by id.
	Peers(ctx context.Context) ([]Peer, error)
	// Connect returns once a connection to the peer at a multiaddress stands.
	Connect(ctx context.Context, addr string) error

	// Join begins to replicate a topic, durably. Joining again does nothing.
	Join(ctx context.Context, topic string) (*Topic, error)
	// Create makes a new restricted topic, called name, to which only owner and
	// writers publish, and joins it. An empty owner is the node's own key. Only
	// "id:" and the topic's id refers to it.
	Create(ctx context.Context, name, owner string, writers []string) (*Topic, error)
	// Leave stops replicating a topic, durably. Its events stay.
	Leave(ctx context.Context, topic string) (*Topic, error)
	// Topics returns the topics that the node holds, by name, then the
	// unsupported ones that it knows of, by id.
	Topics(ctx context.Context) ([]Topic, error)
	// Heads returns a topic's heads.
	Heads(ctx context.Context, topic string) (*Heads, error)
	// TopicStatus says whether a topic is in sync, and if not, why. It does so
	// for the unsupported ones of Topics too, as no other method does.
	TopicStatus(ctx context.Context, topic string) (*TopicStatus, error)
	// Wait blocks until a topic satisfies until, and returns its status.
	Wait(ctx context.Context, topic string, until Until) (*TopicStatus, error)

	// Publish joins a topic, appends an event for each draft, each behind the
	// one before, and returns their CIDs once all are durable. Drafts outside
	// the limits are refused before any is appended, and who is no writer of
	// the topic before it is joined. After another error any
	// first part of them may have been appended. It keeps the payloads.
	//
	// It fails with types.ErrInvalidArgument, ErrNotWriter, ErrDiskFull,
	// ErrRolledBack, ErrForkedKey, ErrStore and ErrClosed.
	Publish(ctx context.Context, topic string, drafts []Draft) ([]string, error)
	// Event returns an event that is integrated on the node; types.ErrNotFound
	// otherwise.
	Event(ctx context.Context, cid string) (*Event, error)
	// Query yields the selected events of a topic in canonical order, as they
	// are when it begins, and ends after the first error: types.ErrNotFound
	// for a q.After that the topic does not hold.
	Query(ctx context.Context, topic string, q Query) iter.Seq2[Event, error]
	// Subscribe joins a topic and yields its delivery log, every event once,
	// after its links and once it is durable; then it waits for more. from is
	// FromStart, FromNow or the cursor of the last event that was seen. What it
	// yields first has no event, only the cursor where the subscription begins,
	// which is empty for FromStart. It ends with ctx, whose error it yields,
	// and with types.ErrInvalidCursor or types.ErrClosed.
	Subscribe(ctx context.Context, topic, from string) iter.Seq2[Delivery, error]
	// Deliver answers a request of /cairn/deliver/1, as node.Node.Deliver does. It
	// joins no topic.
	Deliver(ctx context.Context, m *pb.Request) iter.Seq2[*pb.Response, error]
}

// Where a subscription begins, other than at a cursor.
const (
	FromStart = "start" // with the first event of the delivery log
	FromNow   = "now"   // with the next one
)

// Draft is an event to publish.
type Draft struct {
	Payload []byte   // at most types.MaxPayload
	Tags    []string // at most types.MaxTags, in any order
}

// Until is what Service.Wait waits for: all of it.
type Until struct {
	Events uint64 // the topic has at least so many events
	Synced bool   // its state is synced
}

// Query selects events; the zero Query selects all.
type Query struct {
	After     string // only events behind this CID in the order asked for
	Reverse   bool   // descending canonical order
	Since     time.Time
	Until     time.Time // exclusive; zero: no bound, as for Since
	Tag       string
	Publisher string
	Limit     uint64 // 0: all
}
