package delivery

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cairn-p2p/cairn/types"
)

// next takes what there is now.
func next(t failer, c *Consumer, batch int) []Delivery {
	t.Helper()
	ds, err := c.Next(context.Background(), batch, 0)
	must(t, err)
	return ds
}

func ack(t failer, c *Consumer, ds ...Delivery) {
	t.Helper()
	var tokens []Token
	for _, d := range ds {
		tokens = append(tokens, d.Token)
	}
	must(t, c.Ack(context.Background(), tokens...))
}

func info(t failer, c *Consumer) Info {
	t.Helper()
	i, err := c.Info()
	must(t, err)
	return i
}

func refused(t *testing.T, err error, reason string) {
	t.Helper()
	var refusal *TokenError
	if !errors.As(err, &refusal) || refusal.Reason != reason || !errors.Is(err, ErrToken) {
		t.Errorf("error %v, want a token that is %s", err, reason)
	}
}

// Two branches of 1,000 grew in a partition, and the first event of one is never
// acknowledged: all of the other is delivered, and nothing more of the first.
func TestTwoBranches(t *testing.T) {
	b := newBench(t)
	const length = 1000
	root := b.chain(t, 9, 1)[0]
	var branches [2][]*types.Event
	last := [2]*types.Event{root, root}
	var merged []*types.Event
	for i := range length { // as two backfills that run side by side bring them
		for j := range branches {
			e, err := b.event(byte(j), i+1, nil, last[j])
			must(t, err)
			branches[j], last[j] = append(branches[j], e), e
			merged = append(merged, e)
		}
	}
	merge, err := b.event(9, 2, nil, last[0], last[1])
	must(t, err)
	must(t, b.integrate(append(merged, merge)...))
	c := b.create(t, Settings{CausalAcks: true})
	var stuck Delivery
	counts := map[types.Publisher]int{}
	for round := 0; ; round++ {
		ds := next(t, c, 1+round%7)
		if len(ds) == 0 {
			break
		}
		for _, d := range ds {
			counts[d.Publisher]++
			if d.CID == branches[0][0].CID {
				stuck = d
			} else {
				ack(t, c, d)
			}
		}
		if round == 500 {
			must(t, b.reopen())
			c, err = b.Find("c")
			must(t, err)
		}
	}
	if counts[types.Publisher{0}] != 1 || counts[types.Publisher{1}] != length || counts[types.Publisher{9}] != 1 {
		t.Errorf("delivered %v", counts)
	}
	if i := info(t, c); i.Pending != 1 || i.Waiting != length || i.Lag != length || i.AckFloor.Number != 1 {
		t.Errorf("info %+v", i) // waiting: 999 of the branch, and the merge
	}
	ack(t, c, stuck)
	for i := 1; i <= length; i++ {
		ds := next(t, c, 2)
		if len(ds) != 1 {
			t.Fatalf("event %d: %d delivered", i, len(ds))
		}
		ack(t, c, ds...)
	}
	if i := info(t, c); i.Pending+i.Waiting != 0 || i.Lag != 0 {
		t.Errorf("in the end %+v", i)
	}
}

// Scanning stops 65,536 entries above the floor, and goes on when it moves.
func TestScanStops(t *testing.T) {
	b := newBench(t)
	first, err := b.event(1, 1, []string{"wanted"})
	must(t, err)
	must(t, b.integrate(first))
	const ahead = 65_536
	events := b.chain(t, 2, ahead, first)
	last, err := b.event(1, 2, []string{"wanted"}, events[ahead-1])
	must(t, err)
	must(t, b.integrate(last))
	c := b.create(t, Settings{Tags: []string{"wanted"}, CausalAcks: true})
	ds := next(t, c, 10)
	if len(ds) != 1 {
		t.Fatalf("%d delivered", len(ds))
	}
	if i := info(t, c); i.Lag != 2 || i.Waiting != 0 || !i.Full {
		t.Errorf("info %+v", i)
	}
	if p := len(c.loaded.entries); p != ahead {
		t.Errorf("%d entries above the floor", p)
	}
	must(t, b.reopen())
	c, err = b.Find("c")
	must(t, err)
	ack(t, c, ds...)
	if ds = next(t, c, 10); len(ds) != 1 || ds[0].CID != last.CID {
		t.Errorf("delivered %v", ds)
	}
}

