package syncer

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"

	"github.com/ipfs/go-cid"

	"github.com/cairn-p2p/cairn/syncer/pb"
	"github.com/cairn-p2p/cairn/types"
)

// fetchAncestors fetches what the peer's heads want have among their ancestors
// and this node has not. It reports false if the peer says to pull instead.
// After true, the heads are integrated. The peer's log has theirs events.
func (s *Syncer) fetchAncestors(c *client, r *replica, own Heads, theirs uint64, want []cid.Cid) (bool, error) {
	stops, err := s.stops(c, r, own, theirs)
	if err != nil {
		return false, err
	}
	var before []cid.Cid // wants that are integrated now
	for wants := range slices.Chunk(want, maxWants) {
		tell := slices.Concat(before, stops)
		a := &climber{s: s, c: c, ask: ancestorsRequest{topic: r.topic.id, wants: wants, stops: tell[:min(len(tell), maxStops)]}}
		a.line = newPipeline(s, r, true)
		if err := s.feed(c, r, a.line, a.run); err != nil || a.usePull {
			return false, err
		}
		before = wants
	}
	missing, err := s.local.Missing(r.topic.id, want)
	if err != nil {
		return false, fmt.Errorf("look for heads: %w", err)
	}
	if len(missing) > 0 {
		return false, errUnproven
	}
	return true, nil
}

// stops returns events integrated here that tell the peer what not to send, the
// most telling first: own heads that the peer has, the heads last shared with
// it, and own events that it has, the last first. The peer's log has theirs
// events.
func (s *Syncer) stops(c *client, r *replica, own Heads, theirs uint64) ([]cid.Cid, error) {
	topic := r.topic.id
	shared := s.positions.sharedWith(topic, r.peer.id)
	heads := make([]cid.Cid, 0, maxStops)
	for _, h := range slices.SortedFunc(slices.Values(own.Heads), func(a, b types.Head) int { return cmp.Compare(b.Height, a.Height) }) {
		if len(heads) < maxStops {
			heads = append(heads, h.CID)
		}
	}
	numbers := skipNumbers(own.Events)
	back, err := s.at(topic, numbers)
	if err != nil {
		return nil, err
	}
	asked := slices.Concat(heads[:min(len(heads), maxStops-len(back))], back)
	if len(asked) == 0 {
		return nil, nil
	}
	held, err := c.held(topic, asked)
	if isRemote(err, pb.Error_CODE_UNSUPPORTED) { // an earlier release
		return slices.Concat(shared, back, heads), nil
	}
	if err != nil {
		return nil, err
	}
	first := len(asked) - len(back) // of the skips
	if !slices.Contains(held[:first], false) {
		return heads, nil // this node has nothing that the peer has not
	}
	stops := slices.Concat(only(asked[:first], held), shared)
	last, err := s.narrow(c, topic, own.Events, theirs, numbers, held[first:])
	if err != nil {
		return nil, err
	}
	return slices.Concat(stops, last, only(back, held[first:])), nil
}

// narrow looks for the end of what the peer has of this node's log, of events
// entries, between the first of numbers that the peer has and the one before.
// It returns the events found that the peer has, the last first.
func (s *Syncer) narrow(c *client, topic types.TopicID, events, theirs uint64, numbers []uint64, held []bool) ([]cid.Cid, error) {
	var stops []cid.Cid
	low, high := border(numbers, held, 0, events)
	for range maxNarrow {
		gap := theirs - min(theirs, high) // what is missing here, if all up to high is shared
		if high-low <= 1 || (high-low)*narrowTo <= gap {
			break
		}
		numbers := between(low, high)
		asked, err := s.at(topic, numbers)
		if err != nil {
			return nil, err
		}
		held, err := c.held(topic, asked)
		if err != nil {
			return nil, err
		}
		stops = slices.Concat(only(asked, held), stops)
		low, high = border(numbers, held, low, high)
	}
	return stops, nil
}

