package syncer

import (
	"context"
	"iter"

	"github.com/ipfs/go-cid"

	"github.com/cairn-p2p/cairn/trie"
	"github.com/cairn-p2p/cairn/types"
)

// Heads says where a replica stands. Its fields are of one moment.
type Heads struct {
	Genesis *types.Genesis
	Heads   []types.Head // the first of them by the bytes of the CID, or all; read only
	Count   int          // of all heads
	Hash    types.Hash   // of all heads
	Events  uint64       // length of the delivery log
	End     types.Cursor // the position after its last event
	Paused  bool         // it serves, but takes nothing new
}

// Local is what a Syncer needs of the node around it. All methods are safe for
// concurrent use; only Verify and Integrate may block for long.
type Local interface {
	// LogID names this node's delivery logs.
	LogID() types.LogID
	// Heads returns where the topic stands, with up to limit of its heads;
	// types.ErrNotFound if it is not replicated here.
	Heads(topic types.TopicID, limit int) (Heads, error)
	// HeadsTrie calls look with the trie over the topic's heads: the digests in
	// their CIDs, with zero values. look is quick, changes nothing, and does not
	// keep the trie. types.ErrNotFound as for Heads.
	HeadsTrie(topic types.TopicID, look func(*trie.Trie)) error
	// Get returns the integrated events of the topic in the order of cids: nil
	// for one that is absent or of another topic. types.ErrNotFound if the
	// topic is not replicated here; so do Log, At and Missing.
	Get(topic types.TopicID, cids []cid.Cid) ([]*types.Event, error)
	// Log yields the topic's delivery log behind a cursor, as it was when the
	// iteration began; the zero cursor is its start. A cursor of another log is
	// types.ErrInvalidCursor.
	Log(topic types.TopicID, after types.Cursor) iter.Seq2[types.Entry, error]

	// At returns the CIDs of the events with these numbers in the topic's
	// delivery log; types.ErrNotFound if there is none with one of them.
	At(topic types.TopicID, numbers []uint64) ([]cid.Cid, error)

	// Missing returns those of cids that are not integrated in the topic.
	Missing(topic types.TopicID, cids []cid.Cid) ([]cid.Cid, error)
	// MissingOf is Missing of events, all of the topic, in their order.
	MissingOf(topic types.TopicID, events []*types.Event) ([]*types.Event, error)
	// Verify checks the witness of each event and that its publisher may
	// publish. It returns one error for each event, nil for a good one:
	// types.ErrBadWitness, types.ErrNotWriter and types.ErrInvalidEvent blame
	// the event, anything else is a failure here.
	Verify(ctx context.Context, events []*types.Event) []error
	// Integrate integrates verified events of the topic, no event before its
	// links, and blocks until they are durable. Those already integrated are
	// skipped. It stops at the first that it cannot integrate, with those
	// before it durable: types.ErrUnlinked and types.ErrInvalidEvent blame the
	// event, anything else is a failure here.
	Integrate(ctx context.Context, topic types.TopicID, from types.PeerID, events []*types.Event) error

	// Meta returns the small durable value of key, nil if there is none.
	Meta(key string) ([]byte, error)
	// SetMeta makes value durable as key's.
	SetMeta(key string, value []byte) error
}
