package node

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"errors"
	"flag"
	"fmt"
	"iter"
	"maps"
	"math"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/ipfs/go-cid"
	dto "github.com/prometheus/client_model/go"
	"go.uber.org/goleak"

	"github.com/cairn-p2p/cairn/delivery"
	"github.com/cairn-p2p/cairn/keyfile"
	"github.com/cairn-p2p/cairn/types"
)

var update = flag.Bool("update", false, "write docs/metrics.md anew")

// metricsDoc is the document that is made of the definitions.
const metricsDoc = "../docs/metrics.md"

// TestMetricsDocument holds docs/metrics.md to the definitions: run the test
// with -update to write it.
func TestMetricsDocument(t *testing.T) {
	want := document()
	if *update {
		if err := os.WriteFile(metricsDoc, want, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(metricsDoc)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s is not what the definitions say; run: go test ./node -run TestMetricsDocument -update", metricsDoc)
	}
}

func document() []byte {
	var b bytes.Buffer
	b.WriteString(`# Metrics

Made from node/definitions.go by ` + "`go test ./node -run TestMetricsDocument -update`" + `; a test holds it to the code.

` + "`GET /metrics`" + ` on the API's address answers in Prometheus' text format. Labels have the values below and no others: none is a peer, a publisher, a
topic or a CID, of which others could make as many as they like. Beside these there are go-libp2p's own (` + "`libp2p_…`" + `; it counts for all nodes of a
process together), the Go runtime's (` + "`go_…`" + `) and the process's (` + "`process_…`" + `).

| metric | type | labels | meaning |
| --- | --- | --- | --- |
`)
	for _, d := range definitions() {
		var labels []string
		for _, l := range d.labels {
			labels = append(labels, "`"+l.name+"`: "+strings.Join(l.values, ", "))
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", d.name, d.kind, strings.Join(labels, "; "), d.help)
	}
	fmt.Fprintf(&b, "\nHistograms have buckets of %s to %s s; that of `%s` %s to %s s.\n",
		first(localBuckets()), last(localBuckets()), syncSeconds, first(syncBuckets()), last(syncBuckets()))
	return b.Bytes()
}

func first(bounds []float64) string { return fmt.Sprintf("%g", bounds[0]) }
func last(bounds []float64) string  { return fmt.Sprintf("%.3g", bounds[len(bounds)-1]) }

// TestScrapeKeepsToTheDefinitions shows that a node has exactly the metrics of
// the definitions, and no label with a value that others could choose.
func TestScrapeKeepsToTheDefinitions(t *testing.T) {
	a, b := open(t, loopback(t.TempDir())), open(t, loopback(""))
	ta, tb := join(t, a, "topic"), join(t, b, "topic")
	connect(t, a, b)
	if _, err := ta.Append(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	if _, err := tb.Wait(t.Context(), func(s Status) bool { return s.Events == 1 }); err != nil {
		t.Fatal(err)
	}
	families := gather(t, a)
	known := map[string]definition{}
	for _, d := range definitions() {
		known[d.name] = d
		if families[d.name] == nil {
			t.Errorf("%s is not scraped", d.name)
		}
	}
	foreign := []string{a.ID().String(), b.ID().String(), "topic", ta.ID().String()}
	for name, f := range families {
		d, ours := known[name]
		switch {
		case ours:
			checkFamily(t, d, f)
		case strings.HasPrefix(name, "cairn_"):
			t.Errorf("%s is not defined", name)
		}
		for _, m := range f.GetMetric() {
			for _, l := range m.GetLabel() {
				if slices.Contains(foreign, l.GetValue()) || slices.Contains([]string{"peer", "peer_id", "publisher", "cid"}, l.GetName()) {
					t.Errorf("%s has the label %s=%q", name, l.GetName(), l.GetValue())
				}
			}
		}
	}
	for _, prefix := range []string{"libp2p_swarm_", "go_goroutines", "process_cpu_seconds_total"} {
		if !slices.ContainsFunc(slices.Collect(maps.Keys(families)), func(name string) bool { return strings.HasPrefix(name, prefix) }) {
			t.Errorf("no metric begins with %s", prefix)
		}
	}
}

func checkFamily(t *testing.T, d definition, f *dto.MetricFamily) {
	t.Helper()
	if got := strings.ToLower(f.GetType().String()); got != string(d.kind) || f.GetHelp() != d.help {
		t.Errorf("%s is a %s, %q", d.name, got, f.GetHelp())
	}
	for _, m := range f.GetMetric() {
		if len(m.GetLabel()) != len(d.labels) {
			t.Errorf("%s has the labels %v", d.name, m.GetLabel())
		}
		for _, l := range m.GetLabel() {
			i := slices.IndexFunc(d.labels, func(x label) bool { return x.name == l.GetName() })
			if i < 0 || !slices.Contains(d.labels[i].values, l.GetValue()) {
				t.Errorf("%s has the label %s=%q", d.name, l.GetName(), l.GetValue())
			}
		}
	}
}

func gather(t *testing.T, n *Node) map[string]*dto.MetricFamily {
	t.Helper()
	list, err := n.Gatherer().Gather()
	if err != nil {
		t.Fatal(err)
	}
	families := map[string]*dto.MetricFamily{}
	for _, f := range list {
		families[f.GetName()] = f
	}
	return families
}

// value returns the value of a metric with these values of labels, in the order
// of their names; of a histogram, its number of observations. NaN: there is
// none.
func value(families map[string]*dto.MetricFamily, name string, labels ...string) float64 {
	for _, m := range families[name].GetMetric() {
		var values []string
		for _, l := range m.GetLabel() {
			values = append(values, l.GetValue())
		}
		if !slices.Equal(values, labels) {
			continue
		}
		switch {
		case m.Counter != nil:
			return m.GetCounter().GetValue()
		case m.Gauge != nil:
			return m.GetGauge().GetValue()
		case m.Histogram != nil:
			return float64(m.GetHistogram().GetSampleCount())
		}
	}
	return math.NaN()
}

// want fails the test unless a metric has the value.
func want(t *testing.T, families map[string]*dto.MetricFamily, v float64, name string, labels ...string) {
	t.Helper()
	if got := value(families, name, labels...); got != v {
		t.Errorf("%s%q is %g, want %g", name, labels, got, v)
	}
}

// atLeast is want for what depends on how things were grouped.
func atLeast(t *testing.T, families map[string]*dto.MetricFamily, v float64, name string, labels ...string) {
	t.Helper()
	if got := value(families, name, labels...); !(got >= v) {
		t.Errorf("%s%q is %g, want at least %g", name, labels, got, v)
	}
}

// TestMetricsFollowWhatHappens: one node appends before another knows it, which
// fetches that, and goes on while they are connected.
func TestMetricsFollowWhatHappens(t *testing.T) {
	ignore := goleak.IgnoreCurrent()
	a, b := open(t, loopback(t.TempDir())), open(t, loopback(t.TempDir()))
	const early = 300
	ta := join(t, a, "topic")
	for range early {
		if _, err := ta.Append(t.Context(), []byte("x")); err != nil {
			t.Fatal(err)
		}
	}
	tb := join(t, b, "topic")
	before := gather(t, b)
	want(t, before, 1, topicCount, Alone)
	want(t, before, 0, peerCount)
	want(t, before, 0, eventsTotal, "sync")

	connect(t, b, a)
	if _, err := tb.Wait(t.Context(), func(s Status) bool { return s.State == Synced && s.Events == early }); err != nil {
		t.Fatal(err)
	}
	appendUntil(t, ta, tb, func() bool {
		f := gather(t, b)
		return value(f, eventsTotal, "gossip") > 0 && value(f, gossipMessages, noReason, accepted) > 0 &&
			value(f, gossipsubMessages, delivered) > 0
	})

	ofA, ofB := gather(t, a), gather(t, b)
	total := value(ofA, eventsTotal, "append")
	want(t, ofA, total, appendSeconds)
	atLeast(t, ofA, 1, commitSeconds)
	want(t, ofA, 0, eventsTotal, "gossip")
	want(t, ofA, 0, eventsTotal, "sync")
	want(t, ofA, 1, headCount)
	want(t, ofA, 1, peerCount)
	atLeast(t, ofA, early, gossipPublishedSize)
	atLeast(t, ofA, 1, gossipPublished)
	want(t, ofA, 1, gossipsubNeighbours)
	atLeast(t, ofA, 1, gossipsubFrames, outbound)
	atLeast(t, ofA, 100, gossipsubBytes, outbound)
	atLeast(t, ofA, 1, storeBytes)
	want(t, ofA, 0, storeReclaimed)
	atLeast(t, ofA, 1, syncBytes, inbound)
	atLeast(t, ofA, early*100, syncBytes, outbound)

	if got := value(ofB, eventsTotal, "gossip") + value(ofB, eventsTotal, "sync"); got != total {
		t.Errorf("%g events came by gossip and sync, want %g", got, total)
	}
	want(t, ofB, 0, eventsTotal, "append")
	atLeast(t, ofB, early, eventsTotal, "sync")
	atLeast(t, ofB, 1, eventsTotal, "gossip")
	atLeast(t, ofB, 1, commitSeconds)
	atLeast(t, ofB, 2, verifySeconds) // of the transfer, and of gossip
	atLeast(t, ofB, 1, syncSeconds)
	atLeast(t, ofB, early*100, syncBytes, inbound)
	atLeast(t, ofB, 1, gossipMessages, noReason, accepted)
	atLeast(t, ofB, 1, gossipNewEvents)
	atLeast(t, ofB, 1, gossipsubFrames, inbound)
	atLeast(t, ofB, 100, gossipsubBytes, inbound)
	atLeast(t, ofB, 1, gossipsubMessages, delivered)
	want(t, ofB, 0, pendingEvents)
	want(t, ofB, 0, missingEvents)
	want(t, ofB, 0, oldestMissing)

	for _, n := range []*Node{a, b} {
		if err := n.Close(); err != nil {
			t.Fatal(err)
		}
		gather(t, n) // a scrape that comes late does no harm
	}
	goleak.VerifyNone(t, ignore)
}

// appendUntil appends to one topic and waits until the other has it, until done.
// The first events may come by sync alone: gossip takes its time to connect.
func appendUntil(t *testing.T, to, from *Topic, done func() bool) {
	t.Helper()
	for !done() {
		if _, err := to.Append(t.Context(), []byte("x")); err != nil {
			t.Fatal(err)
		}
		n := to.events.Load()
		if _, err := from.Wait(t.Context(), func(s Status) bool { return s.Events >= n }); err != nil {
			t.Fatal(err)
		}
	}
}

// TestSubscribersLag shows how far behind the slowest subscription is.
func TestSubscribersLag(t *testing.T) {
	n := open(t, loopback(""))
	topic := join(t, n, "topic")
	for range 5 {
		if _, err := topic.Append(t.Context(), nil); err != nil {
			t.Fatal(err)
		}
	}
	end, err := topic.End()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	next, stop := iter.Pull2(topic.Subscribe(ctx, types.Cursor{}))
	defer stop()
	atEnd, stopAtEnd := iter.Pull2(topic.Subscribe(ctx, end))
	want(t, gather(t, n), 0, subscriberCount)
	for i := range 3 {
		if _, err, ok := next(); err != nil || !ok {
			t.Fatal(err)
		}
		f := gather(t, n)
		want(t, f, 1, subscriberCount)
		want(t, f, float64(4-i), subscriberLag)
	}
	if _, err := topic.Append(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	if _, err, ok := atEnd(); err != nil || !ok {
		t.Fatal(err)
	}
	want(t, gather(t, n), 2, subscriberCount)
	want(t, gather(t, n), 3, subscriberLag)
	stop()
	want(t, gather(t, n), 0, subscriberLag)
	stopAtEnd()
	want(t, gather(t, n), 0, subscriberCount)
}

func TestMetricsOfConsumers(t *testing.T) {
	cfg := loopback("")
	cfg.Validator = func(types.TopicID) delivery.Validator { return onlyTagged{} }
	n := open(t, cfg)
	ctx := t.Context()
	c, err := n.CreateConsumer(ctx, "topic", delivery.Settings{Name: "c"})
	if err != nil {
		t.Fatal(err)
	}
	want(t, gather(t, n), 1, consumerCount)
	want(t, gather(t, n), 0, consumersInUse)
	topic := join(t, n, "topic")
	for _, tags := range [][]string{{"a"}, {"a"}, nil, {"a"}, {"a"}} {
		if _, err := topic.Append(ctx, nil, tags...); err != nil {
			t.Fatal(err)
		}
	}
	ds, err := c.Next(ctx, 10, 0)
	if err != nil || len(ds) != 4 {
		t.Fatalf("%d deliveries, %v", len(ds), err)
	}
	var refused *delivery.TokenError
	if err := c.Nak(ctx, 0, ds[0].Token); err != nil {
		t.Fatal(err)
	}
	if again, err := c.Next(ctx, 1, 0); err != nil || len(again) != 1 {
		t.Fatalf("%d deliveries, %v", len(again), err)
	}
	if err := c.Ack(ctx, ds[0].Token, ds[1].Token, ds[2].Token); !errors.As(err, &refused) {
		t.Fatal(err)
	}
	if err := c.Term(ctx, "bad", ds[3].Token); err != nil {
		t.Fatal(err)
	}
	f := gather(t, n)
	want(t, f, 1, consumersInUse)
	want(t, f, 4, consumerDeliveries, firstTime)
	want(t, f, 1, consumerDeliveries, laterTime)
	want(t, f, 2, consumerSettled, acked)
	want(t, f, 1, consumerSettled, terminated)
	want(t, f, 1, consumerDead)
	want(t, f, 1, consumerSuppressed)
	want(t, f, 1, consumerRefused)
	want(t, f, 0, lightStreams)
}

// onlyTagged suppresses events without tags.
type onlyTagged struct{}

func (onlyTagged) Check(e *types.Event) string {
	if len(e.Tags) == 0 {
		return "no tag"
	}
	return ""
}

// TestMetricsOfWhatIsNotTaken: events that wait, and events that are refused.
func TestMetricsOfWhatIsNotTaken(t *testing.T) {
	n := open(t, loopback(""))
	topic := join(t, n, "topic")
	first, err := topic.Append(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	key, err := keyfile.New()
	if err != nil {
		t.Fatal(err)
	}
	forge := func(seq, height uint64, link cid.Cid) *types.Event {
		return forged(t, key, topic, types.Body{Seq: seq, Height: height, Links: []cid.Cid{link}})
	}
	unknown := types.CIDOf(types.Hash{1})
	topic.replica.Receive("neighbour", []*types.Event{forge(1, 9, unknown), forge(2, 9, first.CID)}, nil)
	state, err := topic.State(t.Context()) // comes after what was received
	if err != nil || state.PendingEvents != 1 {
		t.Fatalf("%+v, %v", state, err)
	}
	unlinkedEvent := forge(3, 9, unknown)
	if err := topic.replica.Integrate(t.Context(), "peer", []*types.Event{unlinkedEvent}); !errors.Is(err, types.ErrUnlinked) {
		t.Errorf("integrate: %v", err)
	}
	other := forge(4, 2, first.CID)
	other.Witness = unlinkedEvent.Witness
	syncLocal{n}.Verify(t.Context(), []*types.Event{other, forge(5, 2, first.CID)})

	f := gather(t, n)
	want(t, f, 1, pendingEvents)
	want(t, f, 1, missingEvents)
	if age := value(f, oldestMissing); !(age > 0 && age < 3600) {
		t.Errorf("the oldest is missing for %g s", age)
	}
	want(t, f, 1, rejectedTotal, "invalid")
	want(t, f, 1, rejectedTotal, "unlinked")
	want(t, f, 1, rejectedTotal, "bad_witness")
	want(t, f, 0, rejectedTotal, "not_writer")
	want(t, f, 1, eventsTotal, "append")
	want(t, f, 1, verifySeconds)
	topic.replica.Evict(1 << 20)
	if _, err := topic.State(t.Context()); err != nil {
		t.Fatal(err)
	}
	f = gather(t, n)
	want(t, f, 0, pendingEvents)
	want(t, f, 0, missingEvents)
	want(t, f, 0, oldestMissing)
}

// Whatever a node lets go of what gossip brought is counted: of a paused topic,
// of one that cannot be adopted, and of what its replicas let go of.
func TestMetricsOfWhatIsLeftToSync(t *testing.T) {
	cfg := loopback(t.TempDir())
	cfg.Replicate = All
	n := open(t, cfg)
	topic := join(t, n, "topic")
	pend(t, topic, 2)
	topic.replica.Evict(1)
	pending(t, topic)
	f := gather(t, n)
	want(t, f, 1, leftToSync, "pending")
	want(t, f, 0, leftToSync, "inbox")
	want(t, f, 0, leftToSync, "paused")

	n.topics.joining.Lock() // what is adopted waits, and what comes after it
	for i := range adoptQueue + 2 {
		gossipLocal{n}.Receive(heard(t, fmt.Sprint("stranger ", i)))
	}
	n.topics.joining.Unlock()
	atLeast(t, gather(t, n), 1, leftToSync, "adoption") // the adopter has at most one in its hands
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}

	cfg.MinFree = 1 << 60 // the disk is full
	n = open(t, cfg)
	m := heard(t, "topic")
	m.Events = append(m.Events, heard(t, "topic").Events...)
	gossipLocal{n}.Receive(m)
	want(t, gather(t, n), 2, leftToSync, "paused")
}

// forged returns an event of the topic by the key, which may not publish there.
func forged(t *testing.T, key ed25519.PrivateKey, topic *Topic, b types.Body) *types.Event {
	t.Helper()
	b.Topic, b.Publisher = topic.ID(), types.PublisherOf(key)
	e, err := types.NewEvent(b)
	if err != nil {
		t.Fatal(err)
	}
	types.SignEvents(key, []*types.Event{e})
	return e
}

// TestTopicStatesAddUp shows that every topic is counted in one state, also
// after the node has begun again.
func TestTopicStatesAddUp(t *testing.T) {
	dir := t.TempDir()
	n := open(t, loopback(dir))
	for _, name := range []string{"a", "b", "c"} {
		if _, err := join(t, n, name).Append(t.Context(), nil); err != nil {
			t.Fatal(err)
		}
	}
	if err := n.Leave(t.Context(), "c"); err != nil {
		t.Fatal(err)
	}
	check := func(n *Node) {
		f := gather(t, n)
		want(t, f, 2, topicCount, Alone)
		want(t, f, 1, topicCount, Paused)
		want(t, f, 0, topicCount, Synced)
		want(t, f, 3, headCount)
	}
	check(n)
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
	check(open(t, loopback(dir)))
}
