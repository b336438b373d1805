package gossip

import (
	"fmt"

	pubsub "github.com/libp2p/go-libp2p-pubsub"
)

// Reason is why a message was not forwarded.
type Reason uint8

// Reasons for which a message is rejected: whoever sent it breaks the rules,
// and its score falls.
const (
	Malformed    Reason = iota // not the canonical encoding of a message
	WrongShard                 // of a topic that belongs to another shard
	BadGenesis                 // the genesis is invalid or of another topic
	BadEvent                   // an event that can never be valid, or is there twice
	BadWitness                 // a witness that does not prove its event
	NotWriter                  // an event by someone whom the carried genesis excludes
	BadSignature               // the announcer did not sign the heads
)

// Reasons for which a message is ignored: nobody is to blame.
const (
	Unsupported Reason = BadSignature + 1 + iota // a topic of rules that this release does not know
	Unproven                                     // looks wrong, but the sender may not have known the genesis
	OverBudget                                   // the neighbour has used up what it may cost
	NothingNew                                   // no new event, and heads that are not newer
	Paced                                        // no new event, and newer heads too soon after others
	Stopping                                     // the broadcaster is closing
	reasonsAll
)

var reasonNames = [reasonsAll]string{
	"malformed", "wrong shard", "bad genesis", "bad event", "bad witness", "not a writer", "bad signature",
	"unsupported", "unproven", "over budget", "nothing new", "paced", "stopping",
}

// String returns the reason in a few words.
func (r Reason) String() string {
	if r >= reasonsAll {
		return fmt.Sprintf("reason %d", uint8(r))
	}
	return reasonNames[r]
}

// Rejected reports whether the reason puts the blame on the sender.
func (r Reason) Rejected() bool { return r <= BadSignature }

// refusal is the error of a message that is not forwarded.
type refusal struct {
	reason Reason
	cause  error // may be nil
}

func refuse(r Reason, cause error) *refusal { return &refusal{r, cause} }

func (r *refusal) Error() string {
	if r.cause == nil {
		return r.reason.String()
	}
	return r.reason.String() + ": " + r.cause.Error()
}

func (r *refusal) Unwrap() error { return r.cause }

func (r *refusal) result() pubsub.ValidationResult {
	if r.reason.Rejected() {
		return pubsub.ValidationReject
	}
	return pubsub.ValidationIgnore
}

// Reasons returns every reason, in the order of their numbers.
func Reasons() []Reason {
	all := make([]Reason, reasonsAll)
	for r := range all {
		all[r] = Reason(r)
	}
	return all
}
