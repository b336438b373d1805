package api

import (
	"time"
)

// The structs below are what the command line prints as JSON: scripts depend
// on each name. Lists are never nil.

// Status describes a node.
type Status struct {
	PeerID        string   `json:"peer_id"`
	Version       string   `json:"version"`
	Network       string   `json:"network"`
	Role          string   `json:"role"` // relay, replica or broker
	Addrs         []string `json:"addrs"`
	Peers         int      `json:"peers"`  // connected
	Topics        int      `json:"topics"` // held
	UptimeSeconds int64    `json:"uptime_seconds"`

	PublicKey []byte `json:"-"` // Ed25519: signs the node's events
}

// Peer is a connected peer.
type Peer struct {
	Peer      string   `json:"peer"`
	Addrs     []string `json:"addrs"`
	Direction string   `json:"direction"`  // inbound or outbound
	LatencyMS int64    `json:"latency_ms"` // round trip; 0 while unknown
	Topics    int      `json:"topics"`     // that both replicate, as far as is known

	// How often it did what no correct peer does, what it did last, for people, and when.
	Offences        int    `json:"offences"`
	LastOffence     string `json:"last_offence"`      // empty: nothing
	LastOffenceTime Time   `json:"last_offence_time"` // zero: never
}

// Topic is a topic that a node holds, or an unsupported one that it knows of.
type Topic struct {
	Topic   string   `json:"topic"` // its name; empty: unsupported
	TopicID string   `json:"topic_id"`
	Joined  bool     `json:"joined"` // false after leaving
	State   string   `json:"state"`
	Events  uint64   `json:"events"`
	Heads   []string `json:"heads"` // by the bytes of the CIDs
}

// Heads are a topic's heads.
type Heads struct {
	Topic     string   `json:"topic"`
	TopicID   string   `json:"topic_id"`
	Heads     []string `json:"heads"` // by the bytes of the CIDs
	HeadsHash string   `json:"heads_hash"`
	Events    uint64   `json:"events"`
}

// TopicStatus explains where a topic stands.
type TopicStatus struct {
	Topic     string     `json:"topic"` // its name; empty: unsupported
	TopicID   string     `json:"topic_id"`
	State     string     `json:"state"`  // a state of package node
	Reason    string     `json:"reason"` // for people
	Events    uint64     `json:"events"`
	Heads     []string   `json:"heads"`
	HeadsHash string     `json:"heads_hash"`
	Pending   int        `json:"pending"` // events from gossip whose links are not here
	Missing   []Missing  `json:"missing"`
	Peers     []Replica  `json:"peers"`      // its connected replicas
	Fetching  string     `json:"fetching"`   // whom it is being fetched from; empty: nobody
	LastError string     `json:"last_error"` // of the last exchange that failed; empty once one with that peer succeeds
	Rungs     []Rung     `json:"rungs"`      // of the last climb of the fetch ladder, if nobody helped
	Climbed   Time       `json:"climbed"`    // when that ended; zero without Rungs
	Offenders []Offender `json:"offenders"`  // of its replicas, and of who broke the protocol about it; last first
}

// Missing is an event that is known of and not integrated.
type Missing struct {
	CID   string  `json:"cid"`
	Since Time    `json:"since"` // zero: noticed just now; of a link: when any began to be missing
	Asked []Asked `json:"asked"`
}

// Asked is a peer's answer to a request for what is missing.
type Asked struct {
	Peer   string `json:"peer"`
	Answer string `json:"answer"`
}

// Replica is what is known of another replica of a topic.
type Replica struct {
	Peer      string `json:"peer"`
	InSync    bool   `json:"in_sync"`
	LastSync  Time   `json:"last_sync"`  // zero: never
	HeadsHash string `json:"heads_hash"` // empty: unknown
	Paused    bool   `json:"paused"`     // it says that it takes nothing new
	Unproven  bool   `json:"unproven"`   // it claims heads that it does not serve
}

// Rung is one step of the fetch ladder, on which nobody helped.
type Rung struct {
	Name  string  `json:"name"`  // "connected peers", "providers", "flood" or "archives"
	Found string  `json:"found"` // what the search for peers gave, for people
	Asked []Asked `json:"asked"` // and what they said
}

// Offender is a peer that did what no correct peer does.
type Offender struct {
	Peer    string `json:"peer"`
	Count   int    `json:"count"`  // how often, in all topics
	Reason  string `json:"reason"` // what it did last, for people
	Last    Time   `json:"last"`
	TopicID string `json:"topic_id"` // the topic of it; empty: none in particular
}

// Event is an integrated event.
type Event struct {
	CID       string   `json:"cid"`
	Topic     string   `json:"topic"`
	TopicID   string   `json:"topic_id"`
	Publisher string   `json:"publisher"`
	Seq       uint64   `json:"seq"`
	Height    uint64   `json:"height"`
	Time      Time     `json:"time"` // by the publisher's clock: a hint
	Links     []string `json:"links"`
	Tags      []string `json:"tags"`
	Payload   []byte   `json:"payload"` // never nil
}

// Delivery is an event of a delivery log with the cursor to resume from. The
// first one of a subscription has no event: its CID is empty.
type Delivery struct {
	Event
	Cursor string `json:"cursor"`
}

// Time is a moment. Its JSON is RFC 3339 in UTC with nine digits of fraction,
// or null when it is zero.
type Time struct{ time.Time }

// TimeFormat is the form in which moments are printed, in UTC.
const TimeFormat = "2006-01-02T15:04:05.000000000Z"

// String returns the moment in TimeFormat, or "" when it is zero.
func (t Time) String() string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(TimeFormat)
}

// MarshalJSON implements json.Marshaler.
func (t Time) MarshalJSON() ([]byte, error) {
	if t.IsZero() {
		return []byte("null"), nil
	}
	return []byte(`"` + t.String() + `"`), nil
}

// list returns s, or an empty slice in place of nil.
func list[T any](s []T) []T {
	if s == nil {
		return []T{}
	}
	return s
}
