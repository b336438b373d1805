package sim

import (
	"fmt"
	"slices"

	"github.com/ipfs/go-cid"

	"github.com/cairn-p2p/cairn/types"
)

// compare holds two replicas to the rule that makes a heads hash enough: equal
// heads if and only if equal events.
func (w *world) compare() error { return w.compareDisks(w.anyone(), w.anyone()) }

func (w *world) compareDisks(a, b *replica) error {
	heads := slices.Equal(a.disk.headList(), b.disk.headList())
	if events := a.disk.equal(b.disk); heads != events {
		return fmt.Errorf("r%d and r%d: equal heads %t, equal events %t", a.id, b.id, heads, events)
	}
	return nil
}

// verify checks, after the healing, what was promised of the whole run. That
// each log is topological, has no event twice and sinks for heads was checked
// at each commit.
func (w *world) verify() error {
	first := w.replicas[0]
	w.report.Events = len(first.disk.log)
	w.report.Acked = len(w.acked)
	for _, r := range w.replicas {
		if !first.disk.equal(r.disk) {
			return fmt.Errorf("r0 has %d events and r%d other ones, %d", len(first.disk.log), r.id, len(r.disk.log))
		}
		if err := w.compareDisks(first, r); err != nil {
			return err
		}
		if err := r.check(); err != nil {
			return err
		}
		if err := w.proveAll(r.disk); err != nil {
			return fmt.Errorf("r%d: %w", r.id, err)
		}
		for _, e := range w.acked {
			if !r.disk.has(e.CID) {
				return fmt.Errorf("r%d lacks %s, whose append was acknowledged", r.id, w.name(e.CID))
			}
		}
		for _, e := range w.forged {
			if r.disk.has(e.CID) {
				return fmt.Errorf("r%d has %s", r.id, w.name(e.CID))
			}
		}
	}
	if err := w.verifyOrder(first.disk.log); err != nil {
		return err
	}
	return w.verifyAfter(first.disk)
}

// verifyOrder checks that no publisher used a seq twice, and that each event
// comes behind its publisher's previous one. Who was restored may have done
// otherwise, but comes behind lower seqs only.
func (w *world) verifyOrder(log []*types.Event) error {
	restored := map[types.Publisher]bool{}
	for _, r := range w.replicas {
		restored[r.self] = r.restored
	}
	type place struct {
		publisher types.Publisher
		seq       uint64
	}
	used := map[place]cid.Cid{}
	for _, e := range log {
		at := place{e.Publisher, e.Seq}
		if other, ok := used[at]; ok && !restored[e.Publisher] {
			return fmt.Errorf("events %s and %s have the same publisher and seq %d", other, e.CID, e.Seq)
		}
		used[at] = e.CID
	}
	// behind holds for each event its publisher's greatest seq up to it.
	behind := map[cid.Cid]map[types.Publisher]uint64{}
	for _, e := range log {
		seqs := map[types.Publisher]uint64{}
		for _, l := range e.Links {
			for p, seq := range behind[l] {
				seqs[p] = max(seqs[p], seq)
			}
		}
		if last := seqs[e.Publisher]; last >= e.Seq || last != e.Seq-1 && !restored[e.Publisher] {
			return fmt.Errorf("event %s with seq %d comes behind seq %d", e.CID, e.Seq, seqs[e.Publisher])
		}
		seqs[e.Publisher] = e.Seq
		behind[e.CID] = seqs
	}
	return nil
}

// verifyAfter checks that events come behind those that their appends named.
func (w *world) verifyAfter(d *disk) error {
	links := map[cid.Cid][]cid.Cid{}
	for _, e := range d.log {
		links[e.CID] = e.Links
	}
	for _, a := range w.afters {
		if !d.has(a.later.CID) { // it was never committed
			continue
		}
		if !reaches(links, a.later.CID, a.earlier) {
			return fmt.Errorf("%s does not come after %s", w.name(a.later.CID), w.name(a.earlier))
		}
	}
	return nil
}

// reaches reports whether the links from one event lead to another.
func reaches(links map[cid.Cid][]cid.Cid, from, to cid.Cid) bool {
	seen := map[cid.Cid]bool{}
	for queue := []cid.Cid{from}; len(queue) > 0; queue = queue[1:] {
		for _, l := range links[queue[0]] {
			if l == to {
				return true
			}
			if !seen[l] {
				seen[l] = true
				queue = append(queue, l)
			}
		}
	}
	return false
}
