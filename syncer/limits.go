package syncer

import (
	"time"

	"github.com/cairn-p2p/cairn/types"
)

// Protocol is the id of the stream protocol.
const Protocol = "/cairn/sync/1"

// Limits of the protocol: a message that breaks one is malformed.
const (
	// maxRequest is the size in bytes of the largest request: 256 CIDs need
	// less than 10 KiB. It bounds what a stranger makes a server allocate.
	maxRequest = 32 << 10
	// maxResponse is the size in bytes of the largest frame of an answer.
	maxResponse = types.MaxFrame
	// maxFields bounds the fields of one frame, those of nested messages
	// included: an empty field costs 2 bytes to send and up to 100 to hold.
	maxFields = 16 << 10
	// maxEventsAsked bounds the CIDs of an Events request.
	maxEventsAsked = 256
	// maxQueries bounds the topics of a Heads request.
	maxQueries = 64
	// maxSubtrees bounds the subtrees of a Digest request, of up to 540 bytes
	// each.
	maxSubtrees = 32
	// maxOfferHeads bounds the heads of an Offer.
	maxOfferHeads = types.MaxLinks
	// maxPageEvents bounds the events of one frame.
	maxPageEvents = 1024
	// maxPageCIDs bounds the CIDs of one frame.
	maxPageCIDs = 4096
	// maxPageHeads bounds the heads that an answer to Heads lists. Beyond it the
	// digest of the topic's heads is asked for, which costs their difference: a
	// storm of heads must not cost all of them at each comparison.
	maxPageHeads = 1024
	// maxHeadsRounds bounds the Digest requests with which a client looks for
	// the heads that it lacks: enough for a million that are here as well, but no
	// heads any more.
	maxHeadsRounds = 2048
	// maxHeadsAhead bounds the prefixes that it has yet to ask about: several
	// times what as many heads give, if the deepest are asked about first.
	maxHeadsAhead = 64 << 10
	// maxPageLeaves bounds the leaves of the digest in one frame.
	maxPageLeaves = 4096
	// maxWants bounds the wants of an Ancestors request: the heads that an
	// event can link to.
	maxWants = types.MaxLinks
	// maxStops bounds its stops, and the CIDs of a Held request, which are asked
	// about before. All of either request fits into 4 KiB.
	maxStops = 64
	// maxHops bounds how often a Locate request is passed on.
	maxHops = 4
	// maxHolders, maxAddrs and maxAddr bound the nodes in an answer to Locate,
	// the addresses of each, and the bytes of one.
	maxHolders = 16
	maxAddrs   = 8
	maxAddr    = 256
	// maxReason is the length in bytes to which an error's text is cut.
	maxReason = 200
	// maxTopics bounds the leaves that a client reads of a peer's digest.
	maxTopics = 1 << 20
)

