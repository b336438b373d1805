package sim

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"github.com/ipfs/go-cid"

	"github.com/cairn-p2p/cairn/crdt/clock"
	"github.com/cairn-p2p/cairn/types"
)

const (
	// smallPayload is room for the number that makes events differ.
	smallPayload = 8
	// largePayload makes four events overflow a batch.
	largePayload = 300 << 10
)

// act does one step of the random schedule.
func (w *world) act() error {
	faults := []struct {
		probability float64
		do          func() error
	}{
		{w.cfg.Crashes, w.crash},
		{w.cfg.Restores, w.restore},
		{w.cfg.Partitions, w.partition},
		{w.cfg.Evictions, w.evict},
		{w.cfg.Unloads, w.unload},
		{w.cfg.Strangers, w.stranger},
		{w.cfg.Forgeries, w.forge},
	}
	p := w.rng.Float64()
	for _, f := range faults {
		if p < f.probability {
			return f.do()
		}
		p -= f.probability
	}
	r := w.anyone()
	switch choice := w.rng.IntN(20); {
	case r.down:
		w.restart(r)
		return nil
	case choice < 5:
		return w.publish(r)
	case choice < 18:
		return w.deliver()
	case choice < 19:
		return w.compare()
	default:
		w.startSync(r, w.replicas[w.neighbour(r)])
		return nil
	}
}

func (w *world) anyone() *replica { return w.replicas[w.rng.IntN(len(w.replicas))] }

func (w *world) neighbour(r *replica) int {
	all := w.neighbours[r.id]
	return all[w.rng.IntN(len(all))]
}

// publish appends a few events at once, now and then large ones or ones that
// must come after others.
func (w *world) publish(r *replica) error {
	if r.restored && !w.mayPublish(r) {
		w.report.Refused++
		w.tracef("r%d may not append: %v", r.id, r.clock.OwnErr())
		return nil
	}
	size := smallPayload
	if w.rng.IntN(200) == 0 {
		size = largePayload
	}
	for range 1 + w.rng.IntN(4) {
		d := clock.Draft{Payload: w.payload(size), After: w.drawAfter(r)}
		if len(r.clock.Heads()) > types.MaxLinks {
			w.report.Crowded++
		}
		e, err := r.clock.Append(int64(w.step), d)
		if err != nil {
			return fmt.Errorf("r%d appends: %w", r.id, err)
		}
		for _, h := range d.After {
			w.afters = append(w.afters, after{later: e, earlier: h.CID})
		}
		w.tracef("r%d appends %s", r.id, w.name(e.CID, e))
	}
	return w.settle(r)
}

// mayPublish reports whether a replica whose disk is an old copy takes appends:
// not before a complete sync, nor while its own events show that it lags behind.
// Now and then these are given up.
func (w *world) mayPublish(r *replica) bool {
	if errors.Is(r.clock.OwnErr(), types.ErrRolledBack) && w.rng.IntN(8) == 0 {
		w.tracef("r%d gives up own events", r.id)
		r.clock.Resume()
	}
	return r.synced && r.clock.OwnErr() == nil
}

// payload is unique, so that no two appends make the same event: what a crash
// took back is not to come again by chance.
func (w *world) payload(size int) []byte {
	b := make([]byte, size)
	binary.BigEndian.PutUint64(b, w.rng.Uint64())
	return b
}

// drawAfter names some integrated events.
func (w *world) drawAfter(r *replica) []types.Head {
	if len(r.disk.log) == 0 || w.rng.IntN(3) > 0 {
		return nil
	}
	var heads []types.Head
	for range 1 + w.rng.IntN(3) {
		e := r.disk.log[w.rng.IntN(len(r.disk.log))]
		heads = append(heads, types.Head{CID: e.CID, Height: e.Height})
	}
	return heads
}

// crash stops a replica: what its clock did not commit is gone. It comes back
// when a later step chooses it.
func (w *world) crash() error {
	r := w.anyone()
	r.down = true
	r.life++
	w.report.Crashes++
	w.tracef("r%d crashes", r.id)
	return nil
}

func (w *world) restart(r *replica) {
	r.down = false
	r.load()
	w.tracef("r%d restarts with %d events", r.id, len(r.disk.log))
}

// restore puts an old copy in place of a replica's disk. What nobody else has
// is lost, acknowledged or not.
func (w *world) restore() error {
	r := w.anyone()
	w.report.Restores++
	old, err := r.disk.copyOf(w.rng.IntN(len(r.disk.log) + 1))
	if err != nil {
		return err
	}
	w.tracef("r%d is restored: %d of %d events", r.id, len(old.log), len(r.disk.log))
	r.disk, r.restored, r.synced = old, true, false
	clear(r.saved) // the copy has older ones, or none
	r.load()
	for _, other := range w.replicas { // the log id has changed
		delete(other.pulled, r.id)
		delete(other.saved, r.id)
	}
	w.acked = slices.DeleteFunc(w.acked, func(e *types.Event) bool {
		return !slices.ContainsFunc(w.replicas, func(r *replica) bool { return r.disk.has(e.CID) })
	})
	return nil
}

// partition cuts the network in two, or heals it.
func (w *world) partition() error {
	w.report.Partitions++
	cut := w.rng.IntN(2)
	for i := range w.side {
		w.side[i] = cut * w.rng.IntN(2)
	}
	w.tracef("the network is cut: %v", w.side)
	return nil
}

