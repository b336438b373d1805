package hostile

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"google.golang.org/protobuf/proto"

	"github.com/cairn-p2p/cairn/syncer/pb"
	"github.com/cairn-p2p/cairn/trie"
	"github.com/cairn-p2p/cairn/types"
)

// syncProtocol is the sync protocol of SPEC.md, and what follows its limits.
const (
	syncProtocol  = "/cairn/sync/1"
	frameBytes    = 256 << 10 // at which a frame of an answer is closed
	frameEvents   = 1024
	frameCIDs     = 4096
	frameSubtrees = 64
	listedHeads   = 1024 // beyond, their digest is asked for
	listedLeaves  = 64   // below a prefix of a digest, likewise
)

// ioTimeout ends a read or a write that a victim lets hang.
const ioTimeout = time.Minute

// stream is one end of a stream of the sync protocol.
type stream struct {
	network.Stream
	r *bufio.Reader
}

func newStream(s network.Stream) *stream { return &stream{s, bufio.NewReader(s)} }

func (s *stream) write(m proto.Message) error {
	b, err := proto.Marshal(m)
	if err != nil {
		return err
	}
	return s.writeRaw(append(binary.AppendUvarint(nil, uint64(len(b))), b...))
}

func (s *stream) writeRaw(b []byte) error {
	s.SetWriteDeadline(time.Now().Add(ioTimeout)) //nolint:errcheck // then it lasts until close
	_, err := s.Write(b)
	return err
}

func (s *stream) read(m proto.Message) error {
	s.SetReadDeadline(time.Now().Add(ioTimeout)) //nolint:errcheck // then it lasts until close
	size, err := binary.ReadUvarint(s.r)
	if err != nil {
		return err
	}
	if size > types.MaxFrame {
		return fmt.Errorf("frame of %d bytes", size)
	}
	b := make([]byte, size)
	if _, err := io.ReadFull(s.r, b); err != nil {
		return err
	}
	return proto.Unmarshal(b, m)
}

// open opens a stream to a victim.
func (p *hostilePeer) open(v peer.ID) (*stream, error) {
	s, err := p.host.NewStream(network.WithNoDial(p.ctx, "attack"), v, syncProtocol)
	if err != nil {
		return nil, err
	}
	return newStream(s), nil
}

// send sends a request to a victim on a stream of its own, and reads no answer.
func (p *hostilePeer) send(v peer.ID, m *pb.Request) {
	m.Network = p.cfg.Network
	if s, err := p.open(v); err == nil {
		s.write(m) //nolint:errcheck // a victim need not listen
		s.Close()  //nolint:errcheck // the same
	}
}

// handle answers the requests of one stream.
func (p *hostilePeer) handle(st network.Stream) {
	s := newStream(st)
	defer s.Reset() //nolint:errcheck // nothing left to do
	for {
		m := new(pb.Request)
		if s.read(m) != nil {
			return
		}
		p.done.Add(1)
		if p.how.serve(p, s, m) != nil {
			return
		}
	}
}

// errHangUp ends a stream.
var errHangUp = errors.New("hang up")

// answer answers as a correct server would that holds the peer's books.
func answer(p *hostilePeer, s *stream, m *pb.Request) error {
	switch r := m.GetRequest().(type) {
	case *pb.Request_Status:
		return p.answerStatus(s)
	case *pb.Request_Changes:
		return s.write(&pb.Response{Answer: &pb.Response_Changes{Changes: &pb.ChangesAnswer{Unknown: true}}})
	case *pb.Request_Digest:
		return p.answerDigest(s, r.Digest)
	case *pb.Request_Heads:
		return p.answerHeads(s, r.Heads)
	case *pb.Request_Held:
		return p.answerHeld(s, r.Held)
	case *pb.Request_Ancestors:
		return s.write(&pb.Response{Answer: &pb.Response_Ancestors{Ancestors: &pb.AncestorsAnswer{UsePull: true}}})
	case *pb.Request_Pull:
		return p.answerPull(s, r.Pull)
	case *pb.Request_Events:
		return p.answerEvents(s, r.Events)
	case *pb.Request_Locate:
		return s.write(&pb.Response{Answer: &pb.Response_Locate{Locate: &pb.LocateAnswer{}}})
	case *pb.Request_Offer:
		return nil
	}
	return s.write(&pb.Response{Answer: &pb.Response_Error{Error: &pb.Error{Code: pb.Error_CODE_UNSUPPORTED}}})
}

