package badger

import (
	"errors"
	"fmt"
	"sync"

	"github.com/cairn-p2p/cairn/types"
)

// committer gathers the writes of all callers into few transactions. It has no
// goroutine: a caller that finds no commit under way leads one, for itself and
// all that have queued up, then hands the lead to the first of those that came
// meanwhile. So each caller leads at most once and a commit is always as large
// as the callers are many.
type committer struct {
	mu     sync.Mutex
	idle   sync.Cond // signalled when busy becomes false
	queue  []*op
	busy   bool // someone leads or has been told to
	closed bool
}

// op is one caller's part of a transaction.
type op struct {
	// prepare reads what it needs and returns what to write. It may be called
	// more than once. An error concerns this op alone.
	prepare func(tx) ([]write, error)
	err     error
	lead    chan bool // true: take the lead; false: done, see err
}

// write is one key's change.
type write struct {
	key, value []byte
	remove     bool
}

// writeOverhead is what Badger adds to each write when it measures a
// transaction.
const writeOverhead = 12

// submit blocks until o has been committed or has failed. lead commits a
// prefix of the queue, at least its first op, and returns its length.
func (c *committer) submit(o *op, lead func(queue []*op) int) error {
	o.lead = make(chan bool, 1)
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		return types.ErrClosed
	}
	c.queue = append(c.queue, o)
	wait := c.busy
	c.busy = true
	c.mu.Unlock()
	if wait && !<-o.lead {
		return o.err
	}
	c.run(lead)
	return o.err
}

// run leads one commit; the first of the queue is the caller's own op.
func (c *committer) run(lead func(queue []*op) int) {
	c.mu.Lock()
	queue := c.queue
	c.queue = nil
	c.mu.Unlock()

	n := lead(queue)

	c.mu.Lock()
	c.queue = append(queue[n:len(queue):len(queue)], c.queue...)
	if len(c.queue) > 0 {
		c.queue[0].lead <- true
	} else {
		c.busy = false
		c.idle.Broadcast()
	}
	c.mu.Unlock()
	for _, o := range queue[1:n] {
		o.lead <- false
	}
}

// close refuses new ops and waits until those under way are done.
func (c *committer) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	for c.busy {
		c.idle.Wait()
	}
}

// submit commits what prepare returns, with others' writes.
func (s *Store) submit(prepare func(tx) ([]write, error)) error {
	return s.committer.submit(&op{prepare: prepare}, s.commitSome)
}

// commitSome commits as much of the front of the queue as one transaction
// takes and sets the error of each op in it.
func (s *Store) commitSome(queue []*op) int {
	group, n, err := s.transact(queue)
	if err != nil && len(group) == 1 {
		group[0].err = err
	} else if err != nil {
		s.separate(group, err)
	}
	return n
}

// separate gives each op of a failed group its own result. When the failure
// was the store's, all share it: any of them may have been persisted. Otherwise
// each is tried alone, so that a poisoned one fails by itself.
func (s *Store) separate(group []*op, err error) {
	if maybeStored(err) {
		for _, o := range group {
			o.err = err
		}
		return
	}
	for _, o := range group {
		if _, _, alone := s.transact([]*op{o}); alone != nil {
			o.err = alone
		}
	}
}

// transact commits one transaction with as many ops as fit. It returns those in
// it, and how many of the queue it dealt with: the ones that could not be
// prepared have their errors already. An error concerns the whole group, and is
// a commitError when the group may have been persisted nevertheless.
func (s *Store) transact(queue []*op) (group []*op, n int, err error) {
	eng, err := s.acquire()
	if err != nil {
		for _, o := range queue {
			o.err = err
		}
		return nil, len(queue), nil
	}
	t := eng.begin()
	group, n, bytes, err := stage(eng, t, queue)
	if err == nil && bytes > 0 {
		err = commit(eng, t)
	}
	if err == nil {
		s.disk.wrote(bytes)
	}
	t.discard()
	s.mu.RUnlock()
	if maybeStored(err) {
		s.reopen(eng, err)
	}
	return group, n, err
}

// commit returns when t is durable. An error other than a refusal is a
// commitError.
func commit(eng engine, t tx) error {
	err := t.commit()
	if isRefusal(err) {
		return fmt.Errorf("commit: %w", err)
	}
	if err == nil {
		err = eng.sync()
	}
	if err != nil {
		return &commitError{err}
	}
	return nil
}

// stage fills t from the queue. bytes is the size of its writes.
func stage(eng engine, t tx, queue []*op) (group []*op, n, bytes int, err error) {
	maxBytes, maxCount := eng.limits()
	count := 0
	for _, o := range queue {
		o.err = nil
		writes, err := o.prepare(t)
		size := 0
		for _, w := range writes {
			size += len(w.key) + len(w.value) + writeOverhead
			if len(w.value) >= valueThreshold {
				err = fmt.Errorf("%w: a value of %d bytes, limit %d", types.ErrInvalidArgument, len(w.value), valueThreshold-1)
			}
		}
		if err != nil {
			o.err = err
			n++
			continue
		}
		if bytes+size > maxBytes || count+len(writes) > maxCount {
			if len(group) > 0 {
				break // the next transaction's
			}
			o.err = fmt.Errorf("%w: %d writes of %d bytes exceed a transaction", types.ErrInvalidArgument, len(writes), size)
			n++
			continue
		}
		bytes, count = bytes+size, count+len(writes)
		group = append(group, o)
		n++
		if err := put(t, writes); err != nil {
			return group, n, bytes, fmt.Errorf("stage: %w", err)
		}
	}
	return group, n, bytes, nil
}

func put(t tx, writes []write) error {
	for _, w := range writes {
		if w.remove {
			if err := t.remove(w.key); err != nil {
				return err
			}
		} else if err := t.set(w.key, w.value); err != nil {
			return err
		}
	}
	return nil
}

// commitError is a failed commit that may have persisted its writes.
type commitError struct{ cause error }

func (e *commitError) Error() string { return fmt.Sprintf("%v: commit: %v", types.ErrStore, e.cause) }

// Unwrap makes a commitError a types.ErrStore.
func (e *commitError) Unwrap() []error { return []error{types.ErrStore, e.cause} }

// maybeStored reports whether the writes of a failed transaction may be on disk.
func maybeStored(err error) bool {
	var failed *commitError
	return errors.As(err, &failed)
}
