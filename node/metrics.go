package node

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/cairn-p2p/cairn/broadcaster/gossip"
	"github.com/cairn-p2p/cairn/crdt"
	"github.com/cairn-p2p/cairn/syncer"
	"github.com/cairn-p2p/cairn/types"
)

// lookTimeout bounds what a scrape waits for the topics that have something
// pending: their drivers may be in a commit.
const lookTimeout = time.Second

// rejection is why an event was not taken.
type rejection int

const (
	badWitness rejection = iota
	invalid
	notWriter
	unlinked
	rejections
)

func rejectionNames() []string { return []string{"bad_witness", "invalid", "not_writer", "unlinked"} }

// left is why events from gossip were let go of and left to a sync. The first
// ones are the replicas' reasons.
type left int

const (
	leftPaused   = left(crdt.LeftFailed) + 1 + iota // of a topic that is paused
	leftAdoption                                    // of a topic that is yet to be adopted
	lefts
)

func leftNames() []string { return []string{"inbox", "pending", "failed", "paused", "adoption"} }

// metrics counts what a node does and reads the rest when it is asked for.
// What is counted takes an atomic addition, no lock.
type metrics struct {
	n        *Node
	registry *prometheus.Registry
	descs    map[string]*prometheus.Desc

	appended, gossiped, synced atomic.Uint64 // events
	rejected                   [rejections]atomic.Uint64
	left                       [lefts]atomic.Uint64 // events
	gossipsub                  *tracer
	subscribers                subscribers

	appending, committing, verifying, syncing prometheus.Histogram
}

var _ prometheus.Collector = (*metrics)(nil)

// newMetrics returns the metrics of n in a registry of their own, with those of
// the Go runtime and the process.
func newMetrics(n *Node) (*metrics, error) {
	m := &metrics{n: n, registry: prometheus.NewRegistry(), descs: map[string]*prometheus.Desc{}, gossipsub: newTracer()}
	timers := map[string]*prometheus.Histogram{
		appendSeconds: &m.appending, commitSeconds: &m.committing, verifySeconds: &m.verifying, syncSeconds: &m.syncing,
	}
	for _, d := range definitions() {
		if d.kind == histogram {
			*timers[d.name] = prometheus.NewHistogram(prometheus.HistogramOpts{Name: d.name, Help: d.help, Buckets: d.buckets})
			continue
		}
		var names []string
		for _, l := range d.labels {
			names = append(names, l.name)
		}
		m.descs[d.name] = prometheus.NewDesc(d.name, d.help, names, nil)
	}
	for _, c := range []prometheus.Collector{
		m, m.appending, m.committing, m.verifying, m.syncing,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	} {
		if err := m.registry.Register(c); err != nil {
			return nil, fmt.Errorf("register metrics: %w", err)
		}
	}
	return m, nil
}

// Gatherer returns the node's metrics: those of docs/metrics.md, libp2p's, the
// Go runtime's and the process's. Each node has its own, but libp2p counts for
// all hosts of a process together. After Close, what needs the store is left
// out.
func (n *Node) Gatherer() prometheus.Gatherer { return n.metrics.registry }

// reject counts an event that was not taken.
func (m *metrics) reject(err error) {
	switch {
	case errors.Is(err, types.ErrBadWitness):
		m.rejected[badWitness].Add(1)
	case errors.Is(err, types.ErrNotWriter):
		m.rejected[notWriter].Add(1)
	case errors.Is(err, types.ErrInvalidEvent):
		m.rejected[invalid].Add(1)
	case errors.Is(err, types.ErrUnlinked):
		m.rejected[unlinked].Add(1)
	}
}

// verified takes what came of checking events.
func (m *metrics) verified(took time.Duration, errs []error) {
	m.verifying.Observe(took.Seconds())
	for _, err := range errs {
		if err != nil {
			m.reject(err)
		}
	}
}

// transferred takes the time of a transfer.
func (m *metrics) transferred(took time.Duration) { m.syncing.Observe(took.Seconds()) }

// topicObserver gives a topic's replica to the metrics.
type topicObserver Topic

var _ crdt.Observer = (*topicObserver)(nil)

