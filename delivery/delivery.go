package delivery

import (
	"errors"
	"fmt"
	"iter"
	"time"

	"github.com/ipfs/go-cid"

	"github.com/cairn-p2p/cairn/types"
)

// Errors that callers branch on, beside those of types. Test for them with
// errors.Is.
var (
	// ErrDiffers: a consumer of the name exists, with other settings.
	ErrDiffers = errors.New("consumer exists with other settings")
	// ErrToken: a token was refused. The error is a *TokenError too.
	ErrToken = errors.New("token refused")
	// ErrTooMany: the node has MaxConsumers.
	ErrTooMany = errors.New("too many consumers")
)

// Limits of consumers, beside those of Settings.
const (
	// MaxConsumers bounds the consumers of a node. An idle one with a small filter
	// costs less than 2 KB, so all of them less than 20 MB; the largest filter 14 KB more.
	MaxConsumers = 10_000
	// MaxBatch bounds the events that Next returns; it is where a commit for
	// each batch has stopped to cost anything.
	MaxBatch = 1000
	// MaxBatchSize is the size in bytes at which a batch ends, and so its memory.
	MaxBatchSize = 1 << 20
	// MaxAhead bounds the log entries above the ack floor that are looked at:
	// the memory of one consumer.
	MaxAhead = 65_536
	// MaxReason is the length in bytes at which a reason is cut off.
	MaxReason = 256
	// MaxDelay bounds AckWait, BackOff and the delay of Nak.
	MaxDelay = 7 * 24 * time.Hour
)

// Log is one topic's delivery log. crdt.Replica is one.
type Log interface {
	// Log yields the log behind a cursor, up to its end at this moment. A cursor
	// that does not fit is types.ErrInvalidCursor, before anything is yielded.
	Log(after types.Cursor) iter.Seq2[types.Entry, error]
	// Get returns events in the order of cids, nil for one that is not there.
	Get(cids ...cid.Cid) ([]*types.Event, error)
	// End returns the position after the last event.
	End() (types.Cursor, error)
	// Committed returns a channel that closes after the next commit; now and
	// then it may close without one.
	Committed() <-chan struct{}
}

// Records keeps what consumers remember.
type Records interface {
	// Meta returns the value under key, nil when there is none.
	Meta(key string) ([]byte, error)
	// Metas returns up to limit records whose keys have the prefix and are
	// greater than after, by key.
	Metas(prefix, after string, limit int) ([]types.Record, error)
	// SetMetas writes all the records or, unless the error is types.ErrStore,
	// none; they are durable when it returns. Concurrent calls share the cost.
	SetMetas(records ...types.Record) error
}

// Validator is layer 2 of validity, for one topic. It is deterministic, does not
// block, and may be called concurrently.
type Validator interface {
	// Check returns "" for an event that is to be delivered here; otherwise the
	// reason why it is suppressed, which is cut off at MaxReason bytes.
	Check(e *types.Event) (reason string)
}

// Delivery is an event that was handed out.
type Delivery struct {
	*types.Event
	Cursor types.Cursor // the position in the log after the event
	Count  int          // 1 on the first delivery
	Token  Token        // what settles it
}

// Info says where a consumer stands.
type Info struct {
	Name        string
	TopicID     types.TopicID
	AckFloor    types.Cursor // all before it is settled or does not match
	Pending     int          // delivered and not settled
	Waiting     int          // held back by CausalAcks
	Redelivered int          // of the pending, delivered more than once
	Dead        uint64       // dead letters
	Suppressed  uint64       // events that the validator suppressed
	Full        bool         // no more of the log is looked at until an event is settled: see MaxAhead
	Lag         uint64       // log entries not yet scanned, and those scanned or requeued that wait for delivery
}

// Dead is an event that was given up.
type Dead struct {
	CID    cid.Cid
	Cursor types.Cursor // the position in the log after the event
	Count  int          // how often it was delivered
	Reason string
	Time   time.Time // when it was given up
}

// Suppressed is an event that the validator keeps from being delivered.
type Suppressed struct {
	CID    cid.Cid
	Cursor types.Cursor // the position in the log after the event
	Reason string
}

// Reasons why a token is refused.
const (
	// ReasonStale: the event was delivered again since, or the consumer reset.
	ReasonStale = "stale"
	// ReasonSettled: the event is acknowledged, terminated or dead already.
	ReasonSettled = "settled"
	// ReasonUnknown: this consumer never gave out the token.
	ReasonUnknown = "unknown"
)

// TokenError says why a token was refused; it is an ErrToken. Where several
// are refused, the error is an errors.Join of theirs.
type TokenError struct {
	Token  Token
	Reason string // ReasonStale, ReasonSettled or ReasonUnknown
}

func (e *TokenError) Error() string {
	return fmt.Sprintf("%v: %s: %s", ErrToken, e.Token, e.Reason)
}

// Unwrap makes a TokenError an ErrToken.
func (e *TokenError) Unwrap() error { return ErrToken }
