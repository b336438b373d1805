package sim

import (
	"slices"

	"github.com/ipfs/go-cid"

	"github.com/cairn-p2p/cairn/crdt/clock"
	"github.com/cairn-p2p/cairn/types"
)

// maxInFlight bounds the messages under way; beyond it they get lost.
const maxInFlight = 300

// message is under way between two replicas. It carries gossip, or one half of
// a round trip of a session.
type message struct {
	from, to int
	gossip   []*types.Event
	session  *session
	deliver  func() error // what the session does on its arrival
	what     string
}

// send puts a message on its way, or loses it, or sends it twice.
func (w *world) send(m message) {
	w.report.Sent++
	if w.rng.Float64() < w.cfg.Loss || len(w.flight) >= maxInFlight {
		w.report.Lost++
		w.tracef("%s from r%d to r%d is lost", m.what, m.from, m.to)
		return
	}
	w.flight = append(w.flight, m)
	if m.session == nil && w.rng.Float64() < w.cfg.Duplicates {
		w.report.Repeated++
		w.flight = append(w.flight, m)
	}
}

// deliver lets any one of the messages under way arrive.
func (w *world) deliver() error {
	if len(w.flight) == 0 {
		return nil
	}
	i := w.rng.IntN(len(w.flight))
	m := w.flight[i]
	w.flight = slices.Delete(w.flight, i, i+1)
	to := w.replicas[m.to]
	if to.down || w.side[m.from] != w.side[m.to] {
		w.report.Lost++
		w.tracef("%s from r%d does not reach r%d", m.what, m.from, m.to)
		return nil
	}
	w.tracef("%s from r%d arrives at r%d", m.what, m.from, m.to)
	if m.session != nil {
		return m.deliver()
	}
	return w.hear(to, m)
}

// hear takes gossip: what is new goes on to the other neighbours at once, as
// gossip does before anyone knows whether its links are here.
func (w *world) hear(r *replica, m message) error {
	var fresh []*types.Event
	for _, e := range m.gossip {
		if !r.heard[e.CID] {
			r.heard[e.CID] = true
			fresh = append(fresh, e)
		}
	}
	if len(fresh) > 0 {
		w.spread(r, fresh, m.from)
	}
	_, err := w.receive(r, clock.Source{Peer: peerOf(m.from)}, m.gossip)
	return err
}

// announce publishes own events, together or one by one.
func (w *world) announce(r *replica, events []*types.Event) {
	for _, e := range events {
		r.heard[e.CID] = true
	}
	if w.rng.IntN(2) == 0 {
		w.spread(r, events, r.id)
		return
	}
	for i := range events {
		w.spread(r, events[i:i+1], r.id)
	}
}

// spread sends gossip to the neighbours of r but the one that it came from.
func (w *world) spread(r *replica, events []*types.Event, from int) {
	for _, n := range w.neighbours[r.id] {
		if n != from {
			w.send(message{from: r.id, to: n, gossip: events, what: "gossip of " + w.nameEvents(events)})
		}
	}
}

// fetch answers a clock that misses something: single parents from the sender,
// or a sync with it.
func (w *world) fetch(r *replica) {
	server := slices.IndexFunc(w.replicas, func(s *replica) bool { return s.peer() == r.asked })
	if server < 0 || server == r.id {
		return
	}
	missing := r.clock.Missing(8)
	if len(missing) == 0 || w.rng.IntN(2) == 0 {
		w.startSync(r, w.replicas[server])
		return
	}
	w.fetchEvents(r, w.replicas[server], missing)
}

// fetchEvents asks for single events, without a session: the answer brings
// those that are there, in the order asked, which need not be causal.
func (w *world) fetchEvents(r, server *replica, ids []cid.Cid) {
	s := &session{client: r, server: server, clientLife: r.life}
	w.send(message{from: r.id, to: server.id, session: s, what: "request for events", deliver: func() error {
		events := server.find(ids)
		w.send(message{from: server.id, to: r.id, session: s, what: "answer of " + w.nameEvents(events), deliver: func() error {
			if r.life != s.clientLife {
				return nil
			}
			_, err := w.receive(r, clock.Source{Peer: server.peer(), Sync: true}, events)
			return err
		}})
		return nil
	}})
}

// find returns those of ids that are integrated, in their order.
func (r *replica) find(ids []cid.Cid) []*types.Event {
	var found []*types.Event
	for _, id := range ids {
		if i := slices.IndexFunc(r.disk.log, func(e *types.Event) bool { return e.CID == id }); i >= 0 {
			found = append(found, r.disk.log[i])
		}
	}
	return found
}
