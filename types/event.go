package types

import (
	"bytes"
	"fmt"
	"math"
	"unicode/utf8"

	"github.com/ipfs/go-cid"
)

// bodyVersion is the first element of every body of rule set 1.
const bodyVersion = 1

// Body is what an event says and its CID covers.
type Body struct {
	Topic     TopicID
	Publisher Publisher
	Seq       uint64    // 1 + the publisher's previous one in the topic
	Links     []cid.Cid // sorted by bytes, unique
	Height    uint64    // 1 + the greatest height among the links; 1 without
	Time      int64     // the publisher's clock, Unix nanoseconds; a hint
	Tags      []string  // sorted, unique
	Payload   []byte
}

// Event is a body with its CID and witness. Events are shared between
// goroutines and immutable once their witness is set.
type Event struct {
	Body
	CID     cid.Cid
	Witness []byte // see SignEvents and Verifier; nil until signed

	raw []byte
}

// wireBody is the dag-cbor shape of a body.
type wireBody struct {
	_         struct{} `cbor:",toarray"`
	Version   uint64
	Topic     link
	Kind      uint64
	Publisher []byte
	Epoch     uint64
	Seq       uint64
	Links     []link
	Height    uint64
	Time      uint64
	Tags      []string
	Payload   []byte
}

// NewEvent encodes body and returns the event without a witness. It keeps the
// slices of body. A body that breaks a rule is ErrInvalidArgument.
func NewEvent(body Body) (*Event, error) {
	if err := body.checkCIDs(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrInvalidArgument, err)
	}
	if err := body.check(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrInvalidArgument, err)
	}
	raw := body.wire().encode()
	return &Event{Body: body, CID: SumCID(raw), raw: raw}, nil
}

// DecodeEvent reads an event from its body bytes, of which the event keeps b,
// and its witness, which it keeps too: the caller must not change either. The
// payload is a part of b. The result satisfies every rule that can be checked
// without the topic's genesis, the witness and the ancestors; otherwise the
// error is ErrInvalidEvent.
func DecodeEvent(b, witness []byte) (*Event, error) {
	if len(b) > MaxBody {
		return nil, fmt.Errorf("%w: body of %d bytes, limit %d", ErrInvalidEvent, len(b), MaxBody)
	}
	body, err := decodeBody(b)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrInvalidEvent, err)
	}
	return &Event{Body: body, CID: SumCID(b), Witness: witness, raw: b}, nil
}

func decodeBody(b []byte) (Body, error) {
	var w wireBody
	if err := decMode.Unmarshal(b, &w); err != nil {
		return Body{}, err
	}
	body, err := w.body()
	if err != nil {
		return Body{}, err
	}
	if !bytes.Equal(w.encode(), b) {
		return Body{}, errNotCanonical
	}
	// The payload comes last. Pointing into b lets go of the decoder's copy.
	body.Payload = b[len(b)-len(body.Payload) : len(b) : len(b)]
	return body, nil
}

// wire returns the body as it is encoded.
func (b *Body) wire() *wireBody {
	w := &wireBody{
		Version:   bodyVersion,
		Topic:     link(b.Topic),
		Publisher: b.Publisher[:],
		Seq:       b.Seq,
		Height:    b.Height,
		Time:      uint64(b.Time),
		Tags:      b.Tags,
		Payload:   b.Payload,
		Links:     make([]link, len(b.Links)),
	}
	for i, l := range b.Links {
		w.Links[i] = link(l)
	}
	return w
}

// encode returns the canonical encoding.
func (w *wireBody) encode() []byte {
	size := bodyOverhead + len(w.Links)*linkSize + len(w.Payload)
	for _, t := range w.Tags {
		size += tagOverhead + len(t)
	}
	return encode(w, size)
}

// Bytes returns the canonical encoding of the body. The caller must not
// change it.
func (e *Event) Bytes() []byte { return e.raw }

// Size is the length in bytes of body and witness together.
func (e *Event) Size() int { return len(e.raw) + len(e.Witness) }

func (w *wireBody) body() (Body, error) {
	if w.Version != bodyVersion {
		return Body{}, fmt.Errorf("body version %d", w.Version)
	}
	if w.Kind != 0 || w.Epoch != 0 {
		return Body{}, fmt.Errorf("kind %d and epoch %d, want 0 in rule set 1", w.Kind, w.Epoch)
	}
	if len(w.Publisher) != len(Publisher{}) {
		return Body{}, fmt.Errorf("publisher of %d bytes", len(w.Publisher))
	}
	b := Body{
		Topic:     cid.Cid(w.Topic),
		Publisher: Publisher(w.Publisher),
		Seq:       w.Seq,
		Height:    w.Height,
		Time:      int64(w.Time), // negative, and so refused, from 2^63 on
		Tags:      w.Tags,
		Payload:   w.Payload,
	}
	if len(w.Links) > 0 {
		b.Links = make([]cid.Cid, len(w.Links))
	}
	for i, l := range w.Links {
		b.Links[i] = cid.Cid(l)
	}
	return b, b.check()
}

// checkCIDs refuses ids that a link cannot hold. Those of a decoded body need
// no such check.
func (b *Body) checkCIDs() error {
	if !isCID(b.Topic.KeyString()) {
		return fmt.Errorf("topic: %w", errNotCID)
	}
	for i, l := range b.Links {
		if !isCID(l.KeyString()) {
			return fmt.Errorf("link %d: %w", i, errNotCID)
		}
	}
	return nil
}

// check holds a body to the other rules that need nothing but the body.
func (b *Body) check() error {
	switch {
	case b.Seq < 1 || b.Seq > math.MaxInt64:
		return fmt.Errorf("seq %d is out of range", b.Seq)
	case b.Height < 1 || b.Height > math.MaxInt64 || (len(b.Links) == 0) != (b.Height == 1):
		return fmt.Errorf("height %d with %d links", b.Height, len(b.Links))
	case b.Time < 0:
		return fmt.Errorf("time is out of range")
	case len(b.Links) > MaxLinks:
		return fmt.Errorf("%d links, limit %d", len(b.Links), MaxLinks)
	case len(b.Payload) > MaxPayload:
		return fmt.Errorf("payload of %d bytes, limit %d", len(b.Payload), MaxPayload)
	}
	for i := 1; i < len(b.Links); i++ {
		if CompareCIDs(b.Links[i-1], b.Links[i]) >= 0 {
			return fmt.Errorf("links are not sorted and unique")
		}
	}
	return CheckTags(b.Tags)
}

// CheckTags reports why tags, which must be sorted and unique, cannot be an
// event's.
func CheckTags(tags []string) error {
	if len(tags) > MaxTags {
		return fmt.Errorf("%d tags, limit %d", len(tags), MaxTags)
	}
	for i, t := range tags {
		if len(t) == 0 || len(t) > MaxTagSize {
			return fmt.Errorf("tag of %d bytes, want 1 to %d", len(t), MaxTagSize)
		}
		if !utf8.ValidString(t) {
			return fmt.Errorf("tag %q is not UTF-8", t)
		}
		if i > 0 && tags[i-1] >= t {
			return fmt.Errorf("tags are not sorted and unique")
		}
	}
	return nil
}

// CompareEvents compares two events by canonical order: height, then the bytes
// of the CID.
func CompareEvents(a, b *Event) int {
	switch {
	case a.Height < b.Height:
		return -1
	case a.Height > b.Height:
		return 1
	}
	return CompareCIDs(a.CID, b.CID)
}