func TestCreate(t *testing.T) {
	b := newBench(t)
	events := b.chain(t, 1, 10)
	s := Settings{Tags: []string{"b", "a"}, From: Start{Now: true}}
	c := b.create(t, s)
	if got := c.Settings(); got.AckWait != DefaultAckWait || got.MaxPending != DefaultMaxPending || got.Name != "c" {
		t.Errorf("settings %+v", got)
	}
	b.chain(t, 2, 1, events[9])
	same := s
	same.Tags, same.AckWait = []string{"a", "b", "a"}, DefaultAckWait
	for range 2 {
		if again := b.create(t, same); again.Settings().Name != "c" || again != c {
			t.Error("another consumer is created with the same settings")
		}
		other := s
		other.Name, other.Topic, other.CausalAcks = "c", b.topic.ID(), true
		if _, err := b.Create(other); !errors.Is(err, ErrDiffers) {
			t.Errorf("other settings: %v", err)
		}
		must(t, b.reopen())
		var err error
		c, err = b.Find("c")
		must(t, err)
	}
	if i := info(t, c); i.AckFloor.Number != 10 || i.Lag != 1 {
		t.Errorf("from now: %+v", i)
	}
	if _, err := b.Create(Settings{Name: "x"}); !errors.Is(err, types.ErrInvalidArgument) {
		t.Errorf("no topic: %v", err)
	}
	if _, err := b.Create(Settings{Name: "x", Topic: events[0].CID}); !errors.Is(err, types.ErrNotFound) {
		t.Errorf("unknown topic: %v", err)
	}
	at := Start{Cursor: types.Cursor{Number: 3, Hash: [8]byte{1}}}
	if _, err := b.Create(Settings{Name: "x", Topic: b.topic.ID(), From: at}); !errors.Is(err, types.ErrInvalidCursor) {
		t.Errorf("unknown position: %v", err)
	}
	if _, err := b.Find("x"); !errors.Is(err, types.ErrNotFound) {
		t.Errorf("find: %v", err)
	}
	third := b.create(t, Settings{Name: "b"})
	ds := next(t, third, 3)
	fourth := b.create(t, Settings{Name: "d", From: Start{Cursor: ds[2].Cursor}})
	if ds := next(t, fourth, 1); ds[0].CID != events[3].CID {
		t.Errorf("from a cursor: %v", ds[0].Cursor)
	}
	var names []string
	for _, c := range b.List() {
		names = append(names, c.Settings().Name)
	}
	if !slices.Equal(names, []string{"b", "c", "d"}) {
		t.Errorf("consumers %v", names)
	}
}

func TestTooManyConsumers(t *testing.T) {
	b := newBench(t)
	for i := range MaxConsumers {
		b.create(t, Settings{Name: fmt.Sprint("c", i)})
	}
	if _, err := b.Create(Settings{Name: "more", Topic: b.topic.ID()}); !errors.Is(err, ErrTooMany) {
		t.Errorf("one more: %v", err)
	}
	must(t, b.Remove("c7"))
	b.create(t, Settings{Name: "more"})
	must(t, b.reopen())
	if n := len(b.List()); n != MaxConsumers {
		t.Errorf("%d consumers", n)
	}
}

func TestNextArguments(t *testing.T) {
	c := newBench(t)
	consumer := c.create(t, Settings{})
	for _, batch := range []int{0, MaxBatch + 1} {
		if _, err := consumer.Next(context.Background(), batch, 0); !errors.Is(err, types.ErrInvalidArgument) {
			t.Errorf("batch of %d: %v", batch, err)
		}
	}
	if err := consumer.Nak(context.Background(), MaxDelay+1); !errors.Is(err, types.ErrInvalidArgument) {
		t.Errorf("long delay: %v", err)
	}
}

func TestTokens(t *testing.T) {
	b := newBench(t)
	b.chain(t, 1, 5)
	c := b.create(t, Settings{AckWait: time.Second})
	ds := next(t, c, 3)
	ctx := context.Background()
	unknown := ds[0].Token
	unknown.Attempt++
	refused(t, c.Ack(ctx, unknown), ReasonUnknown)
	refused(t, c.Ack(ctx, Token{Epoch: ds[0].Token.Epoch, Number: 4, Attempt: 1}), ReasonUnknown)
	refused(t, c.Ack(ctx, Token{Epoch: ds[0].Token.Epoch, Number: 9, Attempt: 1}), ReasonUnknown)
	refused(t, c.Ack(ctx, Token{Epoch: ds[0].Token.Epoch, Attempt: 1}), ReasonUnknown)
	other := ds[0].Token // of the event that had the number before the node's data was restored
	other.Hash[0]++
	refused(t, c.Ack(ctx, other), ReasonUnknown)
	refused(t, c.Ack(ctx, Token{Epoch: 1, Number: 1, Attempt: 1}), ReasonStale)
	refused(t, c.Ack(ctx, ds[0].Token, ds[0].Token), ReasonSettled) // the first was taken
	b.now = b.now.Add(time.Second)
	again := next(t, c, 3)
	if len(again) != 3 || again[0].Count != 2 || again[2].Count != 1 {
		t.Fatalf("delivered %+v", again)
	}
	refused(t, c.Ack(ctx, ds[1].Token, again[1].Token), ReasonStale) // the other is carried out
	refused(t, c.Ack(ctx, again[1].Token), ReasonSettled)
	must(t, c.Ack(ctx, again[0].Token, again[2].Token))
	if i := info(t, c); i.Pending != 0 || i.AckFloor.Number != 4 {
		t.Errorf("info %+v", i)
	}
}

