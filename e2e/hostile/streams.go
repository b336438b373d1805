package hostile

import (
	"crypto/rand"
	"encoding/binary"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"google.golang.org/protobuf/proto"

	"github.com/cairn-p2p/cairn/syncer/pb"
	"github.com/cairn-p2p/cairn/types"
)

// meshProtocol is what gossipsub speaks.
const meshProtocol = "/meshsub/1.1.0"

// dripPause is the time between two bytes: less than any deadline.
const dripPause = 15 * time.Second

func endlessLog(p *hostilePeer) error {
	events := chain(p.honest, p.cfg.Topics[0], chainLength)
	p.books[0].write(entriesOf(events), []types.Head{{CID: nothing("endless", 0), Height: 1 << 40}})
	return nil
}

// servesEndlessLog repeats the book for ever, whatever piece of it was asked
// for.
func servesEndlessLog(p *hostilePeer, s *stream, m *pb.Request) error {
	q := m.GetPull()
	if q == nil {
		return answer(p, s, m)
	}
	b := p.bookOf(q.GetTopic())
	if b == nil {
		return notFound(s)
	}
	at := b.page()
	for n := q.GetAfter().GetNumber(); ; {
		a := &pb.PullAnswer{LogId: b.logID[:], End: 1 << 40}
		for range 64 {
			for _, e := range at.log {
				if q.GetCids() {
					a.Cids = append(a.Cids, e.id.Bytes())
				} else {
					a.Events = append(a.Events, &pb.Event{Body: e.body, Witness: e.witness})
				}
				n++
			}
		}
		a.Position = &pb.Position{Number: n, Hash: make([]byte, 8)}
		if err := s.write(&pb.Response{More: true, Answer: &pb.Response_Pull{Pull: a}}); err != nil {
			return err
		}
	}
}

// pullEndlessly asks for the victims' logs from the start, on many streams, and
// never reads.
func pullEndlessly(p *hostilePeer) {
	p.onEach(func(v peer.ID) {
		p.keepOpen(v, func(s *stream) bool {
			for range 100 {
				m := &pb.Request{Network: p.cfg.Network, Request: &pb.Request_Pull{Pull: &pb.PullRequest{Topic: p.cfg.Topics[0].ID().Bytes()}}}
				if s.write(m) != nil {
					return false
				}
			}
			return p.pause(dripPause)
		})
	})
}

// keepOpen keeps Count streams open to a victim until the attack is over: each
// is asked for its status, to see that it is served, and then used until use
// fails.
func (p *hostilePeer) keepOpen(v peer.ID, use func(*stream) bool) {
	for range p.cfg.Count {
		p.tasks.Go(func() {
			for p.pause(again) {
				s, err := p.open(v)
				if err != nil {
					continue
				}
				if p.status(s) == nil {
					p.done.Add(1)
					for use(s) {
					}
				}
				s.Reset() //nolint:errcheck // nothing left to do
			}
		})
	}
}

// status asks for a victim's first word.
func (p *hostilePeer) status(s *stream) error {
	err := s.write(&pb.Request{Network: p.cfg.Network, Request: &pb.Request_Status{Status: &pb.StatusRequest{}}})
	if err != nil {
		return err
	}
	return s.read(new(pb.Response))
}

// drip answers Status, Digest and Heads, and anything else a byte at a time.
func drip(p *hostilePeer, s *stream, m *pb.Request) error {
	if m.GetAncestors() == nil && m.GetPull() == nil && m.GetEvents() == nil {
		return answer(p, s, m)
	}
	if err := s.writeRaw([]byte{0x80, 0x80, 0x04}); err != nil { // a frame of 64 KiB
		return err
	}
	for p.pause(dripPause) {
		if err := s.writeRaw([]byte{0}); err != nil {
			return err
		}
	}
	return errHangUp
}

// dripRequests sends requests a byte at a time on many streams.
func dripRequests(p *hostilePeer) {
	p.onEach(func(v peer.ID) {
		p.keepOpen(v, func(s *stream) bool {
			if s.writeRaw([]byte{0x80, 0x40}) != nil { // a frame of 8 KiB
				return false
			}
			for p.pause(dripPause) {
				if s.writeRaw([]byte{0}) != nil {
					return false
				}
			}
			return false
		})
	})
}

