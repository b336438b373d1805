package badger

import (
	"errors"
	"fmt"
	"iter"

	"github.com/dgraph-io/badger/v4"

	"github.com/cairn-p2p/cairn/types"
)

// topicChunk is how many topics Topics reads at a time.
const topicChunk = 1024

// JoinTopic makes the topic one of the joined; it blocks until that is durable. A topic that is held
// already keeps its events. A new one is types.ErrDiskFull on a full disk.
func (s *Store) JoinTopic(g *types.Genesis) error {
	err := s.submit(func(t tx) ([]write, error) {
		no, err := findTopic(t.get, g.ID())
		if err != nil {
			return nil, err
		}
		if no != 0 {
			return setJoined(t, no, true)
		}
		if err := s.disk.check(); err != nil {
			return nil, err
		}
		last, err := readCounter(t, recordTopics)
		if err != nil {
			return nil, err
		}
		no = topicNo(last + 1)
		state := logState{hash: types.StartHash(s.id.log, g.ID())}
		return []write{
			{key: systemKey(recordTopics), value: uvarints(last + 1)},
			{key: digestKey(kindTopicID, types.Digest(g.ID())), value: uvarints(uint64(no))},
			{key: topicKey(kindTopic, no, 0), value: encodeTopic(true, g.Bytes())},
			{key: topicKey(kindState, no, 0), value: state.encode()},
		}, nil
	})
	if err != nil {
		return fmt.Errorf("join %s: %w", g.ID(), err)
	}
	return nil
}

// LeaveTopic makes the topic one of those left, durably; its data stays. A
// topic that is not held is types.ErrNotFound.
func (s *Store) LeaveTopic(topic types.TopicID) error {
	err := s.submit(func(t tx) ([]write, error) {
		no, err := mustFindTopic(t.get, topic)
		if err != nil {
			return nil, err
		}
		return setJoined(t, no, false)
	})
	if err != nil {
		return fmt.Errorf("leave: %w", err)
	}
	return nil
}

// setJoined returns the write that changes whether topic no is joined: none
// when it is so already.
func setJoined(t tx, no topicNo, joined bool) ([]write, error) {
	key := topicKey(kindTopic, no, 0)
	b, err := t.get(key)
	if err != nil {
		return nil, err
	}
	had, genesis, err := decodeTopic(b)
	if err != nil || had == joined {
		return nil, err
	}
	return []write{{key: key, value: encodeTopic(joined, genesis)}}, nil
}

func encodeTopic(joined bool, genesis []byte) []byte {
	b := make([]byte, 1, 1+len(genesis))
	if joined {
		b[0] = 1
	}
	return append(b, genesis...)
}

// decodeTopic reads a topic's record; genesis is part of b.
func decodeTopic(b []byte) (joined bool, genesis []byte, err error) {
	if len(b) < 2 || b[0] > 1 {
		return false, nil, corrupt("topic record of %d bytes", len(b))
	}
	return b[0] == 1, b[1:], nil
}

// Topic describes a topic, or is types.ErrNotFound.
func (s *Store) Topic(topic types.TopicID) (types.TopicInfo, error) {
	var info types.TopicInfo
	err := s.view(func(txn *badger.Txn) error {
		no, err := mustFindTopic(reader(txn), topic)
		if err != nil {
			return err
		}
		found, err := scanTopics(txn, no, 1)
		if err != nil {
			return err
		}
		if len(found) != 1 || found[0].no != no {
			return corrupt("topic %d has no record", no)
		}
		info = found[0].info
		return nil
	})
	if err != nil {
		return types.TopicInfo{}, fmt.Errorf("read topic: %w", err)
	}
	return info, nil
}

// Topics yields every topic, joined or left, in the order in which they came
// here. Each is described as of one moment, different ones perhaps as of
// different moments; one that comes while the loop runs may be left out.
func (s *Store) Topics() iter.Seq2[types.TopicInfo, error] {
	return func(yield func(types.TopicInfo, error) bool) {
		for next := topicNo(1); ; {
			var chunk []numberedTopic
			err := s.view(func(txn *badger.Txn) error {
				var err error
				chunk, err = scanTopics(txn, next, topicChunk)
				return err
			})
			if err != nil {
				yield(types.TopicInfo{}, fmt.Errorf("list topics: %w", err))
				return
			}
			for _, t := range chunk {
				if !yield(t.info, nil) {
					return
				}
			}
			if len(chunk) < topicChunk {
				return
			}
			next = chunk[len(chunk)-1].no + 1
		}
	}
}

