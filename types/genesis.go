package types

import (
	"bytes"
	"crypto/rand"
	"fmt"
	"slices"
	"unicode/utf8"
)

// Rules1 is the only rule set of this release.
const Rules1 = 1

// Mode says who may publish to a topic.
type Mode uint64

// The modes of rule set 1.
const (
	// Open: anyone publishes; the name alone gives the topic.
	Open Mode = 0
	// Restricted: only the owner and the writers publish.
	Restricted Mode = 1
)

// Genesis is what a topic begins with and what its id is the hash of. Make one
// with NewOpen, NewRestricted or DecodeGenesis; it is immutable afterwards.
type Genesis struct {
	Mode Mode
	Name string
	*Writership

	id  TopicID
	raw string
}

// Writership says who publishes to a restricted topic.
type Writership struct {
	Owner   Publisher   // zero in an open topic
	Writers []Publisher // sorted; empty in an open topic
}

// anyone is the writership of all open topics, of which there may be many.
var anyone Writership

// wireGenesis is the dag-cbor shape of a genesis.
type wireGenesis struct {
	_       struct{} `cbor:",toarray"`
	Rules   uint64
	Mode    uint64
	Name    string
	Owner   []byte
	Writers [][]byte
	Nonce   []byte
}

// NewOpen returns the genesis of the open topic called name, 1 to 255 bytes of
// UTF-8. It returns ErrInvalidArgument for any other name.
func NewOpen(name string) (*Genesis, error) {
	return newGenesis(wireGenesis{Rules: Rules1, Mode: uint64(Open), Name: name})
}

// NewRestricted returns the genesis of a new topic, called name, that only
// owner and writers publish to. Its nonce is random, so each call makes
// another topic.
func NewRestricted(name string, owner Publisher, writers []Publisher) (*Genesis, error) {
	w := wireGenesis{Rules: Rules1, Mode: uint64(Restricted), Name: name, Owner: owner[:], Nonce: make([]byte, NonceSize)}
	rand.Read(w.Nonce) //nolint:errcheck // it never fails: crypto/rand
	sorted := slices.Clone(writers)
	slices.SortFunc(sorted, func(a, b Publisher) int { return bytes.Compare(a[:], b[:]) })
	for _, p := range slices.Compact(sorted) {
		w.Writers = append(w.Writers, p[:])
	}
	return newGenesis(w)
}

func newGenesis(w wireGenesis) (*Genesis, error) {
	g, err := w.genesis()
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrInvalidArgument, err)
	}
	g.seal(string(w.encode()))
	return g, nil
}

// DecodeGenesis reads a genesis from its canonical encoding, which it copies.
// It returns an *UnsupportedError for a rule set or mode of a later release, and
// ErrInvalidGenesis for anything else that is not a valid genesis.
func DecodeGenesis(b []byte) (*Genesis, error) {
	if len(b) > MaxGenesis {
		return nil, fmt.Errorf("%w: %d bytes, limit %d", ErrInvalidGenesis, len(b), MaxGenesis)
	}
	if g := openGenesis(b); g != nil {
		return g, nil
	}
	rules, mode, ok := genesisHead(b)
	if !ok {
		return nil, fmt.Errorf("%w: no rule set and mode", ErrInvalidGenesis)
	}
	if rules != Rules1 || mode > uint64(Restricted) {
		return nil, &UnsupportedError{Rules: rules, Mode: mode}
	}
	var w wireGenesis
	if err := decMode.Unmarshal(b, &w); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrInvalidGenesis, err)
	}
	if !bytes.Equal(w.encode(), b) {
		return nil, fmt.Errorf("%w: %w", ErrInvalidGenesis, errNotCanonical)
	}
	g, err := w.genesis()
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrInvalidGenesis, err)
	}
	g.seal(string(b))
	return g, nil
}

// The canonical encoding of an open topic's genesis is its name between these:
// an array of six of which the first two are rule set and mode, and no owner,
// writers and nonce.
const (
	openPrefix = "\x86\x01\x00"
	openSuffix = "\x40\x80\x40"
)

