package delivery

import (
	"bytes"
	"cmp"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/cairn-p2p/cairn/types"
)

// Config is what consumers work with.
type Config struct {
	Records Records
	// Topic returns the log of a topic that the node holds, joined or left, or
	// types.ErrNotFound. It does not block.
	Topic func(types.TopicID) (Log, error)
	// Validator returns a topic's validator, nil for none. Nil: there are none.
	Validator func(types.TopicID) Validator
	// Restored says that Records are an older copy of themselves: what clients were
	// told since is not in them. Every consumer in them fails with
	// types.ErrInvalidCursor until Reset. So it does after each open that says so:
	// nothing tells a copy of a copy from the same one.
	Restored bool
	// Now is the clock. Nil: time.Now.
	Now func() time.Time
	// Log takes the log; nil: nothing is logged.
	Log *slog.Logger
}

// Consumers are the durable consumers of a node. Their methods are safe for
// concurrent use. They have no goroutine.
type Consumers struct {
	cfg    Config
	opened time.Time // by cfg.Now: what is measured from here does not jump
	closed chan struct{}

	incarnation uint64 // of the node: consumers that began in another one must be reset
	counters    counters

	// changing is held while a consumer is made or removed, which takes as long as
	// the disk does, and taken before the consumer's mutex.
	changing sync.Mutex
	// mu guards the names, which change with changing held too. It is never held
	// for long: every use of every consumer finds it by name.
	mu     sync.RWMutex
	byName map[string]*Consumer

	// inUse holds what takes memory; its mutex is taken last.
	inUse struct {
		sync.Mutex
		consumers map[*Consumer]struct{} // with a window
		feeds     map[types.TopicID]*feed
	}
}

// Open reads which consumers there are; each looks at the rest of its records
// when it is used. The error is the records', or types.ErrCorrupt.
func Open(cfg Config) (*Consumers, error) {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	cs := &Consumers{cfg: cfg, opened: cfg.Now(), closed: make(chan struct{}), byName: map[string]*Consumer{}}
	cs.inUse.consumers = map[*Consumer]struct{}{}
	cs.inUse.feeds = map[types.TopicID]*feed{}
	if err := cs.incarnate(); err != nil {
		return nil, fmt.Errorf("open consumers: %w", err)
	}
	for record, err := range cs.records(settingsPrefix, "") {
		if err != nil {
			return nil, fmt.Errorf("open consumers: %w", err)
		}
		name := strings.TrimPrefix(record.Key, settingsPrefix)
		s, err := decodeSettings(name, record.Value)
		if err != nil {
			return nil, fmt.Errorf("open consumers: %w", err)
		}
		cs.byName[name] = &Consumer{set: cs, settings: s}
	}
	return cs, nil
}

// incarnate finds out the node's incarnation, or begins a new one.
func (cs *Consumers) incarnate() error {
	if cs.cfg.Restored {
		cs.incarnation = random()
		return cs.cfg.Records.SetMetas(types.Record{Key: incarnationKey, Value: binary.BigEndian.AppendUint64(nil, cs.incarnation)})
	}
	b, err := cs.cfg.Records.Meta(incarnationKey)
	switch {
	case err != nil:
		return err
	case b == nil: // it never was restored
		return nil
	case len(b) != 8:
		return corrupt("incarnation of %d bytes", len(b))
	}
	cs.incarnation = binary.BigEndian.Uint64(b)
	return nil
}

func random() uint64 {
	var b [8]byte
	rand.Read(b[:]) //nolint:errcheck // it never fails: crypto/rand
	return binary.BigEndian.Uint64(b[:])
}

// Create makes a consumer, durably, and returns it. One that exists already is
// returned if its settings are equal, and ErrDiffers otherwise. The other
// errors to branch on are types.ErrInvalidArgument, types.ErrNotFound for a topic
// that the node does not hold, types.ErrInvalidCursor, ErrTooMany,
// types.ErrDiskFull, types.ErrStore and types.ErrClosed.
func (cs *Consumers) Create(s Settings) (*Consumer, error) {
	c, err := cs.create(s)
	if err != nil {
		return nil, fmt.Errorf("create consumer %.*q: %w", MaxName+1, s.Name, err)
	}
	return c, nil
}