func (p *hostilePeer) answerStatus(s *stream) error {
	t, change := p.digest()
	root, id := t.Root(), p.books[0].logID
	return s.write(&pb.Response{Answer: &pb.Response_Status{Status: &pb.StatusAnswer{
		Root: root[:], LogId: id[:], ChangeNumber: change, Topics: uint64(t.Len()), ChangeId: id[:],
	}}})
}

// answerDigest tells what differs below the prefixes asked about: of the topics,
// or of a topic's heads.
func (p *hostilePeer) answerDigest(s *stream, m *pb.DigestRequest) error {
	a := new(pb.DigestAnswer)
	t, _ := p.digest()
	ofHeads := len(m.GetTopic()) > 0
	if ofHeads {
		b := p.bookOf(m.GetTopic())
		if b == nil {
			return notFound(s)
		}
		at := b.page()
		t, a.Root = at.trie, at.hash[:]
	}
	for _, asked := range m.GetSubtrees() {
		var prefix trie.Prefix
		for _, nibble := range asked.GetPrefix() {
			prefix = prefix.Child(nibble)
		}
		hashes := asked.GetHashes()
		for i := range uint8(16) {
			has := asked.GetBitmap()>>i&1 == 1
			var theirs types.Hash
			if has {
				theirs = types.Hash(hashes[:len(theirs)])
				hashes = hashes[len(theirs):]
			}
			own, ok := t.Hash(prefix.Child(i))
			if has && own == theirs || !ok || !has && !ofHeads {
				continue
			}
			if len(a.Subtrees) == frameSubtrees {
				if err := s.write(&pb.Response{More: true, Answer: &pb.Response_Digest{Digest: a}}); err != nil {
					return err
				}
				a = &pb.DigestAnswer{Root: a.Root}
			}
			a.Subtrees = append(a.Subtrees, listBelow(t, prefix.Child(i), append(slices.Clone(asked.GetPrefix()), i), ofHeads))
		}
	}
	return s.write(&pb.Response{Answer: &pb.Response_Digest{Digest: a}})
}

// listBelow tells what lies below a prefix: the leaves if they are few, else the
// hashes.
func listBelow(t *trie.Trie, p trie.Prefix, nibbles []byte, ofHeads bool) *pb.Subtree {
	part := &pb.Subtree{Prefix: nibbles}
	for key, value := range t.Under(p) {
		if len(part.Leaves) == listedLeaves {
			part.Leaves = nil
			for i := range uint8(16) {
				if h, ok := t.Hash(p.Child(i)); ok {
					part.Bitmap |= 1 << i
					part.Hashes = append(part.Hashes, h[:]...)
				}
			}
			break
		}
		leaf := &pb.Leaf{Key: key[:], HeadsHash: value[:]}
		if ofHeads {
			leaf.HeadsHash = nil
		}
		part.Leaves = append(part.Leaves, leaf)
	}
	return part
}

func (p *hostilePeer) answerHeads(s *stream, m *pb.HeadsRequest) error {
	for i, q := range m.GetQueries() {
		id, err := types.CastCID(q.GetTopic())
		if err != nil {
			return err
		}
		more := i < len(m.GetQueries())-1
		b := p.book(id)
		if b == nil || len(b.page().heads) == 0 {
			if err := s.write(&pb.Response{More: more, Answer: &pb.Response_Heads{Heads: &pb.HeadsAnswer{
				Topic: q.GetTopic(), State: pb.HeadsAnswer_STATE_NOT_HELD,
			}}}); err != nil {
				return err
			}
			continue
		}
		if err := p.headsOf(s, b, q, more); err != nil {
			return err
		}
	}
	return nil
}

