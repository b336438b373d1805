package hostile

import (
	"crypto/ed25519"
	"fmt"
	"slices"
	"sync"

	"github.com/ipfs/go-cid"
	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/p2p/security/noise"
	"github.com/libp2p/go-libp2p/p2p/transport/tcp"

	"github.com/cairn-p2p/cairn/client/pb"
	"github.com/cairn-p2p/cairn/types"
)

// deliverProtocol is the light clients' protocol of SPEC.md.
const deliverProtocol = "/cairn/deliver/1"

// Lie is one way in which a broker deceives light clients.
type Lie struct {
	Name  string
	About string // one sentence for people
	// Kind is that of the violation with which a client catches it; empty: it is
	// none, and the broker is honest.
	Kind string
	// Publishes: it is told to one who publishes, for the Publishes-th time.
	Publishes int
	// Filter: it is told to one who asks for the tag "t".
	Filter bool

	entries func(b *LyingBroker, log []*pb.Entry) []*pb.Entry
	opened  func(b *LyingBroker, m *pb.Opened)
	heads   func(b *LyingBroker, m *pb.HeadsAnswer)
	events  func(b *LyingBroker, m *pb.EventsAnswer)
	submit  func(b *LyingBroker, m *pb.SubmitAnswer)
	forgets bool
}

// Lies returns all there are, an honest broker first.
func Lies() []Lie {
	return []Lie{
		{Name: "none", About: "Is honest."},
		{
			Name: "altered-bytes", Kind: "witness", About: "Serves an event with another payload.",
			entries: func(b *LyingBroker, log []*pb.Entry) []*pb.Entry {
				log[2].Body = spoilt(log[2].GetBody(), len(log[2].GetBody())-1)
				return log
			},
		},
		{
			Name: "swapped-witnesses", Kind: "witness", About: "Serves two events each with the witness of the other.",
			entries: func(b *LyingBroker, log []*pb.Entry) []*pb.Entry {
				log[2].Witness, log[3].Witness = log[3].GetWitness(), log[2].GetWitness()
				return log
			},
		},
		{
			Name: "reordered", Kind: "order", About: "Serves an event before one that it links to.",
			entries: func(b *LyingBroker, log []*pb.Entry) []*pb.Entry {
				log[2], log[3] = log[3], log[2]
				return renumbered(log)
			},
		},
		{
			Name: "withheld", Kind: "order", About: "Leaves out an event that others link to.",
			entries: func(b *LyingBroker, log []*pb.Entry) []*pb.Entry { return renumbered(slices.Delete(log, 2, 3)) },
		},
		{
			Name: "skipped", Kind: "position", About: "Leaves out an event, and its number.",
			entries: func(b *LyingBroker, log []*pb.Entry) []*pb.Entry { return slices.Delete(log, 2, 3) },
		},
		{
			Name: "repeated", Kind: "repeated", About: "Serves an event twice.",
			entries: func(b *LyingBroker, log []*pb.Entry) []*pb.Entry {
				again := &pb.Entry{Body: log[1].GetBody(), Witness: log[1].GetWitness()}
				return renumbered(slices.Insert(log, 3, again))
			},
		},
		{
			Name: "other-topic", Kind: "topic", About: "Serves an event of another topic.",
			entries: func(b *LyingBroker, log []*pb.Entry) []*pb.Entry {
				g, err := types.NewOpen("another topic")
				if err != nil {
					panic(err) // the name is as it should be
				}
				e := chain(b.key, g, 1)[0]
				log[2].Body, log[2].Witness = e.Bytes(), e.Witness
				return log
			},
		},
		{
			Name: "forged-height", Kind: "height", About: "Serves an event of its own that says it is higher than its link makes it.",
			entries: func(b *LyingBroker, log []*pb.Entry) []*pb.Entry {
				e := made(b.key, b.genesis, 1, []cid.Cid{b.log[1].CID}, 40)
				types.SignEvents(b.key, []*types.Event{e})
				log[2].Body, log[2].Witness = e.Bytes(), e.Witness
				return log
			},
		},
		{
			Name: "non-canonical", Kind: "encoding", About: "Serves an event in another encoding than its one.",
			entries: func(b *LyingBroker, log []*pb.Entry) []*pb.Entry {
				log[2].Body = append(slices.Clone(log[2].GetBody()), 0)
				return log
			},
		},
		{
			Name: "unasked", Kind: "filter", Filter: true, About: "Serves events that a filter leaves out.",
			entries: func(b *LyingBroker, log []*pb.Entry) []*pb.Entry { return log },
		},
		{
			Name: "forged-genesis", Kind: "genesis", About: "Gives the genesis of another topic.",
			opened: func(b *LyingBroker, m *pb.Opened) {
				m.Genesis = spoilt(m.GetGenesis(), len(m.GetGenesis())-4)
			},
		},
		{
			Name: "elsewhere", Kind: "position", About: "Begins at another place than it was asked for.",
			opened: func(b *LyingBroker, m *pb.Opened) { m.Position = placeAt(5) },
		},
		{
			Name: "invented-heads", Kind: "heads", Publishes: 1, About: "Names a head that does not exist to one who publishes.",
			heads: func(b *LyingBroker, m *pb.HeadsAnswer) {
				m.Heads = append(m.Heads, &pb.Head{Cid: nothing("head", 0).Bytes(), Height: 9})
			},
		},
		{
			Name: "forged-heads", Kind: "heads", Publishes: 1, About: "Names a head and serves for it an event whose witness proves nothing.",
			heads: func(b *LyingBroker, m *pb.HeadsAnswer) {
				m.Heads = []*pb.Head{{Cid: b.forged().CID.Bytes(), Height: 9}}
			},
			events: func(b *LyingBroker, m *pb.EventsAnswer) {
				e := b.forged()
				m.Events = []*pb.Event{{Body: e.Bytes(), Witness: append([]byte{1}, make([]byte, 64)...)}}
			},
		},
		{
			Name: "heightened-heads", Kind: "heads", Publishes: 1, About: "Gives a head another height, which would make what links to it invalid.",
			heads: func(b *LyingBroker, m *pb.HeadsAnswer) { m.GetHeads()[0].Height++ },
		},
		{
			Name: "wrong-publisher", Kind: "answer", Publishes: 1, About: "Gives a publisher another's event as its own.",
			heads: func(b *LyingBroker, m *pb.HeadsAnswer) {
				m.Own = &pb.Event{Body: b.log[0].Bytes(), Witness: b.log[0].Witness}
			},
		},
		{
			Name: "other-receipt", Kind: "answer", Publishes: 1, About: "Acknowledges other events than it was given.",
			submit: func(b *LyingBroker, m *pb.SubmitAnswer) {
				for i := range m.GetStored() {
					m.Stored[i] = nothing("stored", 0).Bytes()
				}
			},
		},
		{
			Name: "invented-gap", Kind: "answer", Publishes: 1, About: "Says that it lacks what nobody linked to.",
			submit: func(b *LyingBroker, m *pb.SubmitAnswer) {
				m.Stored, m.Missing = nil, [][]byte{nothing("missing", 0).Bytes()}
			},
		},
		{
			Name: "forgetful", Kind: "lost", Publishes: 2, forgets: true, About: "Acknowledges what it does not store.",
		},
		{
			Name: "insatiable", Kind: "lost", Publishes: 2, About: "Says again and again that it lacks an event that it acknowledges.",
			submit: func(b *LyingBroker, m *pb.SubmitAnswer) {
				last := b.log[len(b.log)-1]
				for _, e := range b.log {
					if e.Publisher == last.Publisher && slices.Contains(last.Links, e.CID) {
						m.Stored, m.Missing = nil, [][]byte{e.CID.Bytes()}
						b.log = b.log[:len(b.log)-1]
						return
					}
				}
			},
		},
	}
}

