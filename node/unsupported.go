package node

import (
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/cairn-p2p/cairn/types"
)

// maxUnsupported bounds the unsupported topics that a node knows of.
const maxUnsupported = 64

// UnsupportedTopic is a topic whose rule set or mode this release does not know.
// Nothing of it is stored, taken or served, and its name is not known either:
// where a genesis has it is up to its rules.
type UnsupportedTopic struct {
	ID    types.TopicID
	Rules *types.UnsupportedError // what is unknown
	Since time.Time               // when this node first heard of it since its start
}

// Status returns the topic's status: Unsupported, and why.
func (u UnsupportedTopic) Status() Status {
	return Status{State: Unsupported, Reason: u.Rules.Error() + "; nothing of it is taken or served"}
}

// Unsupported returns the unsupported topics that somebody here wanted to join
// or, on a node that replicates All, that gossip told of since the node's start,
// by id. It knows 64 at most.
func (n *Node) Unsupported() []UnsupportedTopic {
	topics := n.unsupported.all()
	slices.SortFunc(topics, func(a, b UnsupportedTopic) int { return types.CompareCIDs(a.ID, b.ID) })
	return topics
}

// unsupported remembers unsupported topics. The zero value is ready for use.
type unsupported struct {
	mu     sync.Mutex
	topics map[types.TopicID]UnsupportedTopic
}

// heard notes a topic that a stranger told of, if there is room.
func (u *unsupported) heard(id types.TopicID, why *types.UnsupportedError) { u.note(id, why, false) }

// wanted notes a topic that somebody here wanted to join. It takes the place of
// the oldest, if there is no room.
func (u *unsupported) wanted(id types.TopicID, why *types.UnsupportedError) { u.note(id, why, true) }

func (u *unsupported) note(id types.TopicID, why *types.UnsupportedError, makeRoom bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if _, ok := u.topics[id]; ok {
		return
	}
	if len(u.topics) >= maxUnsupported {
		if !makeRoom {
			return
		}
		u.evict()
	}
	if u.topics == nil {
		u.topics = map[types.TopicID]UnsupportedTopic{}
	}
	u.topics[id] = UnsupportedTopic{ID: id, Rules: why, Since: time.Now()}
}

func (u *unsupported) evict() {
	var oldest UnsupportedTopic
	for _, t := range u.topics {
		if oldest.Since.IsZero() || t.Since.Before(oldest.Since) {
			oldest = t
		}
	}
	delete(u.topics, oldest.ID)
}

func (u *unsupported) get(id types.TopicID) (UnsupportedTopic, bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	t, ok := u.topics[id]
	return t, ok
}

// all returns the topics in no order.
func (u *unsupported) all() []UnsupportedTopic {
	u.mu.Lock()
	defer u.mu.Unlock()
	topics := make([]UnsupportedTopic, 0, len(u.topics))
	for _, t := range u.topics {
		topics = append(topics, t)
	}
	return topics
}

func (u *unsupported) len() int {
	u.mu.Lock()
	defer u.mu.Unlock()
	return len(u.topics)
}

// heardUnsupported notes a topic that gossip told of, if it would be taken up
// were it not unsupported.
func (n *Node) heardUnsupported(id types.TopicID, why *types.UnsupportedError) {
	if n.cfg.Replicate == All {
		n.unsupported.heard(id, why)
	}
}

// unsupportedBy notes a topic that could not be joined for err, if that is so
// because it is unsupported.
func (n *Node) unsupportedBy(id types.TopicID, err error) {
	var why *types.UnsupportedError
	if errors.As(err, &why) {
		n.unsupported.wanted(id, why)
	}
}
