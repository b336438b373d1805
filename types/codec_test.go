package types

import (
	"bytes"
	"math"
	"runtime"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/ipfs/go-cid"
	"pgregory.net/rapid"
)

// bodies generates valid bodies.
func bodies() *rapid.Generator[Body] {
	return rapid.Custom(func(t *rapid.T) Body {
		digest := rapid.Custom(func(t *rapid.T) cid.Cid {
			return SumCID(rapid.SliceOfN(rapid.Byte(), 0, 3).Draw(t, "linked"))
		})
		b := Body{
			Topic:     digest.Draw(t, "topic"),
			Publisher: testPublisher(rapid.Byte().Draw(t, "key")),
			Seq:       rapid.Uint64Range(1, math.MaxInt64).Draw(t, "seq"),
			Links:     rapid.SliceOfNDistinct(digest, 0, MaxLinks, rapid.ID).Draw(t, "links"),
			Height:    1,
			Time:      rapid.Int64Range(0, math.MaxInt64).Draw(t, "time"),
			Tags:      rapid.SliceOfNDistinct(rapid.StringN(1, 16, MaxTagSize), 0, MaxTags, rapid.ID).Draw(t, "tags"),
			Payload:   rapid.SliceOfN(rapid.Byte(), 0, 300).Draw(t, "payload"),
		}
		if len(b.Links) > 0 {
			b.Height = rapid.Uint64Range(2, math.MaxInt64).Draw(t, "height")
		}
		SortCIDs(b.Links)
		slices.Sort(b.Tags)
		return b
	})
}

// TestBodyRoundTrip: any valid body comes back as it was, and ipld-prime agrees
// on every byte of it.
func TestBodyRoundTrip(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		body := bodies().Draw(rt, "body")
		e, err := NewEvent(body)
		if err != nil {
			rt.Fatal(err)
		}
		back, err := DecodeEvent(e.Bytes(), nil)
		if err != nil {
			rt.Fatal(err)
		}
		if diff := cmp.Diff(body, back.Body, cmpopts.EquateEmpty(), cmp.Comparer(cid.Cid.Equals)); diff != "" {
			rt.Fatal(diff)
		}
		checkIPLD(t, e.Bytes(), e.CID, append([]cid.Cid{e.Topic}, e.Links...))
	})
}

// TestHeads reads numbers around each size of a head.
func TestHeads(t *testing.T) {
	for n, size := range map[uint64]int{
		0: 1, 23: 1, 24: 2, math.MaxUint8: 2, math.MaxUint8 + 1: 3, math.MaxUint16: 3, math.MaxUint16 + 1: 5,
		math.MaxUint32: 5, math.MaxUint32 + 1: 9, math.MaxUint64: 9,
	} {
		b := encode(n, 9)
		if len(b) != size {
			t.Errorf("head of %d: %x", n, b)
		}
		got, rest, ok := readHead(append(bytes.Clone(b), 7), majorUint)
		if !ok || got != n || !bytes.Equal(rest, []byte{7}) {
			t.Errorf("head of %d read as %d, %v", n, got, ok)
		}
		if _, _, ok := readHead(b, majorArray); ok {
			t.Errorf("number %d read as an array", n)
		}
		if _, _, ok := readHead(b[:size-1], majorUint); ok {
			t.Errorf("head of %d read without its last byte", n)
		}
	}
	for _, s := range []string{"1817", "1900ff", "1a0000ffff", "1b00000000ffffffff", "1c", "1d", "1e", "1f", "1f0000"} {
		if _, _, ok := readHead(raw(s), majorUint); ok {
			t.Errorf("head %s is read", s)
		}
	}
}

// TestPayloadIsNotCopied: an event holds its payload once.
func TestPayloadIsNotCopied(t *testing.T) {
	b := mustEvent(t, bodyCases(t)[1].body).Bytes()
	e, err := DecodeEvent(b, nil)
	if err != nil {
		t.Fatal(err)
	}
	if &e.Payload[len(e.Payload)-1] != &b[len(b)-1] {
		t.Error("the payload is a copy")
	}
}

// TestDecodersAllocateInProportion gives the decoders small inputs that claim
// to be large, and as many elements as fit in few bytes.
func TestDecodersAllocateInProportion(t *testing.T) {
	claims := []string{
		"5b 7fffffffffffffff", "5a 7fffffff", "7b 7fffffffffffffff", "7a 40000000", "9b 7fffffffffffffff", "9a 7fffffff", "99 ffff",
		"bb 7fffffffffffffff", "ba 7fffffff", "db 7fffffffffffffff", "c2 5a 7fffffff", "5f 5a 7fffffff", "9f",
	}
	nulls := append(raw("99 0100"), bytes.Repeat(raw("f6"), 256)...)
	var inputs [][]byte
	for _, claim := range claims {
		inputs = append(inputs, raw(claim))
		for at := range bodyItems() {
			inputs = append(inputs, replaced(bodyItems(), at, raw(claim)))
		}
		for at := range 6 {
			items := [][]byte{raw("01"), raw("01"), raw("6161"), raw("40"), raw("80"), raw("40")}
			inputs = append(inputs, replaced(items, at, raw(claim)))
		}
	}
	for at := range bodyItems() {
		inputs = append(inputs, replaced(bodyItems(), at, nulls), replaced(bodyItems(), at, array(nulls, nulls)))
	}
	inputs = append(inputs, nulls, bytes.Repeat(raw("81"), 1000), bytes.Repeat(raw("d82a"), 1000), array(raw("01"), raw("01"), raw("6161"), raw("40"), nulls, raw("40")))
	for _, b := range inputs {
		// Per byte: an element of one byte is at most a slice of 24 bytes here.
		limit := uint64(2048 + 32*len(b))
		if got := allocated(func() { _, _ = DecodeEvent(b, nil) }); got > limit {
			t.Errorf("DecodeEvent allocates %d bytes for %d: %.40x", got, len(b), b)
		}
		if got := allocated(func() { _, _ = DecodeGenesis(b) }); got > limit {
			t.Errorf("DecodeGenesis allocates %d bytes for %d: %.40x", got, len(b), b)
		}
	}
}

// TestOversizedIsNotDecoded: what is over its limit is refused by its length.
func TestOversizedIsNotDecoded(t *testing.T) {
	body := replaced(bodyItems(), atPayload, append(raw("5a 00800000"), make([]byte, 8<<20)...))
	if got := allocated(func() { _, _ = DecodeEvent(body, nil) }); got > 2048 {
		t.Errorf("DecodeEvent allocates %d bytes for %d", got, len(body))
	}
	genesis := array(raw("01"), raw("00"), append(raw("7a 00800000"), make([]byte, 8<<20)...), raw("40"), raw("80"), raw("40"))
	if got := allocated(func() { _, _ = DecodeGenesis(genesis) }); got > 2048 {
		t.Errorf("DecodeGenesis allocates %d bytes for %d", got, len(genesis))
	}
}

// allocated returns the bytes that one call of f allocates, the least of some
// calls: the rest is other goroutines' or the library's caches being filled.
func allocated(f func()) uint64 {
	least := uint64(math.MaxUint64)
	for range 5 {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		f()
		runtime.ReadMemStats(&after)
		least = min(least, after.TotalAlloc-before.TotalAlloc)
	}
	return least
}
