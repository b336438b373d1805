// Package mem keeps topics in memory, under the same contracts as the database:
// for tests, and for nodes that need nothing after their end. Its "disk" can be
// opened again after a store on it was closed or given up.
package mem

import (
	"bytes"
	"crypto/rand"
	"fmt"
	"iter"
	"slices"
	"strings"
	"sync"

	"github.com/ipfs/go-cid"

	"github.com/cairn-p2p/cairn/types"
)

// Options configure a store. The zero value is usable.
type Options struct {
	// Writable, when set, is asked before each commit: an error, for example
	// types.ErrDiskFull, refuses it.
	Writable func() error
}

// Store is a store in memory. All methods are safe for concurrent use; a loop's
// body may call any method.
type Store struct {
	opts Options

	mu     sync.RWMutex
	disk   *disk
	closed bool
}

// disk is what outlives a store.
type disk struct {
	id     types.LogID
	starts uint64
	topics map[types.TopicID]*topic
	order  []*topic // as they came
	places map[cid.Cid]place
	meta   map[string][]byte
	keys   []string // of meta, sorted
}

type topic struct {
	genesis *types.Genesis
	joined  bool
	log     []*types.Event
	hashes  []types.RunningHash // hashes[n] is the running hash after n events
	heads   map[cid.Cid]uint64
	tips    map[types.Publisher]types.Tip
}

// place is where an event lies: topic and index in its log.
type place struct {
	topic *topic
	index int
}

// New returns an empty store.
func New(opts Options) *Store {
	d := &disk{
		starts: 1,
		topics: map[types.TopicID]*topic{},
		places: map[cid.Cid]place{},
		meta:   map[string][]byte{},
	}
	rand.Read(d.id[:]) //nolint:errcheck // it never fails: crypto/rand
	return &Store{opts: opts, disk: d}
}

// Reopen closes s, as a crash would if it is still open, and opens its disk
// again.
func (s *Store) Reopen() *Store {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	s.disk.starts++
	return &Store{opts: s.opts, disk: s.disk}
}

// Close ends the use of the store: afterwards every method returns
// types.ErrClosed. Closing again does nothing.
func (s *Store) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	return nil
}

// read runs f while nothing changes.
func (s *Store) read(f func(*disk) error) error {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.closed {
		return types.ErrClosed
	}
	return f(s.disk)
}

// write runs f alone.
func (s *Store) write(f func(*disk) error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return types.ErrClosed
	}
	return f(s.disk)
}

func (d *disk) topic(id types.TopicID) (*topic, error) {
	t := d.topics[id]
	if t == nil {
		return nil, fmt.Errorf("%w: topic %s", types.ErrNotFound, id)
	}
	return t, nil
}

// JoinTopic makes the topic one of the joined; one that is held already keeps
// its events.
func (s *Store) JoinTopic(g *types.Genesis) error {
	return s.write(func(d *disk) error {
		t := d.topics[g.ID()]
		if t == nil {
			t = &topic{
				genesis: g,
				hashes:  []types.RunningHash{types.StartHash(d.id, g.ID())},
				heads:   map[cid.Cid]uint64{},
				tips:    map[types.Publisher]types.Tip{},
			}
			d.topics[g.ID()] = t
			d.order = append(d.order, t)
		}
		t.joined = true
		return nil
	})
}

// LeaveTopic makes the topic one of those left; its data stays. A topic that is
// not held is types.ErrNotFound.
func (s *Store) LeaveTopic(id types.TopicID) error {
	return s.write(func(d *disk) error {
		t, err := d.topic(id)
		if err == nil {
			t.joined = false
		}
		return err
	})
}

// Topic describes a topic, or is types.ErrNotFound.
func (s *Store) Topic(id types.TopicID) (types.TopicInfo, error) {
	var info types.TopicInfo
	err := s.read(func(d *disk) error {
		t, err := d.topic(id)
		if err == nil {
			info = t.info()
		}
		return err
	})
	return info, err
}

// Topics yields every topic, joined or left, in the order in which they came.
func (s *Store) Topics() iter.Seq2[types.TopicInfo, error] {
	return func(yield func(types.TopicInfo, error) bool) {
		var infos []types.TopicInfo
		err := s.read(func(d *disk) error {
			for _, t := range d.order {
				infos = append(infos, t.info())
			}
			return nil
		})
		if err != nil {
			yield(types.TopicInfo{}, err)
			return
		}
		for _, info := range infos {
			if !yield(info, nil) {
				return
			}
		}
	}
}

func (t *topic) info() types.TopicInfo {
	return types.TopicInfo{Genesis: t.genesis, Joined: t.joined, Events: uint64(len(t.log)), Heads: t.sortedHeads()}
}

func (t *topic) sortedHeads() []types.Head {
	var heads []types.Head
	for c, height := range t.heads {
		heads = append(heads, types.Head{CID: c, Height: height})
	}
	slices.SortFunc(heads, func(a, b types.Head) int { return types.CompareCIDs(a.CID, b.CID) })
	return heads
}

// Load returns where a topic stands, with self's tip, or types.ErrNotFound.
func (s *Store) Load(id types.TopicID, self types.Publisher) (types.TopicState, error) {
	var state types.TopicState
	err := s.read(func(d *disk) error {
		t, err := d.topic(id)
		if err != nil {
			return err
		}
		n := uint64(len(t.log))
		state = types.TopicState{Events: n, End: t.hashes[n].Cursor(n), Log: t.hashes[n], Heads: t.sortedHeads(), Tip: t.tips[self]}
		return nil
	})
	return state, err
}

