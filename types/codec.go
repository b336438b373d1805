package types

import (
	"bytes"
	"fmt"
	"reflect"

	"github.com/fxamacker/cbor/v2"
	"github.com/ipfs/go-cid"
)

// linkTag is the CBOR tag of a CID in dag-cbor.
const linkTag = 42

// link is a CID as dag-cbor has it: a zero byte, then the CID.
type link []byte

func newLink(c cid.Cid) link { return append(link{0}, c.KeyString()...) }

func (l link) cid() (cid.Cid, error) {
	if len(l) == 0 || l[0] != 0 {
		return cid.Undef, fmt.Errorf("link without its zero byte")
	}
	return CastCID(l[1:])
}

// encMode and decMode are made once: they are immutable and safe for
// concurrent use.
var encMode, decMode = modes()

func modes() (cbor.EncMode, cbor.DecMode) {
	tags := cbor.NewTagSet()
	opts := cbor.TagOptions{EncTag: cbor.EncTagRequired, DecTag: cbor.DecTagRequired}
	if err := tags.Add(opts, reflect.TypeFor[link](), linkTag); err != nil {
		panic(err)
	}
	enc, err := cbor.EncOptions{
		ShortestFloat: cbor.ShortestFloatNone,
		IndefLength:   cbor.IndefLengthForbidden,
		NilContainers: cbor.NilContainerAsEmpty,
	}.EncModeWithTags(tags)
	if err != nil {
		panic(err)
	}
	dec, err := cbor.DecOptions{
		IndefLength:       cbor.IndefLengthForbidden,
		MaxArrayElements:  MaxWriters,
		MaxNestedLevels:   4,
		ExtraReturnErrors: cbor.ExtraDecErrorUnknownField,
		UTF8:              cbor.UTF8RejectInvalid,
	}.DecModeWithTags(tags)
	if err != nil {
		panic(err)
	}
	return enc, dec
}

// encode returns the canonical dag-cbor of v, one of this package's own
// structs: they can always be encoded.
func encode(v any) []byte {
	b, err := encMode.Marshal(v)
	if err != nil {
		panic(err)
	}
	return b
}

// decode reads b into v and refuses bytes that are not v's canonical encoding.
func decode(b []byte, v any) error {
	if err := decMode.Unmarshal(b, v); err != nil {
		return err
	}
	if !bytes.Equal(encode(v), b) {
		return fmt.Errorf("encoding is not canonical")
	}
	return nil
}