// What a server spends on one answer and a client on one exchange.
const (
	// pageSize is the size in bytes at which a server closes a frame: several
	// fit into a stream's window, and both ends hold one or two.
	pageSize = 256 << 10
	// eventsBudget is the number of bytes after which the events asked for by
	// CID are over budget.
	eventsBudget = 4 << 20
	// pullBudget is the number of bytes of events after which a Pull's answer
	// ends early: it bounds how long one answer keeps a view of the store.
	pullBudget = 64 << 20
	// pullTimeout is the time after which a Pull's answer ends early.
	pullTimeout = 2 * time.Minute
	// leavesAtOnce is the number of topics below a node of the digest up to
	// which they are listed, in place of the hashes below it: they save a round
	// trip or two for some kilobytes.
	leavesAtOnce = 64
	// maxChanges bounds the topics whose last change has a number remembered, and
	// so those that an answer to Changes lists.
	maxChanges = 16 << 10
	// visitBudget is the number of events that a server reads to answer
	// Ancestors, those it does not send included. Beyond it a Pull costs less
	// than finding out what is missing. A client takes no more either.
	visitBudget = 16 << 10
	// visitBytes is the number of bytes of events that a server reads to
	// find out what to send.
	visitBytes = 64 << 20
	// maxWalks bounds the answers to Ancestors found out at a time, each of
	// which holds the ids of up to visitBudget events; who comes meanwhile is
	// told to pull.
	maxWalks = 4
	// ancestorsFrom is the number of entries in the peer's log behind the
	// position remembered at which Ancestors is asked first: as CIDs they are
	// larger than a request with all stops.
	ancestorsFrom = 256
	// maxShared bounds the heads last shared with a peer that are remembered,
	// and sent among the stops.
	maxShared = 16
	// maxNoted bounds the topics of which one exchange finds and remembers that
	// the heads are shared: each is a read of the heads.
	maxNoted = 1024
	// skips is the number of own events sent among the stops at exponentially
	// growing distances from the end of the log, skipFirst being the least.
	skips     = 30
	skipFirst = 8
	// maxNarrow bounds the Held requests after the first with which a client
	// narrows down where in its log what is shared ends: each by a factor of 65.
	maxNarrow = 2
	// narrowTo: no more than one event in so many of those that are missing is
	// left between what is shared and what is not.
	narrowTo = 8
	// pullPart: if this node may have more than one in so many of the events that
	// a pull would bring, it asks for what it has not.
	pullPart = 8
	// prefixParts is the number of places in this node's log at which a peer is
	// asked whether its log is the same so far.
	prefixParts = 16
	// getChunk is the number of events read from the store at a time to answer
	// Events: at their largest, one budget's worth.
	getChunk = 8
	// requestCost is what a request costs its peer's allowance, in bytes,
	// beside the bytes that it moves: small requests are not free.
	requestCost = 2 << 10
	// itemCost is what each event or CID looked up costs: reading the log as
	// CIDs moves few bytes here but reads many.
	itemCost = 64

	// maxBatchEvents and types.MaxBatchSize bound what is integrated at once.
	maxBatchEvents = 1000
	// pullPage is the number of CIDs that a client pulls at a time.
	pullPage = maxPageCIDs
	// requestsAhead is the number of Events requests under way at a time. They
	// hide the round trip; together they fit into a stream's initial window.
	requestsAhead = 4
	// maxRequestsAhead is the same while the answers are small: all together are
	// as large as one may be, and fit into a stream's window.
	maxRequestsAhead = 16
	// rememberEvery is the number of events after which a pull's position is
	// made durable: less often than an fsync costs, often enough to resume.
	rememberEvery = 4096
	// maxRounds bounds how often an exchange about a topic fetches and compares
	// again at once. Under load there is always something new, which gossip is
	// about to bring: more rounds would fetch everything twice.
	maxRounds = 3
	// maxTracked bounds the missing heads that one exchange follows up.
	maxTracked = 256
	// maxListed bounds the missing heads in a topic's status.
	maxListed = 64
	// maxAsked bounds the peers whose answers a missing head's status names.
	maxAsked = 16
	// maxOwnHeads bounds the own heads among which the highest are told to a
	// peer.
	maxOwnHeads = maxPageHeads
	// maxOffences bounds the peers whose offences are remembered.
	maxOffences = 256
	// maxRemembered bounds the topics of which positions and shared heads are
	// kept in memory: 600 bytes each with one peer and one head, and at most
	// 16 KiB. Only those in which something is fetched now need them.
	maxRemembered = 1024
	// maxPositions bounds the peers whose position is remembered for a topic.
	maxPositions = 16
	// peerLanes bounds the streams that this node opens to one peer.
	peerLanes = 4
	// fanOutPeers bounds the peers to which one Locate request is passed on.
	fanOutPeers = 16
	// locatesRemembered bounds the searches that are known to have passed.
	locatesRemembered = 4096
	// locateRate and locateBurst bound the Locate requests answered to one
	// peer, a second and at once. The excess gets an empty answer.
	locateRate  = 1
	locateBurst = 16
	// floodRate and floodBurst pace this node's own searches for copies that are
	// blank, a second and at once: half of what a peer answers, so that others,
	// for what is known to be missing, need not wait.
	floodRate  = locateRate / 2.
	floodBurst = locateBurst / 2
	// maxSearches bounds the Locate requests passed on at a time.
	maxSearches = 16
	// maxClimbs bounds the topics for which the fetch ladder is climbed at a
	// time.
	maxClimbs = 8
	// lookupSpread is the time over which lookups of many topics at once are
	// spread, for each topic: 100,000 topics are 20 a second.
	lookupSpread = 50 * time.Millisecond
	// climbsKept of them are kept for topics of which something is known to be
	// missing.
	climbsKept = 2
	// maxMeet bounds the peers met on one rung of a climb.
	maxMeet = 8
	// fewReplicas is the number of replicas below which a topic's node looks
	// for more.
	fewReplicas = 3
	// genesisAsked is the number of peers asked for a genesis at a time.
	genesisAsked = 16
	// minRate is the number of bytes a second below which an answer is given
	// up, measured over the time spent waiting for it once that exceeds
	// Intervals.Frame.
	minRate = 4 << 10
	// turnRate is the number of bytes a second below which a transfer gives way
	// to another replica that waits, measured over Intervals.Turn of such time: a
	// move costs what is under way, and a link that makes more is a fair one.
	turnRate = 64 << 10
)

