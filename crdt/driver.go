package crdt

import (
	"fmt"
	"maps"
	"time"

	"github.com/ipfs/go-cid"

	"github.com/cairn-p2p/cairn/crdt/clock"
	"github.com/cairn-p2p/cairn/types"
)

// driver does what the clock decides. All of it is owned by the driver's
// goroutine; while there is none, by whoever holds the replica's lock.
type driver struct {
	replica *loaded
	clock   *clock.Clock // nil until loaded
	durable uint64       // the greatest log number committed since loading

	doubt clock.Doubt // of the own log; survives the clock
	stale bool        // the syncer and the subscribers may not know what is stored

	// Of the inputs since the last flush:
	from       types.PeerID     // a neighbour that delivered events
	backfilled bool             // some came by sync
	submitted  map[cid.Cid]bool // to be announced once they are integrated
	tally      tally            // for the Observer

	since time.Time // something has been pending ever since; zero: nothing is
}

// work carries out inputs in their order, in runs that make one commit each.
func (d *driver) work(inputs []input) {
	for len(inputs) > 0 {
		n, err := d.apply(inputs)
		if err == nil {
			err = d.flush()
		}
		var looks []*inspectInput
		for _, in := range inputs[:n] {
			if look, ok := in.(*inspectInput); ok {
				looks = append(looks, look)
				continue
			}
			in.finish(d, err)
		}
		if err != nil {
			d.leaveFailed(inputs[:n])
			err = d.recover(err)
		}
		for _, look := range looks { // at what is stored, whoever's commit failed
			if err == nil {
				look.look(d)
			}
			look.finish(d, err)
		}
		inputs = inputs[n:]
	}
}

// recover drops the clock, which ran ahead of the store, and takes up what the
// store holds now: a commit that failed may have persisted.
func (d *driver) recover(cause error) error {
	log := d.replica.cfg.Log.With("topic", d.replica.genesis.Name)
	log.Error("topic loads again after a failure", "err", cause)
	d.unload()
	d.stale = true
	if err := d.load(); err != nil {
		log.Error("topic stays unloaded until its next use", "err", err)
		return err
	}
	return nil
}

// apply gives inputs to the clock until they make a full batch, and returns
// how many it took: at least one.
func (d *driver) apply(inputs []input) (int, error) {
	if err := d.load(); err != nil {
		return len(inputs), err
	}
	observed := d.replica.observer != nil
	for i, in := range inputs {
		before := d.clock.Events()
		if err := in.apply(d); err != nil {
			return i + 1, err
		}
		if observed {
			d.tally.count(in, d.clock.Events()-before)
		}
		if d.clock.Unstored() >= types.MaxBatchSize {
			return i + 1, nil
		}
	}
	return len(inputs), nil
}

func (d *driver) load() error {
	if d.clock != nil {
		return nil
	}
	r := d.replica
	state, err := r.cfg.Store.Load(r.topic, r.self)
	if err != nil {
		return fmt.Errorf("load topic: %w", err)
	}
	d.clock = clock.New(r.topic, r.self, state, r.cfg.Limits)
	d.clock.SetDoubt(d.doubt)
	r.halted.Store(d.clock.OwnErr() != nil)
	r.standing.load(state)
	if d.stale {
		d.stale = false
		r.cfg.Syncer.Changed(r.topic, d.replica.standing.root(), false)
		r.wake.fire()
	}
	return nil
}

func (d *driver) unload() {
	if d.clock != nil {
		d.doubt = d.clock.Doubt()
	}
	d.clock = nil
	d.replica.standing.unload()
	d.from, d.backfilled, d.submitted, d.durable = "", false, nil, 0
	d.tally, d.since = tally{}, time.Time{}
	d.replica.pending.Store(0)
	d.replica.waiting.Store(0)
}

// remembers reports whether an unloaded driver holds what the store does not.
func (d *driver) remembers() bool { return d.stale || d.doubt != clock.Doubt{} }

// heights reads what the clock needs to know of events, their links and heads. A
// link to one of the events themselves is known with that, or the clock integrates
// it before.
func (d *driver) heights(events []*types.Event, heads []cid.Cid) (map[cid.Cid]uint64, error) {
	known, err := d.replica.cfg.Store.HeightsOf(d.replica.topic, events)
	if err != nil {
		return nil, fmt.Errorf("look up events: %w", err)
	}
	var ids []cid.Cid
	seen := make(map[cid.Cid]struct{}, 2*len(events))
	for _, e := range events {
		seen[e.CID] = struct{}{}
	}
	want := func(id cid.Cid) {
		if _, ok := seen[id]; !ok {
			seen[id] = struct{}{}
			ids = append(ids, id)
		}
	}
	for _, e := range events {
		for _, l := range e.Links {
			want(l)
		}
	}
	for _, id := range heads {
		want(id)
	}
	if len(ids) > 0 {
		others, err := d.replica.cfg.Store.Heights(d.replica.topic, ids)
		if err != nil {
			return nil, fmt.Errorf("look up links: %w", err)
		}
		maps.Copy(known, others)
	}
	return known, d.checkOwn(events, known)
}