// renumbered gives entries the numbers of an unbroken log.
func renumbered(log []*pb.Entry) []*pb.Entry {
	for i, e := range log {
		e.Position = placeAt(uint64(i) + 1)
	}
	return log
}

func placeAt(number uint64) *pb.Position {
	return &pb.Position{Number: number, Hash: make([]byte, 8)}
}

// lyingLog is the number of events that a LyingBroker has at first, in a chain.
const lyingLog = 8

// LyingBroker serves one topic to light clients, and tells them one lie.
type LyingBroker struct {
	host    host.Host
	genesis *types.Genesis
	lie     Lie
	key     ed25519.PrivateKey // of what it makes itself

	mu  sync.Mutex
	log []*types.Event
}

// StartBroker serves a topic on a loopback address until Close.
func StartBroker(g *types.Genesis, lie Lie) (*LyingBroker, error) {
	h, err := libp2p.New(libp2p.ListenAddrStrings("/ip4/127.0.0.1/tcp/0"), libp2p.Transport(tcp.NewTCPTransport),
		libp2p.Security(noise.ID, noise.New), libp2p.DisableRelay())
	if err != nil {
		return nil, fmt.Errorf("make host: %w", err)
	}
	b := &LyingBroker{host: h, genesis: g, lie: lie, key: newKey()}
	b.log = chain(newKey(), g, lyingLog)
	h.SetStreamHandler(deliverProtocol, b.handle)
	return b, nil
}

