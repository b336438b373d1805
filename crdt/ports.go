package crdt

import (
	"iter"

	"github.com/ipfs/go-cid"

	"github.com/cairn-p2p/cairn/types"
)

// Store keeps a replica's events. All methods are safe for concurrent use and
// none blocks on the network.
type Store interface {
	// Load returns where a topic stands, with self's tip. A topic that the
	// store does not hold is types.ErrNotFound.
	Load(topic types.TopicID, self types.Publisher) (types.TopicState, error)
	// Heights returns the height of each of cids that is integrated: 0 for one
	// that is an event of another topic. Absent ones are left out.
	Heights(topic types.TopicID, cids []cid.Cid) (map[cid.Cid]uint64, error)
	// HeightsOf is Heights of events, all of the topic: a store may know of most
	// that are new without looking for them.
	HeightsOf(topic types.TopicID, events []*types.Event) (map[cid.Cid]uint64, error)
	// Commit blocks until the batch is durable, all of it, or has failed, none
	// of it; only after types.ErrStore may it be either, and the caller loads
	// the topic again. types.ErrDiskFull and types.ErrConflict change nothing.
	Commit(batch *types.Batch) error
	Reader
}

// Reader reads integrated events. The iterators see the store as it was when
// they began and may be left at any time; they end after the first error.
type Reader interface {
	// Get returns the events, whatever their topic, in the order of cids: nil
	// for one that is not integrated.
	Get(cids []cid.Cid) ([]*types.Event, error)
	// Log yields the topic's delivery log behind a cursor; the zero cursor is
	// its start. A cursor of another log is types.ErrInvalidCursor.
	Log(topic types.TopicID, after types.Cursor) iter.Seq2[types.Entry, error]
	// Query yields the selected events in canonical order. An After that the
	// topic does not hold is types.ErrNotFound.
	Query(topic types.TopicID, q types.Query) iter.Seq2[*types.Event, error]
}

// Broadcaster tells the network of new events and heads.
type Broadcaster interface {
	// Broadcast queues the announcement and returns at once. What it cannot
	// carry in full it carries as heads alone.
	Broadcast(a types.Announcement)
}

// Syncer fetches what is missing. Its methods do not block.
type Syncer interface {
	// Sync starts a sync of the topic, with the peer from first when it is not
	// empty, unless one is under way.
	Sync(topic types.TopicID, from types.PeerID)
	// Changed says that the topic's heads moved, by events of a sync when
	// backfilled is set.
	Changed(topic types.TopicID, headsHash types.Hash, backfilled bool)
}
