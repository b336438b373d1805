package gossip

import (
	"crypto/ed25519"
	"encoding/binary"
	"fmt"

	"github.com/ipfs/go-cid"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/cairn-p2p/cairn/broadcaster/gossip/pb"
	"github.com/cairn-p2p/cairn/types"
)

const (
	cidSize       = types.CIDSize
	keySize       = ed25519.PublicKeySize
	hashSize      = len(types.Hash{})
	signatureSize = ed25519.SignatureSize
	maxGenesis    = types.MaxGenesis
	maxHeads      = types.MaxLinks
)

// domainHeads begins what the signature of a message's heads covers.
const domainHeads = "cairn/heads/1\x00"

// number orders what one announcer says: by how often it has started, then by
// its messages since.
type number struct{ start, sequence uint64 }

func (n number) after(m number) bool {
	return n.start > m.start || n.start == m.start && n.sequence > m.sequence
}

// message is the decoded form of a gossip message. Its events and genesis are
// still bytes: what they must be depends on the topic.
type message struct {
	topic     types.TopicID
	genesis   []byte
	events    []*pb.Event
	announcer types.Publisher
	number    number
	headsHash types.Hash
	heads     []cid.Cid
	signature []byte
}

// decodeMessage reads the canonical encoding of a message. It checks the shape
// before it allocates, and shares no memory with data.
func decodeMessage(data []byte) (*message, error) {
	if len(data) > maxMessage {
		return nil, fmt.Errorf("%d bytes, limit %d", len(data), maxMessage)
	}
	if err := scan(data, messageShape); err != nil {
		return nil, err
	}
	var p pb.Message
	if err := proto.Unmarshal(data, &p); err != nil {
		return nil, err
	}
	topic, err := types.CastCID(p.Topic)
	if err != nil {
		return nil, fmt.Errorf("topic: %w", err)
	}
	m := &message{
		topic:     topic,
		genesis:   p.Genesis,
		events:    p.Events,
		announcer: types.Publisher(p.Announcer),
		number:    number{p.Start, p.Sequence},
		headsHash: types.Hash(p.HeadsHash),
		signature: p.Signature,
	}
	for i, h := range p.Heads {
		c, err := types.CastCID(h)
		if err != nil {
			return nil, fmt.Errorf("head %d: %w", i, err)
		}
		if i > 0 && types.CompareCIDs(m.heads[i-1], c) >= 0 {
			return nil, fmt.Errorf("heads are not sorted and unique")
		}
		m.heads = append(m.heads, c)
	}
	return m, nil
}

// glance reads, from a message that was checked before, its topic and announcer
// and how many events it has. It copies none of them.
func glance(data []byte) (topic types.TopicID, announcer types.Publisher, events int) {
	for len(data) > 0 {
		num, _, n := protowire.ConsumeTag(data)
		if n < 0 {
			break
		}
		data = data[n:]
		v, n := protowire.ConsumeBytes(data)
		if n < 0 {
			break
		}
		data = data[n:]
		switch num {
		case 1:
			topic, _ = types.CastCID(v)
		case 3:
			events++
		case 4: // the last of interest
			copy(announcer[:], v)
			return topic, announcer, events
		}
	}
	return cid.Undef, types.Publisher{}, 0
}

// encode returns the canonical encoding.
func (m *message) encode() ([]byte, error) {
	p := &pb.Message{
		Topic:     m.topic.Bytes(),
		Genesis:   m.genesis,
		Events:    m.events,
		Announcer: m.announcer[:],
		Start:     m.number.start,
		Sequence:  m.number.sequence,
		HeadsHash: m.headsHash[:],
		Signature: m.signature,
	}
	for _, h := range m.heads {
		p.Heads = append(p.Heads, h.Bytes())
	}
	return proto.MarshalOptions{Deterministic: true}.Marshal(p)
}

// signed is what the signature covers: all that the message says about heads.
func (m *message) signed() []byte {
	b := make([]byte, 0, len(domainHeads)+cidSize+16+hashSize+len(m.heads)*cidSize)
	b = append(append(b, domainHeads...), m.topic.KeyString()...)
	b = binary.BigEndian.AppendUint64(b, m.number.start)
	b = binary.BigEndian.AppendUint64(b, m.number.sequence)
	b = append(b, m.headsHash[:]...)
	for _, h := range m.heads {
		b = append(b, h.KeyString()...)
	}
	return b
}

func (m *message) sign(key ed25519.PrivateKey) {
	m.announcer = types.PublisherOf(key)
	m.signature = types.Sign(key, m.signed())
}

// verify reports whether the announcer signed the heads.
func (m *message) verify() bool {
	return types.CheckSignature(m.announcer, m.signed(), m.signature)
}
