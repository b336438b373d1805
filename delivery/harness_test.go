package delivery

import (
	"errors"
	"fmt"
	"iter"
	"sync"
	"time"

	"github.com/ipfs/go-cid"

	"github.com/cairn-p2p/cairn/store/badger"
	"github.com/cairn-p2p/cairn/store/mem"
	"github.com/cairn-p2p/cairn/types"
)

// testLog is the log of a topic in a store.
type testLog struct {
	store *mem.Store
	topic *types.Genesis

	mu     sync.Mutex
	commit chan struct{}
	count  uint64
	getErr error // of Get
}

func newTestLog(t failer) *testLog {
	t.Helper()
	g, err := types.NewOpen("topic")
	must(t, err)
	l := &testLog{store: mem.New(mem.Options{}), topic: g, commit: make(chan struct{})}
	must(t, l.store.JoinTopic(g))
	return l
}

func (l *testLog) Log(after types.Cursor) iterEntries {
	return l.store.Log(l.topic.ID(), after)
}

func (l *testLog) Get(cids ...cid.Cid) ([]*types.Event, error) {
	if l.getErr != nil {
		return nil, l.getErr
	}
	return l.store.Get(cids)
}

func (l *testLog) End() (types.Cursor, error) {
	state, err := l.store.Load(l.topic.ID(), types.Publisher{})
	return state.End, err
}

func (l *testLog) Committed() <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.commit
}

// integrate appends events, which are unsigned, to the log.
func (l *testLog) integrate(events ...*types.Event) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.store.Commit(&types.Batch{Topic: l.topic.ID(), First: l.count + 1, Events: events}); err != nil {
		return err
	}
	l.count += uint64(len(events))
	close(l.commit)
	l.commit = make(chan struct{})
	return nil
}

// event makes an event that links to others.
func (l *testLog) event(publisher byte, seq int, tags []string, links ...*types.Event) (*types.Event, error) {
	body := types.Body{
		Topic: l.topic.ID(), Publisher: types.Publisher{publisher}, Seq: uint64(seq), Tags: tags,
		Height: 1, Payload: fmt.Appendf(nil, "%d/%d", publisher, seq),
	}
	for _, link := range links {
		body.Links = append(body.Links, link.CID)
		body.Height = max(body.Height, link.Height+1)
	}
	types.SortCIDs(body.Links)
	return types.NewEvent(body)
}

// chain integrates n events, each behind the one before, the first behind links.
func (l *testLog) chain(t failer, publisher byte, n int, links ...*types.Event) []*types.Event {
	t.Helper()
	var events []*types.Event
	for i := range n {
		e, err := l.event(publisher, i+1, nil, links...)
		must(t, err)
		events = append(events, e)
		links = []*types.Event{e}
	}
	must(t, l.integrate(events...))
	return events
}

var errInjected = errors.New("injected fault")

// faultyRecords are records whose next write may fail.
type faultyRecords struct {
	*mem.Store
	mu        sync.Mutex
	armed     bool
	persisted bool // the write that fails is done all the same
	writes    int
	gate      chan struct{} // when set, each write takes from it first
	delay     time.Duration // each write takes so long, and all at a time as long as one
}

func (r *faultyRecords) arm(persisted bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.armed, r.persisted = true, persisted
}

// fired disarms the fault and reports whether it has happened.
func (r *faultyRecords) fired() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	fired := !r.armed
	r.armed = false
	return fired
}

func (r *faultyRecords) SetMetas(records ...types.Record) error {
	if r.gate != nil {
		<-r.gate
	}
	if r.delay > 0 {
		time.Sleep(r.delay)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.writes++
	if !r.armed {
		return r.Store.SetMetas(records...)
	}
	r.armed = false
	if r.persisted {
		if err := r.Store.SetMetas(records...); err != nil {
			return err
		}
	}
	return fmt.Errorf("%w: %w", types.ErrStore, errInjected)
}

// bench is a set of consumers over one log, with a clock of its own.
type bench struct {
	*testLog
	records   *faultyRecords
	now       time.Time
	validator Validator
	restored  bool
	*Consumers
}

func newBench(t failer) *bench {
	t.Helper()
	log := newTestLog(t)
	b := &bench{testLog: log, records: &faultyRecords{Store: log.store}, now: time.Unix(1_000_000, 0)}
	must(t, b.reopen())
	return b
}

// reopen opens the consumers as a new process would; the old ones, if they were not
// closed, died.
func (b *bench) reopen() error {
	var err error
	b.Consumers, err = Open(Config{
		Records:   b.records,
		Topic:     b.find,
		Validator: func(types.TopicID) Validator { return b.validator },
		Restored:  b.restored,
		Now:       func() time.Time { return b.now },
	})
	return err
}

func (b *bench) find(id types.TopicID) (Log, error) {
	if id != b.topic.ID() {
		return nil, types.ErrNotFound
	}
	return b.testLog, nil
}

func (b *bench) create(t failer, s Settings) *Consumer {
	t.Helper()
	if s.Name == "" {
		s.Name = "c"
	}
	s.Topic = b.topic.ID()
	c, err := b.Create(s)
	must(t, err)
	return c
}

// failer is a test, of testing or of rapid.
type failer interface {
	Helper()
	Fatal(...any)
}

func must(t failer, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// rule is a validator of one function.
type rule func(*types.Event) string

func (r rule) Check(e *types.Event) string { return r(e) }

// databaseLog is a topic's log in a database.
type databaseLog struct {
	*badger.Store
	topic types.TopicID
}

func (l databaseLog) Log(after types.Cursor) iter.Seq2[types.Entry, error] {
	return l.Store.Log(l.topic, after)
}

func (l databaseLog) Get(cids ...cid.Cid) ([]*types.Event, error) { return l.Store.Get(cids) }

func (l databaseLog) End() (types.Cursor, error) {
	state, err := l.Store.Load(l.topic, types.Publisher{})
	return state.End, err
}

func (l databaseLog) Committed() <-chan struct{} { return nil }

type iterEntries = iter.Seq2[types.Entry, error]
