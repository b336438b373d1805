package types

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/ipfs/go-cid"
)

type keyVector struct {
	Seed      hexBytes `json:"seed"`
	Publisher hexBytes `json:"publisher"`
	Text      string   `json:"text"`
}

func TestKeyVectors(t *testing.T) {
	var want []keyVector
	for n := range byte(4) {
		p := testPublisher(n)
		want = append(want, keyVector{testKey(n).Seed(), p[:], p.String()})
	}
	for _, v := range golden(t, "keys.json", want) {
		p := PublisherOf(ed25519.NewKeyFromSeed(v.Seed))
		if !bytes.Equal(p[:], v.Publisher) || p.String() != v.Text {
			t.Errorf("seed %x: publisher %x, %s", v.Seed, p, p)
		}
		if back, err := ParsePublisher(v.Text); err != nil || back != p {
			t.Errorf("ParsePublisher(%s) = %x, %v", v.Text, back, err)
		}
	}
}

type genesisVector struct {
	Comment string     `json:"comment"`
	Mode    uint64     `json:"mode"`
	Name    string     `json:"name"`
	Owner   hexBytes   `json:"owner"`
	Writers []hexBytes `json:"writers"`
	Nonce   hexBytes   `json:"nonce"`
	Bytes   hexBytes   `json:"bytes"`
	TopicID string     `json:"topic_id"`
	Shard16 uint64     `json:"shard_of_16"`
}

// testRestricted is NewRestricted with a nonce of 32 (0x20) to 47.
func testRestricted(t testing.TB, name string, owner byte, writers ...byte) *Genesis {
	t.Helper()
	g, err := newGenesis(restrictedWire(name, owner, writers...))
	if err != nil {
		t.Fatal(err)
	}
	return g
}

func restrictedWire(name string, owner byte, writers ...byte) wireGenesis {
	p := testPublisher(owner)
	w := wireGenesis{Rules: Rules1, Mode: uint64(Restricted), Name: name, Owner: p[:], Nonce: []byte(" !\"#$%&'()*+,-./")}
	for _, n := range writers {
		p := testPublisher(n)
		w.Writers = append(w.Writers, p[:])
	}
	slices.SortFunc(w.Writers, bytes.Compare)
	return w
}

type genesisCase struct {
	comment string
	wire    wireGenesis
}

func genesisCases() []genesisCase {
	open := func(name string) wireGenesis { return wireGenesis{Rules: Rules1, Name: name} }
	return []genesisCase{
		{"open, the shortest name", open("a")},
		{"open", open("demo")},
		{"open, a name of 23 bytes: its length fits the head", open("twenty-three characters")},
		{"open, a name of 24 bytes: its length takes a byte more", open("twenty-four characters !")},
		{"open, a name in UTF-8, not normalised", open("Ke\u0301rn \u2014 石")},
		{"open, the longest name", open(string(bytes.Repeat([]byte("n"), MaxName)))},
		{"restricted to its owner", restrictedWire("demo", 1)},
		{"restricted, two writers", restrictedWire("demo", 1, 2, 3)},
	}
}

func genesisVectors(t testing.TB) []genesisVector {
	var vectors []genesisVector
	for _, c := range genesisCases() {
		g, err := newGenesis(c.wire)
		if err != nil {
			t.Fatal(err)
		}
		v := genesisVector{
			Comment: c.comment, Mode: c.wire.Mode, Name: c.wire.Name, Owner: c.wire.Owner, Writers: []hexBytes{}, Nonce: c.wire.Nonce,
			Bytes: g.Bytes(), TopicID: g.ID().String(), Shard16: Shard(g.ID(), 16),
		}
		for _, w := range c.wire.Writers {
			v.Writers = append(v.Writers, w)
		}
		vectors = append(vectors, v)
	}
	return vectors
}

func TestGenesisVectors(t *testing.T) {
	for _, v := range golden(t, "genesis.json", genesisVectors(t)) {
		g, err := DecodeGenesis(v.Bytes)
		if err != nil {
			t.Errorf("%s: %v", v.Comment, err)
			continue
		}
		owner := Publisher{}
		copy(owner[:], v.Owner)
		if g.ID().String() != v.TopicID || !bytes.Equal(g.Bytes(), v.Bytes) || uint64(g.Mode) != v.Mode || g.Name != v.Name || g.Owner != owner {
			t.Errorf("%s: decoded as %+v", v.Comment, g)
		}
		if Shard(g.ID(), 16) != v.Shard16 {
			t.Errorf("%s: shard %d, want %d", v.Comment, Shard(g.ID(), 16), v.Shard16)
		}
		for i, w := range v.Writers {
			if !bytes.Equal(g.Writers[i][:], w) {
				t.Errorf("%s: writer %d is %x", v.Comment, i, g.Writers[i])
			}
		}
		if len(g.Writers) != len(v.Writers) {
			t.Errorf("%s: %d writers", v.Comment, len(g.Writers))
		}
	}
}

