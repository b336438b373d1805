package types

import (
	"bytes"

	"github.com/fxamacker/cbor/v2"
	"github.com/ipfs/go-cid"
)

// The codec is strict by comparison. Decoding goes through a general CBOR
// decoder, which accepts more than the one canonical dag-cbor encoding of a
// value; the value is then encoded again and compared with the bytes read.

// The major types of CBOR that are read by hand, in the upper three bits of a
// head.
const (
	majorUint  = 0 << 5
	majorText  = 3 << 5
	majorArray = 4 << 5
)

// readHead reads a head of the given major type, in its shortest form, from
// the front of b.
func readHead(b []byte, major byte) (n uint64, rest []byte, ok bool) {
	if len(b) == 0 || b[0]&0xe0 != major {
		return 0, nil, false
	}
	n = uint64(b[0] & 0x1f)
	rest = b[1:]
	if n < 24 {
		return n, rest, true
	}
	if n > 27 {
		return 0, nil, false
	}
	size := 1 << (n - 24)
	if len(rest) < size {
		return 0, nil, false
	}
	n = 0
	for _, c := range rest[:size] {
		n = n<<8 | uint64(c)
	}
	least := uint64(24) // what a shorter head cannot hold
	if size > 1 {
		least = 1 << (4 * size)
	}
	return n, rest[size:], n >= least
}

// link is a CID as dag-cbor has it: tag 42 around a byte string, which is a
// zero byte and the CID.
type link cid.Cid

const (
	// linkPrefix is what stands before the CID: the tag, the head of 37 bytes,
	// and the zero byte.
	linkPrefix = "\xd8\x2a\x58\x25\x00"
	linkSize   = len(linkPrefix) + CIDSize
)

// MarshalCBOR writes the canonical form. The encoder calls it.
func (l link) MarshalCBOR() ([]byte, error) {
	b := make([]byte, 0, linkSize)
	return append(append(b, linkPrefix...), cid.Cid(l).KeyString()...), nil
}

// UnmarshalCBOR reads a link in its only canonical form. The decoder calls it,
// and goes on calling it after an error: so its errors are made in advance.
func (l *link) UnmarshalCBOR(b []byte) error {
	if len(b) != linkSize || string(b[:len(linkPrefix)]) != linkPrefix {
		return errNotLink
	}
	c, err := castCID(b[len(linkPrefix):])
	*l = link(c)
	return err
}

// encMode and decMode are made once: they are immutable and safe for
// concurrent use. decMode checks each claimed length against the bytes that are
// there before it allocates.
var (
	encMode = newEncMode()
	decMode = newDecMode()
)

func newEncMode() cbor.UserBufferEncMode {
	opts := cbor.CoreDetEncOptions()
	opts.NilContainers = cbor.NilContainerAsEmpty
	mode, err := opts.UserBufferEncMode()
	if err != nil { // the options are constants
		panic(err)
	}
	return mode
}

func newDecMode() cbor.DecMode {
	mode, err := cbor.DecOptions{
		IndefLength:      cbor.IndefLengthForbidden,
		MaxArrayElements: MaxWriters,
		MaxNestedLevels:  4, // the least that the decoder can be set to
		UTF8:             cbor.UTF8RejectInvalid,
	}.DecMode()
	if err != nil { // the options are constants
		panic(err)
	}
	return mode
}

// encode returns the canonical encoding of v, a wire struct of this package:
// they can always be encoded. size is about what it takes.
func encode(v any, size int) []byte {
	b := bytes.NewBuffer(make([]byte, 0, size))
	if err := encMode.MarshalToBuffer(v, b); err != nil {
		panic(err)
	}
	return b.Bytes()
}
