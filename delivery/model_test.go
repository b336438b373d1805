package delivery

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/cairn-p2p/cairn/types"
)

// TestConsumerAgreesWithModel lets a consumer live through random inputs, over
// a random DAG that is integrated in a random order, with subscribers that
// acknowledge, refuse, forget and come late, with crashes, and with commits that fail or
// persist all the same. At each moment it gives exactly what the model gives.
func TestConsumerAgreesWithModel(t *testing.T) {
	for range 10 { // some mistakes take more than rapid's 100 lives to show
		rapid.Check(t, live)
	}
}

// live is the life of one consumer.
func live(rt *rapid.T) {
	w := newWorld(rt)
	rt.Repeat(map[string]func(*rapid.T){
		"integrate": w.integrate,
		"next":      w.next,
		"next2":     w.next, // as often as all the rest together would starve it
		"stream":    w.stream,
		"ack":       w.ack,
		"ack2":      w.ack,
		"nak":       w.nak,
		"term":      w.term,
		"progress":  w.progress,
		"old token": w.oldToken,
		"pass time": w.passTime,
		"requeue":   w.requeue,
		"crash":     w.crash,
		"close":     w.close,
		"unload":    w.unload,
		"fault":     w.fault,
		"reset":     w.reset,
		"":          w.compare,
	})
	w.drain(rt)
}

// fact is an event, with what the model knows of it.
type fact struct {
	*types.Event
	number     uint64 // in the log; 0: not integrated
	ancestors  map[*fact]bool
	suppressed bool // the validator's verdict
	start      bool // it lies before the consumer's start

	attempts uint64 // deliveries
	base     uint64 // of them, before it was requeued
	deadline int64
	settled  bool
	dead     bool
	requeued bool
	trying   bool // a call that failed may have settled it
	tokens   []Token
}

func (f *fact) String() string { return fmt.Sprintf("event %d, number %d", f.Seq, f.number) }

type world struct {
	t *rapid.T
	*bench
	facts    []*fact
	log      []*fact // as integrated
	consumer *Consumer
	settings Settings
}

func newWorld(rt *rapid.T) *world {
	w := &world{t: rt, bench: newBench(rt)}
	w.grow(rt, rapid.IntRange(1, 40).Draw(rt, "events"))
	w.validator = rule(func(e *types.Event) string {
		if w.fact(e).suppressed {
			return "unwanted"
		}
		return ""
	})
	for range rapid.IntRange(0, 10).Draw(rt, "before") {
		w.integrate(rt)
	}
	w.settings = Settings{
		Name:       "c",
		Topic:      w.topic.ID(),
		AckWait:    time.Second,
		MaxPending: rapid.IntRange(1, 12).Draw(rt, "max pending"),
		MaxDeliver: rapid.IntRange(0, 3).Draw(rt, "max deliver"),
		CausalAcks: rapid.Bool().Draw(rt, "causal acks"),
		Tags:       rapid.SampledFrom([][]string{nil, nil, {"a"}, {"b", "a"}}).Draw(rt, "tags"),
		From:       Start{Now: rapid.IntRange(0, 3).Draw(rt, "from now") == 0},
	}
	if rapid.Bool().Draw(rt, "some publishers") {
		w.settings.Publishers = []types.Publisher{{1}, {2}}
	}
	if rapid.Bool().Draw(rt, "back-off") {
		w.settings.BackOff = []time.Duration{time.Second, 3 * time.Second}
	}
	for _, f := range w.log {
		f.start = w.settings.From.Now
	}
	w.consumer = w.create(rt, w.settings)
	return w
}

// grow makes the DAG: each event links to some of those before it.
func (w *world) grow(rt *rapid.T, n int) {
	for i := range n {
		var links []*types.Event
		f := &fact{ancestors: map[*fact]bool{}, suppressed: rapid.IntRange(0, 7).Draw(rt, "suppressed") == 0}
		if i > 0 {
			near := rapid.SliceOfNDistinct(rapid.IntRange(max(0, i-6), i-1), 0, min(i, 3), rapid.ID[int]).Draw(rt, "links")
			for _, j := range near {
				links = append(links, w.facts[j].Event)
				f.ancestors[w.facts[j]] = true
				maps.Copy(f.ancestors, w.facts[j].ancestors)
			}
		}
		tags := rapid.SampledFrom([][]string{nil, {"a"}, {"a", "b"}, {"c"}}).Draw(rt, "event tags")
		e, err := w.event(byte(rapid.IntRange(1, 3).Draw(rt, "publisher")), i+1, tags, links...)
		must(w.t, err)
		f.Event = e
		w.facts = append(w.facts, f)
	}
}