// The defaults of Limits.Streams and Limits.StreamsPerPeer.
const (
	DefaultStreams        = 128
	DefaultStreamsPerPeer = 8
)

// Limits bound what peers together and each may cost. A zero field takes the
// default in its comment.
type Limits struct {
	StreamsPerPeer int // served at once for one peer: DefaultStreamsPerPeer
	Streams        int // served at once: DefaultStreams
	BytesPerSecond int // allowance of each peer, in and out: 64 MiB
}

// Intervals say when things happen. A zero field takes the default in its
// comment.
type Intervals struct {
	Settle  time.Duration // from a hint by gossip to the question: 20 ms; most hints answer themselves
	Compare time.Duration // between comparisons of a hot topic with a replica: 1 s
	Hot     time.Duration // how long a change keeps a topic hot: 30 s
	Full    time.Duration // between exchanges about all topics, ± 25%: 30 s
	Offer   time.Duration // between two offers to a peer: 100 ms
	Turn    time.Duration // of a slow transfer while other replicas of the topic wait: 5 s
	Probe   time.Duration // between searches for a topic's replicas among all peers: 5 s

	BackoffMin time.Duration // after the first failure, ± 50%: 500 ms
	BackoffMax time.Duration // after many: 2 min

	Lookup  time.Duration // between lookups for a topic with fewer than 3 replicas, twice as long after each, ± 25%: 10 min
	Soon    time.Duration // before a lookup that failed is made again, or one is brought forward, twice as long after each up to Lookup, ± 25%: 5 s
	Active  time.Duration // between lookups at random, for a topic that changed since the last but one, ± 25%: 1 h
	Dormant time.Duration // the same for any other: 24 h
	Climb   time.Duration // all of one climb of the ladder: 2 min
	Hop     time.Duration // one hop of a Locate request and back: 1 s

	Frame time.Duration // to read or to write one frame: 20 s
	Idle  time.Duration // a served stream waits for the next request: 60 s
	Dial  time.Duration // to open a stream: 10 s
}

func (l Limits) withDefaults() Limits {
	orDefault(&l.StreamsPerPeer, DefaultStreamsPerPeer)
	orDefault(&l.Streams, DefaultStreams)
	orDefault(&l.BytesPerSecond, 64<<20)
	return l
}

func (i Intervals) withDefaults() Intervals {
	orDefault(&i.Settle, 20*time.Millisecond)
	orDefault(&i.Compare, time.Second)
	orDefault(&i.Hot, 30*time.Second)
	orDefault(&i.Full, 30*time.Second)
	orDefault(&i.Offer, 100*time.Millisecond)
	orDefault(&i.Turn, 5*time.Second)
	orDefault(&i.Probe, 5*time.Second)
	orDefault(&i.BackoffMin, 500*time.Millisecond)
	orDefault(&i.BackoffMax, 2*time.Minute)
	orDefault(&i.Lookup, 10*time.Minute)
	orDefault(&i.Soon, 5*time.Second)
	orDefault(&i.Active, time.Hour)
	orDefault(&i.Dormant, 24*time.Hour)
	orDefault(&i.Climb, 2*time.Minute)
	orDefault(&i.Hop, time.Second)
	orDefault(&i.Frame, 20*time.Second)
	orDefault(&i.Idle, time.Minute)
	orDefault(&i.Dial, 10*time.Second)
	return i
}

func orDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}