// What was delivered before a restart keeps its deadline, as JetStream has it.
func TestDeadlineOutlivesRestart(t *testing.T) {
	b := newBench(t)
	b.chain(t, 1, 2)
	c := b.create(t, Settings{AckWait: time.Minute})
	next(t, c, 1)
	b.now = b.now.Add(50 * time.Second)
	must(t, b.reopen())
	c, err := b.Find("c")
	must(t, err)
	if ds := next(t, c, 2); len(ds) != 1 || ds[0].Cursor.Number != 2 {
		t.Errorf("after 50 s: %v", ds)
	}
	b.now = b.now.Add(10 * time.Second)
	if ds := next(t, c, 2); len(ds) != 1 || ds[0].Cursor.Number != 1 || ds[0].Count != 2 {
		t.Errorf("after a minute: %v", ds)
	}
}

// A clock that was set back while nobody looked does not keep what is pending, or
// was requeued, from coming again in its time.
func TestClockSetBack(t *testing.T) {
	b := newBench(t)
	b.chain(t, 1, 3)
	c := b.create(t, Settings{AckWait: time.Minute, MaxDeliver: 2})
	given := next(t, c, 1)[0]
	must(t, c.Term(t.Context(), "why", given.Token))
	next(t, c, 1)
	if _, err := c.Requeue(t.Context(), given.CID); err != nil {
		t.Fatal(err)
	}
	next(t, c, 1)
	b.now = b.now.Add(-10 * 24 * time.Hour)
	for range 2 { // what was moved stays where it was moved to
		must(t, b.reopen())
		var err error
		c, err = b.Find("c")
		must(t, err)
		if ds := next(t, c, 1); len(ds) > 0 && ds[0].Cursor.Number != 3 {
			t.Errorf("before its time: %v", ds)
		}
		b.now = b.now.Add(30 * time.Second)
	}
	var numbers []uint64
	for _, d := range next(t, c, 3) {
		numbers = append(numbers, d.Cursor.Number)
	}
	if !slices.Equal(numbers, []uint64{1, 2, 3}) {
		t.Errorf("after a minute: %v", numbers)
	}
}

// After the log was replaced, a consumer gives nothing until it is reset.
func TestOtherLog(t *testing.T) {
	for _, at := range []struct{ scanned, pending int }{{0, 0}, {1, 1}, {3, 1}, {3, 0}} {
		scanned := at.scanned
		b := newBench(t)
		old := b.chain(t, 1, 5)
		c := b.create(t, Settings{From: Start{Now: scanned == 0}})
		var ds []Delivery
		if scanned > 0 {
			ds = next(t, c, scanned)
			ack(t, c, ds[at.pending:]...)
		}
		b.testLog = newTestLog(t) // whose log id is another
		must(t, b.integrate(old...))
		must(t, b.reopen())
		next(t, b.create(t, Settings{Name: "fresh"}), 5) // what it read is shared
		c, err := b.Find("c")
		must(t, err)
		ctx := context.Background()
		_, infoErr := c.Info()
		_, nextErr := c.Next(ctx, 1, time.Hour)
		var streamErr error
		for _, err := range c.Stream(ctx) {
			streamErr = err
		}
		_, requeueErr := c.Requeue(ctx)
		for what, err := range map[string]error{"info": infoErr, "next": nextErr, "stream": streamErr, "ack": c.Ack(ctx), "requeue": requeueErr} {
			if !errors.Is(err, types.ErrInvalidCursor) {
				t.Errorf("%d scanned: %s: %v", scanned, what, err)
			}
		}
		must(t, c.Reset(ctx, Start{}))
		if ds := next(t, c, 10); len(ds) != 5 || ds[0].Count != 1 {
			t.Errorf("after the reset: %v", ds)
		}
		if scanned > 0 {
			refused(t, c.Ack(ctx, ds[0].Token), ReasonStale)
		}
	}
}

// TestRestored shows that a consumer of a restored copy gives nothing until it is
// reset, also when the copy was made of one, that its dead letters are listed until
// then, and that one made since is not concerned.
func TestRestored(t *testing.T) {
	b := newBench(t)
	b.chain(t, 1, 5)
	b.create(t, Settings{})
	ctx := context.Background()
	find := func(name string) *Consumer {
		c, err := b.Find(name)
		must(t, err)
		return c
	}
	for range 2 {
		old := next(t, find("c"), 3)
		ack(t, find("c"), old[0])
		must(t, find("c").Term(ctx, "poison", old[1].Token))
		b.restored = true
		must(t, b.reopen())
		c := find("c")
		_, infoErr := c.Info()
		_, nextErr := c.Next(ctx, 1, 0)
		_, requeueErr := c.Requeue(ctx)
		for what, err := range map[string]error{"info": infoErr, "next": nextErr, "ack": c.Ack(ctx, old[2].Token), "requeue": requeueErr} {
			if !errors.Is(err, types.ErrInvalidCursor) || !strings.Contains(err.Error(), old[1].Cursor.String()) {
				t.Errorf("%s: %v", what, err)
			}
		}
		letters := 0
		for d, err := range c.Dead(0) {
			must(t, err)
			letters++
			if d.CID != old[1].CID {
				t.Errorf("dead letter %+v", d)
			}
		}
		if letters != 1 {
			t.Errorf("%d dead letters", letters)
		}
		next(t, b.create(t, Settings{Name: "fresh"}), 1)
		must(t, c.Reset(ctx, Start{}))
		refused(t, c.Ack(ctx, old[2].Token), ReasonStale)
		b.restored = false
		must(t, b.reopen())
		next(t, find("c"), 1)
		must(t, find("c").Reset(ctx, Start{}))
		next(t, find("fresh"), 1)
		must(t, b.Remove("fresh"))
	}
}

