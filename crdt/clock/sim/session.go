package sim

import (
	"fmt"

	"github.com/ipfs/go-cid"

	"github.com/cairn-p2p/cairn/crdt/clock"
	"github.com/cairn-p2p/cairn/types"
)

// patience is the number of steps after which a session that does not end is
// given up: one of its messages was lost.
const patience = 40

// session is one honest sync: the client asks for the server's heads, and when
// it lacks one pulls the server's log, as events or as the events missing among
// its CIDs, up to the end that it had at the start.
type session struct {
	client, server         *replica
	clientLife, serverLife int
	since                  int // the step at which it began
	end                    int // length of the server's log at the start
	at                     int // position reached
	byCID                  bool
	want                   []cid.Cid // by CID: what is missing, oldest first
}

// startSync begins a session unless one is under way.
func (w *world) startSync(client, server *replica) {
	if s := client.session; s != nil && w.step-s.since < patience {
		return
	}
	s := &session{client: client, server: server, clientLife: client.life, since: w.step, byCID: w.rng.IntN(2) == 0}
	client.session = s
	w.report.Syncs++
	w.ask(s, "request for heads", func() error {
		s.serverLife, s.end = server.life, len(server.disk.log)
		heads := server.disk.headList()
		w.answer(s, "answer of heads", func() error { return w.heads(s, heads) })
		return nil
	})
}

// broken reports whether one side has restarted or the client has moved on.
func (s *session) broken() bool {
	return s.client.session != s || s.client.life != s.clientLife || s.serverLife != 0 && s.server.life != s.serverLife
}

func (w *world) ask(s *session, what string, then func() error) {
	w.send(message{from: s.client.id, to: s.server.id, session: s, what: what, deliver: s.unlessBroken(then)})
}

func (w *world) answer(s *session, what string, then func() error) {
	w.send(message{from: s.server.id, to: s.client.id, session: s, what: what, deliver: s.unlessBroken(then)})
}

func (s *session) unlessBroken(then func() error) func() error {
	return func() error {
		if s.broken() {
			return nil
		}
		return then()
	}
}

// heads compares the server's heads with what the client holds.
func (w *world) heads(s *session, heads []types.Head) error {
	lacks := false
	for _, h := range heads {
		lacks = lacks || !s.client.disk.has(h.CID)
	}
	switch {
	case !lacks:
		return w.finish(s)
	case !s.byCID:
		s.at = s.client.pulled[s.server.id]
		if s.client.resumes[s.server.id] && s.at < s.end {
			w.report.Resumed++
		}
		delete(s.client.resumes, s.server.id)
		return w.pull(s)
	}
	w.ask(s, "request for CIDs", func() error {
		log := s.server.disk.log[:s.end]
		w.answer(s, "answer of CIDs", func() error {
			for _, e := range log {
				if !s.client.disk.has(e.CID) {
					s.want = append(s.want, e.CID)
				}
			}
			return w.pull(s)
		})
		return nil
	})
	return nil
}

// pull asks for the next events, until there are none.
func (w *world) pull(s *session) error {
	if s.byCID && s.at >= len(s.want) || !s.byCID && s.at >= s.end {
		return w.finish(s)
	}
	w.ask(s, "request for more", func() error {
		events, next := s.serve(1 + w.rng.IntN(40))
		events = w.transfer(events)
		w.answer(s, "answer of "+w.nameEvents(events), func() error { return w.pulled(s, events, next) })
		return nil
	})
	return nil
}

// serve returns up to n events from the position on, and the next position.
func (s *session) serve(n int) ([]*types.Event, int) {
	if s.byCID {
		next := min(s.at+n, len(s.want))
		return s.server.find(s.want[s.at:next]), next
	}
	next := min(s.at+n, s.end)
	return s.server.disk.log[s.at:next], next
}

// pulled integrates an answer. What comes in the order of a log is never
// refused: not even when gossip integrated some of it meanwhile.
func (w *world) pulled(s *session, events []*types.Event, next int) error {
	refused, err := w.receive(s.client, clock.Source{Peer: s.server.peer(), Sync: true}, events)
	if err != nil {
		return err
	}
	if len(refused) > 0 {
		return fmt.Errorf("r%d refuses %s from r%d's log: %w", s.client.id, w.name(refused[0].CID), s.server.id, refused[0].Err)
	}
	if err := w.flush(s.client); err != nil || s.broken() {
		return err
	}
	s.at = next
	if !s.byCID {
		s.client.pulled[s.server.id] = next
		if w.rng.IntN(2) == 0 { // now and then, as it costs an fsync
			s.client.saved[s.server.id] = next
		}
	}
	return w.pull(s)
}

// finish ends a session: the client now holds all that the server held at its
// start. Convergence rests on this.
func (w *world) finish(s *session) error {
	s.client.session = nil
	s.client.synced = true
	w.report.SyncsFinished++
	for _, e := range s.server.disk.log[:s.end] {
		if !s.client.disk.has(e.CID) {
			return fmt.Errorf("r%d finished a sync with r%d without %s", s.client.id, s.server.id, w.name(e.CID))
		}
	}
	return nil
}

// honestSync runs a whole session at once, over a network without faults.
func (w *world) honestSync(client, server *replica) error {
	client.session = nil
	w.startSync(client, server)
	for client.session != nil {
		if err := w.deliver(); err != nil {
			return err
		}
	}
	return nil
}
