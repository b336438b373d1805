package syncer

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/ipfs/go-cid"

	"github.com/cairn-p2p/cairn/types"
)

// State is where a topic stands with respect to its replicas elsewhere.
type State string

// The states of a topic. StateUnsupported is for others to report: such a
// topic is not replicated.
const (
	StateSynced      State = "synced"  // the last exchange with each connected replica is complete and integrated
	StateSyncing     State = "syncing" // fetching, or about to compare for the first time
	StateBehind      State = "behind"  // a replica has something that is missing here
	StateStalled     State = "stalled" // and no replica could be made to give it
	StateAlone       State = "alone"   // no replica is connected
	StatePaused      State = "paused"  // this node takes nothing new
	StateUnsupported State = "unsupported"
)

// TopicStatus explains how a topic stands.
type TopicStatus struct {
	State     State
	Reason    string // for people
	Replicas  []ReplicaStatus
	Fetching  types.PeerID // whom the topic is being fetched from; empty: no one
	Missing   []Missing    // what replicas claim and have not served, oldest first
	Offenders []Offence    // of its replicas, and of who broke the protocol in this topic or before naming one; last first
	LastError string       // of the last exchange that failed, until one with that peer succeeds or it goes and another does
	Rungs     []Rung       // of the last climb, if nobody helped and something is missing, or nothing was ever here
	Climbed   time.Time    // when that was; zero without Rungs
}

// ReplicaStatus is what is known of a connected peer's copy of a topic.
type ReplicaStatus struct {
	Peer      types.PeerID
	InSync    bool      // all that it last claimed is integrated here
	Paused    bool      // it takes nothing new
	Unproven  bool      // it claims heads that it does not serve
	LastSync  time.Time // when it was last found in sync; zero: never
	HeadsHash types.Hash
}

// Missing is a head that was claimed and is not integrated here.
type Missing struct {
	CID   cid.Cid
	Since time.Time
	Asked []Answer
}

// Answer is what became of asking a peer for something.
type Answer struct {
	Peer   types.PeerID
	Answer string // for people
}

