package clock_test

import (
	"fmt"
	"slices"
	"strings"

	"github.com/ipfs/go-cid"

	"github.com/cairn-p2p/cairn/crdt/clock"
	"github.com/cairn-p2p/cairn/types"
)

// act does what a sentence says.
func (st *stage) act(subject, verb string, args arguments) error {
	switch verb {
	case "are":
		st.limits.PendingSize = args.number("pending", st.limits.PendingSize)
		st.limits.NeighbourSize = args.number("neighbour", st.limits.NeighbourSize)
		st.limits.PublisherSize = args.number("publisher", st.limits.PublisherSize)
		st.limits.PendingTicks = args.number("ticks", st.limits.PendingTicks)
		st.limits.Invalid = args.number("invalid", st.limits.Invalid)
		return nil
	case "starts":
		r := &actor{name: subject, store: newLedger(st.topic)}
		r.clock = clock.New(st.topic, key(subject), r.store.state(key(subject)), st.limits)
		st.actors[subject] = r
		return nil
	case "signs":
		return st.sign(subject, args)
	case "links":
		e, ok := st.events[subject]
		if !ok {
			return fmt.Errorf("there is no event %s", subject)
		}
		st.say("%s has height %d and links (%d) to %s", subject, e.Height, len(e.Links), st.list(e.Links))
		return nil
	}
	r := st.actors[subject]
	if r == nil {
		return fmt.Errorf("there is no replica %s", subject)
	}
	if verb == "equals" {
		return st.compare(r, args.names)
	}
	if err := st.actAs(r, verb, args); err != nil {
		return err
	}
	return st.obey(r)
}

// actAs gives one input to a replica's clock.
func (st *stage) actAs(r *actor, verb string, args arguments) error {
	switch verb {
	case "appends":
		return st.append(r, args)
	case "hears", "fetches":
		events, err := st.find(args.names)
		if err != nil {
			return err
		}
		st.receive(r, clock.Source{Peer: types.PeerID(args.word("from")), Sync: verb == "fetches"}, events)
	case "pulls":
		from := args.word("from")
		st.receive(r, clock.Source{Peer: types.PeerID(from), Sync: true}, st.actors[from].store.log)
	case "ticks":
		for range args.number("times", 1) {
			r.clock.Tick()
		}
	case "evicts":
		var size int
		if _, err := fmt.Sscan(args.names[0], &size); err != nil {
			return err
		}
		r.clock.Evict(size)
	case "crashes":
		st.load(r)
	case "restores":
		var n int
		if _, err := fmt.Sscan(args.names[0], &n); err != nil {
			return err
		}
		r.store = r.store.rollBack(n)
		st.load(r)
	case "resumes":
		r.clock.Resume()
	case "holds":
		r.store.foreign[types.SumCID([]byte(args.names[0]))] = true
	default:
		return fmt.Errorf("nobody knows how to do that")
	}
	return nil
}

func (st *stage) load(r *actor) {
	r.clock = clock.New(st.topic, key(r.name), r.store.state(key(r.name)), st.limits)
}

func (st *stage) receive(r *actor, src clock.Source, events []*types.Event) {
	for _, f := range r.clock.Receive(src, events, r.store.known(events)) {
		st.say("refuses %s: %s", st.called(f.CID), st.inWords(f.Err))
	}
}

func (st *stage) append(r *actor, args arguments) error {
	named, err := st.find(args.options["after"])
	if err != nil {
		return err
	}
	var after []types.Head
	for _, e := range named {
		after = append(after, types.Head{CID: e.CID, Height: e.Height})
	}
	for _, name := range args.names {
		payload := append([]byte(name), make([]byte, args.number("size", 0))...)
		e, err := r.clock.Append(st.now, clock.Draft{Payload: payload, After: after})
		if err != nil {
			st.say("cannot append: %s", st.inWords(err))
			continue
		}
		st.introduce(name, e)
	}
	return nil
}

