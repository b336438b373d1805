package badger

import (
	"fmt"
	"slices"

	"github.com/ipfs/go-cid"

	"github.com/cairn-p2p/cairn/types"
)

// Commit makes a batch durable together with those of other callers. It blocks
// until then. After types.ErrConflict, types.ErrDiskFull, types.ErrNotFound,
// types.ErrInvalidArgument or types.ErrClosed nothing of it has been stored;
// after types.ErrStore all, none, or the front of an uncommonly large batch may
// have been, and the caller loads the topic again. The store keeps nothing of
// the batch.
func (s *Store) Commit(b *types.Batch) error {
	if err := checkBatch(b); err != nil {
		return fmt.Errorf("commit: %w", err)
	}
	eng, err := s.acquire()
	if err != nil {
		return fmt.Errorf("commit to %s: %w", b.Topic, err)
	}
	maxBytes, maxCount := eng.limits()
	s.mu.RUnlock()
	if err := s.disk.check(); err != nil {
		return fmt.Errorf("commit to %s: %w", b.Topic, err)
	}
	for i, part := range split(b, maxBytes, maxCount) {
		var from, end logState
		runs := cutRuns(part.Events)
		err := s.submit(func(t tx) (writes []write, err error) {
			writes, from, end, err = s.prepareBatch(t, part, runs)
			return writes, err
		})
		if err != nil && i > 0 {
			err = fmt.Errorf("%w: part %d: %w", types.ErrStore, i+1, err)
		}
		if err != nil {
			return fmt.Errorf("commit events from %d to %s: %w", part.First, b.Topic, err)
		}
		s.heads.move(part, from, end)
	}
	return nil
}

// checkBatch refuses a batch whose events are of another topic or that has
// none.
func checkBatch(b *types.Batch) error {
	if len(b.Events) == 0 {
		return fmt.Errorf("%w: batch without events", types.ErrInvalidArgument)
	}
	for _, e := range b.Events {
		if e.Topic != b.Topic {
			return fmt.Errorf("%w: event %s of topic %s in a batch for %s", types.ErrInvalidArgument, e.CID, e.Topic, b.Topic)
		}
	}
	return nil
}

// prepareBatch returns the writes that append b to its topic's log, in runs, and
// where the log ended before and ends behind it.
func (s *Store) prepareBatch(t tx, b *types.Batch, runs []run) (writes []write, from, state logState, err error) {
	no, from, err := findLog(t.get, b.Topic)
	if err != nil {
		return nil, from, from, err
	}
	state = from
	if b.First != state.count+1 {
		return nil, from, state, fmt.Errorf("%w: it begins with event %d, the log ends with %d", types.ErrConflict, b.First, state.count)
	}
	writes = make([]write, 0, 4*len(b.Events)+len(b.AddHeads)+len(b.DropHeads)+2)
	for _, r := range runs {
		writes, state = appendRun(writes, no, state, r)
	}
	writes = append(writes, write{key: topicKey(kindState, no, 0), value: state.encode()})
	for _, c := range b.DropHeads {
		writes = append(writes, write{key: headKey(no, types.Digest(c)), remove: true})
	}
	for _, h := range b.AddHeads {
		writes = append(writes, write{key: headKey(no, types.Digest(h.CID)), value: uvarints(h.Height)})
	}
	writes, err = appendTips(t, writes, no, b.Events)
	return writes, from, state, err
}

// appendRun appends the record of a run and its events' indexes, and returns the
// state of the log behind it, which was state before.
func appendRun(writes []write, no topicNo, state logState, r run) ([]write, logState) {
	last := state.count + uint64(len(r.events))
	at := make([]types.Cursor, len(r.events))
	for i, e := range r.events {
		state = logState{count: state.count + 1, hash: state.hash.Next(e.CID)}
		at[i] = state.hash.Cursor(state.count)
		writes = appendIndexes(writes, no, spot{state.count, last - state.count}, e)
	}
	return append(writes, write{key: logKey(no, last), value: r.encode(at)}), state
}

