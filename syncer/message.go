package syncer

import (
	"slices"

	"github.com/ipfs/go-cid"

	"github.com/cairn-p2p/cairn/syncer/pb"
	"github.com/cairn-p2p/cairn/types"
)

// The parse functions turn fields of messages into values and hold them to the
// limits. Their errors are offences.

func parseHash(b []byte) (types.Hash, error) {
	var h types.Hash
	if len(b) != len(h) {
		return h, offencef("hash of %d bytes", len(b))
	}
	return types.Hash(b), nil
}

// parseOptionalHash reads a hash that may be left out.
func parseOptionalHash(b []byte) (*types.Hash, error) {
	if len(b) == 0 {
		return nil, nil
	}
	h, err := parseHash(b)
	return &h, err
}

func parseCID(b []byte) (cid.Cid, error) {
	c, err := types.CastCID(b)
	if err != nil {
		return cid.Undef, offencef("%d bytes are no CID of an event or topic", len(b))
	}
	return c, nil
}

func parseCIDs(list [][]byte, limit int) ([]cid.Cid, error) {
	if len(list) > limit {
		return nil, offencef("%d CIDs, limit %d", len(list), limit)
	}
	cids := make([]cid.Cid, 0, len(list))
	for _, b := range list {
		c, err := parseCID(b)
		if err != nil {
			return nil, err
		}
		cids = append(cids, c)
	}
	return cids, nil
}

func parseLogID(b []byte) (types.LogID, error) {
	var id types.LogID
	if len(b) != len(id) {
		return id, offencef("log id of %d bytes", len(b))
	}
	return types.LogID(b), nil
}

// parseCursor reads a position; none, or one of number 0, is the zero cursor.
func parseCursor(p *pb.Position) (types.Cursor, error) {
	if p.GetNumber() == 0 {
		return types.Cursor{}, nil
	}
	if len(p.GetHash()) != len(types.Cursor{}.Hash) {
		return types.Cursor{}, offencef("position with a hash of %d bytes", len(p.GetHash()))
	}
	return types.Cursor{Number: p.GetNumber(), Hash: [8]byte(p.GetHash())}, nil
}

func positionMessage(c types.Cursor) *pb.Position {
	if c.Number == 0 {
		return &pb.Position{}
	}
	return &pb.Position{Number: c.Number, Hash: c.Hash[:]}
}

// parseEvent decodes an event of the topic. Its witness is not verified.
func parseEvent(m *pb.Event, topic types.TopicID) (*types.Event, error) {
	if len(m.GetWitness()) > types.MaxWitness {
		return nil, offencef("witness of %d bytes, limit %d", len(m.GetWitness()), types.MaxWitness)
	}
	e, err := types.DecodeEvent(m.GetBody(), m.GetWitness())
	if err != nil {
		return nil, offencef("served as integrated: %v", err)
	}
	if e.Topic != topic {
		return nil, offencef("event %s is of topic %s", e.CID, e.Topic)
	}
	return e, nil
}

// headsQuery is a question about one topic.
type headsQuery struct {
	topic   types.TopicID
	own     *types.Hash // the asker's heads hash; nil: it has none
	known   *types.Hash // of heads that the asker has integrated; nil: none
	genesis bool
}

// knows reports whether the asker need not be sent the heads.
func (q headsQuery) knows(h types.Hash) bool {
	return q.own != nil && *q.own == h || q.known != nil && *q.known == h
}

func (q headsQuery) message() *pb.HeadsQuery {
	m := &pb.HeadsQuery{Topic: q.topic.Bytes(), Genesis: q.genesis}
	if q.own != nil {
		m.OwnHash = q.own[:]
	}
	if q.known != nil {
		m.KnownHash = q.known[:]
	}
	return m
}

func parseHeadsRequest(m *pb.HeadsRequest) ([]headsQuery, error) {
	if len(m.GetQueries()) > maxQueries {
		return nil, offencef("%d topics, limit %d", len(m.GetQueries()), maxQueries)
	}
	queries := make([]headsQuery, 0, len(m.GetQueries()))
	for _, q := range m.GetQueries() {
		topic, err := parseCID(q.GetTopic())
		if err != nil {
			return nil, err
		}
		own, err := parseOptionalHash(q.GetOwnHash())
		if err != nil {
			return nil, err
		}
		known, err := parseOptionalHash(q.GetKnownHash())
		if err != nil {
			return nil, err
		}
		queries = append(queries, headsQuery{topic: topic, own: own, known: known, genesis: q.GetGenesis()})
	}
	return queries, nil
}

// pullRequest asks for a piece of a delivery log.
type pullRequest struct {
	topic types.TopicID
	logID types.LogID // of after; zero with the zero cursor
	after types.Cursor
	cids  bool
	limit uint64
}

