package delivery

import "sync/atomic"

// Stats is what the consumers of a node have done since it was opened.
type Stats struct {
	Consumers int // that there are
	InUse     int // of them in memory

	First      uint64 // deliveries of an event for the first time, or for the first time since it was requeued
	Again      uint64 // deliveries after the first
	Acked      uint64 // events that were acknowledged
	Terminated uint64 // that were given up by Term
	Refused    uint64 // tokens that were refused
	Dead       uint64 // events that became dead letters
	Suppressed uint64 // that the validator suppressed, once for each consumer
}

// counters are what Stats is made of.
type counters struct {
	first, again, acked, terminated, refused, dead, suppressed atomic.Uint64
}

// Stats returns the counts at this moment. It waits for nobody.
func (cs *Consumers) Stats() Stats {
	cs.mu.RLock()
	consumers := len(cs.byName)
	cs.mu.RUnlock()
	cs.inUse.Lock()
	inUse := len(cs.inUse.consumers)
	cs.inUse.Unlock()
	n := &cs.counters
	return Stats{
		Consumers: consumers, InUse: inUse,
		First: n.first.Load(), Again: n.again.Load(),
		Acked: n.acked.Load(), Terminated: n.terminated.Load(), Refused: n.refused.Load(),
		Dead: n.dead.Load(), Suppressed: n.suppressed.Load(),
	}
}
