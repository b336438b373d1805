package clock

import (
	"slices"

	"github.com/ipfs/go-cid"

	"github.com/cairn-p2p/cairn/types"
)

// builder gathers integrated events into batches of at most
// types.MaxBatchSize, each of which leaves the store with the right heads.
type builder struct {
	full  []*types.Batch
	open  *types.Batch
	added map[cid.Cid]uint64 // heads that the open batch adds
	size  int                // bytes in all batches
	used  int                // bytes in the open one
}

func (b *builder) add(topic types.TopicID, number uint64, e *types.Event) {
	size := e.Size()
	if e.Witness == nil { // it gets one before it is stored
		size += types.MaxWitness
	}
	if b.open != nil && b.used+size > types.MaxBatchSize {
		b.close()
	}
	if b.open == nil {
		b.open = &types.Batch{Topic: topic, First: number}
		b.added = map[cid.Cid]uint64{}
	}
	b.open.Events = append(b.open.Events, e)
	b.used += size
	b.size += size
}

func (b *builder) addHead(e *types.Event) { b.added[e.CID] = e.Height }

// dropHead undoes a head: one that the open batch added was never stored.
func (b *builder) dropHead(id cid.Cid) {
	if _, ok := b.added[id]; ok {
		delete(b.added, id)
		return
	}
	b.open.DropHeads = append(b.open.DropHeads, id)
}

func (b *builder) close() {
	for id, height := range b.added {
		b.open.AddHeads = append(b.open.AddHeads, types.Head{CID: id, Height: height})
	}
	slices.SortFunc(b.open.AddHeads, func(x, y types.Head) int { return types.CompareCIDs(x.CID, y.CID) })
	b.full = append(b.full, b.open)
	b.open, b.added, b.used = nil, nil, 0
}

func (b *builder) take() []*types.Batch {
	if b.open != nil {
		b.close()
	}
	batches := b.full
	*b = builder{}
	return batches
}
