package storetest

import (
	"bytes"
	"iter"
	"slices"
	"testing"

	"github.com/ipfs/go-cid"

	"github.com/cairn-p2p/cairn/types"
)

// CheckInvariants reports an error for everything in the store that contradicts
// itself: in each topic the heads are the DAG's sinks, every link is integrated
// and earlier in the log, count, running hashes and tips are right, and each
// index agrees with the log.
func CheckInvariants(t testing.TB, s Store) {
	t.Helper()
	for info, err := range s.Topics() {
		if err != nil {
			t.Errorf("topics: %v", err)
			return
		}
		c := &checker{TB: t, store: s, info: info, topic: info.Genesis.ID()}
		if c.readLog() {
			c.checkHeads()
			c.checkState()
			c.checkLookups()
			c.checkQueries()
		}
	}
}

// checker checks one topic.
type checker struct {
	testing.TB
	store Store
	info  types.TopicInfo
	topic types.TopicID

	log    []*types.Event
	end    types.Cursor
	number map[cid.Cid]int // of log
}

// readLog reads the whole log and checks it entry by entry.
func (c *checker) readLog() bool {
	c.Helper()
	hash := types.StartHash(c.store.LogID(), c.topic)
	c.end = hash.Cursor(0)
	c.number = map[cid.Cid]int{}
	for entry, err := range c.store.Log(c.topic, types.Cursor{}) {
		if err != nil {
			c.Errorf("log: %v", err)
			return false
		}
		e, err := entry.Event()
		if err != nil {
			c.Errorf("log entry %d: %v", entry.Cursor.Number, err)
			return false
		}
		hash = hash.Next(e.CID)
		c.end = hash.Cursor(uint64(len(c.log) + 1))
		if entry.Cursor != c.end {
			c.Errorf("log entry %d has cursor %v, want %v", len(c.log)+1, entry.Cursor, c.end)
		}
		height := uint64(1)
		for _, l := range e.Links {
			n, ok := c.number[l]
			if !ok {
				c.Errorf("event %d links to %s, which is not before it", len(c.log)+1, l)
				return false
			}
			height = max(height, c.log[n].Height+1)
		}
		if e.Height != height || e.Topic != c.topic {
			c.Errorf("event %d has height %d and topic %s, want %d and %s", len(c.log)+1, e.Height, e.Topic, height, c.topic)
		}
		if _, ok := c.number[e.CID]; ok {
			c.Errorf("event %s is twice in the log", e.CID)
		}
		c.number[e.CID] = len(c.log)
		c.log = append(c.log, e)
	}
	return true
}

func (c *checker) checkHeads() {
	c.Helper()
	linked := map[cid.Cid]bool{}
	for _, e := range c.log {
		for _, l := range e.Links {
			linked[l] = true
		}
	}
	var sinks []types.Head
	for _, e := range c.log {
		if !linked[e.CID] {
			sinks = append(sinks, types.Head{CID: e.CID, Height: e.Height})
		}
	}
	sortHeads(sinks)
	if !slices.Equal(c.info.Heads, sinks) {
		c.Errorf("topic has heads %v, the DAG's sinks are %v", c.info.Heads, sinks)
	}
	if c.info.Events != uint64(len(c.log)) {
		c.Errorf("topic has %d events, its log %d", c.info.Events, len(c.log))
	}
}

func (c *checker) checkState() {
	c.Helper()
	tips := map[types.Publisher]types.Tip{{}: {}} // a publisher without events
	for _, e := range c.log {
		if e.Seq > tips[e.Publisher].Seq {
			tips[e.Publisher] = types.Tip{CID: e.CID, Seq: e.Seq, Height: e.Height}
		}
	}
	for p, tip := range tips {
		state, err := c.store.Load(c.topic, p)
		if err != nil {
			c.Errorf("load: %v", err)
			return
		}
		if state.Tip != tip {
			c.Errorf("tip of %s is %v, want %v", p, state.Tip, tip)
		}
		if state.Events != uint64(len(c.log)) || state.End != c.end || !slices.Equal(state.Heads, c.info.Heads) {
			c.Errorf("loaded %d events to %v with heads %v, want %d to %v with %v",
				state.Events, state.End, state.Heads, len(c.log), c.end, c.info.Heads)
		}
	}
}

