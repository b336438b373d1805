package types

import (
	"bytes"
	"encoding/hex"
	"errors"
	"slices"
	"strings"
	"testing"
)

// refusedVector is bytes that must be refused, and with what.
type refusedVector struct {
	Comment string   `json:"comment"`
	Bytes   hexBytes `json:"bytes"`
	Error   string   `json:"error"` // the text of the sentinel
}

// refusals collects cases; those too large for a file are only run.
type refusals struct {
	t     testing.TB
	cases []refusedVector
}

// maxListed is the size of the largest refused input that testdata lists.
const maxListed = 1024

func (r *refusals) add(comment string, b []byte, err error) {
	r.cases = append(r.cases, refusedVector{comment, b, err.Error()})
}

// listed returns the cases that testdata lists.
func (r *refusals) listed() []refusedVector {
	return slices.DeleteFunc(slices.Clone(r.cases), func(v refusedVector) bool { return len(v.Bytes) > maxListed })
}

// check fails unless decode refuses each case with its sentinel, and with no
// other: ErrInvalidArgument is for callers' own mistakes.
func (r *refusals) check(decode func([]byte) error) {
	r.t.Helper()
	for _, v := range r.cases {
		err := decode(v.Bytes)
		var is []string
		for _, s := range []error{ErrInvalidEvent, ErrInvalidGenesis, ErrUnsupported, ErrBadWitness, ErrInvalidArgument} {
			if errors.Is(err, s) {
				is = append(is, s.Error())
			}
		}
		if !slices.Equal(is, []string{v.Error}) {
			r.t.Errorf("%s: %v, want %s", v.Comment, err, v.Error)
		}
	}
}

// raw is CBOR written by hand: hex, in which blanks do not count.
func raw(s string) []byte {
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		panic(err)
	}
	return b
}

func array(items ...[]byte) []byte {
	head := []byte{0x80 | byte(len(items))}
	if len(items) > 23 {
		head = []byte{0x98, byte(len(items))}
	}
	if len(items) > 255 {
		head = []byte{0x99, byte(len(items) >> 8), byte(len(items))}
	}
	return append(head, slices.Concat(items...)...)
}

// replaced returns the array of items with item i replaced.
func replaced(items [][]byte, i int, b []byte) []byte {
	items = slices.Clone(items)
	items[i] = b
	return array(items...)
}

// The elements of a body.
const (
	atVersion = iota
	atTopic
	atKind
	atPublisher
	atEpoch
	atSeq
	atLinks
	atHeight
	atTime
	atTags
	atPayload
)

func rawLink(digest byte) []byte {
	return append(raw("d82a 5825 00 01711220"), bytes.Repeat([]byte{digest}, 32)...)
}

// bodyItems are the elements of a valid body.
func bodyItems() [][]byte {
	return [][]byte{
		atVersion:   raw("01"),
		atTopic:     rawLink(9),
		atKind:      raw("00"),
		atPublisher: append(raw("5820"), bytes.Repeat([]byte{7}, 32)...),
		atEpoch:     raw("00"),
		atSeq:       raw("05"),
		atLinks:     array(rawLink(1), rawLink(2)),
		atHeight:    raw("03"),
		atTime:      raw("1903e8"),
		atTags:      raw("82 6161 6162"),
		atPayload:   raw("43 010203"),
	}
}

