package clock

import (
	"fmt"

	"github.com/cairn-p2p/cairn/types"
)

// ownLog follows this node's own events in the topic. Two faults show there:
// an own event from elsewhere that this replica never wrote proves that the
// database is an old copy, and one with a seq that was used here for another
// event proves that two nodes have the same key.
type ownLog struct {
	Doubt
	tip    types.Tip // the greatest seq integrated
	stored uint64    // the tip's seq at the last Take
	// unspent are seqs up to stored that no stored event has; cleared by Take.
	unspent map[uint64]bool
}

// Doubt is what a clock knows of its own log beyond what the store says. A
// driver that drops a clock hands it on to the next one.
type Doubt struct {
	// Seen is the greatest own seq that came from elsewhere.
	Seen uint64
	// SkippedFrom to SkippedTo are the seqs given up after a rollback: they
	// were used elsewhere and never here, so one of them is no fork.
	SkippedFrom, SkippedTo uint64
	// Restored is set when the log is an old copy of itself, and what was
	// appended after it has not been asked for yet: seqs may be spent of which
	// nothing here knows.
	Restored bool
	// Forked is set when two nodes publish with this key.
	Forked bool
}

func (o *ownLog) mayAppend() error {
	switch {
	case o.Forked:
		return fmt.Errorf("%w: stop the other node, then restart this one", types.ErrForkedKey)
	case o.behind():
		return fmt.Errorf("%w: it has own events up to %d, the network up to %d", types.ErrRolledBack, o.tip.Seq, o.Seen)
	case o.Restored:
		return fmt.Errorf("%w: it is an old copy, and was not compared with another replica yet", types.ErrRolledBack)
	}
	return nil
}

// behind reports whether own events exist elsewhere that are neither
// integrated nor given up.
func (o *ownLog) behind() bool { return o.Seen > o.tip.Seq && o.Seen > o.SkippedTo }

func (o *ownLog) nextSeq() uint64 { return max(o.tip.Seq, o.SkippedTo) + 1 }

// key is what makes this node's choice among many heads its own.
func (o *ownLog) key() string {
	if o.tip.Seq == 0 {
		return ""
	}
	return o.tip.CID.KeyString()
}

// saw takes note of an own event from elsewhere that is not integrated here.
func (o *ownLog) saw(e *types.Event) {
	if e.Seq <= o.tip.Seq {
		o.Forked = o.Forked || o.spent(e.Seq)
		return
	}
	o.Seen = max(o.Seen, e.Seq)
}

// spent reports whether a seq up to the tip's was used here.
func (o *ownLog) spent(seq uint64) bool {
	return (seq < o.SkippedFrom || seq > o.SkippedTo) && !o.unspent[seq]
}

func (o *ownLog) integrated(e *types.Event) {
	if e.Seq > o.tip.Seq {
		o.tip = types.Tip{CID: e.CID, Seq: e.Seq, Height: e.Height}
	}
}

func (o *ownLog) resume() {
	o.Restored = false
	if o.Seen > o.tip.Seq {
		o.SkippedFrom, o.SkippedTo = o.tip.Seq+1, o.Seen
	}
}
