package syncer

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
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

// offences remembers the offences of a bounded number of peers.
type offences map[types.PeerID]*Offence

func (o offences) add(p types.PeerID, topic types.TopicID, reason string, now time.Time) {
	entry := o[p]
	if entry == nil {
		o.evict()
		entry = &Offence{Peer: p}
		o[p] = entry
	}
	entry.Count++
	entry.Reason, entry.Topic, entry.Last = reason, topic, now
}

// Offences returns what peers did wrong, connected or not, one entry a peer, the
// last first.
func (s *Syncer) Offences() []Offence {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := make([]Offence, 0, len(s.offences))
	for _, o := range s.offences {
		list = append(list, *o)
	}
	sortOffences(list)
	return list
}

func sortOffences(list []Offence) {
	slices.SortFunc(list, func(a, b Offence) int {
		return cmp.Or(b.Last.Compare(a.Last), strings.Compare(string(a.Peer), string(b.Peer)))
	})
}

// evict makes room for one more: the peer that has behaved longest goes.
func (o offences) evict() {
	if len(o) < maxOffences {
		return
	}
	var oldest *Offence
	for _, e := range o {
		if oldest == nil || e.Last.Before(oldest.Last) {
			oldest = e
		}
	}
	delete(o, oldest.Peer)
}
