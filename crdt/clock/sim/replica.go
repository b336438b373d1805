package sim

import (
	"fmt"

	"github.com/ipfs/go-cid"

	"github.com/cairn-p2p/cairn/crdt/clock"
	"github.com/cairn-p2p/cairn/types"
)

// replica is a clock with its disk, and what a driver keeps in memory.
type replica struct {
	id     int
	self   types.Publisher
	limits clock.Limits
	disk   *disk
	clock  *clock.Clock
	down   bool
	life   int // grows at each restart: what is older does not reach it

	restored bool // its disk was once replaced by an old copy
	synced   bool // since then it has finished a sync

	saved map[int]int // durable positions in other replicas' logs: those reached, or earlier ones

	// The rest is lost in a crash.
	heard   map[cid.Cid]bool // events forwarded or published: not again
	asked   types.PeerID     // who to sync with first: the sender
	session *session         // the sync that is under way
	pulled  map[int]int      // position reached in another replica's log
	resumes map[int]bool     // those of them that are from before the restart
}

func (w *world) newReplica(id int, limits clock.Limits) *replica {
	r := &replica{id: id, self: publisher(id), limits: limits, disk: newDisk(w.topic), saved: map[int]int{}}
	if w.rng.IntN(2) == 0 {
		r.disk.foreign = w.foreign.CID
	}
	r.load()
	return r
}

func (r *replica) peer() types.PeerID { return peerOf(r.id) }

// load starts the replica from its disk.
func (r *replica) load() {
	r.clock = clock.New(r.disk.topic, r.self, r.disk.state(r.self), r.limits)
	r.life++
	r.heard = map[cid.Cid]bool{}
	r.session = nil
	r.pulled, r.resumes = map[int]int{}, map[int]bool{}
	for id, at := range r.saved {
		r.pulled[id], r.resumes[id] = at, true
	}
}

// receive gives events to the clock, and takes the effects now or later.
func (w *world) receive(r *replica, src clock.Source, events []*types.Event) ([]clock.Refusal, error) {
	for _, e := range events {
		if err := w.prove(e); err != nil {
			return nil, fmt.Errorf("r%d receives from %s: %w", r.id, src.Peer, err)
		}
	}
	before := r.clock.Events()
	waited, _ := r.clock.Pending()
	refused := r.clock.Receive(src, events, r.disk.known(events))
	r.asked = src.Peer
	if !src.Sync {
		w.report.Released += max(0, int(r.clock.Events()-before)-len(events))
	}
	pending, _ := r.clock.Pending()
	w.report.MaxPending = max(w.report.MaxPending, pending)
	if src.Sync && pending > waited {
		return nil, fmt.Errorf("r%d: the answer to a sync leaves %d events pending, %d before it", r.id, pending, waited)
	}
	for _, f := range refused {
		w.tracef("r%d refuses %s: %v", r.id, w.name(f.CID), f.Err)
	}
	return refused, w.settle(r)
}

// settle leaves effects untaken now and then, as a driver does that drains its
// inbox before it commits.
func (w *world) settle(r *replica) error {
	if w.rng.Float64() < 0.3 && !w.healing {
		return r.bounded()
	}
	return w.flush(r)
}

// flush takes the effects and obeys them in their order.
func (w *world) flush(r *replica) error {
	out := r.clock.Take()
	if len(out.Store) > 1 {
		w.report.SplitBatches++
	}
	stored := 0
	for _, b := range out.Store {
		ok, err := w.commit(r, b)
		if err != nil {
			return fmt.Errorf("r%d: %w", r.id, err)
		}
		if !ok {
			r.load()
			return nil
		}
		stored += len(b.Events)
	}
	if out.Deliver != stored {
		return fmt.Errorf("r%d: %d events to deliver, %d stored", r.id, out.Deliver, stored)
	}
	if len(out.Announce) > 0 {
		w.announce(r, out.Announce)
	}
	if out.Sync && !w.healing {
		w.fetch(r)
	}
	return r.check()
}

// commit signs and stores a batch, and reports whether the replica was told
// that it is durable.
func (w *world) commit(r *replica, b *types.Batch) (bool, error) {
	var own []*types.Event
	for _, e := range b.Events {
		if e.Witness == nil {
			own = append(own, e)
		}
	}
	w.sign(own)
	failed := !w.healing && w.rng.Float64() < w.cfg.FailedDisk
	persisted := !failed || w.rng.IntN(2) == 0
	if persisted {
		if err := r.disk.commit(b); err != nil {
			return false, fmt.Errorf("commit: %w", err)
		}
		w.report.Batches++
	}
	w.traceCommit(r, b, failed, persisted)
	if failed {
		w.report.FailedCommits++
		if persisted {
			w.report.Persisted++
		}
		return false, nil
	}
	for _, e := range b.Events {
		if e.Publisher == r.self && !w.ackedSet[e.CID] {
			w.acked = append(w.acked, e)
			w.ackedSet[e.CID] = true
		}
	}
	w.report.MaxHeads = max(w.report.MaxHeads, len(r.disk.heads))
	return true, nil
}

// check compares the clock with its disk, from which it must not differ once
// its effects are obeyed.
func (r *replica) check() error {
	if r.clock.Events() != uint64(len(r.disk.log)) {
		return fmt.Errorf("r%d: clock has %d events, disk %d", r.id, r.clock.Events(), len(r.disk.log))
	}
	heads := r.clock.Heads()
	if len(heads) != len(r.disk.heads) {
		return fmt.Errorf("r%d: clock has %d heads, disk %d", r.id, len(heads), len(r.disk.heads))
	}
	for _, h := range heads {
		if r.disk.heads[h.CID] != h.Height {
			return fmt.Errorf("r%d: head %s of the clock is none on disk", r.id, h.CID)
		}
	}
	events, _ := r.clock.Pending()
	for _, id := range r.clock.Missing(events * types.MaxLinks) {
		if r.disk.has(id) {
			return fmt.Errorf("r%d: events still wait for %s, which is integrated", r.id, id)
		}
	}
	if err := r.clock.OwnErr(); err != nil && !r.restored {
		return fmt.Errorf("r%d: no other node has its key, and its disk was never restored, but: %w", r.id, err)
	}
	return r.bounded()
}

// bounded holds what is pending to its limit.
func (r *replica) bounded() error {
	events, size := r.clock.Pending()
	if size > r.limits.PendingSize || (events == 0) != (size == 0) {
		return fmt.Errorf("r%d: %d events pending in %d bytes, limit %d", r.id, events, size, r.limits.PendingSize)
	}
	return nil
}