func (w *world) evict() error {
	r := w.anyone()
	if r.down {
		return nil
	}
	before, size := r.clock.Pending()
	if w.rng.IntN(2) == 0 || size == 0 {
		r.clock.Tick()
	} else {
		r.clock.Evict(1 + w.rng.IntN(size))
	}
	after, _ := r.clock.Pending()
	w.report.Evicted += before - after
	w.tracef("r%d drops %d of %d pending events", r.id, before-after, before)
	return w.settle(r)
}

// unload drops the clock of a replica that has nothing to do, and starts
// another from the disk: all that a driver keeps is what the clock knew of the
// own log. Sessions go on.
func (w *world) unload() error {
	r := w.anyone()
	if r.down {
		return nil
	}
	if err := w.flush(r); err != nil {
		return err
	}
	if events, _ := r.clock.Pending(); events > 0 {
		return nil
	}
	w.report.Unloads++
	w.tracef("r%d is unloaded", r.id)
	doubt, refuses := r.clock.Doubt(), r.clock.OwnErr() != nil
	r.clock = clock.New(r.disk.topic, r.self, r.disk.state(r.self), r.limits)
	r.clock.SetDoubt(doubt)
	if (r.clock.OwnErr() != nil) != refuses {
		return fmt.Errorf("r%d refuses appends: %t, and after an unload the other way round", r.id, refuses)
	}
	return r.check()
}

// stranger brings events of publishers that come by once, in some worlds more
// of them than an event has links. They link to what one replica has, and go to
// its neighbours, a handful at a time, some of which it hears itself.
func (w *world) stranger() error {
	r := w.anyone()
	var links []cid.Cid
	var height uint64
	for _, h := range r.disk.headList() {
		if len(links) < types.MaxLinks && w.rng.IntN(3) > 0 {
			links = append(links, h.CID)
			height = max(height, h.Height)
		}
	}
	events, err := w.burstOf(1+w.rng.IntN(w.burst), links, height)
	if err != nil {
		return err
	}
	w.tracef("strangers publish %s", w.nameEvents(events))
	w.rng.Shuffle(len(events), func(i, j int) { events[i], events[j] = events[j], events[i] })
	for len(events) > 0 {
		n := min(1+w.rng.IntN(w.burst), len(events))
		w.spread(r, events[:n], -1)
		if w.rng.IntN(2) == 0 && !r.down {
			if _, err := w.receive(r, clock.Source{Peer: "a stranger"}, events[:n]); err != nil {
				return err
			}
		}
		events = events[n:]
	}
	return nil
}

// burstOf returns the events of n strangers, with some replies among them.
func (w *world) burstOf(n int, links []cid.Cid, height uint64) ([]*types.Event, error) {
	var events []*types.Event
	for range n {
		w.strangers++
		e, err := w.newEvent(types.Body{Publisher: publisher(w.strangers), Seq: 1, Links: links, Height: height + 1})
		if err != nil {
			return nil, err
		}
		events = append(events, e)
		if len(events) == 1 || w.rng.IntN(4) > 0 {
			continue
		}
		previous := events[len(events)-2]
		reply := types.Body{Publisher: e.Publisher, Seq: 2, Links: sorted(e.CID, previous.CID), Height: max(e.Height, previous.Height) + 1}
		if e, err = w.newEvent(reply); err != nil {
			return nil, err
		}
		events = append(events, e)
	}
	return events, nil
}

// forge gossips events that are signed well and invalid all the same: a false
// height or a link into another topic, and an event on top of that.
func (w *world) forge() error {
	r := w.anyone()
	w.forgers++
	body := types.Body{Publisher: publisher(w.forgers), Seq: 1, Links: []cid.Cid{w.foreign.CID}, Height: 2}
	if len(r.disk.log) > 0 && w.rng.IntN(3) > 0 {
		parent := r.disk.log[w.rng.IntN(len(r.disk.log))]
		body.Links, body.Height = []cid.Cid{parent.CID}, parent.Height+2+uint64(w.rng.IntN(5))
	}
	e, err := w.newEvent(body)
	if err != nil {
		return err
	}
	child, err := w.newEvent(types.Body{Publisher: e.Publisher, Seq: 2, Links: []cid.Cid{e.CID}, Height: e.Height + 1})
	if err != nil {
		return err
	}
	w.report.Forged += 2
	w.forged = append(w.forged, e, child)
	w.tracef("forged: %s and %s", w.name(e.CID, e), w.name(child.CID, child))
	for _, gossip := range [][]*types.Event{{child}, {e}, {child, e}} {
		w.spread(r, gossip, -1)
	}
	return nil
}

// newEvent builds an event that no replica of the world appends.
func (w *world) newEvent(body types.Body) (*types.Event, error) {
	body.Topic, body.Time, body.Payload = w.topic, int64(w.step), w.payload(smallPayload)
	e, err := types.NewEvent(body)
	if err != nil {
		return nil, fmt.Errorf("build event: %w", err)
	}
	w.sign([]*types.Event{e})
	w.name(e.CID, e)
	return e, nil
}

func sorted(cids ...cid.Cid) []cid.Cid {
	types.SortCIDs(cids)
	return cids
}