// border returns the first of descending numbers that is held, and the one
// before it; low and high where there is none.
func border(numbers []uint64, held []bool, low, high uint64) (uint64, uint64) {
	for i, number := range numbers {
		if held[i] {
			return number, high
		}
		high = number
	}
	return low, high
}

// between returns up to maxStops places in a log between two others, evenly
// spaced and descending.
func between(low, high uint64) []uint64 {
	n := min(high-low-1, maxStops)
	numbers := make([]uint64, 0, n)
	for i := n; i > 0; i-- {
		numbers = append(numbers, low+(high-low)*i/(n+1))
	}
	return numbers
}

// only returns those of cids whose bool is set.
func only(cids []cid.Cid, set []bool) []cid.Cid {
	var kept []cid.Cid
	for i, c := range cids {
		if set[i] {
			kept = append(kept, c)
		}
	}
	return kept
}

func (s *Syncer) at(topic types.TopicID, numbers []uint64) ([]cid.Cid, error) {
	cids, err := s.local.At(topic, numbers)
	if err != nil {
		return nil, fmt.Errorf("read own log: %w", err)
	}
	return cids, nil
}

// skipNumbers returns up to skips places in a log of so many events, at
// distances from its end that grow by one factor from skipFirst on. Of what two
// replicas share, no more than that factor times what came since lies behind
// the first of them that is shared.
func skipNumbers(events uint64) []uint64 {
	factor := max(math.Pow(float64(events)/skipFirst, 1.0/(skips-1)), 1.1)
	numbers := make([]uint64, 0, skips)
	for at := float64(skipFirst); at < float64(events) && len(numbers) < skips; at *= factor {
		numbers = append(numbers, events-uint64(at))
	}
	return numbers
}

// climber reads an answer to Ancestors into a pipeline.
type climber struct {
	s    *Syncer
	c    *client
	ask  ancestorsRequest
	line *pipeline

	events  int  // read so far
	bytes   int  // their size
	usePull bool // the peer says so
}

// run is the first stage of the pipeline.
func (a *climber) run(ctx context.Context) error {
	if err := a.c.send(a.ask.message()); err != nil {
		return err
	}
	for {
		m, err := a.c.next()
		if isRemote(err, pb.Error_CODE_UNSUPPORTED) && a.events == 0 { // an earlier release
			a.usePull = true
			return a.line.flush(ctx)
		}
		if err != nil {
			return err
		}
		page := m.GetAncestors()
		if page == nil {
			return offencef("answer to Ancestors is of another kind")
		}
		if page.GetUsePull() {
			if a.events > 0 || len(page.GetEvents()) > 0 || m.GetMore() {
				return offencef("answer to Ancestors has events and says to pull")
			}
			a.usePull = true
			return a.line.flush(ctx)
		}
		if err := a.take(ctx, page); err != nil {
			return err
		}
		if !m.GetMore() {
			return a.line.flush(ctx)
		}
	}
}

// take hands a frame's events to the pipeline, but for those integrated here.
func (a *climber) take(ctx context.Context, page *pb.AncestorsAnswer) error {
	list := page.GetEvents()
	if len(list) == 0 || len(list) > maxPageEvents {
		return offencef("frame of %d ancestors", len(list))
	}
	if a.events += len(list); a.events > visitBudget {
		return offencef("more than %d ancestors", visitBudget)
	}
	events, err := parseEvents(list, page.GetBatches(), a.ask.topic)
	if err != nil {
		return err
	}
	for _, e := range events {
		a.bytes += e.Size()
	}
	if a.bytes > visitBytes { // a server says to pull before it sends so much
		return offencef("ancestors of more than %d bytes", visitBytes)
	}
	missing, err := a.s.missingOf(a.ask.topic, events)
	if err != nil {
		return err
	}
	for _, e := range missing {
		if err := a.line.add(ctx, e); err != nil {
			return err
		}
	}
	return nil
}
