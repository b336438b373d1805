package gossip

import (
	"bytes"
	"crypto/ed25519"
	"encoding/hex"
	"os"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/cairn-p2p/cairn/broadcaster/broadcastertest"
	"github.com/cairn-p2p/cairn/broadcaster/gossip/pb"
	"github.com/cairn-p2p/cairn/types"
)

// sealed returns the encoding of a message as the announcer with the given key
// would send it, after change has been at it.
func sealed(t testing.TB, key ed25519.PrivateKey, n number, a types.Announcement, change func(*message)) []byte {
	t.Helper()
	m := &message{
		topic:     a.Genesis.ID(),
		genesis:   a.Genesis.Bytes(),
		number:    n,
		headsHash: a.HeadsHash,
		heads:     a.Heads,
	}
	for _, e := range a.Events {
		m.events = append(m.events, &pb.Event{Body: e.Bytes(), Witness: e.Witness})
	}
	m.sign(key)
	if change != nil {
		change(m)
	}
	data, err := m.encode()
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// sample is the message that testdata/message.hex pins.
func sample(t testing.TB) []byte {
	t.Helper()
	g := broadcastertest.Topic(t, "sample")
	events := broadcastertest.Chain(t, broadcastertest.Key(0), g, 2, 3, true)
	return sealed(t, broadcastertest.Key(1), number{2, 300}, broadcastertest.Announce(g, events...), nil)
}

// The bytes of a message, and so of what its signature covers, never change.
func TestMessageVector(t *testing.T) {
	text, err := os.ReadFile("testdata/message.hex")
	if err != nil {
		t.Fatal(err)
	}
	want, err := hex.DecodeString(string(bytes.TrimSpace(text)))
	if err != nil {
		t.Fatal(err)
	}
	if got := sample(t); !bytes.Equal(got, want) {
		t.Errorf("the message is now\n%x", got)
	}
	m, err := decodeMessage(want)
	if err != nil {
		t.Fatal(err)
	}
	if !m.verify() {
		t.Error("the signature does not verify")
	}
	topic, announcer, events := glance(want)
	if topic != m.topic || announcer != m.announcer || events != len(m.events) {
		t.Errorf("at a glance: %s, %s, events %v", topic, announcer, events)
	}
}

// The signature covers everything that is said about heads.
func TestHeadsSignature(t *testing.T) {
	for name, forge := range map[string]func(*message){
		"topic":     func(m *message) { m.topic = m.heads[0] },
		"announcer": func(m *message) { m.announcer = types.PublisherOf(broadcastertest.Key(2)) },
		"start":     func(m *message) { m.number.start++ },
		"sequence":  func(m *message) { m.number.sequence++ },
		"hash":      func(m *message) { m.headsHash[0]++ },
		"heads":     func(m *message) { m.heads = nil },
		"signature": func(m *message) { m.signature[0]++ },
	} {
		m, err := decodeMessage(sample(t))
		if err != nil {
			t.Fatal(err)
		}
		if forge(m); m.verify() {
			t.Errorf("%s can be changed", name)
		}
	}
}

// The largest message that a node sends fits a frame.
func TestLargestMessage(t *testing.T) {
	writers := make([]types.Publisher, types.MaxWriters)
	for i := range writers {
		writers[i] = types.PublisherOf(broadcastertest.Key(100 + i))
	}
	g, err := types.NewRestricted("large", types.PublisherOf(broadcastertest.Key(0)), writers)
	if err != nil {
		t.Fatal(err)
	}
	e := broadcastertest.Chain(t, broadcastertest.Key(0), g, 1, types.MaxPayload, false)[0]
	a := broadcastertest.Announce(g, e)
	for i := range maxHeads - 1 {
		a.Heads = append(a.Heads, types.SumCID([]byte{byte(i)}))
	}
	types.SortCIDs(a.Heads)
	data := sealed(t, broadcastertest.Key(0), number{1 << 63, 1 << 63}, a, nil)
	if _, err := decodeMessage(data); err != nil {
		t.Errorf("a message of %d bytes: %v", len(data), err)
	}
}

func TestDecodeRefuses(t *testing.T) {
	good := sample(t)
	var p pb.Message
	if err := proto.Unmarshal(good, &p); err != nil {
		t.Fatal(err)
	}
	changed := func(change func(*pb.Message)) []byte {
		q := proto.Clone(&p).(*pb.Message)
		change(q)
		data, err := proto.MarshalOptions{Deterministic: true}.Marshal(q)
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	many := make([]*pb.Event, maxEvents+1)
	for i := range many {
		many[i] = &pb.Event{Body: []byte{1}, Witness: []byte{1}}
	}
	manyHeads := make([][]byte, maxHeads+1)
	for i := range manyHeads {
		manyHeads[i] = types.SumCID([]byte{byte(i)}).Bytes()
	}
	replaced := func(old, with string) []byte {
		if bytes.Count(good, []byte(old)) != 1 {
			t.Fatalf("the sample has no single %x", old)
		}
		return bytes.Replace(good, []byte(old), []byte(with), 1)
	}
	const numbers = "\x28\x02\x30\xac\x02" // start 2, sequence 300
	for name, data := range map[string][]byte{
		"nothing":             nil,
		"one byte":            {0},
		"no topic":            changed(func(p *pb.Message) { p.Topic = nil }),
		"short topic":         changed(func(p *pb.Message) { p.Topic = p.Topic[1:] }),
		"other codec":         changed(func(p *pb.Message) { p.Topic[1] = 0x55 }),
		"large genesis":       changed(func(p *pb.Message) { p.Genesis = make([]byte, maxGenesis+1) }),
		"empty event":         changed(func(p *pb.Message) { p.Events[0] = &pb.Event{} }),
		"no body":             changed(func(p *pb.Message) { p.Events[0].Body = nil }),
		"no witness":          changed(func(p *pb.Message) { p.Events[0].Witness = nil }),
		"many events":         changed(func(p *pb.Message) { p.Events = many }),
		"no announcer":        changed(func(p *pb.Message) { p.Announcer = nil }),
		"no heads hash":       changed(func(p *pb.Message) { p.HeadsHash = nil }),
		"short head":          changed(func(p *pb.Message) { p.Heads[0] = p.Heads[0][:35] }),
		"many heads":          changed(func(p *pb.Message) { p.Heads = manyHeads }),
		"a head twice":        changed(func(p *pb.Message) { p.Heads = append(p.Heads, p.Heads[0]) }),
		"no signature":        changed(func(p *pb.Message) { p.Signature = nil }),
		"long signature":      changed(func(p *pb.Message) { p.Signature = append(p.Signature, 0) }),
		"truncated":           good[:len(good)-1],
		"unknown field":       protowire.AppendVarint(protowire.AppendTag(bytes.Clone(good), 10, protowire.VarintType), 1),
		"large field number":  protowire.AppendVarint(protowire.AppendTag(bytes.Clone(good), protowire.MaxValidNumber, protowire.VarintType), 1),
		"field twice":         append(bytes.Clone(good[:38]), good...),
		"tag not shortest":    append([]byte{0x8a, 0x00}, good[1:]...),
		"number not shortest": replaced(numbers, "\x28\x82\x00\x30\xac\x02"),
		"number zero":         replaced(numbers, "\x28\x00\x30\xac\x02"),
		"numbers swapped":     replaced(numbers, "\x30\xac\x02\x28\x02"),
		"number twice":        replaced(numbers, "\x28\x02\x28\x02\x30\xac\x02"),
		"length not shortest": append([]byte{0x0a, 0xa4, 0x00}, good[2:]...),
		"too large":           make([]byte, maxMessage+1),
	} {
		if m, err := decodeMessage(data); err == nil {
			t.Errorf("%s: decoded to %+v", name, m)
		}
	}
}

// Whatever decodes is the canonical encoding, and the judges of the rest of the
// bytes do not panic on it.
func FuzzMessage(f *testing.F) {
	f.Add(sample(f))
	g := broadcastertest.Topic(f, "fuzz")
	e := broadcastertest.Chain(f, broadcastertest.Key(0), g, 1, 0, false)[0]
	f.Add(sealed(f, broadcastertest.Key(0), number{}, broadcastertest.AnnounceHeads(g, e), func(m *message) { m.genesis = nil }))
	f.Add(sealed(f, broadcastertest.Key(0), number{1, 1}, broadcastertest.Announce(g, e), nil))
	f.Add(sealed(f, broadcastertest.Key(0), number{0, 1}, broadcastertest.Announce(g, e), func(m *message) {
		m.events = append(m.events, &pb.Event{Body: []byte{0x8b}, Witness: []byte{2}})
		m.heads = nil
		m.sign(broadcastertest.Key(0))
	}))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, data []byte) {
		glance(data)
		v := newTestValidator(t, broadcastertest.NewNode(g))
		v.validate(t.Context(), types.Shard(g.ID(), testShards), "neighbour", data)
		m, err := decodeMessage(data)
		if err != nil {
			return
		}
		again, err := m.encode()
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(again, data) {
			t.Fatalf("%x was decoded, and encodes as %x", data, again)
		}
	})
}
