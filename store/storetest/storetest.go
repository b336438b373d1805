// Package storetest is the conformance suite of stores: what a replica and a
// node rely on, whatever keeps the events.
//
// Random tests print their seed; CAIRN_SEED=N replays it. History prints rapid's,
// which -rapid.seed takes back.
package storetest

import (
	"errors"
	"iter"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"

	"github.com/ipfs/go-cid"

	"github.com/cairn-p2p/cairn/types"
)

// Store is what the suite tests.
type Store interface {
	JoinTopic(g *types.Genesis) error
	LeaveTopic(topic types.TopicID) error
	Topic(topic types.TopicID) (types.TopicInfo, error)
	Topics() iter.Seq2[types.TopicInfo, error]
	Load(topic types.TopicID, self types.Publisher) (types.TopicState, error)
	Heights(topic types.TopicID, cids []cid.Cid) (map[cid.Cid]uint64, error)
	HeightsOf(topic types.TopicID, events []*types.Event) (map[cid.Cid]uint64, error)
	Commit(batch *types.Batch) error
	Get(cids []cid.Cid) ([]*types.Event, error)
	Log(topic types.TopicID, after types.Cursor) iter.Seq2[types.Entry, error]
	At(topic types.TopicID, numbers []uint64) ([]cid.Cid, error)
	Query(topic types.TopicID, q types.Query) iter.Seq2[*types.Event, error]
	LogID() types.LogID
	Starts() uint64
	Meta(key string) ([]byte, error)
	MetaKeys(prefix string) ([]string, error)
	SetMeta(key string, value []byte) error
	Metas(prefix, after string, limit int) ([]types.Record, error)
	SetMetas(records ...types.Record) error
	Usage() (int64, error)
	Writable() error
	Close() error
}

// Harness is one disk and what a test does to it. A test opens one store at a
// time.
type Harness struct {
	// Open opens the store on the disk.
	Open func() (Store, error)
	// Crash leaves of the disk what a crash at this moment would leave. The
	// open store is lost.
	Crash func() error
	// Fault makes the call-th next call of the store into its database fail,
	// counted from 0; with persisted, after it has done its work. fired reports
	// whether it has come to that. Nil: not supported.
	Fault func(call int, persisted bool) (fired func() bool)
}

// Run runs the suite; open makes a harness with an empty disk.
func Run(t *testing.T, open func(t *testing.T) Harness) {
	tests := map[string]func(d *disk){
		"Topics":           testTopics,
		"ManyTopics":       testManyTopics,
		"Meta":             testMeta,
		"Metas":            testMetas,
		"Starts":           testStarts,
		"Commit":           testCommit,
		"Conflict":         testConflict,
		"ForeignEvent":     testForeignEvent,
		"LargeEvent":       testLargeEvent,
		"TinyEvents":       testTinyEvents,
		"ForkedSeq":        testForkedSeq,
		"BatchWitness":     testBatchWitness,
		"Chains":           testChains,
		"Heights":          testHeights,
		"HeightsOf":        testHeightsOf,
		"Get":              testGet,
		"Log":              testLog,
		"At":               testAt,
		"LogSnapshot":      testLogSnapshot,
		"LogOwnsBytes":     testLogOwnsBytes,
		"InvalidCursor":    testInvalidCursor,
		"Query":            testQuery,
		"QueryPages":       testQueryPages,
		"QuerySnapshot":    testQuerySnapshot,
		"QueryUnknown":     testQueryUnknown,
		"CommitInLoop":     testCommitInLoop,
		"Closed":           testClosed,
		"CloseWaits":       testCloseWaits,
		"Reopen":           testReopen,
		"Crash":            testCrash,
		"Fault":            testFault,
		"FaultJoin":        testFaultJoin,
		"FaultMetas":       testFaultMetas,
		"History":          testHistory,
		"ConcurrentTopics": testConcurrentTopics,
		"ConcurrentReads":  testConcurrentReads,
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			d := &disk{TB: t, Harness: open(t), rng: Rand(t)}
			d.open()
			t.Cleanup(d.finish)
			test(d)
		})
	}
}

// disk is a harness with its open store.
type disk struct {
	testing.TB
	Harness
	store Store
	rng   *rand.Rand
}

func (d *disk) open() {
	d.Helper()
	s, err := d.Open()
	if err != nil {
		d.Fatalf("open: %v", err)
	}
	d.store = s
}

func (d *disk) reopen() {
	d.Helper()
	if err := d.store.Close(); err != nil {
		d.Fatalf("close: %v", err)
	}
	d.open()
}

func (d *disk) crash() {
	d.Helper()
	if err := d.Crash(); err != nil {
		d.Fatalf("crash: %v", err)
	}
	d.open()
}

// finish checks the store that the test leaves, and once more what is on disk.
func (d *disk) finish() {
	if d.store.Writable() == nil {
		CheckInvariants(d, d.store)
		if err := d.store.Close(); err != nil {
			d.Errorf("close: %v", err)
		}
	}
	s, err := d.Open()
	if err != nil {
		d.Errorf("open at the end: %v", err)
		return
	}
	CheckInvariants(d, s)
	if err := s.Close(); err != nil {
		d.Errorf("close: %v", err)
	}
}

// Rand returns a source of randomness whose seed it prints; CAIRN_SEED sets it.
func Rand(t testing.TB) *rand.Rand {
	seed := rand.Uint64()
	if s := os.Getenv("CAIRN_SEED"); s != "" {
		n, err := strconv.ParseUint(s, 10, 64)
		if err != nil {
			t.Fatalf("CAIRN_SEED: %v", err)
		}
		seed = n
	}
	t.Logf("CAIRN_SEED=%d", seed)
	return rand.New(rand.NewPCG(seed, 0))
}

// must fails the test on an error.
func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// wantError fails the test unless err is want.
func wantError(t testing.TB, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Fatalf("error %v, want %v", err, want)
	}
}