func refusedBodies(t testing.TB) *refusals {
	r := &refusals{t: t}
	items := bodyItems()
	valid := array(items...)
	if _, err := DecodeEvent(valid, nil); err != nil {
		t.Fatalf("the body that all refused ones are made from: %v", err)
	}
	bad := func(comment string, b []byte) { r.add(comment, b, ErrInvalidEvent) }
	item := func(comment string, at int, b []byte) { bad(comment, replaced(items, at, b)) }

	bad("nothing", nil)
	bad("a byte after the end", append(slices.Clone(valid), 0))
	bad("the last byte is missing", valid[:len(valid)-1])
	bad("ten elements", array(items[:10]...))
	bad("twelve elements", array(append(slices.Clone(items), raw("00"))...))
	bad("a map", raw("a0"))
	bad("null", raw("f6"))
	bad("array head in long form", append(raw("980b"), valid[1:]...))
	bad("array of indefinite length", slices.Concat(raw("9f"), valid[1:], raw("ff")))
	bad("inside a tag", append(raw("d82a"), valid...))

	item("version 0", atVersion, raw("00"))
	item("version 2", atVersion, raw("02"))
	item("kind 1", atKind, raw("01"))
	item("epoch 1", atEpoch, raw("01"))
	item("seq 0", atSeq, raw("00"))
	item("seq 2^63", atSeq, raw("1b 8000000000000000"))
	item("seq -1", atSeq, raw("20"))
	item("seq in long form", atSeq, raw("1805"))
	item("seq in the longest form", atSeq, raw("1b 0000000000000005"))
	item("seq as a float", atSeq, raw("f9 4500"))
	item("seq as a bignum", atSeq, raw("c2 4105"))
	item("seq as a boolean", atSeq, raw("f5"))
	item("height 0", atHeight, raw("00"))
	item("height 1 with links", atHeight, raw("01"))
	item("height 2^63", atHeight, raw("1b 8000000000000000"))
	item("height 3 without links", atLinks, raw("80"))
	item("time 2^63", atTime, raw("1b 8000000000000000"))
	item("time -1", atTime, raw("20"))
	item("time as a tagged date", atTime, raw("c1 1903e8"))
	item("publisher of 31 bytes", atPublisher, append(raw("581f"), make([]byte, 31)...))
	item("publisher of 33 bytes", atPublisher, append(raw("5821"), make([]byte, 33)...))
	item("publisher as text", atPublisher, append(raw("7820"), bytes.Repeat([]byte{7}, 32)...))

	item("payload null", atPayload, raw("f6"))
	item("payload with a long length", atPayload, raw("5803 010203"))
	item("payload of indefinite length", atPayload, raw("5f 43 010203 ff"))
	item("payload as an array of numbers", atPayload, raw("83 010203"))
	item("payload as text", atPayload, raw("63 616263"))
	item("payload longer than the input", atPayload, raw("5b 7fffffffffffffff 00"))
	item("payload longer than memory", atPayload, raw("5b ffffffffffffffff 00"))
	bad("payload of one byte too many", replaced(items, atPayload, append(raw("5a 00080001"), make([]byte, MaxPayload+1)...)))
	r.addLinks(items)
	r.addTags(items)
	return r
}

func (r *refusals) addLinks(items [][]byte) {
	item := func(comment string, at int, b []byte) { r.add(comment, replaced(items, at, b), ErrInvalidEvent) }
	links := func(comment string, links ...[]byte) { item(comment, atLinks, array(links...)) }
	digest := bytes.Repeat([]byte{1}, 32)

	item("links null", atLinks, raw("f6"))
	item("links with a long head", atLinks, slices.Concat(raw("9802"), rawLink(1), rawLink(2)))
	item("links of indefinite length", atLinks, slices.Concat(raw("9f"), rawLink(1), rawLink(2), raw("ff")))
	item("more links claimed than there are bytes", atLinks, raw("9b 00000000ffffffff"))
	links("links not sorted", rawLink(2), rawLink(1))
	links("a link twice", rawLink(1), rawLink(1))
	links("a null link", raw("f6"))
	links("a link without its tag", raw("5825 00 01711220"), digest)
	links("a link under tag 43", slices.Concat(raw("d82b 5825 00 01711220"), digest))
	links("a link's tag in long form", slices.Concat(raw("d9002a 5825 00 01711220"), digest))
	links("a link under two tags", slices.Concat(raw("d82a d82a 5825 00 01711220"), digest))
	links("a link without its zero byte", slices.Concat(raw("d82a 5824 01711220"), digest))
	links("a link with a one for its zero byte", slices.Concat(raw("d82a 5825 01 01711220"), digest))
	links("a link of version 2", slices.Concat(raw("d82a 5825 00 02711220"), digest))
	links("a link to a raw block", slices.Concat(raw("d82a 5825 00 01551220"), digest))
	links("a link of another hash function", slices.Concat(raw("d82a 5825 00 01711e20"), digest))
	links("a link of version 0", slices.Concat(raw("d82a 5823 00 1220"), digest))
	links("a link with a byte too few", slices.Concat(raw("d82a 5824 00 01711220"), digest[1:]))
	links("a link with a byte too many", slices.Concat(raw("d82a 5826 00 01711220"), digest, raw("00")))
	links("a link with its codec in long form", slices.Concat(raw("d82a 5826 00 01f1001220"), digest))
	item("a topic that is a raw block", atTopic, slices.Concat(raw("d82a 5825 00 01551220"), digest))
	item("topic null", atTopic, raw("f6"))
	item("topic as plain bytes", atTopic, slices.Concat(raw("5824 01711220"), digest))
	var many [][]byte
	for i := range MaxLinks + 1 {
		many = append(many, rawLink(byte(i)))
	}
	links("33 links", many...)
	for i := MaxLinks + 1; i < 256; i++ {
		many = append(many, rawLink(byte(i)))
	}
	links("256 links", many...)
	links("257 links", append(many, rawLink(255))...)
}

