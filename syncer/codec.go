package syncer

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/cairn-p2p/cairn/syncer/pb"
)

// readBuffer is the size of a stream's read buffer: many small frames a read.
const readBuffer = 16 << 10

// frameReader reads frames from a stream. It is for one goroutine.
type frameReader struct {
	r     *bufio.Reader
	limit int // size in bytes of the largest frame accepted
	read  int // bytes read so far, lengths included
}

func newFrameReader(r io.Reader, limit int) *frameReader {
	return &frameReader{r: bufio.NewReaderSize(r, readBuffer), limit: limit}
}

// next returns the next frame, which the caller owns. io.EOF means that the
// stream ended between frames; an offence, that what came is no frame.
func (f *frameReader) next() ([]byte, error) {
	size, err := f.length()
	if err != nil {
		return nil, err
	}
	b := make([]byte, size)
	n, err := io.ReadFull(f.r, b)
	f.read += n
	if err != nil {
		return nil, fmt.Errorf("read frame of %d bytes: %w", size, noEOF(err))
	}
	return b, nil
}

// length reads the varint before a frame and holds it to the limit, before
// anything of that size is allocated.
func (f *frameReader) length() (int, error) {
	var size uint64
	for i := 0; ; i++ {
		c, err := f.r.ReadByte()
		if err != nil {
			if i == 0 {
				return 0, err
			}
			return 0, fmt.Errorf("read length: %w", noEOF(err))
		}
		f.read++
		size |= uint64(c&0x7f) << (7 * i)
		if c < 0x80 {
			if i > 0 && c == 0 {
				return 0, offencef("length is not a canonical varint")
			}
			break
		}
		if i == 3 { // 28 bits hold every limit
			return 0, offencef("length of more than 4 bytes, limit %d", f.limit)
		}
	}
	if size > uint64(f.limit) {
		return 0, offencef("frame of %d bytes, limit %d", size, f.limit)
	}
	return int(size), nil
}

func noEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// encodeFrame returns m with its length before it. A message larger than limit
// is a mistake of this program.
func encodeFrame(m proto.Message, limit int) ([]byte, error) {
	size := proto.Size(m)
	if size > limit {
		return nil, fmt.Errorf("message of %d bytes, limit %d", size, limit)
	}
	b := make([]byte, 0, size+binary.MaxVarintLen32)
	b = binary.AppendUvarint(b, uint64(size))
	return proto.MarshalOptions{UseCachedSize: true}.MarshalAppend(b, m)
}

// decodeRequest reads a request, whose parts the parse functions then check.
// The error is an offence. A request of a later release has no kind.
func decodeRequest(b []byte) (*pb.Request, error) {
	m := new(pb.Request)
	return m, decodeMessage(b, m)
}

// decodeResponse reads one frame of an answer. The error is an offence.
func decodeResponse(b []byte) (*pb.Response, error) {
	m := new(pb.Response)
	return m, decodeMessage(b, m)
}

func decodeMessage(b []byte, m proto.Message) error {
	budget := maxFields
	if err := countFields(b, m.ProtoReflect().Descriptor(), &budget); err != nil {
		return err
	}
	if err := (proto.UnmarshalOptions{DiscardUnknown: true}).Unmarshal(b, m); err != nil {
		return offencef("malformed message: %v", err)
	}
	return nil
}

// countFields takes the fields of a message, and of those nested in it, from
// budget. It allocates nothing, and so bounds what decoding will.
func countFields(b []byte, md protoreflect.MessageDescriptor, budget *int) error {
	for len(b) > 0 {
		number, kind, n := protowire.ConsumeTag(b)
		if n < 0 {
			return offencef("malformed message: %v", protowire.ParseError(n))
		}
		value := b[n:]
		size := protowire.ConsumeFieldValue(number, kind, value)
		if size < 0 {
			return offencef("malformed message: %v", protowire.ParseError(size))
		}
		if *budget--; *budget < 0 {
			return offencef("message of more than %d fields", maxFields)
		}
		fd := md.Fields().ByNumber(number)
		if fd != nil && fd.Message() != nil && kind == protowire.BytesType {
			nested, _ := protowire.ConsumeBytes(value)
			if err := countFields(nested, fd.Message(), budget); err != nil {
				return err
			}
		}
		b = value[size:]
	}
	return nil
}