type numberedTopic struct {
	no   topicNo
	info types.TopicInfo
}

// scanTopics reads up to limit topics from number from on, as three scans side
// by side: records, states, heads.
func scanTopics(txn *badger.Txn, from topicNo, limit int) ([]numberedTopic, error) {
	records := newScan(txn, []byte{kindTopic}, topicKey(kindTopic, from, 0), false)
	defer records.close()
	states := newScan(txn, []byte{kindState}, topicKey(kindState, from, 0), false)
	defer states.close()
	heads := newScan(txn, []byte{kindHead}, topicKey(kindHead, from, 0), false)
	defer heads.close()
	var topics []numberedTopic
	for ; len(topics) < limit && records.valid(); records.next() {
		no, _, err := cutTopicNo(records.key()[1:])
		if err != nil {
			return nil, err
		}
		t := numberedTopic{no: no}
		if t.info, err = readTopic(no, records, states, heads); err != nil {
			return nil, err
		}
		topics = append(topics, t)
	}
	return topics, nil
}

// readTopic reads topic no, at which records and states stand; it moves states
// and heads behind the topic.
func readTopic(no topicNo, records, states, heads *scan) (types.TopicInfo, error) {
	b, err := records.value()
	if err != nil {
		return types.TopicInfo{}, err
	}
	joined, genesis, err := decodeTopic(b)
	if err != nil {
		return types.TopicInfo{}, err
	}
	g, err := types.DecodeGenesis(genesis)
	if errors.Is(err, types.ErrUnsupported) { // this release stores none
		return types.TopicInfo{}, fmt.Errorf("%w: topic %d: %w", types.ErrNewerFormat, no, err)
	}
	if err != nil {
		return types.TopicInfo{}, corrupt("genesis of topic %d: %v", no, err)
	}
	if !states.valid() || string(states.key()) != string(topicKey(kindState, no, 0)) {
		return types.TopicInfo{}, corrupt("topic %d has no state", no)
	}
	if b, err = states.value(); err != nil {
		return types.TopicInfo{}, err
	}
	state, err := decodeLogState(b)
	if err != nil {
		return types.TopicInfo{}, err
	}
	states.next()
	hs, err := readHeads(heads, no)
	return types.TopicInfo{Genesis: g, Joined: joined, Events: state.count, Heads: hs}, err
}

// readHeads reads the heads of topic no, at the first of which heads stands,
// and moves behind them. Their keys are in the order of the CIDs' bytes.
func readHeads(heads *scan, no topicNo) ([]types.Head, error) {
	prefix := topicKey(kindHead, no, 0)
	var found []types.Head
	for ; heads.valid(); heads.next() {
		key := heads.key()
		if len(key) != len(prefix)+digestSize || string(key[:len(prefix)]) != string(prefix) {
			break
		}
		digest := types.Hash(key[len(prefix):])
		b, err := heads.value()
		if err != nil {
			return nil, err
		}
		height, err := readUvarints(b, 1)
		if err != nil {
			return nil, err
		}
		found = append(found, types.Head{CID: types.CIDOf(digest), Height: height[0]})
	}
	return found, nil
}

// Load returns where a topic stands, with self's tip, or types.ErrNotFound.
func (s *Store) Load(topic types.TopicID, self types.Publisher) (types.TopicState, error) {
	var state types.TopicState
	err := s.view(func(txn *badger.Txn) error {
		no, end, err := findLog(reader(txn), topic)
		if err != nil {
			return err
		}
		state.Events, state.End, state.Log = end.count, end.hash.Cursor(end.count), end.hash
		if state.Heads, err = s.headsAt(txn, topic, no, end); err != nil {
			return err
		}
		state.Tip, err = readTip(reader(txn), no, self)
		return err
	})
	if err != nil {
		return types.TopicState{}, fmt.Errorf("load topic: %w", err)
	}
	return state, nil
}

// headsAt returns the heads of the log that ends with end.
func (s *Store) headsAt(txn *badger.Txn, topic types.TopicID, no topicNo, end logState) ([]types.Head, error) {
	if heads, ok := s.heads.get(topic, end); ok {
		return heads, nil
	}
	prefix := topicKey(kindHead, no, 0)
	scan := newScan(txn, prefix, prefix, false)
	defer scan.close()
	heads, err := readHeads(scan, no)
	if err == nil {
		s.heads.put(topic, end, heads)
	}
	return heads, err
}

// getter reads one key: a copy of its value, nil when there is none.
type getter func(key []byte) ([]byte, error)