func TestReset(t *testing.T) {
	b := newBench(t)
	b.chain(t, 1, 5)
	b.validator = rule(func(e *types.Event) string {
		if e.Seq == 2 {
			return "even"
		}
		return ""
	})
	c := b.create(t, Settings{MaxDeliver: 1})
	ctx := context.Background()
	ds := next(t, c, 3)
	must(t, c.Nak(ctx, 0, ds[0].Token))
	must(t, c.Term(ctx, "poison", ds[1].Token))
	if n, err := c.Requeue(ctx, ds[1].CID, ds[2].CID); !errors.Is(err, types.ErrNotFound) || n != 0 || info(t, c).Dead != 2 {
		t.Errorf("requeue of one that is no dead letter: %d, %v, info %+v", n, err, info(t, c))
	}
	if n, err := c.Requeue(ctx, ds[1].CID); err != nil || n != 1 {
		t.Error(n, err)
	}
	if i := info(t, c); i.Dead != 1 || i.Suppressed != 1 {
		t.Errorf("info %+v", i)
	}
	bad := Start{Cursor: types.Cursor{Number: 2}}
	if err := c.Reset(ctx, bad); !errors.Is(err, types.ErrInvalidCursor) {
		t.Errorf("reset to nowhere: %v", err)
	}
	must(t, c.Reset(ctx, Start{Cursor: ds[1].Cursor}))
	if i := info(t, c); i.Dead != 0 || i.Suppressed != 0 || i.Pending != 0 || i.AckFloor != ds[1].Cursor {
		t.Errorf("after the reset %+v", i)
	}
	refused(t, c.Ack(ctx, ds[2].Token), ReasonStale)
	keys, err := b.records.MetaKeys("consumer/")
	must(t, err)
	if len(keys) != 2 {
		t.Errorf("records %q", keys)
	}
}

func TestRemove(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.chain(t, 1, 3)
		c := b.create(t, Settings{})
		ds := next(t, c, 3)
		must(t, c.Term(context.Background(), "poison", ds[0].Token))
		var waiting sync.WaitGroup
		waiting.Go(func() {
			if _, err := c.Next(context.Background(), 1, time.Second); !errors.Is(err, types.ErrNotFound) {
				t.Errorf("waiting next: %v", err)
			}
		})
		synctest.Wait()
		must(t, b.Remove("c"))
		waiting.Wait()
		if err := b.Remove("c"); !errors.Is(err, types.ErrNotFound) {
			t.Errorf("remove again: %v", err)
		}
		if err := c.Ack(context.Background(), ds[1].Token); !errors.Is(err, types.ErrNotFound) {
			t.Errorf("ack: %v", err)
		}
		keys, err := b.records.MetaKeys("consumer/")
		must(t, err)
		if len(keys) > 0 {
			t.Errorf("records %q", keys)
		}
		c = b.create(t, Settings{})
		if got := next(t, c, 3); len(got) != 3 || got[0].Count != 1 {
			t.Errorf("the new one gives %v", got)
		}
		refused(t, c.Ack(context.Background(), ds[1].Token), ReasonStale)
	})
}

// A consumer that takes long to make or to remove keeps nobody from the others.
func TestSlowChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := wallClock(t)
		b.create(t, Settings{Name: "old"})
		for what, change := range map[string]func() error{
			"remove": func() error { return b.Remove("old") },
			"create": func() error { _, err := b.Create(Settings{Name: "new", Topic: b.topic.ID()}); return err },
		} {
			b.records.gate = make(chan struct{})
			changed := make(chan error)
			go func() { changed <- change() }()
			synctest.Wait()
			if b.Consumers.mu.TryRLock() {
				b.Consumers.mu.RUnlock()
			} else {
				t.Errorf("%s: no consumer is found meanwhile", what)
			}
			close(b.records.gate)
			must(t, <-changed)
		}
	})
}

