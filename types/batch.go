package types

import (
	"github.com/ipfs/go-cid"
)

// Head is an integrated event that no integrated event links to.
type Head struct {
	CID    cid.Cid
	Height uint64
}

// Tip is a publisher's event with the greatest seq in a topic. Seq 0 means
// that there is none.
type Tip struct {
	CID    cid.Cid
	Seq    uint64
	Height uint64
}

// Batch is what one commit changes in one topic: all of it or nothing.
type Batch struct {
	Topic TopicID
	// First is the number that the first event takes in the delivery log: one
	// more than the events before it. A store refuses a batch that leaves a gap
	// or overwrites.
	First     uint64
	Events    []*Event // in log order: no event before its links
	AddHeads  []Head
	DropHeads []cid.Cid
}

// Size is the number of bytes that the batch's events take.
func (b *Batch) Size() int {
	size := 0
	for _, e := range b.Events {
		size += e.Size()
	}
	return size
}

// TopicState is what a replica starts from.
type TopicState struct {
	Events uint64      // length of the delivery log
	End    Cursor      // the position after its last event
	Log    RunningHash // at End
	Heads  []Head      // sorted by the bytes of the CID
	Tip    Tip         // of the publisher that was asked for
}

// TopicInfo describes a topic in the store.
type TopicInfo struct {
	Genesis *Genesis
	Joined  bool // false after leaving: the data stays
	Events  uint64
	Heads   []Head // sorted by the bytes of the CID
}

// Entry is one event of a delivery log, as stored. It owns its bytes.
type Entry struct {
	Cursor  Cursor // the position after the event; its number is the event's
	Body    []byte
	Witness []byte
}

// CID computes the id of the entry's event.
func (e Entry) CID() cid.Cid { return SumCID(e.Body) }

// Event decodes the entry; the event keeps its bytes. The error is
// ErrInvalidEvent, which for an entry of a sound store cannot be.
func (e Entry) Event() (*Event, error) { return DecodeEvent(e.Body, e.Witness) }

// Query selects events of a topic. The zero Query selects all, in canonical
// order.
type Query struct {
	After     cid.Cid    // only events behind this one in the order asked for; Undef: all
	Reverse   bool       // descending canonical order
	Since     int64      // only events with Time >= Since, Unix nanoseconds
	Until     int64      // only events with Time < Until; 0: no bound
	Tag       string     // only events with this tag; empty: all
	Publisher *Publisher // only this publisher's events; nil: all
	Limit     int        // at most so many; 0: all
}

// Announcement is what a replica tells the network.
type Announcement struct {
	Genesis   *Genesis
	Events    []*Event  // new events, in log order; may be empty
	Heads     []cid.Cid // some of the heads, sorted by bytes, at most MaxLinks
	HeadsHash Hash      // of all heads
}