func reader(txn *badger.Txn) getter {
	return func(key []byte) ([]byte, error) { return get(txn, key) }
}

// findTopic returns the number of a topic, 0 when it is not held.
func findTopic(get getter, topic types.TopicID) (topicNo, error) {
	b, err := get(digestKey(kindTopicID, types.Digest(topic)))
	if err != nil || b == nil {
		return 0, err
	}
	n, err := readUvarints(b, 1)
	if err != nil {
		return 0, err
	}
	return topicNo(n[0]), nil
}

func mustFindTopic(get getter, topic types.TopicID) (topicNo, error) {
	no, err := findTopic(get, topic)
	if err == nil && no == 0 {
		err = fmt.Errorf("%w: topic %s", types.ErrNotFound, topic)
	}
	return no, err
}

// findLog returns a topic's number and the end of its log.
func findLog(get getter, topic types.TopicID) (topicNo, logState, error) {
	no, err := mustFindTopic(get, topic)
	if err != nil {
		return 0, logState{}, err
	}
	b, err := get(topicKey(kindState, no, 0))
	if err != nil {
		return 0, logState{}, err
	}
	state, err := decodeLogState(b)
	return no, state, err
}

// readTip returns the zero tip for a publisher without one.
func readTip(get getter, no topicNo, p types.Publisher) (types.Tip, error) {
	b, err := get(tipKey(no, p))
	if err != nil || b == nil {
		return types.Tip{}, err
	}
	return decodeTip(b)
}

// Meta returns what SetMeta stored under key, nil when there is nothing.
func (s *Store) Meta(key string) ([]byte, error) {
	var value []byte
	err := s.view(func(txn *badger.Txn) error {
		var err error
		value, err = get(txn, metaKey(key))
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read metadata %q: %w", key, err)
	}
	return value, nil
}

// MetaKeys returns the keys with the prefix under which SetMeta stored
// something, sorted.
func (s *Store) MetaKeys(prefix string) ([]string, error) {
	var keys []string
	err := s.view(func(txn *badger.Txn) error {
		from := metaKey(prefix)
		found := newScan(txn, from, from, false)
		defer found.close()
		for ; found.valid(); found.next() {
			keys = append(keys, string(found.key()[1:]))
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("list metadata %q: %w", prefix, err)
	}
	return keys, nil
}

// Metas returns up to limit records whose keys have the prefix and are greater
// than after, by key.
func (s *Store) Metas(prefix, after string, limit int) ([]types.Record, error) {
	var records []types.Record
	err := s.view(func(txn *badger.Txn) error {
		from := metaKey(prefix)
		if after >= prefix {
			from = append(metaKey(after), 0) // the next key
		}
		found := newScan(txn, metaKey(prefix), from, false)
		defer found.close()
		for ; found.valid() && len(records) < limit; found.next() {
			value, err := found.value()
			if err != nil {
				return err
			}
			records = append(records, types.Record{Key: string(found.key()[1:]), Value: value})
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read metadata %q: %w", prefix, err)
	}
	return records, nil
}

// SetMeta stores value under key, durably; nil deletes. One of 1 MiB or more is
// types.ErrInvalidArgument.
func (s *Store) SetMeta(key string, value []byte) error {
	return s.setMetas(types.Record{Key: key, Value: value})
}

// SetMetas stores all the records, durably, or none of them; after
// types.ErrStore it may be either. It is types.ErrDiskFull on a full disk,
// unless it only deletes, and types.ErrInvalidArgument with a value of 1 MiB or
// more.
func (s *Store) SetMetas(records ...types.Record) error {
	for _, r := range records {
		if r.Value == nil {
			continue
		}
		if err := s.disk.check(); err != nil {
			return fmt.Errorf("write metadata %q: %w", r.Key, err)
		}
		break
	}
	return s.setMetas(records...)
}

func (s *Store) setMetas(records ...types.Record) error {
	if len(records) == 0 {
		return nil
	}
	writes := make([]write, 0, len(records)+1)
	sets := false
	for _, r := range records {
		writes = append(writes, write{key: metaKey(r.Key), value: r.Value, remove: r.Value == nil})
		sets = sets || r.Value != nil
	}
	if !sets {
		writes = append(writes, write{key: systemKey(recordAnchor)})
	}
	err := s.submit(func(tx) ([]write, error) { return writes, nil })
	if err != nil {
		return fmt.Errorf("write metadata %q: %w", records[0].Key, err)
	}
	return nil
}