// While the validator is at work, what was delivered before is acknowledged, and
// who waits for its verdict may go.
func TestSlowValidator(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := wallClock(t)
		must(t, b.Close())
		verdict := make(chan string)
		slow := rule(func(e *types.Event) string {
			if e.Seq == 1 {
				return ""
			}
			return <-verdict
		})
		var err error
		b.Consumers, err = Open(Config{Records: b.records, Topic: b.find, Validator: func(types.TopicID) Validator { return slow }})
		must(t, err)
		b.chain(t, 1, 4)
		c := b.create(t, Settings{})
		first := next(t, c, 1)
		var calls sync.WaitGroup
		give := func() {
			if ds, err := c.Next(context.Background(), 1, 0); err != nil || len(ds) != 1 {
				t.Errorf("given %v, %v", ds, err)
			}
		}
		calls.Go(give)
		synctest.Wait()
		if !c.mu.TryLock() {
			verdict <- ""
			calls.Wait()
			t.Fatal("the consumer is locked")
		}
		c.mu.Unlock()
		ack(t, c, first...)
		if i := info(t, c); i.AckFloor.Number != 1 || i.Lag != 3 {
			t.Errorf("info %+v", i)
		}
		calls.Go(give)
		ctx, cancel := context.WithCancel(context.Background())
		calls.Go(func() {
			if _, err := c.Next(ctx, 1, 0); !errors.Is(err, context.Canceled) {
				t.Errorf("a call that has ended: %v", err)
			}
		})
		synctest.Wait()
		cancel()
		for _, reason := range []string{"unwanted", "", ""} {
			verdict <- reason
		}
		calls.Wait()
		if i := info(t, c); i.Pending != 2 || i.Suppressed != 1 || i.Lag != 0 {
			t.Errorf("in the end %+v", i)
		}
	})
}

// A crash while a consumer is removed leaves all of it or nothing that the next of
// its name sees.
func TestCrashInRemove(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := wallClock(t)
		b.chain(t, 1, 3)
		c := b.create(t, Settings{})
		ds := next(t, c, 3)
		must(t, c.Term(t.Context(), "poison", ds[0].Token, ds[1].Token))
		_, err := c.Requeue(t.Context(), ds[1].CID)
		must(t, err)
		gate := make(chan struct{})
		b.records.gate = gate
		go b.Remove("c") //nolint:errcheck // its process died
		synctest.Wait()
		gate <- struct{}{}
		synctest.Wait()
		b.records.gate = nil
		must(t, b.reopen())
		if c, err := b.Find("c"); err == nil {
			listed := uint64(0)
			for range c.Dead(0) {
				listed++
			}
			if i := info(t, c); i.Dead != listed {
				t.Errorf("half of it is there: %+v, and %d dead letters", i, listed)
			}
			must(t, b.Remove("c"))
		}
		c = b.create(t, Settings{})
		if ds := next(t, c, 9); len(ds) != 3 || ds[0].Count != 1 {
			t.Errorf("the next of its name gives %v", ds)
		}
		for d := range c.Dead(0) {
			t.Errorf("the next of its name has %v", d)
		}
		close(gate)
	})
}

// wallClock lets a bench's time be the one of synctest.
func wallClock(t failer) *bench {
	b := newBench(t)
	must(t, b.Close())
	var err error
	b.Consumers, err = Open(Config{Records: b.records, Topic: b.find})
	must(t, err)
	return b
}

// Next wakes for a commit, a deadline, room among the pending and an ancestor
// that is settled; it ends with its context, its wait and the consumers.
func TestNextWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := wallClock(t)
		c := b.create(t, Settings{MaxPending: 2, AckWait: 10 * time.Second, CausalAcks: true})
		got := make(chan []Delivery, 1)
		wait := func() {
			t.Helper()
			go func() {
				ds, err := c.Next(context.Background(), 5, time.Hour)
				if err != nil {
					t.Error(err)
				}
				got <- ds
			}()
			synctest.Wait()
			select {
			case ds := <-got:
				t.Fatalf("did not wait: %v", ds)
			default:
			}
		}
		begin := time.Now()
		if ds, err := c.Next(context.Background(), 1, time.Minute); len(ds) > 0 || err != nil || time.Since(begin) != time.Minute {
			t.Errorf("nothing in a minute: %v, %v, after %v", ds, err, time.Since(begin))
		}
		wait()
		first := b.chain(t, 1, 2)
		ds := <-got
		if len(ds) != 1 || ds[0].CID != first[0].CID {
			t.Fatalf("commit: %v", ds)
		}
		wait()
		ack(t, c, ds...) // its child is free
		if ds = <-got; len(ds) != 1 || ds[0].CID != first[1].CID {
			t.Fatalf("ancestor: %v", ds)
		}
		b.chain(t, 2, 1) // concurrent
		ds = append(ds, next(t, c, 5)...)
		b.chain(t, 3, 1)
		wait() // two are pending
		ack(t, c, ds[1])
		if ds[1] = (<-got)[0]; ds[1].Publisher != (types.Publisher{3}) {
			t.Fatalf("room: %v", ds[1])
		}
		begin = time.Now()
		wait()
		if again := <-got; len(again) != 2 || time.Since(begin) != 10*time.Second || again[0].Count != 2 {
			t.Fatalf("deadline: %v after %v", again, time.Since(begin))
		} else {
			wait()
			must(t, c.Nak(context.Background(), time.Second, again[0].Token))
			if ds = <-got; ds[0].Count != 3 {
				t.Fatalf("refused: %v", ds)
			}
		}
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		errs := make(chan error)
		for _, ctx := range []context.Context{ctx, context.Background()} {
			go func() {
				_, err := c.Next(ctx, 1, time.Second)
				errs <- err
			}()
			synctest.Wait()
			cancel()
			if ctx.Err() == nil {
				must(t, b.Close())
			}
			if err := <-errs; !errors.Is(err, context.Canceled) && !errors.Is(err, types.ErrClosed) {
				t.Errorf("ended wait: %v", err)
			}
		}
	})
}