func (r *refusals) addTags(items [][]byte) {
	tags := func(comment string, b []byte) { r.add(comment, replaced(items, atTags, b), ErrInvalidEvent) }
	text := func(n int) []byte { return append([]byte{0x78, byte(n)}, bytes.Repeat([]byte("x"), n)...) }

	tags("tags null", raw("f6"))
	tags("tags with a long head", raw("9802 6161 6162"))
	tags("tags of indefinite length", raw("9f 6161 6162 ff"))
	tags("tags not sorted", raw("82 6162 6161"))
	tags("a tag twice", raw("82 6161 6161"))
	tags("an empty tag", raw("81 60"))
	tags("a null tag", raw("81 f6"))
	tags("a tag as bytes", raw("81 4161"))
	tags("a tag of indefinite length", raw("81 7f 6161 ff"))
	tags("a tag with a long length", raw("81 780161"))
	tags("a tag that is not UTF-8", raw("81 61ff"))
	tags("a tag with a surrogate", raw("81 63eda080"))
	tags("a tag of 65 bytes", array(text(MaxTagSize+1)))
	tags("more tags claimed than there are bytes", raw("9b 7fffffffffffffff"))
	var many [][]byte
	for i := range MaxTags + 1 {
		many = append(many, []byte{0x61, 'a' + byte(i)})
	}
	tags("17 tags", array(many...))
}

func TestRefusedBodies(t *testing.T) {
	r := refusedBodies(t)
	r.check(func(b []byte) error { _, err := DecodeEvent(b, nil); return err })
	golden(t, "refused_bodies.json", r.listed())
}