type bodyVector struct {
	Comment   string   `json:"comment"`
	Topic     string   `json:"topic"`
	Publisher string   `json:"publisher"`
	Seq       uint64   `json:"seq"`
	Links     []string `json:"links"`
	Height    uint64   `json:"height"`
	Time      int64    `json:"time"`
	Tags      []string `json:"tags"`
	Payload   hexBytes `json:"payload"`
	Bytes     hexBytes `json:"bytes"`
	CID       string   `json:"cid"`
	Witness   hexBytes `json:"witness"` // of type 1
}

type bodyCase struct {
	comment string
	key     byte
	body    Body
}

// bodyCases are valid bodies, each with the key that signs it.
func bodyCases(t testing.TB) []bodyCase {
	topic := mustOpen(t, "demo").ID()
	links := make([]cid.Cid, MaxLinks)
	for i := range links {
		links[i] = SumCID([]byte{byte(i)})
	}
	SortCIDs(links)
	manyTags := make([]string, MaxTags)
	for i := range manyTags {
		manyTags[i] = string(bytes.Repeat([]byte{'a' + byte(i)}, MaxTagSize))
	}
	return []bodyCase{
		{"the smallest: no links, no tags, empty payload, time 0", 1, Body{Topic: topic, Seq: 1, Height: 1}},
		{"a first event", 1, Body{Topic: topic, Seq: 1, Height: 1, Time: 1_790_000_000_123_456_789, Payload: []byte("hello")}},
		{"one link, one tag", 2, Body{Topic: topic, Seq: 7, Links: links[:1], Height: 2, Time: 1, Tags: []string{"t"}, Payload: []byte{0}}},
		{"numbers at 23, 24, 255 and 256, where heads grow", 2, Body{Topic: topic, Seq: 23, Links: links[:2], Height: 24, Time: 255, Payload: make([]byte, 256)}},
		{"numbers at 65535 and 65536", 2, Body{Topic: topic, Seq: 65535, Links: links[:2], Height: 65536, Time: 1<<32 - 1}},
		{"numbers at their greatest", 2, Body{Topic: topic, Seq: 1<<63 - 1, Links: links[:3], Height: 1<<63 - 1, Time: 1<<63 - 1}},
		{"all the links", 3, Body{Topic: topic, Seq: 3, Links: links, Height: 99, Time: 2, Payload: []byte("merge")}},
		{"all the tags, the longest", 3, Body{Topic: topic, Seq: 4, Height: 1, Time: 3, Tags: manyTags, Payload: []byte{1, 2, 3}}},
		{"tags in UTF-8 sort by bytes", 3, Body{Topic: topic, Seq: 5, Height: 1, Tags: []string{"A", "a", "é", "石", "🪨"}}},
		{"in a restricted topic", 1, Body{Topic: testRestricted(t, "demo", 1).ID(), Seq: 1, Height: 1, Payload: []byte("mine")}},
	}
}

// event returns the case's event, signed.
func (c bodyCase) event(t testing.TB) *Event {
	c.body.Publisher = testPublisher(c.key)
	e := mustEvent(t, c.body)
	SignEvents(testKey(c.key), []*Event{e})
	return e
}

func cidTexts(cids []cid.Cid) []string {
	texts := make([]string, len(cids))
	for i, c := range cids {
		texts[i] = c.String()
	}
	return texts
}

func TestBodyVectors(t *testing.T) {
	var want []bodyVector
	for _, c := range bodyCases(t) {
		e := c.event(t)
		want = append(want, bodyVector{
			Comment: c.comment, Topic: e.Topic.String(), Publisher: e.Publisher.String(), Seq: e.Seq, Links: cidTexts(e.Links), Height: e.Height,
			Time: e.Time, Tags: append([]string{}, e.Tags...), Payload: e.Payload, Bytes: e.Bytes(), CID: e.CID.String(), Witness: e.Witness,
		})
	}
	verifier := NewVerifier(1)
	for _, v := range golden(t, "bodies.json", want) {
		e, err := DecodeEvent(v.Bytes, v.Witness)
		if err != nil {
			t.Errorf("%s: %v", v.Comment, err)
			continue
		}
		got := bodyVector{
			Comment: v.Comment, Topic: e.Topic.String(), Publisher: e.Publisher.String(), Seq: e.Seq, Links: cidTexts(e.Links), Height: e.Height,
			Time: e.Time, Tags: e.Tags, Payload: e.Payload, Bytes: e.Bytes(), CID: e.CID.String(), Witness: e.Witness,
		}
		if diff := cmp.Diff(v, got, cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("%s: decoded (-want +got):\n%s", v.Comment, diff)
		}
		if e.Size() != len(v.Bytes)+len(v.Witness) {
			t.Errorf("%s: Size() = %d", v.Comment, e.Size())
		}
		if err := verifier.Verify(e); err != nil {
			t.Errorf("%s: %v", v.Comment, err)
		}
	}
}

// batchVector is a batch of the events that batchEvents describes.
type batchVector struct {
	N         int             `json:"n"`
	First     string          `json:"first_cid"`
	Last      string          `json:"last_cid"`
	Root      hexBytes        `json:"root"`
	Signature hexBytes        `json:"signature"`
	Witnesses []witnessVector `json:"witnesses"` // all, or of a large batch some
}

