package api

import (
	"fmt"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
)

// jsonCodec is the protocol's JSON with the names of the schema, which are
// those of the command line, and with zero fields present.
type jsonCodec struct{ name string }

// jsonNames are the content types that the protocol knows JSON by.
var jsonNames = []string{"json", "json; charset=utf-8"}

func (c jsonCodec) Name() string { return c.name }

func (c jsonCodec) Marshal(v any) ([]byte, error) {
	m, ok := v.(proto.Message)
	if !ok {
		return nil, fmt.Errorf("%T is not a message", v)
	}
	return protojson.MarshalOptions{UseProtoNames: true, EmitUnpopulated: true}.Marshal(m)
}

// Unmarshal ignores fields that it does not know, so that later clients can
// talk to this release.
func (c jsonCodec) Unmarshal(b []byte, v any) error {
	m, ok := v.(proto.Message)
	if !ok {
		return fmt.Errorf("%T is not a message", v)
	}
	if len(b) == 0 {
		return fmt.Errorf("empty body; send {} for a request without fields")
	}
	return protojson.UnmarshalOptions{DiscardUnknown: true}.Unmarshal(b, m)
}