// openGenesis returns the genesis of an open topic. It is nil if b is not exactly
// that: then the decoder says what it is. A node with 100,000 topics decodes
// their geneses at its start, and this takes a tenth of the time.
func openGenesis(b []byte) *Genesis {
	rest, ok := bytes.CutPrefix(b, []byte(openPrefix))
	if !ok {
		return nil
	}
	if rest, ok = bytes.CutSuffix(rest, []byte(openSuffix)); !ok {
		return nil
	}
	n, name, ok := readHead(rest, majorText)
	if !ok || n != uint64(len(name)) {
		return nil
	}
	raw := string(b)
	begin := len(raw) - len(openSuffix) - len(name)
	g, err := (&wireGenesis{Rules: Rules1, Mode: uint64(Open), Name: raw[begin : begin+len(name)]}).genesis()
	if err != nil {
		return nil
	}
	g.seal(raw)
	return g
}

// UnsupportedError is the ErrUnsupported of a genesis: it says what this release
// does not know.
type UnsupportedError struct {
	Rules uint64 // the rule set of the topic
	Mode  uint64 // its mode, which has a meaning in a known rule set only
}

func (e *UnsupportedError) Error() string {
	if e.Rules != Rules1 {
		return fmt.Sprintf("%v: rule set %d is unknown to this release", ErrUnsupported, e.Rules)
	}
	return fmt.Sprintf("%v: mode %d of rule set %d is unknown to this release", ErrUnsupported, e.Mode, e.Rules)
}

// Unwrap returns ErrUnsupported.
func (e *UnsupportedError) Unwrap() error { return ErrUnsupported }

// genesisHead reads what every rule set has in the same place: the genesis is
// an array that begins with its rule set and mode. What follows may be of any
// shape, which only the rule set knows.
func genesisHead(b []byte) (rules, mode uint64, ok bool) {
	n, b, ok := readHead(b, majorArray)
	if !ok || n < 2 {
		return 0, 0, false
	}
	if rules, b, ok = readHead(b, majorUint); !ok {
		return 0, 0, false
	}
	mode, _, ok = readHead(b, majorUint)
	return rules, mode, ok
}

// encode returns the canonical encoding.
func (w *wireGenesis) encode() []byte { return encode(w, MaxName) }

// genesis checks w against the rules and returns it without id and bytes.
func (w *wireGenesis) genesis() (*Genesis, error) {
	if len(w.Name) == 0 || len(w.Name) > MaxName {
		return nil, fmt.Errorf("topic name of %d bytes, want 1 to %d", len(w.Name), MaxName)
	}
	if !utf8.ValidString(w.Name) {
		return nil, fmt.Errorf("topic name is not UTF-8")
	}
	g := &Genesis{Mode: Mode(w.Mode), Name: w.Name, Writership: &anyone}
	if g.Mode == Open {
		if len(w.Owner) != 0 || len(w.Writers) != 0 || len(w.Nonce) != 0 {
			return nil, fmt.Errorf("open topic with owner, writers or nonce")
		}
		return g, nil
	}
	if len(w.Nonce) != NonceSize {
		return nil, fmt.Errorf("nonce of %d bytes, want %d", len(w.Nonce), NonceSize)
	}
	if len(w.Writers) > MaxWriters {
		return nil, fmt.Errorf("%d writers, limit %d", len(w.Writers), MaxWriters)
	}
	if err := checkPublisher(w.Owner); err != nil {
		return nil, fmt.Errorf("owner: %w", err)
	}
	g.Writership = &Writership{Owner: Publisher(w.Owner)}
	for i, p := range w.Writers {
		if err := checkPublisher(p); err != nil {
			return nil, fmt.Errorf("writer %d: %w", i, err)
		}
		if i > 0 && bytes.Compare(w.Writers[i-1], p) >= 0 {
			return nil, fmt.Errorf("writers are not sorted and unique")
		}
		g.Writers = append(g.Writers, Publisher(p))
	}
	return g, nil
}

func checkPublisher(key []byte) error {
	if len(key) != len(Publisher{}) {
		return fmt.Errorf("key of %d bytes, want %d", len(key), len(Publisher{}))
	}
	return checkKey(key)
}

func (g *Genesis) seal(raw string) { g.raw, g.id = raw, SumCID([]byte(raw)) }

// ID returns the topic's id.
func (g *Genesis) ID() TopicID { return g.id }

// Bytes returns a copy of the canonical encoding.
func (g *Genesis) Bytes() []byte { return []byte(g.raw) }

// MayPublish reports whether p is a publisher of the topic.
func (g *Genesis) MayPublish(p Publisher) bool {
	return g.Mode == Open || p == g.Owner || slices.Contains(g.Writers, p)
}