type witnessVector struct {
	Index   int      `json:"index"`
	Body    hexBytes `json:"body"`
	Witness hexBytes `json:"witness"`
}

func batchVectors(t testing.TB) []batchVector {
	var vectors []batchVector
	for _, n := range []int{1, 2, 3, 8, 64, 65} {
		events := batchEvents(t, n)
		signBatch(testKey(1), events)
		v := batchVector{N: n, First: events[0].CID.String(), Last: events[n-1].CID.String(), Signature: batchSignature(t, events[0])}
		var leaves []Hash
		for i, e := range events {
			leaves = append(leaves, leafHash(e.CID))
			if n <= 8 || i < 2 || i == n/2 || i >= n-2 {
				v.Witnesses = append(v.Witnesses, witnessVector{i, e.Bytes(), e.Witness})
			}
		}
		root := newMerkleTree(leaves).root()
		v.Root = root[:]
		vectors = append(vectors, v)
	}
	return vectors
}

func batchSignature(t testing.TB, e *Event) []byte {
	w, err := decodeBatchWitness(e.Witness[1:])
	if err != nil {
		t.Fatal(err)
	}
	return w.signature
}

func TestBatchVectors(t *testing.T) {
	verifier := NewVerifier(100)
	for _, v := range golden(t, "batches.json", batchVectors(t)) {
		for _, w := range v.Witnesses {
			e, err := DecodeEvent(w.Body, w.Witness)
			if err != nil {
				t.Fatal(err)
			}
			if err := verifier.Verify(e); err != nil {
				t.Errorf("event %d of %d: %v", w.Index, v.N, err)
			}
			if err := NewVerifier(1).Verify(e); err != nil {
				t.Errorf("event %d of %d, alone: %v", w.Index, v.N, err)
			}
		}
		signed := append([]byte("cairn/batch/1\x00"), byte(v.N))
		if !ed25519.Verify(testKey(1).Public().(ed25519.PublicKey), append(signed, v.Root...), v.Signature) {
			t.Errorf("the signature of batch %d is not over its root", v.N)
		}
	}
}

// TestSignEventsChoosesType pins that one event alone gets a witness of type 1,
// although a batch of one would be accepted too.
func TestSignEventsChoosesType(t *testing.T) {
	one, two := batchEvents(t, 1), batchEvents(t, 2)
	SignEvents(testKey(1), one)
	SignEvents(testKey(1), two)
	if one[0].Witness[0] != 1 || len(one[0].Witness) != 65 {
		t.Errorf("witness of one event: %x", one[0].Witness)
	}
	for _, e := range two {
		if e.Witness[0] != 2 || len(e.Witness) != 1+1+1+64+32 {
			t.Errorf("witness of one of two events: %x", e.Witness)
		}
	}
}

// TestLargestBatch checks a path of 16 hashes, that nothing exceeds the sizes
// that others allocate by, and that a batch of one event more is refused.
func TestLargestBatch(t *testing.T) {
	events := make([]*Event, MaxBatchWitness+1)
	p := testPublisher(1)
	for i := range events {
		events[i] = &Event{Body: Body{Publisher: p}, CID: CIDOf(Hash{byte(i), byte(i >> 8)})}
	}
	signBatch(testKey(1), events)
	verifier := NewVerifier(1)
	if err := verifier.Verify(events[0]); !errors.Is(err, ErrBadWitness) {
		t.Errorf("an event of a batch of %d: %v", len(events), err)
	}
	events = events[:MaxBatchWitness]
	SignEvents(testKey(1), events)
	for _, i := range []int{0, 1, 300, MaxBatchWitness - 1} {
		if err := verifier.Verify(events[i]); err != nil {
			t.Errorf("event %d: %v", i, err)
		}
	}
	if got := len(events[MaxBatchWitness-1].Witness); got != MaxWitness {
		t.Errorf("largest witness of %d bytes, MaxWitness is %d", got, MaxWitness)
	}
}

type logVector struct {
	LogID   hexBytes `json:"log_id"`
	Topic   string   `json:"topic"`
	Events  []string `json:"events"`
	Hashes  []string `json:"running_hashes"` // before the first event, after it, ...
	Cursors []string `json:"cursors"`        // at the same positions
}

func TestLogVectors(t *testing.T) {
	id := LogID([]byte("0123456789abcdef"))
	v := logVector{LogID: id[:], Topic: mustOpen(t, "batch").ID().String()}
	h := StartHash(id, mustOpen(t, "batch").ID())
	note := func(n uint64) {
		text, _ := hexBytes(h[:]).MarshalText()
		v.Hashes = append(v.Hashes, string(text))
		v.Cursors = append(v.Cursors, h.Cursor(n).String())
	}
	note(0)
	for i, e := range batchEvents(t, 3) {
		h = h.Next(e.CID)
		v.Events = append(v.Events, e.CID.String())
		note(uint64(i + 1))
	}
	for i, s := range golden(t, "log.json", v).Cursors {
		if c, err := ParseCursor(s); err != nil || c.Number != uint64(i) {
			t.Errorf("cursor %s: %+v, %v", s, c, err)
		}
	}
}
