package syncer

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/cairn-p2p/cairn/types"
)

// offence is an error that no correct peer causes: it counts against the peer.
type offence struct{ reason string }

func (o *offence) Error() string { return o.reason }

func offencef(format string, args ...any) error {
	return &offence{reason: fmt.Sprintf(format, args...)}
}

func isOffence(err error) bool {
	var o *offence
	return errors.As(err, &o)
}

// Offence is what a peer did wrong, last and how often in all.
type Offence struct {
	Peer   types.PeerID
	Count  int
	Reason string        // of the last one
	Last   time.Time     // when it was
	Topic  types.TopicID // that it was about; undefined: none in particular
}

// offenceFade is how long an offence takes to weigh a hundredth of what it did.
const offenceFade = 10 * time.Minute

// offences remembers the offences of a bounded number of peers. It is safe for
// concurrent use.
type offences struct {
	mu  sync.Mutex
	all map[types.PeerID]*offender
}

// offender is a peer with an offence.
type offender struct {
	Offence
	weight  float64   // of those against the sync protocol
	weighed time.Time // when it was
}

// add notes an offence of some weight, and reports whether it is the peer's
// first.
func (o *offences) add(p types.PeerID, topic types.TopicID, reason string, weight float64, now time.Time) (first bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	entry := o.all[p]
	if first = entry == nil; first {
		o.evict()
		entry = &offender{Offence: Offence{Peer: p}}
		o.all[p] = entry
	}
	entry.Count++
	entry.Reason, entry.Topic, entry.Last = reason, topic, now
	entry.weight, entry.weighed = entry.weighs(now)+weight, now
	return first
}

// weighs returns what the peer's offences weigh at now.
func (e *offender) weighs(now time.Time) float64 {
	return e.weight * math.Pow(0.01, float64(now.Sub(e.weighed))/float64(offenceFade))
}

// list returns all offences, the last first.
func (o *offences) list() []Offence {
	o.mu.Lock()
	defer o.mu.Unlock()
	list := make([]Offence, 0, len(o.all))
	for _, e := range o.all {
		list = append(list, e.Offence)
	}
	slices.SortFunc(list, func(a, b Offence) int {
		return cmp.Or(b.Last.Compare(a.Last), strings.Compare(string(a.Peer), string(b.Peer)))
	})
	return list
}

// Offences returns what peers did wrong, connected or not, one entry a peer, the
// last first.
func (s *Syncer) Offences() []Offence { return s.offences.list() }

// Blame counts something that no correct peer does, and that somebody else than
// the syncer noticed: it is named in status like an offence of the peer against
// the protocol. An undefined topic is none in particular.
func (s *Syncer) Blame(p types.PeerID, topic types.TopicID, reason string) {
	s.offences.add(p, topic, reason, 0, time.Now())
}

// Offended returns how many offences against the sync protocol the peer has to
// its name. Each counts less and less, and nothing after 10 minutes.
func (s *Syncer) Offended(p types.PeerID) float64 {
	s.offences.mu.Lock()
	defer s.offences.mu.Unlock()
	if e := s.offences.all[p]; e != nil {
		return e.weighs(time.Now())
	}
	return 0
}

// evict makes room for one more: the peer that has behaved longest goes. The
// caller holds mu.
func (o *offences) evict() {
	if len(o.all) < maxOffences {
		return
	}
	var oldest *offender
	for _, e := range o.all {
		if oldest == nil || e.Last.Before(oldest.Last) {
			oldest = e
		}
	}
	delete(o.all, oldest.Peer)
}
