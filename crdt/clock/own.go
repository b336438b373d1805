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
	tip types.Tip // the greatest seq integrated
	// seen is the greatest own seq that came from elsewhere and is not
	// integrated yet; 0 when there is none.
	seen uint64
	// skippedFrom to skippedTo are the seqs given up after a rollback: they
	// were used elsewhere and never here, so one of them is no fork.
	skippedFrom, skippedTo uint64
	forked                 bool
}

func (o *ownLog) mayAppend() error {
	switch {
	case o.forked:
		return fmt.Errorf("%w: stop the other node, then restart this one", types.ErrForkedKey)
	case o.behind():
		return fmt.Errorf("%w: it has own events up to %d, the network up to %d", types.ErrRolledBack, o.tip.Seq, o.seen)
	}
	return nil
}

// behind reports whether own events exist elsewhere that are neither
// integrated nor given up.
func (o *ownLog) behind() bool { return o.seen > o.tip.Seq && o.seen > o.skippedTo }

func (o *ownLog) nextSeq() uint64 { return max(o.tip.Seq, o.skippedTo) + 1 }

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
		if e.Seq < o.skippedFrom || e.Seq > o.skippedTo {
			o.forked = true
		}
		return
	}
	o.seen = max(o.seen, e.Seq)
}

func (o *ownLog) integrated(e *types.Event) {
	if e.Seq > o.tip.Seq {
		o.tip = types.Tip{CID: e.CID, Seq: e.Seq, Height: e.Height}
	}
}

func (o *ownLog) resume() {
	if o.seen > o.tip.Seq {
		o.skippedFrom, o.skippedTo = o.tip.Seq+1, o.seen
	}
}