func (w *world) fact(e *types.Event) *fact {
	return w.facts[e.Seq-1]
}

// integrate brings one event whose links are here.
func (w *world) integrate(rt *rapid.T) {
	var may []*fact
	for _, f := range w.facts {
		here := f.number == 0
		for a := range f.ancestors {
			here = here && a.number > 0
		}
		if here {
			may = append(may, f)
		}
	}
	if len(may) == 0 {
		return
	}
	f := rapid.SampledFrom(may).Draw(rt, "integrated")
	must(w.t, w.bench.integrate(f.Event))
	w.log = append(w.log, f)
	f.number = uint64(len(w.log))
}

func (w *world) millis() int64 { return w.now.UnixMilli() }

// wanted reports whether an event is to be given.
func (w *world) wanted(f *fact) bool { return w.matches(f) && !f.suppressed }

// matches reports whether an event is the consumer's business.
func (w *world) matches(f *fact) bool {
	if f.number == 0 || f.start {
		return false
	}
	tag := len(w.settings.Tags) == 0
	for _, t := range f.Tags {
		tag = tag || slices.Contains(w.settings.Tags, t)
	}
	return tag && (len(w.settings.Publishers) == 0 || slices.Contains(w.settings.Publishers, f.Publisher))
}

// open lists the wanted events that are not settled, by number.
func (w *world) open() []*fact {
	var list []*fact
	for _, f := range w.log {
		if w.wanted(f) && !f.settled {
			list = append(list, f)
		}
	}
	return list
}

func (f *fact) count() int { return int(f.attempts - f.base) }

func (w *world) spent(f *fact) bool {
	return w.settings.MaxDeliver > 0 && f.count() >= w.settings.MaxDeliver
}

func (f *fact) die() { f.settled, f.dead, f.requeued = true, true, false }

// blocked reports whether the event must wait for an ancestor.
func (w *world) blocked(f *fact) bool {
	if !w.settings.CausalAcks || f.requeued {
		return false
	}
	for a := range f.ancestors {
		if w.wanted(a) && !a.settled && !a.requeued {
			return true
		}
	}
	return false
}

// expire lets die what was delivered too often.
func (w *world) expire() {
	for _, f := range w.open() {
		if f.count() > 0 && f.deadline <= w.millis() && w.spent(f) {
			f.die()
		}
	}
}

// take is what the consumer must give now.
func (w *world) take(n int) []*fact {
	w.expire()
	var due, ready []*fact
	delivered := 0
	for _, f := range w.open() {
		switch {
		case f.count() > 0:
			delivered++
			if f.deadline <= w.millis() {
				due = append(due, f)
			}
		case !w.blocked(f):
			ready = append(ready, f)
		}
	}
	taken := due[:min(n, len(due))]
	return append(taken, ready[:max(0, min(n-len(taken), len(ready), w.settings.MaxPending-delivered))]...)
}

// given checks what was handed out against what had to be.
func (w *world) given(want []*fact, ds []Delivery) {
	if len(ds) != len(want) {
		w.t.Fatalf("%d events given, want %d", len(ds), len(want))
	}
	for i, d := range ds {
		f := want[i]
		f.attempts++
		f.deadline = w.millis() + w.settings.delay(f.count()).Milliseconds()
		f.tokens = append(f.tokens, d.Token)
		if d.CID != f.CID || d.Cursor.Number != f.number || d.Count != f.count() {
			w.t.Fatalf("given event %d, count %d; want %d, count %d", d.Cursor.Number, d.Count, f.number, f.count())
		}
		if d.Count == 1 && !f.requeued {
			for a := range f.ancestors {
				if w.wanted(a) && (a.attempts == 0 || w.settings.CausalAcks && !a.settled && !a.requeued) {
					w.t.Fatalf("event %d given before its ancestor %d", f.number, a.number)
				}
			}
		}
	}
}

