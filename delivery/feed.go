package delivery

import (
	"slices"
	"sync"

	"github.com/cairn-p2p/cairn/types"
)

// What the consumers of a topic that are in use share of its log: recent
// pieces, decoded once. Ten that read at one pace cost hardly more than one.
const (
	pieces      = 16
	pieceEvents = 256
	pieceBytes  = 256 << 10
)

// feed reads one topic's log for its consumers.
type feed struct {
	users int // windows; guarded by the set

	mu     sync.Mutex
	pieces []*piece // the last read last
}

// piece is a part of a log that was read, or is being read.
type piece struct {
	after  types.Cursor
	ready  chan struct{} // closes when the rest is there
	events []logged
	err    error
}

// logged is an event with its place in the log.
type logged struct {
	*types.Event
	cursor types.Cursor
	reason string // why the validator suppresses it; empty until it has looked
}

// read returns some events behind a cursor, none at the log's end. A cursor
// that does not fit the log is types.ErrInvalidCursor. The caller must not
// change them.
func (f *feed) read(log Log, after types.Cursor) ([]logged, error) {
	f.mu.Lock()
	for _, p := range slices.Backward(f.pieces) {
		if p.after == after {
			f.mu.Unlock()
			<-p.ready
			return p.events, p.err
		}
		if events := p.behind(after); events != nil {
			f.mu.Unlock()
			return events, nil
		}
	}
	p := &piece{after: after, ready: make(chan struct{})}
	if len(f.pieces) == pieces {
		f.pieces = slices.Delete(f.pieces, 0, 1)
	}
	f.pieces = append(f.pieces, p)
	f.mu.Unlock()

	p.events, p.err = readPiece(log, after)

	f.mu.Lock()
	if len(p.events) == 0 { // the log may grow
		f.pieces = slices.DeleteFunc(f.pieces, func(other *piece) bool { return other == p })
	}
	close(p.ready)
	f.mu.Unlock()
	return p.events, p.err
}

// behind returns the events of a piece that was read behind a position inside
// it; nil if it has none.
func (p *piece) behind(c types.Cursor) []logged {
	select {
	case <-p.ready:
	default:
		return nil
	}
	if c.Number <= p.after.Number || c.Number-p.after.Number >= uint64(len(p.events)) {
		return nil
	}
	i := c.Number - p.after.Number
	if p.events[i-1].cursor != c {
		return nil
	}
	return p.events[i:]
}

func readPiece(log Log, after types.Cursor) ([]logged, error) {
	var events []logged
	size := 0
	for entry, err := range log.Log(after) {
		if err != nil {
			return nil, err
		}
		e, err := entry.Event()
		if err != nil {
			return nil, corrupt("event %d of the log: %w", entry.Cursor.Number, err)
		}
		events = append(events, logged{Event: e, cursor: entry.Cursor})
		if size += e.Size(); len(events) >= pieceEvents || size >= pieceBytes {
			break
		}
	}
	return events, nil
}
