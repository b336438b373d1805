package client

import (
	"fmt"

	"github.com/ipfs/go-cid"
)

// Kind says which rule a broker broke.
type Kind string

// The kinds of violations.
const (
	KindGenesis   Kind = "genesis"   // the genesis is not the one that the topic is the hash of
	KindEncoding  Kind = "encoding"  // bytes that are no event in its one encoding
	KindTopic     Kind = "topic"     // an event of another topic
	KindPublisher Kind = "publisher" // an event of one who may not publish to the topic
	KindWitness   Kind = "witness"   // a witness that does not prove the event: bytes or witness were changed
	KindFilter    Kind = "filter"    // an event that was not asked for
	KindPosition  Kind = "position"  // a place in the log that cannot follow the one before
	KindRepeated  Kind = "repeated"  // an event that came before
	KindOrder     Kind = "order"     // an event before one that it links to, or without it
	KindHeight    Kind = "height"    // an event whose height is not that of its links and one
	KindHeads     Kind = "heads"     // a head that is no event of the topic, or not served
	KindLost      Kind = "lost"      // an event that it acknowledged is not there
	KindAnswer    Kind = "answer"    // an answer that is none to what was asked
)

// Violation is the error of a call whose broker broke the protocol, with the
// evidence. Its JSON has bytes in base64. What is signed in it, body and witness,
// proves itself to anybody; that the broker sent it, and in which order, only the
// client's user knows.
type Violation struct {
	Kind    Kind   `json:"violation"`
	Broker  string `json:"broker"`
	Topic   string `json:"topic_id"`
	Reason  string `json:"reason"`
	CID     string `json:"cid,omitempty"`     // of Body
	Link    string `json:"link,omitempty"`    // the event that should have come first
	Body    []byte `json:"body,omitempty"`    // as it was served
	Witness []byte `json:"witness,omitempty"` // as it was served
	Genesis []byte `json:"genesis,omitempty"` // as it was served
	Number  uint64 `json:"number,omitempty"`  // the place in the log that the broker gave
	Seen    uint64 `json:"seen"`              // events that came before and were in order
	Last    string `json:"last,omitempty"`    // the last of them
}

// Error implements error.
func (v *Violation) Error() string {
	return fmt.Sprintf("broker %s broke the protocol: %s: %s", v.Broker, v.Kind, v.Reason)
}

func cidText(c cid.Cid) string {
	if !c.Defined() {
		return ""
	}
	return c.String()
}