// Status returns how a topic stands. The error is types.ErrNotFound for one
// that was not added, or a failure of Local.
func (s *Syncer) Status(id types.TopicID) (TopicStatus, error) {
	h, err := s.local.Heads(id, 0)
	if err != nil {
		return TopicStatus{}, fmt.Errorf("status of %s: %w", id, err)
	}
	if err := s.dropIntegrated(id); err != nil {
		return TopicStatus{}, fmt.Errorf("status of %s: %w", id, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.digest.get(id)
	if t == nil {
		return TopicStatus{}, fmt.Errorf("status of %s: %w", id, types.ErrNotFound)
	}
	st := t.status()
	st.Offenders = s.offenders(t)
	st.State, st.Reason = s.judge(t, st)
	if h.Paused {
		st.State, st.Reason = StatePaused, "this node serves the topic but takes nothing new"
	}
	return st, nil
}

// offenders returns the offences of t's replicas, those in t and those in no
// topic, the last one first. The caller holds s.mu.
func (s *Syncer) offenders(t *topic) []Offence {
	var list []Offence
	for _, o := range s.offences.list() {
		held := false
		if p := s.peers[o.Peer]; p != nil && p.replicas[t] != nil {
			held = p.replicas[t].held
		}
		if held || o.Topic == t.id || !o.Topic.Defined() {
			list = append(list, o)
		}
	}
	return list
}

// dropIntegrated forgets the missing heads that were integrated meanwhile.
func (s *Syncer) dropIntegrated(id types.TopicID) error {
	claimed := s.openClaims(id)
	if len(claimed) == 0 {
		return nil
	}
	missing, err := s.local.Missing(id, claimed)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if t := s.digest.get(id); t != nil && t.trouble != nil {
		for _, c := range claimed {
			if !slices.Contains(missing, c) {
				delete(t.trouble.claims, c)
			}
		}
	}
	return nil
}

func (s *Syncer) openClaims(id types.TopicID) []cid.Cid {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.digest.get(id)
	if t == nil || t.trouble == nil {
		return nil
	}
	claimed := make([]cid.Cid, 0, len(t.trouble.claims))
	for c := range t.trouble.claims {
		claimed = append(claimed, c)
	}
	return claimed
}

// status returns what t itself knows.
func (t *topic) status() TopicStatus {
	var st TopicStatus
	for _, r := range t.replicas {
		if !r.held {
			continue
		}
		st.Replicas = append(st.Replicas, ReplicaStatus{
			Peer:      r.peer.id,
			InSync:    r.inSync(),
			Paused:    r.paused,
			Unproven:  r.unproven,
			LastSync:  r.confirmedSync(),
			HeadsHash: r.heads,
		})
	}
	slices.SortFunc(st.Replicas, func(a, b ReplicaStatus) int { return strings.Compare(string(a.Peer), string(b.Peer)) })
	if t.transfer != nil {
		st.Fetching = t.transfer.peer.id
	}
	if t.trouble == nil {
		return st
	}
	st.LastError = t.trouble.lastError
	if len(t.trouble.rungs) > 0 && (t.ladder.stalled || t.blank()) {
		st.Rungs, st.Climbed = slices.Clone(t.trouble.rungs), t.trouble.climbed
	}
	for c, entry := range t.trouble.claims {
		st.Missing = append(st.Missing, Missing{CID: c, Since: entry.since, Asked: slices.Clone(entry.asked)})
	}
	slices.SortFunc(st.Missing, func(a, b Missing) int {
		if order := a.Since.Compare(b.Since); order != 0 {
			return order
		}
		return types.CompareCIDs(a.CID, b.CID)
	})
	return st
}

// judge names the state that st describes. A peer that is paused, or claims
// what it does not serve, has no say in it as long as another has. The caller
// holds s.mu.
func (s *Syncer) judge(t *topic, st TopicStatus) (State, string) {
	var in, trying, failing, unproven, paused int
	var failure, doubt string // of one of those failing, and unproven
	for _, r := range t.replicas {
		switch {
		case !r.held:
		case r.paused && !r.inSync():
			paused++
		case r.unproven:
			unproven++
			doubt = max(doubt, r.failure())
		case r.inSync():
			in++
		case r.failures > 0:
			failing++
			failure = max(failure, r.failure())
		default:
			trying++
		}
	}
	rest := without(paused, "paused") + without(unproven, "claiming what they do not serve")
	replicas := count(len(st.Replicas), "connected replica")
	switch {
	case st.Fetching != "":
		return StateSyncing, "fetching from " + st.Fetching.String()
	case trying > 0:
		return StateBehind, fmt.Sprintf("%d of %s %s something new%s", trying, replicas, verb(trying, "has", "have"), rest)
	case failing > 0 && in > 0:
		return StateBehind, fmt.Sprintf("the last exchange with %d of %s failed: %s", failing, replicas, failure)
	case in > 0:
		if n := s.newcomers(); n > 0 {
			return StateSyncing, "comparing with " + count(n, "newly connected peer")
		}
		return StateSynced, fmt.Sprintf("all that %s %s is integrated%s", count(in, "connected replica"), verb(in, "has", "have"), rest)
	case failing+unproven > 0 && t.ladder.stalled:
		return StateStalled, "nobody gave what is missing; tried " + rungNames(st.Rungs)
	case failing+unproven > 0:
		return StateBehind, fmt.Sprintf("none of %s gave what is missing, looking for others: %s", replicas, cmp.Or(failure, doubt))
	case s.newcomers() > 0:
		return StateSyncing, "comparing with " + count(s.newcomers(), "newly connected peer")
	case t.ladder.hinted != 0 && t.ladder.stalled:
		return StateStalled, "gossip shows events that nobody gave; tried " + rungNames(st.Rungs)
	case t.ladder.hinted != 0:
		return StateBehind, "gossip shows events that are not here, looking for replicas"
	case paused > 0:
		return StateAlone, count(paused, "connected replica") + ", all paused"
	}
	reason := fmt.Sprintf("none of %s has the topic", count(len(s.peers), "connected peer"))
	if len(st.Rungs) > 0 {
		reason += "; tried " + rungNames(st.Rungs)
	}
	return StateAlone, reason
}

// firstTries is the number of failures in a row after which Compared waits for a
// replica no more.
const firstTries = 3

// Compared reports whether a topic was once compared with each connected peer, and
// what those claimed that have it was integrated. It stays true until others
// connect, whatever is published, and no peer can keep it false by failing. It is true
// of a topic that was not added.
func (s *Syncer) Compared(id types.TopicID) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.digest.get(id)
	if t == nil {
		return true
	}
	if s.newcomers() > 0 {
		return false
	}
	for _, r := range t.replicas {
		if r.untried() || r.held && !r.paused && r.lastSync.IsZero() && r.failures < firstTries {
			return false
		}
	}
	return true
}

// untried reports whether the first comparison is still to come, or under way.
func (r *replica) untried() bool {
	_, due := r.peer.due[r]
	return r.rounds == 0 && (due || r.queued || r.running)
}

func without(n int, why string) string {
	if n == 0 {
		return ""
	}
	return fmt.Sprintf(", without %d %s", n, why)
}

// count says how many things of a kind there are.
func count(n int, kind string) string {
	if n == 1 {
		return "1 " + kind
	}
	return fmt.Sprintf("%d %ss", n, kind)
}

// verb chooses between the forms for one and for another number.
func verb(n int, one, more string) string {
	if n == 1 {
		return one
	}
	return more
}

// newcomers counts the peers whose first exchange has not ended.
func (s *Syncer) newcomers() int {
	n := 0
	for _, p := range s.peers {
		if !p.exchanged {
			n++
		}
	}
	return n
}
