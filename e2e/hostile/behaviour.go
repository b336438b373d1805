package hostile

import (
	"crypto/ed25519"

	kadpb "github.com/libp2p/go-libp2p-kad-dht/pb"

	"github.com/cairn-p2p/cairn/syncer/pb"
)

// Proof is what a correct node can hold against a peer that behaves so.
type Proof int

const (
	// Nothing: all that it does might be done by a correct node, or nobody can
	// tell who began it. It must be without effect.
	Nothing Proof = iota
	// Unproven: it claims what it does not serve, which victims list as such.
	Unproven
	// Offence: victims name it in status, and its score with them falls.
	Offence
)

// String returns the proof in a word.
func (p Proof) String() string { return [...]string{"nothing", "unproven", "offence"}[p] }

// Behaviour is one way of being hostile.
type Behaviour struct {
	Name   string // as in a scenario's file
	About  string // one sentence for people
	Proof  Proof
	Count  int  // how much of it, by default: enough to show
	Topics int  // that the victims must replicate at least; 0: one
	DHT    bool // it is about the DHT: the victims must take part in it
	Adopts bool // it is about topics that nobody asked for: the victims must adopt them
	// Valid: its events are as they should be and must be integrated, so that
	// they count among those of the topic.
	Valid bool

	crowd   bool // Count is of identities
	keys    func(Config, int) []ed25519.PrivateKey
	prepare func(*hostilePeer) error // before anybody is connected
	serve   func(*hostilePeer, *stream, *pb.Request) error
	kad     func(*hostilePeer, *kadpb.Message) *kadpb.Message
	act     func(*hostilePeer) // until the attack is over
}

// Behaviours returns all there are.
func Behaviours() []Behaviour {
	all := []Behaviour{
		{
			Name: "wrong-bytes", About: "Serves the bytes of one event under the id of another.",
			Proof: Offence, prepare: wrongBytes,
		},
		{
			Name: "bad-witness", About: "Gossips and serves events whose signatures do not verify.",
			Proof: Offence, prepare: badWitness, act: spread,
		},
		{
			Name: "spoilt-copies", About: "Gossips and serves the events of others with signatures that do not verify, as soon as it hears of them.",
			Proof: Offence, act: spoilCopies,
		},
		{
			Name: "swapped-witnesses", About: "Gossips and serves events each with the witness of its neighbour.",
			Proof: Offence, prepare: swappedWitnesses, act: spread,
		},
		{
			Name: "bad-batch-signature", About: "Gossips and serves a batch with the right root and paths, of which only the first event has the right signature.",
			Proof: Offence, prepare: badBatchSignature, act: spread,
		},
		{
			Name: "withheld-ancestors", About: "Gossips and claims an event, and serves it without the one that it links to.",
			Proof: Unproven, prepare: withheldAncestors, act: spread,
		},
		{
			Name: "forged-heights", About: "Gossips and serves events that say they are higher than their links make them.",
			Proof: Offence, prepare: forgedHeights, act: spread,
		},
		{
			Name: "orphans", About: "Gossips count valid events whose links nobody has.",
			Count: 2000, act: orphans,
		},
		{
			Name: "fan-out", About: "Serves one event with count others that link to it, and some that link to 32 of those.",
			Count: 2000, Valid: true, prepare: fanOut, act: announceOnce,
		},
		{
			Name: "heads-storm", About: "Serves count events without links: each is a head.",
			Count: 2000, Valid: true, prepare: headsStorm, act: announceOnce,
		},
		{
			Name: "unknown-heads", About: "Claims heads that do not exist, by gossip and when asked, always others.",
			Proof: Unproven, Count: 300, prepare: unknownHeads, act: gossipUnknownHeads,
		},
		{
			Name: "endless-pull", About: "Has a log that never ends, and pulls on count streams without reading.",
			Proof: Offence, Count: 32, prepare: endlessLog, serve: servesEndlessLog, act: pullEndlessly,
		},
		{
			Name: "slow-loris", About: "Answers a byte at a time, and asks so on count streams.",
			Proof: Unproven, Count: 32, prepare: claimChain, serve: drip, act: dripRequests,
		},
		{
			Name: "huge-lengths", About: "Sends lengths of frames that nobody may allocate, as a server, as a client and by gossip.",
			Proof: Offence, serve: hugeAnswer, act: hugeRequests,
		},
		{
			Name: "lying-digests", About: "Has another digest each time, whose parts are not where they belong, and changes without end.",
			Proof: Offence, serve: lieInDigest,
		},
		{
			Name: "echo-heads", About: "Repeats every heads that it hears as its own, to everybody, and holds nothing.", act: echo,
		},
		{
			Name: "crowd", About: "Count identities near the topic's key in the DHT keep no record, and name each other for every topic.",
			Count: 12, DHT: true, crowd: true, keys: keysNear, kad: eclipse,
		},
		{
			Name: "replay", About: "Sends every gossip message that it heard again and again, as it was and without its events.", act: replay,
		},
		{
			Name: "topic-flood", About: "Gossips events of count topics that nobody asked for, and of as many with unknown rules.",
			Count: 500, Adopts: true, act: floodTopics,
		},
		{
			Name: "cross-topic-links", About: "Gossips and serves an event that links to one of another topic.",
			Proof: Offence, Topics: 2, act: crossTopics,
		},
		{
			Name: "non-canonical", About: "Gossips and serves an event whose encoding is not the shortest, in messages that are not either.",
			Proof: Offence, prepare: nonCanonical, act: spreadBadly,
		},
		{
			Name: "small-order-key", About: "Gossips and serves an event of a key of small order, which anybody can sign for.",
			Proof: Offence, prepare: smallOrderKey, act: spread,
		},
		{
			Name: "silent-crowd", About: "Count identities claim events, and say nothing when asked for them.",
			Proof: Unproven, Count: 12, crowd: true, prepare: claimChain, serve: fallSilent,
		},
	}
	for i := range all {
		b := &all[i]
		b.Topics = max(b.Topics, 1)
		if b.keys == nil {
			b.keys = randomKeys
		}
		if b.serve == nil {
			b.serve = answer
		}
	}
	return all
}

// Named returns the behaviour of that name.
func Named(name string) (Behaviour, bool) {
	for _, b := range Behaviours() {
		if b.Name == name {
			return b, true
		}
	}
	return Behaviour{}, false
}

// Names returns the names of all behaviours.
func Names() []string {
	var names []string
	for _, b := range Behaviours() {
		names = append(names, b.Name)
	}
	return names
}
