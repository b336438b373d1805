package clock

import "github.com/ipfs/go-cid"

// fifo is a set of CIDs that forgets its oldest when it is full.
type fifo struct {
	size int
	set  map[cid.Cid]struct{}
	ring []cid.Cid // grows to size, then wraps
	next int       // where the oldest of a full ring is
}

func newFIFO(size int) fifo {
	return fifo{size: size, set: map[cid.Cid]struct{}{}}
}

func (f *fifo) has(id cid.Cid) bool {
	_, ok := f.set[id]
	return ok
}

func (f *fifo) add(id cid.Cid) {
	if f.has(id) || f.size == 0 {
		return
	}
	f.set[id] = struct{}{}
	if len(f.ring) < f.size {
		f.ring = append(f.ring, id)
		return
	}
	delete(f.set, f.ring[f.next])
	f.ring[f.next] = id
	f.next = (f.next + 1) % f.size
}
