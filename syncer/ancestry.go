package syncer

import (
	"container/heap"
	"context"
	"slices"

	"github.com/ipfs/go-cid"

	"github.com/cairn-p2p/cairn/syncer/pb"
	"github.com/cairn-p2p/cairn/types"
)

// ancestors answers Ancestors: with all events asked for, oldest first, if the
// walk that finds them closes within its budget.
func (v *server) ancestors(ctx context.Context, m *pb.AncestorsRequest) error {
	q, err := parseAncestorsRequest(m)
	if err != nil {
		return err
	}
	found, err := v.walkBack(ctx, q)
	if err != nil {
		return v.failed(ctx, q.topic, err)
	}
	if len(found) == 0 {
		a := &pb.AncestorsAnswer{UsePull: true}
		return v.write(ctx, &pb.Response{Answer: &pb.Response_Ancestors{Ancestors: a}})
	}
	return v.sendAncestors(ctx, q.topic, found)
}

// walkBack returns the events asked for, oldest first, or none if there are too
// many, a want is not held, or others walk already.
func (v *server) walkBack(ctx context.Context, q ancestorsRequest) ([]visit, error) {
	select {
	case v.s.walks <- struct{}{}:
		defer func() { <-v.s.walks }()
	default:
		return nil, nil
	}
	a := &ancestry{seen: make(map[cid.Cid]*visit), read: func(cids []cid.Cid) ([]*types.Event, error) {
		if err := v.allowance.spend(ctx, itemCost*len(cids)); err != nil {
			return nil, err
		}
		return v.s.local.Get(q.topic, cids)
	}}
	return a.walk(q.wants, q.stops)
}

// sendAncestors sends events that are integrated here.
func (v *server) sendAncestors(ctx context.Context, topic types.TopicID, list []visit) error {
	var frame eventFrame
	for chunk := range slices.Chunk(list, getChunk) {
		cids := make([]cid.Cid, 0, len(chunk))
		for _, l := range chunk {
			cids = append(cids, l.id)
		}
		events, err := v.s.local.Get(topic, cids)
		if err != nil {
			return v.failed(ctx, topic, err)
		}
		for _, e := range events {
			if e == nil { // integrated a moment ago
				return v.failed(ctx, topic, types.ErrCorrupt)
			}
			if frame.full(e.Size()) {
				if err := v.writeAncestors(ctx, &frame, true); err != nil {
					return err
				}
			}
			frame.add(e.Bytes(), e.Witness)
		}
	}
	return v.writeAncestors(ctx, &frame, false)
}

func (v *server) writeAncestors(ctx context.Context, frame *eventFrame, more bool) error {
	a := new(pb.AncestorsAnswer)
	a.Events, a.Batches = frame.take()
	return v.write(ctx, &pb.Response{More: more, Answer: &pb.Response_Ancestors{Ancestors: a}})
}

// ancestry finds what some events have among their ancestors and others have
// not. It goes from the highest events down: when it comes to one, it has seen
// all that link to it, and so knows for whom it is an ancestor.
type ancestry struct {
	read func([]cid.Cid) ([]*types.Event, error)

	seen   map[cid.Cid]*visit // those in the queue
	queue  visits
	wanted int // of the queue, those not known
	count  int // events read
	bytes  int // their size
}

// visit is one event of the walk.
type visit struct {
	id     cid.Cid
	height uint64
	links  []cid.Cid
	known  bool // a stop, or an ancestor of one
}

// visits is a heap with the highest event first.
type visits []*visit

func (v visits) Len() int           { return len(v) }
func (v visits) Less(i, j int) bool { return v[i].height > v[j].height }
func (v visits) Swap(i, j int)      { v[i], v[j] = v[j], v[i] }
func (v *visits) Push(x any)        { *v = append(*v, x.(*visit)) }

func (v *visits) Pop() any {
	last := (*v)[len(*v)-1]
	*v = (*v)[:len(*v)-1]
	return last
}

// walk returns the difference, oldest first; none if the walk is over budget or
// something is not held.
func (a *ancestry) walk(wants, stops []cid.Cid) ([]visit, error) {
	if held, err := a.enter(stops, true); err != nil || !held && a.overBudget() {
		return nil, err
	}
	if held, err := a.enter(wants, false); err != nil || !held {
		return nil, err
	}
	var found []visit
	for a.wanted > 0 {
		level := a.level()
		// First what is known, so that what both kinds link to is.
		slices.SortStableFunc(level, func(x, y *visit) int { return boolInt(y.known) - boolInt(x.known) })
		for known, group := range groups(level) {
			var links []cid.Cid
			for _, v := range group {
				links = append(links, v.links...)
				if !known {
					found = append(found, visit{id: v.id})
				}
			}
			if held, err := a.enter(links, known); err != nil || !held {
				return nil, err
			}
		}
	}
	slices.Reverse(found)
	return found, nil
}

// level takes the highest events from the queue, all of one height.
func (a *ancestry) level() []*visit {
	var level []*visit
	for height := a.queue[0].height; len(a.queue) > 0 && a.queue[0].height == height; {
		v := heap.Pop(&a.queue).(*visit)
		delete(a.seen, v.id)
		if !v.known {
			a.wanted--
		}
		level = append(level, v)
	}
	return level
}

// groups yields those of a level that are known, then the others.
func groups(level []*visit) func(yield func(known bool, group []*visit) bool) {
	n := slices.IndexFunc(level, func(v *visit) bool { return !v.known })
	if n < 0 {
		n = len(level)
	}
	return func(yield func(bool, []*visit) bool) {
		if yield(true, level[:n]) {
			yield(false, level[n:])
		}
	}
}

func boolInt(b bool) int {
	if b {
		return 1
	}
	return 0
}

// enter puts events into the queue. It reports whether all are held and within
// budget; of stops those that are held enter all the same.
func (a *ancestry) enter(cids []cid.Cid, known bool) (bool, error) {
	var fresh []cid.Cid
	for _, c := range cids {
		v := a.seen[c]
		switch {
		case v == nil:
			a.seen[c] = &visit{id: c, known: known}
			fresh = append(fresh, c)
		case known && !v.known:
			v.known = true
			a.wanted--
		}
	}
	all := true
	for chunk := range slices.Chunk(fresh, getChunk) {
		if a.count += len(chunk); a.overBudget() {
			return false, nil
		}
		events, err := a.read(chunk)
		if err != nil {
			return false, err
		}
		for i, e := range events {
			if e == nil {
				delete(a.seen, chunk[i])
				all = false
				continue
			}
			v := a.seen[e.CID]
			v.height, v.links = e.Height, e.Links
			a.bytes += e.Size() + eventRoom
			heap.Push(&a.queue, v)
			if !known {
				a.wanted++
			}
		}
	}
	return all, nil
}

func (a *ancestry) overBudget() bool { return a.count > visitBudget || a.bytes > visitBytes }
