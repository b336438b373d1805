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
// After true, the heads are integrated.
func (s *Syncer) fetchAncestors(c *client, r *replica, own Heads, want []cid.Cid) (bool, error) {
	stops, err := s.stops(r, own)
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
// most telling first: the heads last shared with it, own events further and
// further back, and the highest own heads.
func (s *Syncer) stops(r *replica, own Heads) ([]cid.Cid, error) {
	stops := slices.Clone(s.positions.sharedWith(r.topic.id, r.peer.id))
	back, err := s.local.At(r.topic.id, skipNumbers(own.Events))
	if err != nil {
		return nil, fmt.Errorf("read own log: %w", err)
	}
	stops = append(stops, back...)
	heads := slices.SortedFunc(slices.Values(own.Heads), func(a, b types.Head) int { return cmp.Compare(b.Height, a.Height) })
	for _, h := range heads[:min(len(heads), maxStops-len(stops))] {
		stops = append(stops, h.CID)
	}
	return stops, nil
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