func (o *topicObserver) Committed(c crdt.Commit) {
	m := o.node.metrics
	o.events.Store(c.Events)
	o.heads.Store(int64(c.Heads))
	add(&m.appended, c.Appended)
	add(&m.gossiped, c.Gossiped)
	add(&m.synced, c.Synced)
	m.committing.Observe(c.Took.Seconds())
}

// add spares the other cores a cache line that would not change.
func add(to *atomic.Uint64, n uint64) {
	if n > 0 {
		to.Add(n)
	}
}

func (o *topicObserver) Refused(err error) { o.node.metrics.reject(err) }

func (o *topicObserver) LeftToSync(why crdt.Left, events int) {
	o.node.metrics.left[why].Add(uint64(events))
}

// Describe implements prometheus.Collector.
func (m *metrics) Describe(to chan<- *prometheus.Desc) {
	for _, d := range m.descs {
		to <- d
	}
}

// Collect implements prometheus.Collector.
func (m *metrics) Collect(to chan<- prometheus.Metric) {
	out := sample{descs: m.descs, to: to}
	for i, c := range []*atomic.Uint64{&m.appended, &m.gossiped, &m.synced} {
		out.counter(eventsTotal, c.Load(), eventSources()[i])
	}
	for r, name := range rejectionNames() {
		out.counter(rejectedTotal, m.rejected[r].Load(), name)
	}
	for why, name := range leftNames() {
		out.counter(leftToSync, m.left[why].Load(), name)
	}
	m.collectTopics(out)
	m.collectSync(out)
	m.collectGossip(out, m.n.gossip.Stats())
	m.gossipsub.collect(out)
	m.collectLocal(out)
}

// collectTopics reads what all topics together have.
func (m *metrics) collectTopics(out sample) {
	s := m.survey()
	for _, state := range topicStates() {
		out.gauge(topicCount, float64(s.states[state]), state)
	}
	out.gauge(headCount, float64(s.heads))
	out.gauge(pendingEvents, float64(s.pending))
	out.gauge(missingEvents, float64(s.missing))
	age := 0.0
	if !s.since.IsZero() {
		age = max(0, time.Since(s.since).Seconds())
	}
	out.gauge(oldestMissing, age)
}

// survey is what all topics of a node together have.
type survey struct {
	states  map[string]int
	heads   int64
	pending int64
	missing int
	since   time.Time // when the longest missing event was noticed
}

// survey looks at every topic. It waits for none but those that have something
// pending, and for these at most lookTimeout.
func (m *metrics) survey() survey {
	ctx, cancel := context.WithTimeout(m.n.running, lookTimeout)
	defer cancel()
	s := survey{states: map[string]int{Unsupported: m.n.unsupported.len()}}
	briefs := map[types.TopicID]syncer.Brief{}
	for _, b := range m.n.syncer.Survey() {
		briefs[b.Topic] = b
	}
	writable, quota := m.n.store.Writable(), m.n.withinQuota()
	for _, t := range m.n.topics.all() {
		b := briefs[t.id]
		missing, since, links := b.Missing, b.Since, 0
		if t.replica.Pending() > 0 {
			s.pending += t.replica.Pending()
			var begin time.Time
			links, begin = t.links(ctx)
			missing += links
			since = earlier(since, begin)
		}
		s.heads += t.heads.Load()
		s.missing += missing
		s.since = earlier(s.since, since)
		s.states[t.stateOf(b.State, links, writable, quota)]++
	}
	return s
}