func (w *world) next(rt *rapid.T) {
	batch := rapid.IntRange(1, 6).Draw(rt, "batch")
	ds, err := w.consumer.Next(context.Background(), batch, 0)
	if w.failed(err) {
		return
	}
	w.given(w.take(batch), ds)
}

func (w *world) stream(rt *rapid.T) {
	w.records.fired() // a stream that fails may have yielded some
	n := rapid.IntRange(1, 6).Draw(rt, "streamed")
	w.expire()
	want := w.take(n)
	if len(want) == 0 {
		return
	}
	var ds []Delivery
	for d, err := range w.consumer.Stream(context.Background()) {
		must(w.t, err)
		if ds = append(ds, d); len(ds) == len(want) {
			break
		}
	}
	w.given(want, ds)
}

// pick draws a token: the last one of an event that is delivered and open.
func (w *world) pick(rt *rapid.T) *fact {
	var may []*fact
	for _, f := range w.open() {
		if f.count() == 0 || len(f.tokens) == 0 {
			continue
		}
		if last := f.tokens[len(f.tokens)-1]; last.Attempt == f.attempts && last.Epoch == w.epoch() {
			may = append(may, f)
		}
	}
	if len(may) == 0 {
		return nil
	}
	return rapid.SampledFrom(may).Draw(rt, "event")
}

// settle does something to an event that may settle it.
func (w *world) settle(rt *rapid.T, do func(Token) error, model func(*fact)) {
	f := w.pick(rt)
	if f == nil {
		return
	}
	f.trying = true
	if err := do(f.tokens[len(f.tokens)-1]); w.failed(err) {
		return
	}
	f.trying = false
	model(f)
}

func (w *world) ack(rt *rapid.T) {
	w.settle(rt,
		func(t Token) error { return w.consumer.Ack(context.Background(), t) },
		func(f *fact) { f.settled, f.requeued = true, false })
}

func (w *world) nak(rt *rapid.T) {
	delay := time.Duration(rapid.IntRange(0, 3).Draw(rt, "delay")) * time.Second
	w.settle(rt,
		func(t Token) error { return w.consumer.Nak(context.Background(), delay, t) },
		func(f *fact) {
			if f.deadline = w.millis() + delay.Milliseconds(); w.spent(f) {
				f.die()
			}
		})
}

func (w *world) term(rt *rapid.T) {
	reason := rapid.SampledFrom([]string{"", "poison"}).Draw(rt, "reason")
	w.settle(rt,
		func(t Token) error { return w.consumer.Term(context.Background(), reason, t) },
		func(f *fact) {
			f.settled, f.requeued = true, false
			if reason != "" {
				f.die()
			}
		})
}

func (w *world) progress(rt *rapid.T) {
	w.settle(rt,
		func(t Token) error { return w.consumer.Progress(context.Background(), t) },
		func(f *fact) { f.deadline = w.millis() + w.settings.delay(f.count()).Milliseconds() })
}

// oldToken uses a token that must be refused.
func (w *world) oldToken(rt *rapid.T) {
	w.records.fired()
	f := rapid.SampledFrom(w.facts).Draw(rt, "fact")
	if len(f.tokens) == 0 {
		return
	}
	token := rapid.SampledFrom(f.tokens).Draw(rt, "token")
	want := ReasonStale
	switch {
	case token.Epoch != w.epoch():
	case f.settled:
		want = ReasonSettled
	case token.Attempt == f.attempts && f.count() > 0:
		return // it is good
	}
	err := w.consumer.Ack(context.Background(), token)
	var refused *TokenError
	if !errors.As(err, &refused) || refused.Reason != want || !errors.Is(err, ErrToken) {
		w.t.Fatalf("token %+v of event %d, attempt %d: %v, want %s", token, f.number, f.attempts, err, want)
	}
}

func (w *world) passTime(rt *rapid.T) {
	w.now = w.now.Add(time.Duration(rapid.IntRange(1, 40).Draw(rt, "tenths")) * 100 * time.Millisecond)
}