func parsePullRequest(m *pb.PullRequest) (pullRequest, error) {
	r := pullRequest{cids: m.GetCids(), limit: m.GetLimit()}
	var err error
	if r.topic, err = parseCID(m.GetTopic()); err != nil {
		return r, err
	}
	if r.after, err = parseCursor(m.GetAfter()); err != nil {
		return r, err
	}
	if r.after.Number > 0 {
		r.logID, err = parseLogID(m.GetLogId())
	}
	return r, err
}

func (r pullRequest) message() *pb.Request {
	m := &pb.PullRequest{Topic: r.topic.Bytes(), Cids: r.cids, Limit: r.limit}
	if r.after.Number > 0 {
		m.LogId, m.After = r.logID[:], positionMessage(r.after)
	}
	return &pb.Request{Request: &pb.Request_Pull{Pull: m}}
}

// ancestorsRequest asks for what wants have among their ancestors, themselves
// included, and stops have not.
type ancestorsRequest struct {
	topic        types.TopicID
	wants, stops []cid.Cid
}

func parseAncestorsRequest(m *pb.AncestorsRequest) (ancestorsRequest, error) {
	var r ancestorsRequest
	var err error
	if r.topic, err = parseCID(m.GetTopic()); err != nil {
		return r, err
	}
	if r.wants, err = parseCIDs(m.GetWants(), maxWants); err != nil {
		return r, err
	}
	if len(r.wants) == 0 {
		return r, offencef("Ancestors without a want")
	}
	r.stops, err = parseCIDs(m.GetStops(), maxStops)
	return r, err
}

func (r ancestorsRequest) message() *pb.Request {
	m := &pb.AncestorsRequest{Topic: r.topic.Bytes()}
	for _, c := range r.wants {
		m.Wants = append(m.Wants, c.Bytes())
	}
	for _, c := range r.stops {
		m.Stops = append(m.Stops, c.Bytes())
	}
	return &pb.Request{Request: &pb.Request_Ancestors{Ancestors: m}}
}

// offer is a peer's claim to have heads.
type offer struct {
	topic types.TopicID
	hash  types.Hash
	heads []cid.Cid
}

func parseOffer(m *pb.Offer) (offer, error) {
	var o offer
	var err error
	if o.topic, err = parseCID(m.GetTopic()); err != nil {
		return o, err
	}
	if o.hash, err = parseHash(m.GetHeadsHash()); err != nil {
		return o, err
	}
	o.heads, err = parseCIDs(m.GetHeads(), maxOfferHeads)
	return o, err
}

func (o offer) message() *pb.Request {
	m := &pb.Offer{Topic: o.topic.Bytes(), HeadsHash: o.hash[:]}
	for _, h := range o.heads {
		m.Heads = append(m.Heads, h.Bytes())
	}
	return &pb.Request{Request: &pb.Request_Offer{Offer: m}}
}

// headsPage is one frame about one topic.
type headsPage struct {
	topic  types.TopicID
	held   bool
	paused bool
	hash   types.Hash
	events uint64
	logID  types.LogID
	end    types.Cursor
	heads  []cid.Cid // sorted by bytes
	many   bool      // they are left out, being too many
}

func parseHeadsAnswer(m *pb.HeadsAnswer) (headsPage, error) {
	p := headsPage{events: m.GetEvents(), many: m.GetMany()}
	var err error
	if p.topic, err = parseCID(m.GetTopic()); err != nil {
		return p, err
	}
	switch m.GetState() {
	case pb.HeadsAnswer_STATE_NOT_HELD:
		return p, nil
	case pb.HeadsAnswer_STATE_REPLICATED:
	case pb.HeadsAnswer_STATE_PAUSED:
		p.paused = true
	default:
		return p, offencef("heads in state %d", m.GetState())
	}
	p.held = true
	if p.hash, err = parseHash(m.GetHeadsHash()); err != nil {
		return p, err
	}
	if p.logID, err = parseLogID(m.GetLogId()); err != nil {
		return p, err
	}
	if p.end, err = parseCursor(m.GetEnd()); err != nil {
		return p, err
	}
	if len(m.GetHeads()) > maxPageHeads {
		return p, offencef("%d heads, limit %d", len(m.GetHeads()), maxPageHeads)
	}
	for _, h := range m.GetHeads() {
		c, err := parseCID(h.GetCid())
		if err != nil {
			return p, err
		}
		p.heads = append(p.heads, c)
	}
	if !slices.IsSortedFunc(p.heads, types.CompareCIDs) {
		return p, offencef("heads are not sorted")
	}
	return p, nil
}
