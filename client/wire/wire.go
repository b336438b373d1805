// Package wire has what both ends of /cairn/deliver/1 share: its limits and its
// frames.
package wire

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/cairn-p2p/cairn/client/pb"
	"github.com/cairn-p2p/cairn/types"
)

// Protocol is the id of the stream protocol.
const Protocol = "/cairn/deliver/1"

// Limits of the protocol: a message that breaks one is malformed.
const (
	// MaxFrame is the size in bytes of the largest message either way: it holds
	// any event.
	MaxFrame = types.MaxFrame
	// MaxTags and MaxPublishers bound a filter.
	MaxTags, MaxPublishers = 64, 256
	// MaxAsked bounds the events of an EventsRequest: those that one event can
	// link to, and as many again for a chain of them.
	MaxAsked = 2 * types.MaxLinks
	// MaxChain bounds the events of a SubmitRequest. One signature and one commit
	// for more gains next to nothing.
	MaxChain = 256
	// MaxHeads bounds the heads of an answer; of more the highest are told.
	MaxHeads = 1 << 16
	// MaxHeadsFrame, MaxEntries and MaxMissing bound what one frame lists.
	MaxHeadsFrame, MaxEntries, MaxMissing = 4096, 256, 64
	// MaxReason is the length in bytes to which an error's text is cut.
	MaxReason = 200
	// EntryRoom is what an entry takes in a frame beside body and witness, and
	// FrameRoom what a frame takes beside its entries.
	EntryRoom, FrameRoom = 48, 256
)

// Times of the protocol.
const (
	OpenTimeout  = 10 * time.Second // to open a stream
	FrameTimeout = 20 * time.Second // to read a request or the first frame of an answer, or to write a request
	// SubmitTimeout bounds what a broker takes to store a chain.
	SubmitTimeout = 30 * time.Second
)

// ErrMalformed: bytes that are no message of the protocol, or one that breaks a
// limit.
var ErrMalformed = errors.New("malformed message")

// Reader reads frames from a stream. It is for one goroutine.
type Reader struct{ r *bufio.Reader }

// NewReader returns a Reader of r, with a buffer of 16 KiB.
func NewReader(r io.Reader) *Reader { return &Reader{bufio.NewReaderSize(r, 16<<10)} }

// Read reads the next frame into m. io.EOF means that the stream ended between
// frames; ErrMalformed, that what came is no frame.
func (r *Reader) Read(m proto.Message) error {
	size, err := r.length()
	if err != nil {
		return err
	}
	b := make([]byte, size)
	if _, err := io.ReadFull(r.r, b); err != nil {
		return fmt.Errorf("read frame of %d bytes: %w", size, noEOF(err))
	}
	if err := (proto.UnmarshalOptions{DiscardUnknown: true}).Unmarshal(b, m); err != nil {
		return fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	return nil
}

// length reads the varint before a frame and holds it to the limit, before
// anything of that size is allocated.
func (r *Reader) length() (int, error) {
	var size uint64
	for i := 0; ; i++ {
		c, err := r.r.ReadByte()
		if err != nil {
			if i == 0 {
				return 0, err
			}
			return 0, fmt.Errorf("read length: %w", noEOF(err))
		}
		size |= uint64(c&0x7f) << (7 * i)
		if c < 0x80 {
			if i > 0 && c == 0 {
				return 0, fmt.Errorf("%w: length is not a canonical varint", ErrMalformed)
			}
			break
		}
		if i == 3 { // 28 bits hold the limit
			return 0, fmt.Errorf("%w: length of more than 4 bytes", ErrMalformed)
		}
	}
	if size > MaxFrame {
		return 0, fmt.Errorf("%w: frame of %d bytes, limit %d", ErrMalformed, size, MaxFrame)
	}
	return int(size), nil
}

func noEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// Encode returns m with its length before it. A message above MaxFrame is a
// mistake of this program.
func Encode(m proto.Message) ([]byte, error) {
	size := proto.Size(m)
	if size > MaxFrame {
		return nil, fmt.Errorf("message of %d bytes, limit %d", size, MaxFrame)
	}
	b := binary.AppendUvarint(make([]byte, 0, size+binary.MaxVarintLen32), uint64(size))
	return proto.MarshalOptions{UseCachedSize: true}.MarshalAppend(b, m)
}

// Position returns the message of a cursor; nil for the start.
func Position(c types.Cursor) *pb.Position {
	if c == (types.Cursor{}) {
		return nil
	}
	return &pb.Position{Number: c.Number, Hash: c.Hash[:]}
}

// Cursor reads a position. The error is ErrMalformed.
func Cursor(p *pb.Position) (types.Cursor, error) {
	if p == nil {
		return types.Cursor{}, nil
	}
	if len(p.GetHash()) != len(types.Cursor{}.Hash) {
		return types.Cursor{}, fmt.Errorf("%w: position with a hash of %d bytes", ErrMalformed, len(p.GetHash()))
	}
	return types.Cursor{Number: p.GetNumber(), Hash: [8]byte(p.GetHash())}, nil
}
