package sim

import (
	"fmt"
	"slices"

	"github.com/ipfs/go-cid"

	"github.com/cairn-p2p/cairn/types"
)

// disk is the durable store of one replica. It believes nothing: commit checks
// that every batch keeps the log a valid DAG and the heads its sinks.
type disk struct {
	topic   types.TopicID
	log     []*types.Event
	heights map[cid.Cid]uint64
	heads   map[cid.Cid]uint64
	sinks   map[cid.Cid]bool // what no event of the log links to
	tips    map[types.Publisher]types.Tip
	// foreign is an event of another topic that this node has too; cid.Undef
	// when it has not.
	foreign cid.Cid
}

func newDisk(topic types.TopicID) *disk {
	return &disk{
		topic:   topic,
		heights: map[cid.Cid]uint64{},
		heads:   map[cid.Cid]uint64{},
		sinks:   map[cid.Cid]bool{},
		tips:    map[types.Publisher]types.Tip{},
	}
}

// commit stores a batch. The error is a defect of the clock.
func (d *disk) commit(b *types.Batch) error {
	if b.Topic != d.topic {
		return fmt.Errorf("batch of topic %s", b.Topic)
	}
	if b.First != uint64(len(d.log))+1 {
		return fmt.Errorf("batch begins at %d after %d events", b.First, len(d.log))
	}
	if len(b.Events) == 0 || b.Size() > types.MaxBatchSize && len(b.Events) > 1 {
		return fmt.Errorf("batch of %d events in %d bytes", len(b.Events), b.Size())
	}
	for _, e := range b.Events {
		if err := d.integrate(e); err != nil {
			return err
		}
	}
	for _, id := range b.DropHeads {
		if _, ok := d.heads[id]; !ok {
			return fmt.Errorf("batch drops %s, which is no head", id)
		}
		delete(d.heads, id)
	}
	for _, h := range b.AddHeads {
		if _, ok := d.heads[h.CID]; ok {
			return fmt.Errorf("batch adds head %s again", h.CID)
		}
		d.heads[h.CID] = h.Height
	}
	return d.checkHeads()
}

func (d *disk) integrate(e *types.Event) error {
	if e.Topic != d.topic {
		return fmt.Errorf("event %s is of topic %s", e.CID, e.Topic)
	}
	if e.Witness == nil {
		return fmt.Errorf("event %s is not signed", e.CID)
	}
	if _, ok := d.heights[e.CID]; ok {
		return fmt.Errorf("event %s is integrated twice", e.CID)
	}
	var parents uint64
	for _, l := range e.Links {
		height, ok := d.heights[l]
		if !ok {
			return fmt.Errorf("event %s is integrated before its link %s", e.CID, l)
		}
		parents = max(parents, height)
		delete(d.sinks, l)
	}
	if e.Height != parents+1 {
		return fmt.Errorf("event %s has height %d above %d", e.CID, e.Height, parents)
	}
	d.log = append(d.log, e)
	d.heights[e.CID] = e.Height
	d.sinks[e.CID] = true
	if e.Seq > d.tips[e.Publisher].Seq {
		d.tips[e.Publisher] = types.Tip{CID: e.CID, Seq: e.Seq, Height: e.Height}
	}
	return nil
}

// checkHeads holds the heads to the sinks of what is stored.
func (d *disk) checkHeads() error {
	for id := range d.sinks {
		if d.heads[id] != d.heights[id] {
			return fmt.Errorf("no head for %s, which nothing links to", id)
		}
	}
	if len(d.sinks) != len(d.heads) {
		return fmt.Errorf("%d heads for %d sinks", len(d.heads), len(d.sinks))
	}
	return nil
}

// copyOf returns the disk as it was after n events.
func (d *disk) copyOf(n int) (*disk, error) {
	old := newDisk(d.topic)
	old.foreign = d.foreign
	for _, e := range d.log[:n] {
		if err := old.integrate(e); err != nil {
			return nil, fmt.Errorf("copy: %w", err)
		}
	}
	for id := range old.sinks {
		old.heads[id] = old.heights[id]
	}
	return old, nil
}

// state is what a replica of self starts from.
func (d *disk) state(self types.Publisher) types.TopicState {
	return types.TopicState{Events: uint64(len(d.log)), Heads: d.headList(), Tip: d.tips[self]}
}

func (d *disk) headList() []types.Head {
	heads := make([]types.Head, 0, len(d.heads))
	for id, height := range d.heads {
		heads = append(heads, types.Head{CID: id, Height: height})
	}
	slices.SortFunc(heads, func(a, b types.Head) int { return types.CompareCIDs(a.CID, b.CID) })
	return heads
}

func (d *disk) has(id cid.Cid) bool { return d.heights[id] > 0 }

// known reads the heights that the clock needs to receive events.
func (d *disk) known(events []*types.Event) map[cid.Cid]uint64 {
	known := map[cid.Cid]uint64{}
	read := func(id cid.Cid) {
		if height, ok := d.heights[id]; ok {
			known[id] = height
		} else if id == d.foreign {
			known[id] = 0
		}
	}
	for _, e := range events {
		read(e.CID)
		for _, l := range e.Links {
			read(l)
		}
	}
	return known
}

// equal reports whether two disks hold the same events.
func (d *disk) equal(other *disk) bool {
	if len(d.log) != len(other.log) {
		return false
	}
	for _, e := range d.log {
		if !other.has(e.CID) {
			return false
		}
	}
	return true
}