func refusedGeneses(t testing.TB) *refusals {
	r := &refusals{t: t}
	open := [][]byte{raw("01"), raw("00"), raw("6474657374"), raw("40"), raw("80"), raw("40")}
	key := func(n byte) []byte { p := testPublisher(n); return append(raw("5820"), p[:]...) }
	nonce := append(raw("50"), make([]byte, NonceSize)...)
	owned := [][]byte{raw("01"), raw("01"), raw("6474657374"), key(1), array(key(2), key(3)), nonce} // keys 2 and 3 sort so
	for _, valid := range [][]byte{array(open...), array(owned...)} {
		if _, err := DecodeGenesis(valid); err != nil {
			t.Fatalf("a genesis that refused ones are made from: %v", err)
		}
	}
	bad := func(comment string, b []byte) { r.add(comment, b, ErrInvalidGenesis) }
	item := func(comment string, of [][]byte, at int, b []byte) { bad(comment, replaced(of, at, b)) }

	bad("nothing", nil)
	bad("an empty array", raw("80"))
	bad("rule set 1 alone", raw("8101"))
	bad("a rule set of later releases without a mode", raw("8102"))
	bad("a map", raw("a0"))
	bad("a byte after the end", append(array(open...), 0))
	bad("the last byte is missing", array(open...)[:len(array(open...))-1])
	bad("five elements", array(open[:5]...))
	bad("seven elements", array(append(slices.Clone(open), raw("00"))...))
	bad("array head in long form", append(raw("9806"), array(open...)[1:]...))
	bad("array of indefinite length", slices.Concat(raw("9f"), array(open...)[1:], raw("ff")))
	item("rule set in long form", open, 0, raw("1801"))
	item("rule set 2 in long form", open, 0, raw("1802"))
	item("rule set as text", open, 0, raw("6131"))
	item("rule set negative", open, 0, raw("20"))
	item("mode in long form", open, 1, raw("1800"))
	item("mode null", open, 1, raw("f6"))
	item("an empty name", open, 2, raw("60"))
	item("a name of 256 bytes", open, 2, append(raw("790100"), bytes.Repeat([]byte("n"), MaxName+1)...))
	item("a name that is not UTF-8", open, 2, raw("61ff"))
	item("a name as bytes", open, 2, raw("4474657374"))
	item("open, with an owner", open, 3, key(1))
	item("open, owner null", open, 3, raw("f6"))
	item("open, with a writer", open, 4, array(key(1)))
	item("open, writers null", open, 4, raw("f6"))
	item("open, with a nonce", open, 5, nonce)
	item("restricted, without an owner", owned, 3, raw("40"))
	item("restricted, owner of 31 bytes", owned, 3, append(raw("581f"), make([]byte, 31)...))
	item("restricted, owner of small order", owned, 3, append(raw("5820"), raw(smallOrder[0])...))
	item("restricted, owner not canonical", owned, 3, append(raw("5820"), raw(notCanonical[0])...))
	item("restricted, writers not sorted", owned, 4, array(key(3), key(2)))
	item("restricted, a writer twice", owned, 4, array(key(2), key(2)))
	item("restricted, a writer of small order", owned, 4, array(append(raw("5820"), raw(smallOrder[2])...)))
	item("restricted, more writers claimed than there are bytes", owned, 4, raw("9b 00000000ffffffff"))
	item("restricted, without a nonce", owned, 5, raw("40"))
	item("restricted, nonce of 15 bytes", owned, 5, append(raw("4f"), make([]byte, 15)...))
	item("restricted, nonce of 17 bytes", owned, 5, append(raw("51"), make([]byte, 17)...))
	item("more than 16 KiB", open, 2, append(raw("794001"), bytes.Repeat([]byte("n"), MaxGenesis+1)...))
	item("257 writers", owned, 4, array(manyKeys(MaxWriters+1)...))

	unsupported := func(comment string, b []byte) { r.add(comment, b, ErrUnsupported) }
	unsupported("rule set 0", replaced(open, 0, raw("00")))
	unsupported("rule set 2", replaced(open, 0, raw("02")))
	unsupported("rule set 2^64-1", replaced(open, 0, raw("1b ffffffffffffffff")))
	unsupported("rule set 1, mode 2", replaced(open, 1, raw("02")))
	unsupported("rule set 2, two elements", raw("82 02 00"))
	unsupported("rule set 2, other shapes, deeply nested", raw("84 02 05 a2 6161 01 6162 f6 8181818181818180"))
	unsupported("rule set 2, 300 elements", array(append([][]byte{raw("02"), raw("00")}, slices.Repeat([][]byte{raw("00")}, 298)...)...))
	return r
}

// manyKeys returns n different keys in CBOR, sorted.
func manyKeys(n int) [][]byte {
	var keys [][]byte
	for i := range n {
		p := PublisherOf(numberedKey(i))
		keys = append(keys, append(raw("5820"), p[:]...))
	}
	slices.SortFunc(keys, bytes.Compare)
	return keys
}

func TestRefusedGeneses(t *testing.T) {
	r := refusedGeneses(t)
	r.check(func(b []byte) error { _, err := DecodeGenesis(b); return err })
	golden(t, "refused_geneses.json", r.listed())
}