func (w *world) requeue(rt *rapid.T) {
	w.records.fired()
	w.expire()
	var dead []*fact
	for _, f := range w.log {
		if f.dead {
			dead = append(dead, f)
		}
	}
	want := len(dead)
	var err error
	var n int
	if len(dead) > 0 && rapid.Bool().Draw(rt, "one") {
		dead = []*fact{rapid.SampledFrom(dead).Draw(rt, "dead letter")}
		want = 1
		n, err = w.consumer.Requeue(context.Background(), dead[0].CID)
	} else {
		n, err = w.consumer.Requeue(context.Background())
	}
	must(w.t, err)
	if n != want {
		w.t.Fatalf("%d requeued, want %d", n, want)
	}
	for _, f := range dead {
		f.settled, f.dead, f.requeued, f.base = false, false, true, f.attempts
	}
}

// failed reports whether the injected fault has hit a call; then the model looks
// at what is durable.
func (w *world) failed(err error) bool {
	if err == nil {
		return false
	}
	if !errors.Is(err, errInjected) {
		w.t.Fatal(err)
	}
	w.expireTrying()
	w.resync()
	return true
}

// expireTrying notes who may have died in a call that failed.
func (w *world) expireTrying() {
	for _, f := range w.open() {
		f.trying = f.trying || f.count() > 0 && f.deadline <= w.millis() && w.spent(f)
	}
}

// fault makes the next commit fail.
func (w *world) fault(rt *rapid.T) { w.records.arm(rapid.Bool().Draw(rt, "persisted")) }

// crash opens the consumers anew. Nothing that was durable is lost.
func (w *world) crash(*rapid.T) {
	w.records.fired()
	must(w.t, w.reopen())
	w.found()
	w.resync()
}

// close does so in order: nothing at all is lost.
func (w *world) close(*rapid.T) {
	w.records.fired()
	must(w.t, w.Close())
	if _, err := w.consumer.Next(context.Background(), 1, 0); !errors.Is(err, types.ErrClosed) {
		w.t.Fatalf("next of a closed consumer: %v", err)
	}
	must(w.t, w.reopen())
	w.found()
}

// unload frees the memory: nothing is lost either.
func (w *world) unload(*rapid.T) {
	w.records.fired()
	must(w.t, w.consumer.unload(func(*Consumer) bool { return true }))
}

func (w *world) found() {
	c, err := w.Find("c")
	must(w.t, err)
	w.consumer = c
}

func (w *world) durable() *progress {
	b, err := w.records.Meta(progressPrefix + "c")
	must(w.t, err)
	p, err := decodeProgress(b)
	must(w.t, err)
	return p
}

func (w *world) epoch() uint64 { return w.durable().epoch }

// resync makes of the model what is durable, and checks that this can be.
func (w *world) resync() {
	p := w.durable()
	was := map[uint64]delivered{}
	for _, d := range append(p.delivered, p.again...) {
		was[d.number] = d
	}
	settled := map[uint64]bool{}
	at := p.floor.Number
	for _, r := range p.runs {
		for i := range r.settled {
			settled[at+r.unsettled+i+1] = true
		}
		at += r.unsettled + r.settled
	}
	for _, f := range w.log {
		if !w.wanted(f) {
			continue
		}
		n := f.number
		dead, err := w.records.Meta(numberKey(deadPrefix, "c", n))
		must(w.t, err)
		again, err := w.records.Meta(numberKey(againPrefix, "c", n))
		must(w.t, err)
		isSettled := again == nil && (n <= p.floor.Number || settled[n])
		if f.settled && !isSettled {
			w.t.Fatalf("event %d was settled, and is not any more", n)
		}
		if isSettled && !f.settled && !f.trying {
			w.t.Fatalf("event %d is settled by itself", n)
		}
		f.settled, f.dead, f.trying = isSettled, dead != nil, false
		f.requeued = again != nil
		if d, ok := was[n]; ok {
			if d.attempts < f.attempts || d.attempts > f.attempts+1 {
				w.t.Fatalf("event %d was delivered %d times, says the record; %d were handed out", n, d.attempts, f.attempts)
			}
			f.attempts, f.deadline = d.attempts, d.deadline
		} else if !isSettled && f.count() > 0 {
			w.t.Fatalf("event %d was handed out, and no record has it", n)
		}
	}
}