// Check reports why Create would refuse settings whatever the topic holds. The
// errors to branch on are types.ErrInvalidArgument, ErrDiffers and ErrTooMany.
func (cs *Consumers) Check(s Settings) error {
	if _, err := cs.check(&s); err != nil {
		return fmt.Errorf("create consumer %.*q: %w", MaxName+1, s.Name, err)
	}
	return nil
}

// check is Check. It makes the settings normal, and returns the consumer if it
// exists already.
func (cs *Consumers) check(s *Settings) (*Consumer, error) {
	if err := s.Validate(); err != nil {
		return nil, err
	}
	*s = s.normal()
	cs.mu.RLock()
	defer cs.mu.RUnlock()
	switch c := cs.byName[s.Name]; {
	case c != nil && !bytes.Equal(c.settings.encode(), s.encode()):
		return nil, ErrDiffers
	case c != nil:
		return c, nil
	case len(cs.byName) >= MaxConsumers:
		return nil, fmt.Errorf("%w: the limit is %d", ErrTooMany, MaxConsumers)
	}
	return nil, nil
}

func (cs *Consumers) create(s Settings) (*Consumer, error) {
	cs.changing.Lock()
	defer cs.changing.Unlock()
	if cs.isClosed() {
		return nil, types.ErrClosed
	}
	if c, err := cs.check(&s); c != nil || err != nil {
		return c, err
	}
	first, err := cs.begin(s.Topic, s.From)
	if err != nil {
		return nil, err
	}
	// After types.ErrStore the records may be there: creating again finds out.
	err = cs.forget(s.Name, // what a crash left of one of the name that was being removed
		types.Record{Key: settingsPrefix + s.Name, Value: s.encode()},
		types.Record{Key: progressPrefix + s.Name, Value: first.encode()},
	)
	if err != nil {
		return nil, err
	}
	c := &Consumer{set: cs, settings: s}
	cs.mu.Lock()
	defer cs.mu.Unlock()
	cs.byName[s.Name] = c
	return c, nil
}

// begin returns the progress of a consumer that begins at from.
func (cs *Consumers) begin(topic types.TopicID, from Start) (*progress, error) {
	log, err := cs.cfg.Topic(topic)
	if err != nil {
		return nil, err
	}
	at := from.Cursor
	if from.Now {
		if at, err = log.End(); err != nil {
			return nil, err
		}
	}
	for _, err := range log.Log(at) { // which checks a cursor before it yields anything
		if err != nil {
			return nil, err
		}
		break
	}
	return &progress{incarnation: cs.incarnation, epoch: random(), floor: at, scanned: at}, nil
}

// Find returns the consumer called name, or types.ErrNotFound.
func (cs *Consumers) Find(name string) (*Consumer, error) {
	cs.mu.RLock()
	defer cs.mu.RUnlock()
	if c := cs.byName[name]; c != nil {
		return c, nil
	}
	return nil, fmt.Errorf("consumer %.*q: %w", MaxName+1, name, types.ErrNotFound)
}

// List returns the consumers, by name.
func (cs *Consumers) List() []*Consumer {
	cs.mu.RLock()
	defer cs.mu.RUnlock()
	list := make([]*Consumer, 0, len(cs.byName))
	for _, c := range cs.byName {
		list = append(list, c)
	}
	slices.SortFunc(list, func(a, b *Consumer) int { return cmp.Compare(a.settings.Name, b.settings.Name) })
	return list
}