// The time to settle what a stream gives runs from when it is given: a slow
// subscriber sees each event once, and one that leaves takes nothing with it.
func TestStreamOfASlowSubscriber(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := wallClock(t)
		b.chain(t, 1, 2000)
		c := b.create(t, Settings{AckWait: time.Second, MaxDeliver: 1})
		seen := 0
		for d, err := range c.Stream(context.Background()) {
			must(t, err)
			if seen++; d.Cursor.Number != uint64(seen) || d.Count != 1 {
				t.Fatalf("event %d, count %d, is number %d", d.Cursor.Number, d.Count, seen)
			}
			if seen > 700 {
				time.Sleep(900 * time.Millisecond)
			}
			if i := info(t, c); seen > 1050 && i.Pending > 2 {
				t.Fatalf("a slow stream has taken %d events", i.Pending)
			}
			ack(t, c, d)
			if seen == 1100 {
				break
			}
		}
		if i := info(t, c); i.Pending != 0 || i.Dead != 0 || i.Lag != 900 {
			t.Errorf("info %+v", i)
		}
		if ds := next(t, c, 1); ds[0].Cursor.Number != 1101 || ds[0].Count != 1 {
			t.Errorf("next is %d, count %d", ds[0].Cursor.Number, ds[0].Count)
		}
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		for d, err := range c.Stream(ctx) {
			must(t, err)
			if d.Cursor.Number == 1300 {
				cancel()
			}
			ack(t, c, d)
		}
		if ds := next(t, c, 1); ds[0].Cursor.Number != 1301 {
			t.Errorf("next is %d", ds[0].Cursor.Number)
		}
	})
}

// Two streams share the events, each of which is given to one of them; a slow
// one takes few at a time.
func TestStreamsShare(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := wallClock(t)
		const events = 500
		b.chain(t, 1, events)
		c := b.create(t, Settings{})
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		var shares [2]int
		var total atomic.Int64
		var wg sync.WaitGroup
		for i := range shares {
			wg.Go(func() {
				for d, err := range c.Stream(ctx) {
					if err != nil || d.Count != 1 {
						t.Errorf("event %d, count %d: %v", d.Cursor.Number, d.Count, err)
						return
					}
					time.Sleep(100 * time.Millisecond)
					if err := c.Ack(context.Background(), d.Token); err != nil {
						t.Error(err)
					}
					if shares[i]++; total.Add(1) == events {
						cancel()
					}
				}
			})
		}
		wg.Wait()
		if shares[0]+shares[1] != events || min(shares[0], shares[1]) < events/3 {
			t.Errorf("shares are %v", shares)
		}
	})
}

// What a stream took and did not hand out comes again to others: as a redelivery if
// they have seen what is behind it, for first deliveries are in the log's order.
func TestStreamGivesBackInOrder(t *testing.T) {
	for _, stream := range []bool{false, true} { // how the other subscriber takes events
		b := newBench(t)
		b.chain(t, 1, 12)
		c := b.create(t, Settings{MaxDeliver: 2})
		var numbers []uint64 // of the other's first deliveries
		counts := map[uint64]int{}
		see := func(d Delivery) {
			if counts[d.Cursor.Number] = d.Count; d.Count == 1 {
				numbers = append(numbers, d.Cursor.Number)
			}
		}
		other, stop := iter.Pull2(c.Stream(t.Context()))
		defer stop()
		for d, err := range c.Stream(t.Context()) { // takes 1, then 2 and 3
			must(t, err)
			if d.Cursor.Number < 2 {
				continue
			}
			if stream { // it takes 4, then 5 and 6, and holds those when 3 is given back
				for range 2 {
					d, err, _ := other()
					must(t, err)
					see(d)
				}
			} else {
				for _, d := range next(t, c, 5) {
					see(d)
				}
			}
			break
		}
		if stream {
			d, err, _ := other()
			must(t, err)
			see(d)
		}
		for _, d := range next(t, c, 12) {
			see(d)
		}
		if !slices.IsSorted(numbers) || counts[3] != 2 {
			t.Errorf("stream %v: first deliveries %v, counts %v", stream, numbers, counts)
		}
	}
}