// fallSilent answers Status, Digest and Heads, and nothing else.
func fallSilent(p *hostilePeer, s *stream, m *pb.Request) error {
	if m.GetAncestors() == nil && m.GetPull() == nil && m.GetEvents() == nil {
		return answer(p, s, m)
	}
	<-p.ctx.Done()
	return errHangUp
}

// hugeLength begins a frame of 2⁶³ bytes.
func hugeLength() []byte { return binary.AppendUvarint(nil, 1<<63) }

func hugeAnswer(_ *hostilePeer, s *stream, _ *pb.Request) error { return s.writeRaw(hugeLength()) }

// hugeRequests begins frames that nobody may allocate, of both protocols.
func hugeRequests(p *hostilePeer) {
	for {
		p.onEach(func(v peer.ID) {
			for _, length := range [][]byte{hugeLength(), binary.AppendUvarint(nil, 1<<30), binary.AppendUvarint(nil, types.MaxFrame)} {
				if s, err := p.open(v); err == nil {
					s.writeRaw(length)     //nolint:errcheck // a victim need not listen
					s.read(&pb.Response{}) //nolint:errcheck // what it says does not matter
					s.Reset()              //nolint:errcheck // nothing left to do
					p.done.Add(1)
				}
			}
			if s, err := p.host.NewStream(network.WithNoDial(p.ctx, "attack"), v, meshProtocol); err == nil {
				s.Write(hugeLength()) //nolint:errcheck // a victim need not listen
				s.Reset()             //nolint:errcheck // nothing left to do
			}
		})
		if !p.pause(time.Second) {
			return
		}
	}
}

// lieInDigest has another root and another change each time it is asked, parts
// out of place, and leaves without end.
func lieInDigest(p *hostilePeer, s *stream, m *pb.Request) error {
	var r [4][32]byte
	for i := range r {
		rand.Read(r[i][:]) //nolint:errcheck // it never fails
	}
	n := p.done.Load()
	switch {
	case m.GetStatus() != nil:
		return s.write(&pb.Response{Answer: &pb.Response_Status{Status: &pb.StatusAnswer{
			Root: r[0][:], LogId: r[1][:16], ChangeNumber: uint64(n), Topics: 1 << 40, ChangeId: make([]byte, 16),
		}}})
	case m.GetChanges() != nil:
		return endlessChanges(s, uint64(n))
	case m.GetDigest() != nil && n%2 == 0: // another hash everywhere, to be asked about for ever
		a := new(pb.DigestAnswer)
		for _, asked := range m.GetDigest().GetSubtrees() {
			for i := range byte(16) {
				if asked.GetBitmap()>>i&1 == 0 {
					continue
				}
				part := &pb.Subtree{Prefix: append(append([]byte{}, asked.GetPrefix()...), i), Bitmap: 0xffff}
				for range 16 {
					part.Hashes = append(part.Hashes, r[2][:]...)
				}
				a.Subtrees = append(a.Subtrees, part)
			}
		}
		return s.write(&pb.Response{Answer: &pb.Response_Digest{Digest: a}})
	case m.GetDigest() != nil: // leaves where they cannot be
		a := &pb.DigestAnswer{}
		for _, asked := range m.GetDigest().GetSubtrees() {
			a.Subtrees = append(a.Subtrees, &pb.Subtree{
				Prefix: append(append([]byte{}, asked.GetPrefix()...), 0),
				Leaves: []*pb.Leaf{{Key: r[2][:], HeadsHash: r[3][:]}, {Key: r[1][:], HeadsHash: r[0][:]}},
			})
		}
		return s.write(&pb.Response{Answer: &pb.Response_Digest{Digest: a}})
	}
	return answer(p, s, m)
}

// endlessChanges lists changes of topics for as long as the victim reads.
func endlessChanges(s *stream, number uint64) error {
	a := &pb.ChangesAnswer{ChangeNumber: number}
	for range 4096 {
		var leaf [64]byte
		rand.Read(leaf[:]) //nolint:errcheck // it never fails
		a.Leaves = append(a.Leaves, &pb.Leaf{Key: leaf[:32], HeadsHash: leaf[32:]})
	}
	m := &pb.Response{More: true, Answer: &pb.Response_Changes{Changes: a}}
	b, err := proto.Marshal(m)
	if err != nil {
		return err
	}
	frame := append(binary.AppendUvarint(nil, uint64(len(b))), b...)
	for {
		if err := s.writeRaw(frame); err != nil {
			return err
		}
	}
}
