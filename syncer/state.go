package syncer

import (
	"container/list"
	"context"
	"time"

	"github.com/ipfs/go-cid"

	"github.com/cairn-p2p/cairn/types"
)

// topic is what the syncer knows of a topic replicated here, and its leaf in the
// digest. Syncer.mu guards all of it. There may be 100,000 that are dormant: such
// a one has neither trouble nor waiting, and without peers no replicas.
type topic struct {
	id       types.TopicID
	key      types.Hash // in the digest
	heads    types.Hash // heads hash of the local replica
	changed  moment     // when heads last changed
	probed   moment     // when all peers were last asked about it
	replicas map[*peer]*replica
	number   uint64        // of the last change
	removed  bool          // from this node
	element  *list.Element // in the changes; nil: that long ago
	ladder   ladder
	stop     func()                // ends the transfer under way; does not block; nil: none
	transfer *replica              // the one that is fetched from; nil: none
	waiting  map[*replica]struct{} // for transfer to end
	trouble  *trouble              // nil: none yet
}

// trouble is what status says beside the state.
type trouble struct {
	claims    map[cid.Cid]*claim
	lastError string
	failed    types.PeerID // whom it was with
	rungs     []Rung       // of the last climb, if it failed
	climbed   time.Time
}

// claim is a head that a peer says it has and that is not integrated here.
type claim struct {
	since time.Time
	asked []Answer
}

// replica is what is known of one peer's copy of one topic. Syncer.mu guards
// all of it.
type replica struct {
	peer  *peer
	topic *topic

	held     bool       // the peer says that it has the topic
	paused   bool       // the peer says that it takes nothing new
	heads    types.Hash // the heads hash that the peer last claimed
	settled  types.Hash // the last claimed one all of whose heads are integrated here
	asked    time.Time  // when the last comparison began
	lastSync time.Time  // when settled was found to be so

	failures  int       // in a row
	notBefore time.Time // the back-off after them
	unproven  bool      // the last failure was a claim that the peer does not serve

	gaveWay    int    // bytes a second of the last transfer that gave way to another replica; 0: none
	failedHere bool   // the last failure was this node's own
	said       string // why the last comparison failed; empty: it did not
	rounds     uint64 // comparisons that have ended

	queued  bool      // in peer.queue
	running bool      // a lane is at it
	again   time.Time // when to compare again, asked for while running; zero: not
	hint    bool      // gossip showed something unknown: if this peer fails, ask others
}

// inSync reports whether all that the peer last claimed is integrated here.
func (r *replica) inSync() bool { return r.held && !r.lastSync.IsZero() && r.heads == r.settled }

// synced notes that all that the peer claims was found to be integrated here, so
// that nothing of what failed before matters any more.
func (r *replica) synced(now time.Time) {
	r.lastSync = now
	r.failures, r.notBefore, r.unproven, r.failedHere, r.said, r.gaveWay = 0, time.Time{}, false, false, "", 0
	r.topic.ladder.helped(r.topic)
}

// failure says why the last comparison failed, for people; empty: it did not.
func (r *replica) failure() string {
	if r.said == "" {
		return ""
	}
	return r.peer.id.String() + ": " + r.said
}

// confirmedSync is when the peer's copy was last found in sync: by itself, or as
// one of those that did not change since.
func (r *replica) confirmedSync() time.Time {
	if r.inSync() {
		return later(r.lastSync, r.peer.confirmed)
	}
	return r.lastSync
}

// hold notes that the peer has the topic, also if it had not when last asked.
func (r *replica) hold() {
	if !r.held {
		r.held, r.failures, r.notBefore = true, 0, time.Time{}
	}
}

// peer is a connected peer that speaks the protocol. Syncer.mu guards all of
// it but ctx and id.
type peer struct {
	id     types.PeerID
	ctx    context.Context // done when the peer is gone
	cancel context.CancelFunc
	lanes  int // streams open to it

	replicas map[*topic]*replica
	due      map[*replica]time.Time // comparisons to come
	queue    []*replica             // comparisons whose time has come

	exchanged   bool      // the first exchange about all topics has ended
	exchangeDue time.Time // the next one
	exchanging  bool
	failures    int // of exchanges in a row
	// seen is the last change of the peer's that replicas tell of; its zero value
	// is before the first exchange. confirmed is when the peer last said that
	// there was none since.
	seen      change
	confirmed time.Time

	offers   map[*topic]struct{} // to be told of new heads
	offerDue time.Time           // not before
	offering bool
}

// replicaOf returns what is known of p's copy of t.
func (p *peer) replicaOf(t *topic) *replica {
	r := p.replicas[t]
	if r == nil {
		r = &replica{peer: p, topic: t}
		p.replicas[t] = r
		if t.replicas == nil {
			t.replicas = make(map[*peer]*replica)
		}
		t.replicas[p] = r
	}
	return r
}

func (p *peer) forget(r *replica) {
	delete(p.replicas, r.topic)
	delete(p.due, r)
	delete(p.offers, r.topic)
	delete(r.topic.replicas, p)
	delete(r.topic.waiting, r)
	if t := r.topic; len(t.replicas) == 0 { // a dormant topic keeps no empty maps
		t.replicas, t.waiting = nil, nil
	}
}

// job is one thing that a lane does with a peer.
type job struct {
	replica  *replica // compare, and fetch what is missing
	exchange bool     // compare all topics
	offer    *topic   // tell of new heads
}

// nextJob takes the next job for a lane, if there is one at now. An offer
// comes first, being small, then the comparison of all topics.
func (p *peer) nextJob(now time.Time, iv Intervals) (job, bool) {
	if len(p.offers) > 0 && !p.offering && !now.Before(p.offerDue) {
		for t := range p.offers {
			delete(p.offers, t)
			p.offering, p.offerDue = true, now.Add(iv.Offer)
			return job{offer: t}, true
		}
	}
	if !p.exchanging && !now.Before(p.exchangeDue) {
		p.exchanging = true
		return job{exchange: true}, true
	}
	for len(p.queue) > 0 {
		r := p.queue[0]
		p.queue = p.queue[1:]
		r.queued = false
		if p.replicas[r.topic] != r {
			continue // the topic was removed meanwhile
		}
		r.running, r.asked = true, now
		return job{replica: r}, true
	}
	return job{}, false
}