// What nobody saw is not given up, whatever a stream took and others have seen, over
// a restart too.
func TestGivenBackIsDelivered(t *testing.T) {
	for _, causal := range []bool{false, true} {
		b := newBench(t)
		one := b.chain(t, 1, 1)
		for publisher := byte(2); publisher < 4; publisher++ { // 2 and 3, behind 1
			b.chain(t, publisher, 1, one...)
		}
		b.chain(t, 4, 1) // 4, behind nothing
		c := b.create(t, Settings{MaxDeliver: 1, CausalAcks: causal})
		seen := map[uint64]bool{}
		var first Token
		for d, err := range c.Stream(t.Context()) { // takes 1; then 2 and 3, or 4, and then those
			must(t, err)
			seen[d.Cursor.Number] = true
			switch {
			case d.Cursor.Number == 1:
				first = d.Token
			case causal && d.Cursor.Number == 4:
				must(t, c.Ack(t.Context(), first))
			case !causal:
				seen[next(t, c, 1)[0].Cursor.Number] = true
			}
			if d.Cursor.Number == 2 {
				break // with 3 in its hands, behind which somebody has seen 4
			}
		}
		if !seen[4] || seen[3] {
			t.Fatalf("causal %v: seen %v", causal, seen)
		}
		must(t, b.reopen())
		c, err := b.Find("c")
		must(t, err)
		if ds := next(t, c, 4); len(ds) != 1 || ds[0].Cursor.Number != 3 {
			t.Errorf("causal %v: %v", causal, ds)
		}
		if info, err := c.Info(); err != nil || info.Dead > 0 {
			t.Errorf("causal %v: %+v, %v", causal, info, err)
		}
	}
}

// While a write is under way all who come wait for the next, which is one for
// all of them; and nothing is handed out before its count is durable.
func TestWritesAreShared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := wallClock(t)
		b.chain(t, 1, 100)
		c := b.create(t, Settings{})
		ds := next(t, c, 99)
		b.records.gate = make(chan struct{})
		var done atomic.Int64
		for _, d := range ds {
			go func() {
				if err := c.Ack(context.Background(), d.Token); err != nil {
					t.Error(err)
				}
				done.Add(1)
			}()
		}
		handed := make(chan []Delivery, 1)
		go func() {
			ds, err := c.Next(context.Background(), 1, 0)
			if err != nil {
				t.Error(err)
			}
			handed <- ds
		}()
		synctest.Wait()
		if len(handed) > 0 || done.Load() > 0 {
			t.Error("somebody did not wait for the write")
		}
		before := b.records.writes
		close(b.records.gate)
		synctest.Wait()
		if done.Load() != 99 || len(<-handed) != 1 {
			t.Errorf("%d acknowledged", done.Load())
		}
		if n := b.records.writes - before; n > 2 {
			t.Errorf("%d writes", n)
		}
	})
}

// What is in memory is given up while a write is under way: it is read again only
// when that has ended, with what the write made durable.
func TestLoadWaitsForTheWrite(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := wallClock(t)
		b.chain(t, 1, 2)
		c := b.create(t, Settings{})
		ds := next(t, c, 2)
		must(t, c.Nak(context.Background(), 0, ds[1].Token))
		b.records.gate = make(chan struct{})
		var wg sync.WaitGroup
		wg.Go(func() {
			if err := c.Ack(context.Background(), ds[0].Token); err != nil {
				t.Error(err)
			}
		})
		synctest.Wait()
		b.getErr = errInjected
		if _, err := c.Next(context.Background(), 1, 0); !errors.Is(err, errInjected) {
			t.Errorf("next without an event: %v", err)
		}
		b.getErr = nil
		wg.Go(func() {
			if ds, err := c.Next(context.Background(), 2, 0); err != nil || len(ds) != 1 || ds[0].Cursor.Number != 2 || ds[0].Count != 2 {
				t.Errorf("next: %v, %v", ds, err)
			}
		})
		synctest.Wait()
		close(b.records.gate)
		wg.Wait()
		time.Sleep(time.Minute)
		if ds := next(t, c, 2); len(ds) != 1 || ds[0].Cursor.Number != 2 {
			t.Errorf("given after a minute: %v", ds)
		}
	})
}

// Consumers of a topic that read at one pace read its log once.
func TestLogIsReadOnce(t *testing.T) {
	b := newBench(t)
	b.chain(t, 1, 2000)
	log := &countingLog{testLog: b.testLog}
	var err error
	b.Consumers, err = Open(Config{Records: b.records, Topic: func(types.TopicID) (Log, error) { return log, nil }})
	must(t, err)
	var consumers []*Consumer
	for i := range 10 {
		consumers = append(consumers, b.create(t, Settings{Name: fmt.Sprint(i)}))
	}
	before := log.reads.Load()
	for range 20 {
		for _, c := range consumers {
			ack(t, c, next(t, c, 100)...)
		}
	}
	if n := log.reads.Load() - before; n != 8 {
		t.Errorf("2,000 events were read in %d pieces, want 8", n)
	}
}

