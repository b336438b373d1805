package node

import (
	"sync"
	"sync/atomic"
)

// subscribers are the subscriptions that are open. The zero value is ready.
type subscribers struct {
	mu   sync.Mutex
	open map[*subscription]struct{}
}

// subscription is how far a subscriber has come in its topic's delivery log.
type subscription struct {
	topic *Topic
	at    atomic.Uint64 // the number of the last event that it was given
}

// add opens a subscription that has events behind the number at before it.
func (s *subscribers) add(t *Topic, at uint64) *subscription {
	sub := &subscription{topic: t}
	sub.at.Store(at)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.open == nil {
		s.open = map[*subscription]struct{}{}
	}
	s.open[sub] = struct{}{}
	return sub
}

func (s *subscribers) remove(sub *subscription) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.open, sub)
}

// lag returns the number of open subscriptions, and of the events that the
// slowest has still to be given.
func (s *subscribers) lag() (n int, most uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for sub := range s.open {
		if end, at := sub.topic.events.Load(), sub.at.Load(); end > at {
			most = max(most, end-at)
		}
	}
	return len(s.open), most
}