// TestLargest checks that what stands at every limit at once is accepted and
// is what the derived sizes say.
func TestLargest(t *testing.T) {
	body := bodyCases(t)[5].body // numbers at their greatest
	body.Links = bodyCases(t)[6].body.Links
	body.Tags = bodyCases(t)[7].body.Tags
	body.Payload = make([]byte, MaxPayload)
	e := mustEvent(t, body)
	if len(e.Bytes()) != MaxBody {
		t.Errorf("largest body of %d bytes, MaxBody is %d", len(e.Bytes()), MaxBody)
	}
	if _, err := DecodeEvent(e.Bytes(), nil); err != nil {
		t.Error(err)
	}
	writers := make([]Publisher, MaxWriters)
	for i := range writers {
		writers[i] = PublisherOf(numberedKey(i))
	}
	g, err := NewRestricted(string(bytes.Repeat([]byte("n"), MaxName)), testPublisher(1), writers)
	if err != nil {
		t.Fatal(err)
	}
	if len(g.Bytes()) > MaxGenesis {
		t.Errorf("largest genesis of %d bytes, limit %d", len(g.Bytes()), MaxGenesis)
	}
	if back, err := DecodeGenesis(g.Bytes()); err != nil || back.ID() != g.ID() {
		t.Errorf("the largest genesis: %v", err)
	}
}

// TestRefusedArguments holds the constructors to the same rules as the
// decoders: what they return can be decoded, anything else is
// ErrInvalidArgument.
func TestRefusedArguments(t *testing.T) {
	for name, change := range map[string]func(b *Body){
		"no topic":          func(b *Body) { b.Topic = TopicID{} },
		"an undefined link": func(b *Body) { b.Links = append(b.Links[:0:0], TopicID{}) },
		"links unsorted":    func(b *Body) { slices.Reverse(b.Links) },
		"seq 0":             func(b *Body) { b.Seq = 0 },
		"negative time":     func(b *Body) { b.Time = -1 },
		"height":            func(b *Body) { b.Height = 1 },
		"payload":           func(b *Body) { b.Payload = make([]byte, MaxPayload+1) },
		"tag":               func(b *Body) { b.Tags = []string{""} },
		"tag not UTF-8":     func(b *Body) { b.Tags = []string{"\xff"} },
	} {
		body := bodyCases(t)[5].body
		change(&body)
		if _, err := NewEvent(body); !errors.Is(err, ErrInvalidArgument) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, name := range []string{"", "\xff", strings.Repeat("n", MaxName+1)} {
		if _, err := NewOpen(name); !errors.Is(err, ErrInvalidArgument) {
			t.Errorf("NewOpen(%.10q): %v", name, err)
		}
	}
	writers := make([]Publisher, MaxWriters+1)
	for i := range writers {
		writers[i] = PublisherOf(numberedKey(i))
	}
	if _, err := NewRestricted("demo", testPublisher(1), writers); !errors.Is(err, ErrInvalidArgument) {
		t.Errorf("NewRestricted with 257 writers: %v", err)
	}
	if _, err := NewRestricted("demo", Publisher{1}, nil); !errors.Is(err, ErrInvalidArgument) {
		t.Errorf("NewRestricted with the identity for an owner: %v", err)
	}
}

// TestRestricted checks what NewRestricted does with its arguments and whom it
// lets publish.
func TestRestricted(t *testing.T) {
	writers := []Publisher{testPublisher(3), testPublisher(2), testPublisher(3)}
	g, err := NewRestricted("demo", testPublisher(1), writers)
	if err != nil {
		t.Fatal(err)
	}
	if writers[0] != testPublisher(3) || len(g.Writers) != 2 {
		t.Errorf("writers %v, of %v", g.Writers, writers)
	}
	for n := range byte(5) {
		if got, want := g.MayPublish(testPublisher(n)), n >= 1 && n <= 3; got != want {
			t.Errorf("key %d may publish: %v", n, got)
		}
		if !mustOpen(t, "demo").MayPublish(testPublisher(n)) {
			t.Errorf("key %d may not publish to an open topic", n)
		}
	}
	again, err := NewRestricted("demo", testPublisher(1), writers)
	if err != nil || again.ID() == g.ID() {
		t.Errorf("a second topic with the same id, or %v", err)
	}
}
