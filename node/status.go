package node

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/ipfs/go-cid"

	"github.com/cairn-p2p/cairn/crdt"
	"github.com/cairn-p2p/cairn/syncer"
	"github.com/cairn-p2p/cairn/types"
)

// The states of a topic.
const (
	Synced      = "synced"      // the last exchange with each connected replica is complete and integrated
	Syncing     = "syncing"     // a sync is under way
	Behind      = "behind"      // something is missing that a sync will fetch
	Stalled     = "stalled"     // something is missing that nobody asked could give
	Alone       = "alone"       // no replica is connected
	Paused      = "paused"      // it is read here, but does not grow
	Unsupported = "unsupported" // its rule set or mode is unknown to this release
)

// errLeft is why a topic that was left does not grow.
var errLeft = errors.New("it was left; join it to replicate it again")

// errQuota is why an adopted topic does not grow.
var errQuota = errors.New("the space for topics that nobody here joined is used up")

// Status explains where a topic stands.
type Status struct {
	State     string
	Reason    string // a sentence for people
	Events    uint64
	Heads     []types.Head
	HeadsHash types.Hash
	Pending   int // events from gossip whose links are not integrated
	Missing   []Missing
	Peers     []PeerStatus // its connected replicas, by id
	Fetching  types.PeerID // whom it is being fetched from; empty: nobody
	LastError string       // of the last exchange that failed, until one with that peer succeeds or it goes and another does
	Rungs     []Rung       // of the last climb of the fetch ladder, if nobody helped, in their order
	Climbed   time.Time    // when that climb ended; zero without Rungs
	Offenders []Offender   // among its replicas, and those who broke the protocol about it; last first
}

// Missing is an event that is known of and not integrated here.
type Missing struct {
	CID   cid.Cid
	Since time.Time // of a link: when its topic began to wait for any; zero when it was noticed just now
	Asked []Answer
}

// Answer is what became of asking a peer for something.
type Answer struct {
	Peer   types.PeerID
	Answer string // for people
}

// PeerStatus is what is known of another replica of the topic.
type PeerStatus struct {
	Peer      types.PeerID
	InSync    bool       // all that it last claimed is integrated here
	Paused    bool       // it says that it takes nothing new
	Unproven  bool       // it claims heads that it does not serve
	LastSync  time.Time  // when it was last found in sync; zero: never
	HeadsHash types.Hash // the last one it told; zero: none
}

// Rung is one step of a climb of the fetch ladder, on which nobody helped.
type Rung struct {
	Name  string   // "connected peers", "providers", "flood" or "archives"
	Found string   // what the search for peers gave, for people
	Asked []Answer // and what they said
}

// Offender is a peer that did what no correct peer does.
type Offender struct {
	Peer   types.PeerID
	Count  int           // how often, in all topics
	Reason string        // what it did last, for people
	Last   time.Time     // when that was
	Topic  types.TopicID // the topic of it; undefined: none in particular
}

// Status returns where the topic stands, and why. It waits for a commit under
// way.
func (t *Topic) Status(ctx context.Context) (Status, error) {
	state, err := t.State(ctx)
	if err != nil {
		return Status{}, fmt.Errorf("status of %q: %w", t.Name(), err)
	}
	sync, err := t.node.syncer.Status(t.id)
	if err != nil && !errors.Is(err, types.ErrNotFound) { // it knows joined topics only
		return Status{}, fmt.Errorf("status of %q: %w", t.Name(), err)
	}
	s := Status{
		State:     string(sync.State),
		Reason:    sync.Reason,
		Events:    state.Events,
		Heads:     state.Heads,
		HeadsHash: state.HeadsHash,
		Pending:   state.PendingEvents,
		Missing:   missing(sync.Missing, state),
		Fetching:  sync.Fetching,
		LastError: sync.LastError,
		Climbed:   sync.Climbed,
		Offenders: offenders(sync.Offenders),
	}
	for _, p := range sync.Replicas {
		s.Peers = append(s.Peers, PeerStatus(p))
	}
	for _, r := range sync.Rungs {
		s.Rungs = append(s.Rungs, Rung{Name: r.Name, Found: r.Found, Asked: answers(r.Asked)})
	}
	t.explain(&s, state)
	return s, nil
}

// explain lets what this node knows override what its syncer says.
func (t *Topic) explain(s *Status, state crdt.State) {
	if err := t.pausedBy(); err != nil {
		s.State, s.Reason = Paused, err.Error()
		return
	}
	if s.State == "" {
		s.State, s.Reason = Syncing, "it was joined a moment ago"
	}
	if waits(s.State, len(state.Missing)) {
		s.State = Behind
		s.Reason = pendingText(s.Pending) + " for links that are not here yet"
	}
	if state.OwnErr != nil {
		s.Reason = fmt.Sprintf("appends are refused: %v; %s", state.OwnErr, s.Reason)
	}
}

// pendingText says how many events wait.
func pendingText(n int) string {
	if n == 1 {
		return "1 event waits"
	}
	return fmt.Sprintf("%d events wait", n)
}

// pausedBy returns why the topic does not grow here, or nil.
func (t *Topic) pausedBy() error { return t.pausedWhen(t.node.withinQuota, t.node.store.Writable) }

// pausedWhen is pausedBy for one who knows already whether adopted topics may
// grow and events can be stored.
func (t *Topic) pausedWhen(withinQuota func() bool, writable func() error) error {
	if !t.Joined() {
		return errLeft
	}
	if t.adopted.Load() && !withinQuota() {
		return errQuota
	}
	return writable()
}

// waits reports whether a topic whose pending events wait for so many links only
// seems to be synced. What replicas claim and do not serve has no say in it.
func waits(state string, links int) bool { return state == Synced && links > 0 }

// missing joins the heads that the syncer looks for with the links that
// pending events wait for.
func missing(claims []syncer.Missing, state crdt.State) []Missing {
	var all []Missing
	seen := map[cid.Cid]bool{}
	for _, c := range claims {
		seen[c.CID] = true
		all = append(all, Missing{CID: c.CID, Since: c.Since, Asked: answers(c.Asked)})
	}
	for _, id := range state.Missing {
		if !seen[id] {
			all = append(all, Missing{CID: id, Since: state.PendingSince})
		}
	}
	return all
}

func answers(list []syncer.Answer) []Answer {
	var all []Answer
	for _, a := range list {
		all = append(all, Answer(a))
	}
	return all
}

func offenders(list []syncer.Offence) []Offender {
	var all []Offender
	for _, o := range list {
		all = append(all, Offender(o))
	}
	return all
}

// Wait blocks until the topic's status satisfies until, and returns it. It
// looks again whenever events are committed or the sync status changes. It
// fails with the error of ctx, and with types.ErrClosed when the node stops.
func (t *Topic) Wait(ctx context.Context, until func(Status) bool) (Status, error) {
	for {
		committed, changed := t.replica.Committed(), t.node.syncer.Watch(t.id)
		s, err := t.Status(ctx)
		if err != nil || until(s) {
			return s, err
		}
		select {
		case <-committed:
		case <-changed:
		case <-ctx.Done():
			return s, ctx.Err()
		case <-t.node.running.Done():
			return s, types.ErrClosed
		}
	}
}