// earlier returns the earlier one of two times; the zero one is none.
func earlier(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

func (m *metrics) collectSync(out sample) {
	s := m.n.syncer.Stats()
	out.counter(syncFailures, s.Failed)
	out.counter(syncBytes, s.BytesIn, inbound)
	out.counter(syncBytes, s.BytesOut, outbound)
	out.counter(syncEvents, s.Events-s.Redundant, needed)
	out.counter(syncEvents, s.Redundant, redundant)
	out.gauge(peerCount, float64(len(m.n.host.Network().Peers())))
}

func (m *metrics) collectGossip(out sample, s gossip.Stats) {
	out.counter(gossipMessages, s.Forwarded, accepted, noReason)
	for _, r := range gossip.Reasons() {
		result := ignored
		if r.Rejected() {
			result = rejected
		}
		out.counter(gossipMessages, s.Refused[r], result, gossipReason(r))
	}
	out.counter(gossipNewEvents, s.NewEvents)
	out.counter(gossipPublished, s.Published)
	out.counter(gossipPublishedSize, s.PublishedEvents)
	out.counter(gossipHeadsOnly, s.HeadsOnly)
	out.counter(gossipCoalesced, s.CoalescedEvents)
	out.counter(gossipDropped, s.DroppedOwn, own)
	out.counter(gossipDropped, s.DroppedRelayed, relayed)
	out.counter(gossipFailed, s.PublishFailed)
}

func (t *tracer) collect(out sample) {
	out.gauge(gossipsubNeighbours, float64(t.neighbours.Load()))
	out.counter(gossipsubMesh, t.grafts.Load(), grafted)
	out.counter(gossipsubMesh, t.prunes.Load(), pruned)
	out.counter(gossipsubFrames, t.in.Load(), inbound)
	out.counter(gossipsubFrames, t.out.Load(), outbound)
	out.counter(gossipsubFrames, t.lost.Load(), dropped)
	out.counter(gossipsubBytes, t.inBytes.Load(), inbound)
	out.counter(gossipsubBytes, t.outBytes.Load(), outbound)
	for outcome, n := range t.outcomes {
		out.counter(gossipsubMessages, n.Load(), outcome)
	}
}

// collectLocal reads what subscribers and the store have.
func (m *metrics) collectLocal(out sample) {
	n, lag := m.subscribers.lag()
	out.gauge(subscriberCount, float64(n))
	out.gauge(subscriberLag, float64(lag))
	m.collectConsumers(out)
	if size, err := m.n.store.Usage(); err == nil { // else /readyz says what is wrong
		out.gauge(storeBytes, float64(size))
	}
	var reclaimed int64
	if s, ok := m.n.store.(interface{ Reclaimed() int64 }); ok { // one in memory has none
		reclaimed = s.Reclaimed()
	}
	out.counter(storeReclaimed, uint64(reclaimed))
}

// collectConsumers reads what consumers and light clients have.
func (m *metrics) collectConsumers(out sample) {
	s := m.n.consumers.Stats()
	out.gauge(consumerCount, float64(s.Consumers))
	out.gauge(consumersInUse, float64(s.InUse))
	out.counter(consumerDeliveries, s.First, firstTime)
	out.counter(consumerDeliveries, s.Again, laterTime)
	out.counter(consumerSettled, s.Acked, acked)
	out.counter(consumerSettled, s.Terminated, terminated)
	out.counter(consumerDead, s.Dead)
	out.counter(consumerSuppressed, s.Suppressed)
	out.counter(consumerRefused, s.Refused)
	out.gauge(lightStreams, float64(m.n.broker.open()))
}

// sample is where the values of a scrape go.
type sample struct {
	descs map[string]*prometheus.Desc
	to    chan<- prometheus.Metric
}

func (s sample) counter(name string, v uint64, labels ...string) {
	s.to <- prometheus.MustNewConstMetric(s.descs[name], prometheus.CounterValue, float64(v), labels...)
}

func (s sample) gauge(name string, v float64, labels ...string) {
	s.to <- prometheus.MustNewConstMetric(s.descs[name], prometheus.GaugeValue, v, labels...)
}

// stateOf returns the state of the topic's Status, given what its syncer finds
// and how many links its pending events wait for.
func (t *Topic) stateOf(found syncer.State, links int, writable error, withinQuota bool) string {
	switch {
	case t.pausedWhen(func() bool { return withinQuota }, func() error { return writable }) != nil:
		return Paused
	case waits(string(found), links):
		return Behind
	case found == "": // the syncer has not been told of it yet
		return Syncing
	}
	return string(found)
}

// links returns how many links the topic's pending events wait for, and since
// when. A topic that cannot tell in time has none.
func (t *Topic) links(ctx context.Context) (missing int, since time.Time) {
	s, err := t.replica.State(ctx)
	if err != nil {
		return 0, time.Time{}
	}
	return len(s.Missing), s.PendingSince
}