// An idle consumer keeps nothing in memory, and what it had is durable.
func TestTend(t *testing.T) {
	b := newBench(t)
	b.chain(t, 1, 10)
	c := b.create(t, Settings{Tags: []string{"none"}})
	next(t, c, 1)
	b.now = b.now.Add(idleAfter - time.Millisecond)
	b.Tend()
	if c.loaded == nil {
		t.Error("unloaded early")
	}
	b.now = b.now.Add(time.Millisecond)
	b.Tend()
	if c.loaded != nil || len(b.inUse.feeds) > 0 || len(b.inUse.consumers) > 0 {
		t.Error("an idle consumer is in memory")
	}
	must(t, b.reopen())
	c, err := b.Find("c")
	must(t, err)
	if i := info(t, c); i.AckFloor.Number != 10 || i.Lag != 0 {
		t.Errorf("info %+v", i)
	}
}

// To ask where idle consumers stand puts none of them in memory.
func TestInfoLeavesIdle(t *testing.T) {
	for _, s := range []Settings{{}, {CausalAcks: true}, {MaxDeliver: 2}} {
		b := newBench(t)
		b.chain(t, 1, 10)
		c := b.create(t, s)
		ds := next(t, c, 4)
		if s.CausalAcks {
			ack(t, c, ds...)
			next(t, c, 4)
		} else {
			ack(t, c, ds[:2]...)
			must(t, c.Term(t.Context(), "poison", ds[2].Token))
			must(t, c.Nak(t.Context(), 0, ds[3].Token))
			next(t, c, 1)
		}
		want := info(t, c)
		must(t, b.reopen())
		c, err := b.Find("c")
		must(t, err)
		if got := info(t, c); got != want || c.loaded != nil {
			t.Errorf("%+v in memory, and %+v from the records; in memory again: %v", want, got, c.loaded != nil)
		}
		b.now = b.now.Add(time.Hour) // which kills what was delivered twice
		if got := info(t, c); got.Dead != want.Dead+uint64(min(s.MaxDeliver, 1)) {
			t.Errorf("an hour later %+v", got)
		}
	}
}

// Consumers that fall idle together share the commits of what they know; one that
// is in use is not waited for.
func TestTendMany(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := wallClock(t)
		b.chain(t, 1, 1)
		busy := b.create(t, Settings{Name: "busy"})
		next(t, busy, 1)
		for i := range 50 {
			next(t, b.create(t, Settings{Name: fmt.Sprint(i), Tags: []string{"none"}}), 1)
		}
		time.Sleep(idleAfter)
		b.records.delay = time.Second
		begin := time.Now()
		busy.mu.Lock()
		b.Tend()
		busy.mu.Unlock()
		if took := time.Since(begin); took != time.Second || len(b.inUse.consumers) != 1 {
			t.Errorf("unloaded all but %d in %v", len(b.inUse.consumers), took)
		}
	})
}

// A consumer is used by many at once, and everything it gives is settled once.
func TestCrowd(t *testing.T) {
	b := newBench(t)
	clock := time.Now
	var err error
	odd := rule(func(e *types.Event) string {
		if e.Seq == 5 {
			return "a fifth"
		}
		return ""
	})
	b.Consumers, err = Open(Config{Records: b.records, Topic: b.find, Now: clock, Validator: func(types.TopicID) Validator { return odd }})
	must(t, err)
	const events, wanted = 3000, 2700
	c := b.create(t, Settings{MaxPending: 100, CausalAcks: true})
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	var mu sync.Mutex
	settled := map[uint64]bool{}
	var wg sync.WaitGroup
	wg.Go(func() {
		for i := range events / 10 {
			b.chain(t, byte(i), 10)
		}
	})
	for worker := range 8 {
		wg.Go(func() {
			for n := 0; ctx.Err() == nil; n++ {
				ds, err := c.Next(ctx, 1+n%9, time.Second)
				for _, d := range ds {
					if n%7 == worker%7 {
						err = errors.Join(err, c.Nak(ctx, 0, d.Token))
						continue
					}
					err = errors.Join(err, c.Ack(ctx, d.Token))
					mu.Lock()
					if settled[d.Cursor.Number] {
						t.Errorf("event %d was given after it was acknowledged", d.Cursor.Number)
					}
					settled[d.Cursor.Number] = true
					if len(settled) == wanted {
						cancel()
					}
					mu.Unlock()
				}
				if n%50 == 0 {
					_, infoErr := c.Info()
					err = errors.Join(err, infoErr)
					b.Tend()
				}
				if err != nil && !errors.Is(err, context.Canceled) {
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	if i := info(t, c); len(settled) != wanted || i.Pending != 0 || i.AckFloor.Number != events || i.Suppressed != events-wanted {
		t.Errorf("%d settled, info %+v", len(settled), i)
	}
}

// countingLog counts the reads of a log.
type countingLog struct {
	*testLog
	reads atomic.Int64
}

func (l *countingLog) Log(after types.Cursor) iterEntries {
	l.reads.Add(1)
	return l.testLog.Log(after)
}
