package hostile

import (
	"bufio"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/binary"
	"io"
	"math/bits"

	kadpb "github.com/libp2p/go-libp2p-kad-dht/pb"
	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
	"google.golang.org/protobuf/proto"

	"github.com/cairn-p2p/cairn/types"
)

// maxKad bounds a message of the DHT, as kad-dht does.
const maxKad = 4 << 20

func kadProtocol(network string) protocol.ID {
	return protocol.ID("/cairn/" + network + "/kad/1.0.0")
}

// kadKey is the key that a topic's replicas are found under in the DHT.
func kadKey(topic types.TopicID) []byte {
	digest := types.Digest(topic)
	key := sha256.Sum256(append([]byte("cairn/topic/1\x00"), digest[:]...))
	return append([]byte{0x12, 0x20}, key[:]...)
}

// nearness is how many bits the places of an identity and a key share. More are
// found in twice the time each.
const nearness = 8

// keysNear draws n identities near the topic's key.
func keysNear(cfg Config, n int) []ed25519.PrivateKey {
	place := sha256.Sum256(kadKey(cfg.Topics[0].ID()))
	var keys []ed25519.PrivateKey
	for len(keys) < n {
		key := newKey()
		identity, err := crypto.UnmarshalEd25519PrivateKey(key)
		if err != nil {
			panic(err) // it was just made
		}
		id, err := peer.IDFromPrivateKey(identity)
		if err != nil {
			panic(err) // the same
		}
		own := sha256.Sum256([]byte(id))
		if bits.LeadingZeros64(binary.BigEndian.Uint64(place[:])^binary.BigEndian.Uint64(own[:])) >= nearness {
			keys = append(keys, key)
		}
	}
	return keys
}

// randomKeys draws n identities.
func randomKeys(_ Config, n int) []ed25519.PrivateKey {
	keys := make([]ed25519.PrivateKey, n)
	for i := range keys {
		keys[i] = newKey()
	}
	return keys
}

// handleKad answers the requests of one stream of the DHT.
func (p *hostilePeer) handleKad(s network.Stream) {
	defer s.Reset() //nolint:errcheck // nothing left to do
	r := bufio.NewReader(s)
	for {
		size, err := binary.ReadUvarint(r)
		if err != nil || size > maxKad {
			return
		}
		b := make([]byte, size)
		if _, err := io.ReadFull(r, b); err != nil {
			return
		}
		m := new(kadpb.Message)
		if proto.Unmarshal(b, m) != nil {
			return
		}
		p.done.Add(1)
		a := p.how.kad(p, m)
		if a == nil {
			continue
		}
		if b, err = proto.Marshal(a); err != nil {
			return
		}
		if _, err := s.Write(append(binary.AppendUvarint(nil, uint64(len(b))), b...)); err != nil {
			return
		}
	}
}

// eclipse answers as if nobody was nearer to anything than the crowd, keeps no
// record, and names the crowd for every topic.
func eclipse(p *hostilePeer, m *kadpb.Message) *kadpb.Message {
	a := &kadpb.Message{Type: m.GetType(), Key: m.GetKey()}
	var crowd []*kadpb.Message_Peer
	for _, o := range p.others[:min(len(p.others), 20)] {
		c := &kadpb.Message_Peer{Id: []byte(o.host.ID()), Connection: kadpb.Message_CAN_CONNECT}
		for _, addr := range o.host.Addrs() {
			c.Addrs = append(c.Addrs, addr.Bytes())
		}
		crowd = append(crowd, c)
	}
	switch m.GetType() {
	case kadpb.Message_ADD_PROVIDER:
		return nil
	case kadpb.Message_PING:
	case kadpb.Message_GET_PROVIDERS:
		a.ProviderPeers, a.CloserPeers = crowd, crowd
	default:
		a.CloserPeers = crowd
	}
	return a
}