// Remove makes an end of a consumer, durably, with its dead letters and all it
// knows; who waits for it gets types.ErrNotFound. After an error it is there
// still.
func (cs *Consumers) Remove(name string) error {
	cs.changing.Lock()
	defer cs.changing.Unlock()
	c := cs.byName[name]
	if c == nil {
		return fmt.Errorf("remove consumer %.*q: %w", MaxName+1, name, types.ErrNotFound)
	}
	if cs.isClosed() {
		return fmt.Errorf("remove consumer %q: %w", name, types.ErrClosed)
	}
	if err := c.remove(); err != nil {
		return fmt.Errorf("remove consumer %q: %w", name, err)
	}
	cs.mu.Lock()
	delete(cs.byName, name)
	cs.mu.Unlock()
	if err := cs.forget(name); err != nil { // they are in nobody's way; Create tries again
		cs.cfg.Log.Warn("delete the notes of a removed consumer", "consumer", name, "err", err)
	}
	return nil
}

// Close ends every Next and Stream with types.ErrClosed, and returns when what
// the consumers know is durable. Closing again does nothing.
func (cs *Consumers) Close() error {
	cs.changing.Lock()
	if cs.isClosed() {
		cs.changing.Unlock()
		return nil
	}
	close(cs.closed)
	cs.changing.Unlock()
	return unload(cs.used(), func(*Consumer) bool { return true })
}

func (cs *Consumers) isClosed() bool {
	select {
	case <-cs.closed:
		return true
	default:
		return false
	}
}

// idleAfter is how long a consumer that nobody uses stays in memory: to load it
// again takes a scan of the log above its floor.
const idleAfter = time.Minute

// Tend frees the memory of consumers that nobody has used for a minute. It is to
// be called now and then, and waits for nobody but the disk.
func (cs *Consumers) Tend() {
	now := cs.now()
	idle := func(c *Consumer) bool { return c.users == 0 && now-c.usedAt >= idleAfter.Milliseconds() }
	var some []*Consumer
	for _, c := range cs.used() {
		if !c.mu.TryLock() {
			continue // it is in use
		}
		if idle(c) {
			some = append(some, c)
		}
		c.mu.Unlock()
	}
	if err := unload(some, idle); err != nil {
		cs.cfg.Log.Warn("unload consumers", "err", err)
	}
}

// unloading bounds the consumers that are unloaded at a time: they share a commit.
const unloading = 64

// unload frees the memory of those consumers to which may agrees, once all is
// durable. The error joins those of all.
func unload(consumers []*Consumer, may func(*Consumer) bool) error {
	errs := make([]error, len(consumers))
	var group errgroup.Group
	group.SetLimit(unloading)
	for i, c := range consumers {
		group.Go(func() error {
			if err := c.unload(may); err != nil {
				errs[i] = fmt.Errorf("consumer %q: %w", c.settings.Name, err)
			}
			return nil
		})
	}
	group.Wait() //nolint:errcheck // they are in errs
	return errors.Join(errs...)
}

// used returns the consumers with a window.
func (cs *Consumers) used() []*Consumer {
	cs.inUse.Lock()
	defer cs.inUse.Unlock()
	list := make([]*Consumer, 0, len(cs.inUse.consumers))
	for c := range cs.inUse.consumers {
		list = append(list, c)
	}
	return list
}

// enter notes that a consumer has a window, and returns the feed of its topic.
func (cs *Consumers) enter(c *Consumer) *feed {
	cs.inUse.Lock()
	defer cs.inUse.Unlock()
	cs.inUse.consumers[c] = struct{}{}
	f := cs.inUse.feeds[c.settings.Topic]
	if f == nil {
		f = &feed{}
		cs.inUse.feeds[c.settings.Topic] = f
	}
	f.users++
	return f
}

// leave is the end of what enter noted.
func (cs *Consumers) leave(c *Consumer) {
	cs.inUse.Lock()
	defer cs.inUse.Unlock()
	delete(cs.inUse.consumers, c)
	f := cs.inUse.feeds[c.settings.Topic]
	if f.users--; f.users == 0 {
		delete(cs.inUse.feeds, c.settings.Topic)
	}
}

// now is the time in Unix milliseconds. Like the clock behind it, it does not
// jump when somebody sets the wall clock.
func (cs *Consumers) now() int64 {
	return cs.opened.UnixMilli() + cs.cfg.Now().Sub(cs.opened).Milliseconds()
}

// recordsPage is how many records are read at a time.
const recordsPage = 256