// sign makes events as a node may that follows no rules but those of a body.
func (st *stage) sign(publisher string, args arguments) error {
	on, err := st.find(args.options["on"])
	if err != nil {
		return err
	}
	for i, name := range args.names {
		body := types.Body{Topic: st.topic, Publisher: key(publisher), Seq: uint64(args.number("seq", 1) + i), Time: st.now}
		body.Payload = append([]byte(name), make([]byte, args.number("size", 0))...)
		for _, e := range on {
			body.Links = append(body.Links, e.CID)
			body.Height = max(body.Height, e.Height)
		}
		for n := range args.number("dangling", 0) {
			ghost := types.SumCID(fmt.Append(nil, name, n))
			st.names[ghost.String()] = fmt.Sprintf("%s-ghost%d", name, n+1)
			body.Links = append(body.Links, ghost)
			body.Height = max(body.Height, 1)
		}
		if elsewhere := args.word("in"); elsewhere != "" {
			ghost := types.SumCID([]byte(elsewhere))
			st.names[ghost.String()] = elsewhere
			body.Links = append(body.Links, ghost)
			body.Height = max(body.Height, 1)
		}
		types.SortCIDs(body.Links)
		body.Height = uint64(args.number("height", int(body.Height)+1))
		e, err := types.NewEvent(body)
		if err != nil {
			return err
		}
		e.Witness = []byte("signed")
		st.introduce(name, e)
	}
	return nil
}

func (st *stage) introduce(name string, e *types.Event) {
	st.events[name] = e
	st.names[e.CID.String()] = name
}

func (st *stage) find(names []string) ([]*types.Event, error) {
	var events []*types.Event
	for _, name := range names {
		e, ok := st.events[name]
		if !ok {
			return nil, fmt.Errorf("there is no event %s", name)
		}
		events = append(events, e)
	}
	return events, nil
}

// obey takes the effects, obeys them, and says what they were and where the
// replica stands.
func (st *stage) obey(r *actor) error {
	out := r.clock.Take()
	for _, b := range out.Store {
		if err := r.store.commit(b); err != nil {
			return fmt.Errorf("%s commits: %w", r.name, err)
		}
		st.say("stores %d: %s%s", b.First, st.inOrder(b.Events), st.headChange(b))
	}
	if len(out.Announce) > 0 {
		st.say("announces %s", st.inOrder(out.Announce))
	}
	if out.Sync {
		st.say("asks for a sync")
	}
	if out.Dropped > 0 {
		st.say("lets %d pending go", out.Dropped)
	}
	if out.Deliver > 0 {
		st.say("delivers %d", out.Deliver)
	}
	if !slices.Equal(r.clock.Heads(), r.store.headList()) {
		return fmt.Errorf("the clock of %s has other heads than its store", r.name)
	}
	var heads []cid.Cid
	for _, h := range r.clock.Heads() {
		heads = append(heads, h.CID)
	}
	st.say("%s: events %d, heads %s", r.name, r.clock.Events(), st.list(heads))
	if n, _ := r.clock.Pending(); n > 0 {
		missing := r.clock.Missing(1000)
		if len(missing) < 100 {
			st.say("%s: pending %d, missing %s", r.name, n, st.list(missing))
		} else {
			st.say("%s: pending %d, missing %d links", r.name, n, len(missing))
		}
	}
	if err := r.clock.OwnErr(); err != nil {
		st.say("%s may not append: %s", r.name, st.inWords(err))
	}
	return nil
}

func (st *stage) inOrder(events []*types.Event) string {
	var names []string
	for _, e := range events {
		names = append(names, st.called(e.CID))
	}
	return collapse(names)
}

func (st *stage) headChange(b *types.Batch) string {
	var add []cid.Cid
	for _, h := range b.AddHeads {
		add = append(add, h.CID)
	}
	var change strings.Builder
	for _, part := range []struct {
		what string
		ids  []cid.Cid
	}{{"heads more", add}, {"heads less", b.DropHeads}} {
		if len(part.ids) > 0 {
			fmt.Fprintf(&change, "; %s: %s", part.what, st.list(part.ids))
		}
	}
	return change.String()
}

// compare says whether replicas have equal events and equal heads.
func (st *stage) compare(r *actor, names []string) error {
	for _, name := range names {
		other := st.actors[name]
		if other == nil {
			return fmt.Errorf("there is no replica %s", name)
		}
		events := len(r.store.log) == len(other.store.log)
		for _, e := range r.store.log {
			events = events && other.store.heights[e.CID] != 0
		}
		heads := slices.Equal(r.clock.Heads(), other.clock.Heads())
		st.say("%s and %s: equal events %t, equal heads %t", r.name, name, events, heads)
	}
	return nil
}
