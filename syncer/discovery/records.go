package discovery

import (
	"context"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/ipfs/go-datastore"
	"github.com/ipfs/go-datastore/query"
)

var _ datastore.Batching = (*records)(nil)

// recordsRoot begins the names under which kad-dht keeps provider records:
// /providers/<key>/<peer>, both in base32; the value is a time as a varint.
const recordsRoot = "/providers/"

// records is the datastore in which kad-dht keeps the records that others leave
// here. It is bounded, and finds those of one key without reading them all,
// which kad-dht's default, a map, does not. It may be used concurrently.
type records struct {
	max, maxOfPeer int

	mu    sync.Mutex
	size  int
	byKey map[string][]record
	peers map[string]*holding

	// stored, when not nil, is called for each record that is stored.
	stored func(key, peer string)
}

// record says that a peer provides a key.
type record struct {
	peer *holding
	time int64
}

// holding is a peer of which records are kept.
type holding struct {
	id      string
	records int
}

func newRecords(limit, ofPeer int) *records {
	return &records{max: limit, maxOfPeer: ofPeer, byKey: map[string][]record{}, peers: map[string]*holding{}}
}

// splitRecord takes a record's name apart.
func splitRecord(name datastore.Key) (key, peer string, err error) {
	rest, ok := strings.CutPrefix(name.String(), recordsRoot)
	if ok {
		key, peer, ok = strings.Cut(rest, "/")
	}
	if !ok || key == "" || peer == "" {
		return "", "", fmt.Errorf("%q does not name a provider record", name)
	}
	return key, peer, nil
}

// Put keeps a record. One that is over a limit is dropped without an error:
// kad-dht would take its answer for a failure of this node, and each record is
// left with several.
func (s *records) Put(_ context.Context, name datastore.Key, value []byte) error {
	key, peer, err := splitRecord(name)
	if err != nil {
		return err
	}
	at, n := binary.Varint(value)
	if n <= 0 || n != len(value) {
		return fmt.Errorf("record %q has no time", name)
	}
	if s.put(key, peer, at) && s.stored != nil {
		s.stored(key, peer)
	}
	return nil
}

func (s *records) put(key, peer string, at int64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := s.byKey[key]
	if i := find(list, peer); i >= 0 {
		list[i].time = at
		return true
	}
	h := s.peers[peer]
	if s.size >= s.max || h != nil && h.records >= s.maxOfPeer {
		return false
	}
	if h == nil {
		h = &holding{id: strings.Clone(peer)}
		s.peers[h.id] = h
	}
	h.records++
	s.size++
	if list == nil {
		key = strings.Clone(key)
	}
	s.byKey[key] = append(list, record{peer: h, time: at})
	return true
}

// find returns the index of a peer's record, or -1.
func find(list []record, peer string) int {
	return slices.IndexFunc(list, func(r record) bool { return r.peer.id == peer })
}

// Delete removes a record.
func (s *records) Delete(_ context.Context, name datastore.Key) error {
	key, peer, err := splitRecord(name)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	list := s.byKey[key]
	i := find(list, peer)
	if i < 0 {
		return nil
	}
	h := list[i].peer
	if h.records--; h.records == 0 {
		delete(s.peers, peer)
	}
	s.size--
	if list = slices.Delete(list, i, i+1); len(list) == 0 {
		delete(s.byKey, key)
	} else {
		s.byKey[key] = list
	}
	return nil
}

// Get returns the value of a record.
func (s *records) Get(_ context.Context, name datastore.Key) ([]byte, error) {
	key, peer, err := splitRecord(name)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	list := s.byKey[key]
	if i := find(list, peer); i >= 0 {
		return binary.AppendVarint(nil, list[i].time), nil
	}
	return nil, datastore.ErrNotFound
}

// Has reports whether a record is kept.
func (s *records) Has(ctx context.Context, name datastore.Key) (bool, error) {
	return datastore.GetBackedHas(ctx, s, name)
}

// GetSize returns the size of a record's value.
func (s *records) GetSize(ctx context.Context, name datastore.Key) (int, error) {
	return datastore.GetBackedSize(ctx, s, name)
}

// Query yields the records of one key, or all of them. All are those of the
// keys that were there at its start, each as it is when its turn comes.
func (s *records) Query(_ context.Context, q query.Query) (query.Results, error) {
	rest, ok := strings.CutPrefix(q.Prefix+"/", recordsRoot)
	if !ok {
		return query.ResultsWithEntries(q, nil), nil
	}
	q.Prefix = "" // that is done here, NaiveQueryApply does the rest
	key := strings.TrimRight(rest, "/")
	if key != "" {
		return query.NaiveQueryApply(q, query.ResultsWithEntries(q, s.of(key))), nil
	}
	left := s.keys()
	var entries []query.Entry
	all := query.ResultsFromIterator(q, query.Iterator{Next: func() (query.Result, bool) {
		for len(entries) == 0 {
			if len(left) == 0 {
				return query.Result{}, false
			}
			entries, left = s.of(left[0]), left[1:]
		}
		e := entries[0]
		entries = entries[1:]
		return query.Result{Entry: e}, true
	}})
	return query.NaiveQueryApply(q, all), nil
}

func (s *records) keys() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make([]string, 0, len(s.byKey))
	for key := range s.byKey {
		all = append(all, key)
	}
	return all
}

// of returns the records of a key.
func (s *records) of(key string) []query.Entry {
	s.mu.Lock()
	defer s.mu.Unlock()
	var entries []query.Entry
	for _, r := range s.byKey[key] {
		value := binary.AppendVarint(nil, r.time)
		entries = append(entries, query.Entry{Key: recordsRoot + key + "/" + r.peer.id, Value: value, Size: len(value)})
	}
	return entries
}

// Batch returns a batch that writes one record after the other.
func (s *records) Batch(context.Context) (datastore.Batch, error) {
	return datastore.NewBasicBatch(s), nil
}

// Sync has nothing to do: the records are in memory.
func (s *records) Sync(context.Context, datastore.Key) error { return nil }

// Close has nothing to do.
func (s *records) Close() error { return nil }
