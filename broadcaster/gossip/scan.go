package gossip

import (
	"fmt"

	"google.golang.org/protobuf/encoding/protowire"
)

// field is what may stand under one field number of a message.
type field struct {
	kind     protowire.Type
	min, max int // length in bytes, of protowire.BytesType
	times    int // how often it may occur
	required bool
	sub      []field // of a nested message; index is the field number
}

// The shape of a message, by field number. Nested events have no bound of
// their own here: what a body or witness may be depends on the topic's rules.
var (
	eventShape = []field{
		1: {kind: protowire.BytesType, min: 1, max: maxMessage, times: 1, required: true},
		2: {kind: protowire.BytesType, min: 1, max: maxMessage, times: 1, required: true},
	}
	messageShape = []field{
		1: {kind: protowire.BytesType, min: cidSize, max: cidSize, times: 1, required: true},
		2: {kind: protowire.BytesType, min: 1, max: maxGenesis, times: 1},
		3: {kind: protowire.BytesType, min: 1, max: maxMessage, times: maxEvents, sub: eventShape},
		4: {kind: protowire.BytesType, min: keySize, max: keySize, times: 1, required: true},
		5: {kind: protowire.VarintType, times: 1},
		6: {kind: protowire.VarintType, times: 1},
		7: {kind: protowire.BytesType, min: hashSize, max: hashSize, times: 1, required: true},
		8: {kind: protowire.BytesType, min: cidSize, max: cidSize, times: maxHeads},
		9: {kind: protowire.BytesType, min: signatureSize, max: signatureSize, times: 1, required: true},
	}
)

// scan checks that b is the canonical encoding of a message of the given shape,
// without allocating: known fields in ascending order, each as often and as
// long as it may be, numbers in their shortest form, zeros left out. Protobuf
// itself accepts much else, and allocates for it.
func scan(b []byte, shape []field) error {
	last, times := 0, 0
	for len(b) > 0 {
		num, kind, n := protowire.ConsumeTag(b)
		if n < 0 || n != protowire.SizeTag(num) {
			return fmt.Errorf("malformed tag after field %d", last)
		}
		b = b[n:]
		if int(num) >= len(shape) || shape[num].times == 0 || shape[num].kind != kind {
			return fmt.Errorf("unknown field %d of type %d", num, kind)
		}
		if int(num) != last {
			if err := checkSkipped(shape, last, int(num)); err != nil {
				return err
			}
			last, times = int(num), 0
		}
		if times++; times > shape[num].times {
			return fmt.Errorf("field %d occurs more than %d times", num, shape[num].times)
		}
		n, err := shape[num].scan(b)
		if err != nil {
			return fmt.Errorf("field %d: %w", num, err)
		}
		b = b[n:]
	}
	return checkSkipped(shape, last, len(shape))
}

// checkSkipped refuses a step from field last to field next that goes back or
// leaves out a required one.
func checkSkipped(shape []field, last, next int) error {
	if next < last {
		return fmt.Errorf("field %d after field %d", next, last)
	}
	for i := last + 1; i < next; i++ {
		if shape[i].required {
			return fmt.Errorf("field %d is missing", i)
		}
	}
	return nil
}

// scan checks the value at the front of b and returns its length.
func (f *field) scan(b []byte) (int, error) {
	if f.kind == protowire.VarintType {
		v, n := protowire.ConsumeVarint(b)
		if n < 0 || n != protowire.SizeVarint(v) || v == 0 {
			return 0, fmt.Errorf("malformed number")
		}
		return n, nil
	}
	v, n := protowire.ConsumeBytes(b)
	if n < 0 || n != protowire.SizeBytes(len(v)) {
		return 0, fmt.Errorf("malformed length")
	}
	if len(v) < f.min || len(v) > f.max {
		return 0, fmt.Errorf("%d bytes, want %d to %d", len(v), f.min, f.max)
	}
	if f.sub != nil {
		return n, scan(v, f.sub)
	}
	return n, nil
}
