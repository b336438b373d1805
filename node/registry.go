package node

import (
	"cmp"
	"maps"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/cairn-p2p/cairn/broadcaster"
	"github.com/cairn-p2p/cairn/types"
)

// registry holds the topics of a node.
type registry struct {
	mu     sync.RWMutex
	topics map[types.TopicID]*Topic
	awake  map[*Topic]struct{} // those that were used and not unloaded since
	closed bool

	// joining serialises joins and leaves, so that the store and the syncer
	// see them in one order.
	joining sync.Mutex

	adoptions chan broadcaster.Message // of topics to adopt
	adopted   atomic.Int64             // topics that nobody here joined
}

func (r *registry) init() {
	r.topics = map[types.TopicID]*Topic{}
	r.awake = map[*Topic]struct{}{}
	r.adoptions = make(chan broadcaster.Message, adoptQueue)
}

func (r *registry) get(id types.TopicID) *Topic {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.topics[id]
}

// all returns the topics in no order.
func (r *registry) all() []*Topic {
	r.mu.RLock()
	defer r.mu.RUnlock()
	topics := make([]*Topic, 0, len(r.topics))
	for _, t := range r.topics {
		topics = append(topics, t)
	}
	return topics
}

// inUse returns the topics that are not dormant, in no order.
func (r *registry) inUse() []*Topic {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return slices.Collect(maps.Keys(r.awake))
}

// wake notes that a topic is in use.
func (r *registry) wake(t *Topic) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.awake[t] = struct{}{}
}

// sleep notes that a topic is dormant, unless it was used since the time that
// it was last used at.
func (r *registry) sleep(t *Topic, used int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if t.used.CompareAndSwap(used, 0) { // under mu: whoever uses it now wakes it after this
		delete(r.awake, t)
	}
}

// add puts in a topic. It reports false when the registry is closed.
func (r *registry) add(t *Topic) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.closed {
		r.topics[t.id] = t
	}
	return !r.closed
}

// fill puts in the first topics, all at once: a map that grows costs more than
// all else about a dormant one.
func (r *registry) fill(topics []*Topic) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.topics = make(map[types.TopicID]*Topic, len(topics))
	for _, t := range topics {
		r.topics[t.id] = t
	}
}

// close closes every replica and refuses further topics.
func (r *registry) close() {
	r.mu.Lock()
	r.closed = true
	r.mu.Unlock()
	for _, t := range r.all() {
		t.replica.Close()
	}
}

// sortTopics sorts by name, then id.
func sortTopics(topics []*Topic) {
	slices.SortFunc(topics, func(a, b *Topic) int {
		return cmp.Or(cmp.Compare(a.Name(), b.Name()), types.CompareCIDs(a.id, b.id))
	})
}