func (w *world) reset(rt *rapid.T) {
	if rapid.IntRange(0, 9).Draw(rt, "really") > 0 {
		return
	}
	w.records.fired()
	now := rapid.Bool().Draw(rt, "now")
	must(w.t, w.consumer.Reset(context.Background(), Start{Now: now}))
	for _, f := range w.facts {
		f.start = now && f.number > 0
		f.attempts, f.base, f.settled, f.dead, f.requeued, f.trying = 0, 0, false, false, false, false
	}
}

// compare holds what the consumer says of itself to the model.
func (w *world) compare(rt *rapid.T) {
	if w.records.armed {
		return // it might be hit
	}
	info, err := w.consumer.Info()
	must(w.t, err)
	w.expire()
	var want Info
	for _, f := range w.open() {
		if f.count() > 0 {
			want.Pending++
		}
		if f.count() > 1 {
			want.Redelivered++
		}
		if f.count() == 0 {
			want.Lag++
		}
	}
	var dead, suppressed []uint64
	for _, f := range w.log {
		if f.dead {
			want.Dead++
			dead = append(dead, f.number)
		}
	}
	if info.Pending != want.Pending || info.Redelivered != want.Redelivered || info.Dead != want.Dead {
		w.t.Fatalf("info is %+v, want %+v", info, want)
	}
	if info.Lag < want.Lag {
		w.t.Fatalf("lag is %d, and %d events were never delivered", info.Lag, want.Lag)
	}
	var gotDead []uint64
	for d, err := range w.consumer.Dead(0) {
		must(w.t, err)
		gotDead = append(gotDead, d.Cursor.Number)
		if f := w.log[d.Cursor.Number-1]; d.CID != f.CID || d.Count != f.count() || d.Reason == "" {
			w.t.Fatalf("dead letter %+v, count %d", d, f.count())
		}
	}
	if !slices.Equal(gotDead, dead) {
		w.t.Fatalf("dead letters are %d, want %d", gotDead, dead)
	}
	for s, err := range w.consumer.Suppressed(0) {
		must(w.t, err)
		suppressed = append(suppressed, s.Cursor.Number)
		if f := w.log[s.Cursor.Number-1]; !f.suppressed || f.start || s.Reason != "unwanted" || s.CID != f.CID {
			w.t.Fatalf("%+v is suppressed", s)
		}
	}
	if uint64(len(suppressed)) != info.Suppressed {
		w.t.Fatalf("%d are suppressed, %d listed", info.Suppressed, len(suppressed))
	}
}

// drain settles everything, and finds that nothing was skipped.
func (w *world) drain(rt *rapid.T) {
	w.records.fired()
	w.crash(rt)
	for round := 0; ; round++ {
		want := w.take(1000)
		ds, err := w.consumer.Next(context.Background(), 1000, 0)
		must(w.t, err)
		w.given(want, ds)
		for _, d := range ds {
			f := w.fact(d.Event)
			must(w.t, w.consumer.Ack(context.Background(), d.Token))
			f.settled, f.requeued = true, false
		}
		if len(w.open()) == 0 {
			break
		}
		if round > 200 {
			w.t.Fatalf("%d events are open still", len(w.open()))
		}
		w.now = w.now.Add(time.Second)
	}
	ds, err := w.consumer.Next(context.Background(), 1, 0) // looks at the rest of the log
	must(w.t, err)
	info, err := w.consumer.Info()
	must(w.t, err)
	end, err := w.End()
	must(w.t, err)
	if len(ds) > 0 || info.Pending+info.Waiting+info.Redelivered > 0 || info.Lag > 0 || len(w.log) > 0 && info.AckFloor != end {
		w.t.Fatalf("in the end info is %+v, the log ends at %v, given %d", info, end, len(ds))
	}
	var suppressed uint64
	for _, f := range w.log {
		if f.suppressed && w.matches(f) {
			suppressed++
		}
	}
	if info.Suppressed != suppressed {
		w.t.Fatalf("%d events are suppressed, want %d", info.Suppressed, suppressed)
	}
	w.compare(rt)
}