// Commit stores a batch. types.ErrConflict, types.ErrInvalidArgument and what
// Options.Writable returns change nothing. The store keeps the events.
func (s *Store) Commit(b *types.Batch) error {
	if len(b.Events) == 0 {
		return fmt.Errorf("commit: %w: batch without events", types.ErrInvalidArgument)
	}
	for _, e := range b.Events {
		if e.Topic != b.Topic {
			return fmt.Errorf("commit: %w: event %s is of another topic", types.ErrInvalidArgument, e.CID)
		}
	}
	if err := s.Writable(); err != nil {
		return fmt.Errorf("commit: %w", err)
	}
	return s.write(func(d *disk) error {
		t, err := d.topic(b.Topic)
		if err != nil {
			return fmt.Errorf("commit: %w", err)
		}
		if n := uint64(len(t.log)); b.First != n+1 {
			return fmt.Errorf("commit: %w: it begins with event %d, the log ends with %d", types.ErrConflict, b.First, n)
		}
		d.add(t, b)
		return nil
	})
}

func (d *disk) add(t *topic, b *types.Batch) {
	for _, e := range b.Events {
		d.places[e.CID] = place{topic: t, index: len(t.log)}
		t.hashes = append(t.hashes, t.hashes[len(t.log)].Next(e.CID))
		t.log = append(t.log, e)
		if e.Seq > t.tips[e.Publisher].Seq {
			t.tips[e.Publisher] = types.Tip{CID: e.CID, Seq: e.Seq, Height: e.Height}
		}
	}
	for _, c := range b.DropHeads {
		delete(t.heads, c)
	}
	for _, h := range b.AddHeads {
		t.heads[h.CID] = h.Height
	}
}

// LogID names this disk's delivery logs.
func (s *Store) LogID() types.LogID {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.disk.id
}

// Starts counts how often the disk has been opened, this time included.
func (s *Store) Starts() uint64 {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.disk.starts
}

// Meta returns a copy of what SetMeta stored under key, nil when there is
// nothing.
func (s *Store) Meta(key string) ([]byte, error) {
	var value []byte
	err := s.read(func(d *disk) error {
		value = bytes.Clone(d.meta[key])
		return nil
	})
	return value, err
}

// MetaKeys returns the keys with the prefix under which SetMeta stored
// something, sorted.
func (s *Store) MetaKeys(prefix string) ([]string, error) {
	var keys []string
	err := s.read(func(d *disk) error {
		keys = append(keys, d.below(prefix, prefix)...)
		return nil
	})
	return keys, err
}

// Metas returns up to limit records whose keys have the prefix and are greater
// than after, by key.
func (s *Store) Metas(prefix, after string, limit int) ([]types.Record, error) {
	var records []types.Record
	err := s.read(func(d *disk) error {
		from := prefix
		if after >= prefix {
			from = after + "\x00" // the next key
		}
		keys := d.below(prefix, from)
		for _, key := range keys[:min(limit, len(keys))] {
			records = append(records, types.Record{Key: key, Value: bytes.Clone(d.meta[key])})
		}
		return nil
	})
	return records, err
}

// SetMeta stores a copy of value under key; nil deletes.
func (s *Store) SetMeta(key string, value []byte) error {
	return s.write(func(d *disk) error {
		d.setMeta(key, value)
		return nil
	})
}

// SetMetas stores copies of all the records, or none; what Options.Writable
// returns changes nothing, unless the records only delete.
func (s *Store) SetMetas(records ...types.Record) error {
	if slices.ContainsFunc(records, func(r types.Record) bool { return r.Value != nil }) {
		if err := s.Writable(); err != nil {
			return fmt.Errorf("write metadata: %w", err)
		}
	}
	return s.write(func(d *disk) error {
		for _, r := range records {
			d.setMeta(r.Key, r.Value)
		}
		return nil
	})
}

func (d *disk) setMeta(key string, value []byte) {
	at, there := slices.BinarySearch(d.keys, key)
	switch {
	case value != nil && !there:
		d.keys = slices.Insert(d.keys, at, key)
	case value == nil && there:
		d.keys = slices.Delete(d.keys, at, at+1)
	}
	if value == nil {
		delete(d.meta, key)
	} else {
		d.meta[key] = bytes.Clone(value)
	}
}

// below returns the keys with the prefix from one of them on, sorted.
func (d *disk) below(prefix, from string) []string {
	first, _ := slices.BinarySearch(d.keys, from)
	keys := d.keys[first:]
	end := 0
	for end < len(keys) && strings.HasPrefix(keys[end], prefix) {
		end++
	}
	return keys[:end]
}

// Usage is the number of bytes of all bodies and witnesses.
func (s *Store) Usage() (int64, error) {
	var total int64
	err := s.read(func(d *disk) error {
		for _, t := range d.topics {
			for _, e := range t.log {
				total += int64(e.Size())
			}
		}
		return nil
	})
	return total, err
}

// Writable reports why events cannot be stored now; nil means that they can.
func (s *Store) Writable() error {
	return s.read(func(*disk) error {
		if s.opts.Writable == nil {
			return nil
		}
		return s.opts.Writable()
	})
}