// checkOwn looks into what the clock suspects of being a fork.
func (d *driver) checkOwn(events []*types.Event, known map[cid.Cid]uint64) error {
	for _, e := range events {
		if known[e.CID] > 0 || !d.clock.Suspects(e) {
			continue
		}
		spent, err := d.spent(e.Seq)
		if err != nil {
			return err
		}
		if !spent {
			d.clock.Unspent(e.Seq)
		}
	}
	return nil
}

// spent reports whether the store holds an event of this node with the seq. It
// reads the whole topic, for an event that only this node's key can sign.
func (d *driver) spent(seq uint64) (bool, error) {
	for e, err := range d.replica.cfg.Store.Query(d.replica.topic, types.Query{Publisher: &d.replica.self}) {
		if err != nil {
			return false, fmt.Errorf("look up own seq %d: %w", seq, err)
		}
		if e.Seq == seq {
			return true, nil
		}
	}
	return false, nil
}

// flush makes the clock's effects true, in the order of their fields.
func (d *driver) flush() error {
	r := d.replica
	effects := d.clock.Take()
	d.sign(effects.Store)
	observed := r.observer != nil && len(effects.Store) > 0
	var begin time.Time
	if observed {
		begin = time.Now()
	}
	for _, batch := range effects.Store {
		if err := r.cfg.Store.Commit(batch); err != nil {
			return fmt.Errorf("commit %d events: %w", len(batch.Events), err)
		}
		d.durable = batch.First + uint64(len(batch.Events)) - 1
		r.standing.move(batch)
	}
	if observed {
		d.observeCommit(time.Since(begin))
	}
	if announce := d.announced(effects); len(announce) > 0 {
		r.cfg.Broadcaster.Broadcast(types.Announcement{
			Genesis:   r.genesis,
			Events:    announce,
			Heads:     d.someHeads(effects.Store),
			HeadsHash: d.replica.standing.root(),
		})
	}
	if effects.Sync {
		r.cfg.Syncer.Sync(r.topic, d.from)
	}
	r.leave(LeftPending, effects.Dropped)
	if effects.Deliver > 0 {
		r.cfg.Syncer.Changed(r.topic, d.replica.standing.root(), d.backfilled)
		r.wake.fire()
	}
	events, size := d.clock.Pending()
	r.pending.Store(int64(size))
	r.waiting.Store(int64(events))
	if events == 0 {
		d.since = time.Time{}
	} else if d.since.IsZero() {
		d.since = time.Now()
	}
	r.halted.Store(d.clock.OwnErr() != nil)
	d.from, d.backfilled, d.submitted = "", false, nil
	return nil
}

// announceToo has events announced with this node's own when the next flush
// stores them.
func (d *driver) announceToo(events []*types.Event) {
	if d.submitted == nil {
		d.submitted = make(map[cid.Cid]bool, len(events))
	}
	for _, e := range events {
		d.submitted[e.CID] = true
	}
}

// announced returns what is to be announced of what was stored, in log order.
func (d *driver) announced(effects clock.Effects) []*types.Event {
	if len(d.submitted) == 0 {
		return effects.Announce
	}
	d.announceToo(effects.Announce)
	var events []*types.Event
	for _, b := range effects.Store {
		for _, e := range b.Events {
			if d.submitted[e.CID] {
				events = append(events, e)
			}
		}
	}
	return events
}

// signedTogether is the number of events at most that one signature is for. More
// gain next to nothing, lengthen every path, and don't fit one frame of a sync,
// which carries only whole batches without paths.
const signedTogether = 256

// sign gives the events of this node their witnesses.
func (d *driver) sign(batches []*types.Batch) {
	var own []*types.Event
	for _, b := range batches {
		for _, e := range b.Events {
			if e.Witness == nil {
				own = append(own, e)
			}
		}
	}
	for len(own) > 0 {
		n := min(len(own), signedTogether)
		types.SignEvents(d.replica.cfg.Key, own[:n])
		own = own[n:]
	}
}

// someHeads returns all heads, or the newest if there are too many for an
// announcement.
func (d *driver) someHeads(batches []*types.Batch) []cid.Cid {
	var heads []cid.Cid
	if at, _ := d.replica.standing.look(types.MaxLinks); at.Count <= types.MaxLinks {
		for _, h := range at.Heads {
			heads = append(heads, h.CID)
		}
		return heads // in the order of their bytes
	}
	for _, h := range batches[len(batches)-1].AddHeads {
		heads = append(heads, h.CID)
	}
	return heads[:min(len(heads), types.MaxLinks)]
}