// Addr returns its multiaddress.
func (b *LyingBroker) Addr() string {
	return b.host.Addrs()[0].String() + "/p2p/" + b.host.ID().String()
}

// Events returns what it has stored.
func (b *LyingBroker) Events() []*types.Event {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.log)
}

// Close ends it.
func (b *LyingBroker) Close() error { return b.host.Close() }

// forged is an event that its publisher never signed.
func (b *LyingBroker) forged() *types.Event {
	return made(b.key, b.genesis, 1, []cid.Cid{b.log[len(b.log)-1].CID}, 9)
}

func (b *LyingBroker) handle(st network.Stream) {
	s := newStream(st)
	m := new(pb.Request)
	if s.read(m) != nil {
		s.Reset() //nolint:errcheck // nothing left to do
		return
	}
	switch r := m.GetRequest().(type) {
	case *pb.Request_Subscribe:
		b.subscribe(s)
	case *pb.Request_Heads:
		s.write(b.answerHeads(r.Heads)) //nolint:errcheck // a client need not listen
	case *pb.Request_Events:
		s.write(b.answerEvents(r.Events)) //nolint:errcheck // the same
	case *pb.Request_Submit:
		s.write(b.answerSubmit(r.Submit)) //nolint:errcheck // the same
	}
	s.Close() //nolint:errcheck // the same
}

// subscribe serves the log from the start, and then waits for the client to go.
func (b *LyingBroker) subscribe(s *stream) {
	opened := &pb.Opened{Genesis: b.genesis.Bytes()}
	if b.lie.opened != nil {
		b.lie.opened(b, opened)
	}
	var log []*pb.Entry
	for _, e := range b.Events() {
		log = append(log, &pb.Entry{Body: e.Bytes(), Witness: e.Witness})
	}
	log = renumbered(log)
	if b.lie.entries != nil {
		log = b.lie.entries(b, log)
	}
	if s.write(&pb.Response{Answer: &pb.Response_Opened{Opened: opened}}) != nil {
		return
	}
	m := &pb.Entries{Entries: log, End: uint64(len(log))}
	if s.write(&pb.Response{Answer: &pb.Response_Entries{Entries: m}}) != nil {
		return
	}
	s.read(new(pb.Request)) //nolint:errcheck // it ends with the client
}

func (b *LyingBroker) answerHeads(q *pb.HeadsRequest) *pb.Response {
	b.mu.Lock()
	defer b.mu.Unlock()
	last := b.log[len(b.log)-1]
	m := &pb.HeadsAnswer{Genesis: b.genesis.Bytes(), Events: uint64(len(b.log))}
	m.Heads = []*pb.Head{{Cid: last.CID.Bytes(), Height: last.Height}}
	for _, e := range b.log {
		if string(e.Publisher[:]) == string(q.GetPublisher()) {
			m.Own = &pb.Event{Body: e.Bytes(), Witness: e.Witness}
		}
	}
	if b.lie.heads != nil {
		b.lie.heads(b, m)
	}
	return &pb.Response{Answer: &pb.Response_Heads{Heads: m}}
}

func (b *LyingBroker) answerEvents(q *pb.EventsRequest) *pb.Response {
	b.mu.Lock()
	defer b.mu.Unlock()
	m := &pb.EventsAnswer{}
	for _, id := range q.GetCids() {
		event := &pb.Event{}
		for _, e := range b.log {
			if e.CID.KeyString() == string(id) {
				event.Body, event.Witness = e.Bytes(), e.Witness
			}
		}
		m.Events = append(m.Events, event)
	}
	if b.lie.events != nil {
		b.lie.events(b, m)
	}
	return &pb.Response{Answer: &pb.Response_Events{Events: m}}
}

func (b *LyingBroker) answerSubmit(q *pb.SubmitRequest) *pb.Response {
	b.mu.Lock()
	defer b.mu.Unlock()
	m := &pb.SubmitAnswer{}
	for _, raw := range q.GetEvents() {
		e, err := types.DecodeEvent(raw.GetBody(), raw.GetWitness())
		if err != nil {
			continue
		}
		m.Stored = append(m.Stored, e.CID.Bytes())
		if !b.lie.forgets && !slices.ContainsFunc(b.log, func(other *types.Event) bool { return other.CID == e.CID }) {
			b.log = append(b.log, e)
		}
	}
	if b.lie.submit != nil {
		b.lie.submit(b, m)
	}
	return &pb.Response{Answer: &pb.Response_Submit{Submit: m}}
}