func (p *hostilePeer) headsOf(s *stream, b *book, q *pb.HeadsQuery, more bool) error {
	at := b.page()
	a := &pb.HeadsAnswer{
		Topic: q.GetTopic(), State: pb.HeadsAnswer_STATE_REPLICATED, HeadsHash: at.hash[:],
		Events: uint64(max(len(at.log), 1)), LogId: b.logID[:], End: position(len(at.log)), Many: len(at.heads) > listedHeads,
	}
	if q.GetGenesis() {
		a.Genesis = b.genesis.Bytes()
	}
	if !a.Many {
		for _, h := range at.heads {
			a.Heads = append(a.Heads, &pb.Head{Cid: h.CID.Bytes(), Height: h.Height})
		}
	}
	return s.write(&pb.Response{More: more, Answer: &pb.Response_Heads{Heads: a}})
}

func position(n int) *pb.Position {
	if n == 0 {
		return &pb.Position{}
	}
	return &pb.Position{Number: uint64(n), Hash: make([]byte, 8)}
}

func (p *hostilePeer) answerHeld(s *stream, m *pb.HeldRequest) error {
	b := p.bookOf(m.GetTopic())
	if b == nil {
		return notFound(s)
	}
	a, at := new(pb.HeldAnswer), b.page()
	for i, c := range m.GetCids() {
		if id, err := types.CastCID(c); err == nil {
			if _, ok := at.at[id]; ok {
				a.Bitmap |= 1 << i
			}
		}
	}
	return s.write(&pb.Response{Answer: &pb.Response_Held{Held: a}})
}

func notFound(s *stream) error {
	return s.write(&pb.Response{Answer: &pb.Response_Error{Error: &pb.Error{Code: pb.Error_CODE_NOT_FOUND}}})
}

func (p *hostilePeer) bookOf(topic []byte) *book {
	id, err := types.CastCID(topic)
	if err != nil {
		return nil
	}
	return p.book(id)
}

func (p *hostilePeer) answerPull(s *stream, m *pb.PullRequest) error {
	b := p.bookOf(m.GetTopic())
	if b == nil {
		return notFound(s)
	}
	at := b.page()
	from := min(int(m.GetAfter().GetNumber()), len(at.log))
	end := len(at.log)
	if m.GetLimit() > 0 {
		end = min(end, from+int(m.GetLimit()))
	}
	for first := true; first || from < end; first = false {
		a := &pb.PullAnswer{}
		if first {
			a.LogId, a.End = b.logID[:], uint64(len(at.log))
		}
		for size := 0; from < end && size < frameBytes && len(a.Events) < frameEvents && len(a.Cids) < frameCIDs; from++ {
			e := at.log[from]
			if m.GetCids() {
				a.Cids = append(a.Cids, e.id.Bytes())
				continue
			}
			a.Events = append(a.Events, &pb.Event{Body: e.body, Witness: e.witness})
			size += len(e.body) + len(e.witness)
		}
		a.Position = position(from)
		if err := s.write(&pb.Response{More: from < end, Answer: &pb.Response_Pull{Pull: a}}); err != nil {
			return err
		}
	}
	return nil
}

func (p *hostilePeer) answerEvents(s *stream, m *pb.EventsRequest) error {
	b := p.bookOf(m.GetTopic())
	if b == nil {
		return notFound(s)
	}
	at := b.page()
	a, size := new(pb.EventsAnswer), 0
	for _, c := range m.GetCids() {
		id, err := types.CastCID(c)
		if err != nil {
			return err
		}
		i, ok := at.at[id]
		if !ok {
			a.Items = append(a.Items, &pb.Item{Outcome: pb.Item_OUTCOME_ABSENT})
			continue
		}
		e := at.log[i]
		if size > 0 && size+len(e.body)+len(e.witness) > frameBytes {
			if err := s.write(&pb.Response{More: true, Answer: &pb.Response_Events{Events: a}}); err != nil {
				return err
			}
			a, size = new(pb.EventsAnswer), 0
		}
		a.Items = append(a.Items, &pb.Item{Outcome: pb.Item_OUTCOME_SENT, Event: &pb.Event{Body: e.body, Witness: e.witness}})
		size += len(e.body) + len(e.witness)
	}
	return s.write(&pb.Response{Answer: &pb.Response_Events{Events: a}})
}