// appendIndexes appends what points to an event in the log.
func appendIndexes(writes []write, no topicNo, at spot, e *types.Event) []write {
	pos := position{height: e.Height, digest: types.Digest(e.CID)}
	value := at.encode()
	writes = append(writes,
		write{key: digestKey(kindEvent, pos.digest), value: place{no, e.Height, at}.encode()},
		write{key: canonicalKey(no, pos), value: value},
		write{key: timeKey(no, e.Time, pos), value: value},
	)
	for _, tag := range e.Tags {
		writes = append(writes, write{key: tagKey(no, tag, pos), value: value})
	}
	return writes
}

// appendTips appends the tips that events move: of two events with one seq the
// first stays.
func appendTips(t tx, writes []write, no topicNo, events []*types.Event) ([]write, error) {
	latest := map[types.Publisher]*types.Event{}
	for _, e := range events {
		if had := latest[e.Publisher]; had == nil || e.Seq > had.Seq {
			latest[e.Publisher] = e
		}
	}
	for p, e := range latest {
		had, err := readTip(t.get, no, p)
		if err != nil {
			return nil, err
		}
		if e.Seq > had.Seq {
			tip := types.Tip{CID: e.CID, Seq: e.Seq, Height: e.Height}
			writes = append(writes, write{key: tipKey(no, p), value: encodeTip(tip)})
		}
	}
	return writes, nil
}

// Bounds on the size of a write without the tag or the event in it.
const (
	topicCost = 1 + 9 // kind and topic number
	eventCost = 4*(topicCost+writeOverhead) + 8 + 8 + 2*positionSize + digestSize + 4*30 + tipCost
	tagCost   = topicCost + 1 + positionSize + 11 + writeOverhead
	headCost  = topicCost + digestSize + 10 + writeOverhead
	tipCost   = topicCost + 2*digestSize + 20 + writeOverhead
)

// cost bounds what an event adds to a transaction beside heads.
func cost(e *types.Event) (bytes, count int) {
	bytes = eventCost + e.Size()
	for _, tag := range e.Tags {
		bytes += tagCost + len(tag)
	}
	return bytes, 5 + len(e.Tags) // record, CID, canonical, time, tip
}

// split returns b, or parts of it that each fit a transaction: a batch within
// types.MaxBatchSize can take more when its events are tiny and full of tags.
// Every part leaves a valid topic, with the heads of the events so far.
func split(b *types.Batch, maxBytes, maxCount int) []*types.Batch {
	heads := len(b.AddHeads) + len(b.DropHeads)
	bytes, count := heads*headCost, heads
	for _, e := range b.Events {
		size, n := cost(e)
		bytes, count = bytes+size, count+n
	}
	if bytes <= maxBytes && count <= maxCount {
		return []*types.Batch{b}
	}
	var parts []*types.Batch
	var extra []cid.Cid // heads of earlier parts, to be dropped by the last
	from := 0
	bytes, count = heads*headCost, heads // in each part, for any may be the last
	for i, e := range b.Events {
		size, n := cost(e)
		changed := 1 + len(e.Links)
		size, n = size+changed*headCost, n+changed
		if i > from && (bytes+size > maxBytes || count+n > maxCount) {
			part := derive(b, from, i)
			parts = append(parts, part)
			for _, h := range part.AddHeads {
				extra = append(extra, h.CID)
			}
			from, bytes, count = i, (heads+len(extra))*headCost, heads+len(extra)
		}
		bytes, count = bytes+size, count+n
	}
	last := *b
	last.First += uint64(from)
	last.Events = b.Events[from:]
	last.DropHeads = append(slices.Clone(b.DropHeads), extra...)
	return append(parts, &last)
}

// derive is the batch of the events from up to to, with heads by the rule: an
// event's links stop being heads and it becomes one.
func derive(b *types.Batch, from, to int) *types.Batch {
	part := &types.Batch{Topic: b.Topic, First: b.First + uint64(from), Events: b.Events[from:to]}
	linked := map[cid.Cid]bool{}
	for _, e := range part.Events {
		for _, l := range e.Links {
			if !linked[l] {
				linked[l] = true
				part.DropHeads = append(part.DropHeads, l)
			}
		}
	}
	for _, e := range part.Events {
		if !linked[e.CID] {
			part.AddHeads = append(part.AddHeads, types.Head{CID: e.CID, Height: e.Height})
		}
	}
	return part
}