func (c *checker) checkLookups() {
	c.Helper()
	var cids []cid.Cid
	for _, e := range c.log {
		cids = append(cids, e.CID)
	}
	heights, err := c.store.Heights(c.topic, cids)
	if err != nil {
		c.Errorf("heights: %v", err)
		return
	}
	events, err := c.store.Get(cids)
	if err != nil {
		c.Errorf("get: %v", err)
		return
	}
	for i, e := range c.log {
		if heights[e.CID] != e.Height {
			c.Errorf("height of event %d is %d, want %d", i+1, heights[e.CID], e.Height)
		}
		if !sameEvent(events[i], e) {
			c.Errorf("event %d got by its CID is %v, want %v", i+1, events[i], e)
		}
	}
}

// checkQueries asks for everything by each index, and by some of the tags and
// publishers.
func (c *checker) checkQueries() {
	c.Helper()
	queries := []types.Query{{}, {Reverse: true}, {Since: 500}, {Until: 500, Reverse: true}, {Since: 1, Until: 2}}
	tags, publishers := map[string]bool{}, map[types.Publisher]bool{}
	for _, e := range c.log {
		for _, tag := range e.Tags {
			if !tags[tag] && len(tags) < 6 {
				tags[tag] = true
				queries = append(queries, types.Query{Tag: tag}, types.Query{Tag: tag, Since: 300, Reverse: true})
			}
		}
		if !publishers[e.Publisher] && len(publishers) < 4 {
			publishers[e.Publisher] = true
			queries = append(queries, types.Query{Publisher: &e.Publisher})
		}
	}
	for _, q := range queries {
		checkQuery(c, c.store, c.topic, c.log, q)
	}
}

// checkQuery compares a query's answer with a selection from the log.
func checkQuery(t testing.TB, s Store, topic types.TopicID, log []*types.Event, q types.Query) {
	t.Helper()
	got, err := collect(s.Query(topic, q))
	if err != nil {
		t.Errorf("query %+v: %v", q, err)
		return
	}
	want := answer(log, q)
	if !slices.EqualFunc(got, want, sameEvent) {
		t.Errorf("query %+v: %d events, want %d, or others", q, len(got), len(want))
	}
}

// answer is what a query should yield.
func answer(log []*types.Event, q types.Query) []*types.Event {
	sorted := slices.Clone(log)
	slices.SortFunc(sorted, types.CompareEvents)
	if q.Reverse {
		slices.Reverse(sorted)
	}
	if q.After.Defined() {
		sorted = sorted[1+slices.IndexFunc(sorted, func(e *types.Event) bool { return e.CID == q.After }):]
	}
	sorted = slices.DeleteFunc(sorted, func(e *types.Event) bool {
		return e.Time < q.Since || q.Until != 0 && e.Time >= q.Until ||
			q.Tag != "" && !slices.Contains(e.Tags, q.Tag) ||
			q.Publisher != nil && e.Publisher != *q.Publisher
	})
	if q.Limit > 0 && len(sorted) > q.Limit {
		sorted = sorted[:q.Limit]
	}
	return sorted
}

func collect[T any](seq iter.Seq2[T, error]) ([]T, error) {
	var all []T
	for v, err := range seq {
		if err != nil {
			return all, err
		}
		all = append(all, v)
	}
	return all, nil
}

func sameEvent(a, b *types.Event) bool {
	return a != nil && b != nil && a.CID == b.CID && bytes.Equal(a.Bytes(), b.Bytes()) && bytes.Equal(a.Witness, b.Witness)
}
