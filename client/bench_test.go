package client

import (
	"fmt"
	"testing"

	"github.com/cairn-p2p/cairn/crdt"
)

// BenchmarkSubscribe reads 20,000 events, appended 64 together, from a broker over
// loopback, and verifies them.
func BenchmarkSubscribe(b *testing.B) {
	const events, together = 20_000, 64
	n, topic := openBroker(b, "t")
	for i := 0; i < events; i += together {
		var drafts []crdt.Draft
		for j := i; j < min(i+together, events); j++ {
			drafts = append(drafts, crdt.Draft{Payload: fmt.Appendf(nil, "%0256d", j)})
		}
		if _, err := topic.AppendBatch(testContext(b), drafts); err != nil {
			b.Fatal(err)
		}
	}
	r := dialed(b, n)
	for b.Loop() {
		s := Subscription{Topic: topic.ID()}
		seen, err := OpenSeen("", s)
		if err != nil {
			b.Fatal(err)
		}
		take(b, r, s, seen, events)
		if err := seen.Close(); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.N)*events/b.Elapsed().Seconds(), "events/s")
}

// BenchmarkPublish publishes chains of 256 events of 256 bytes to a broker in
// memory over loopback; the state is on disk.
func BenchmarkPublish(b *testing.B) {
	n, topic := openBroker(b, "t")
	p := openPublisher(b, newKeyPath(b))
	defer p.Close() //nolint:errcheck // it is over
	r := dialed(b, n)
	chain := make([]Draft, 256)
	for i := range chain {
		chain[i].Payload = make([]byte, 256)
	}
	for b.Loop() {
		if _, err := p.Publish(testContext(b), r, topic.ID(), chain...); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.N)*float64(len(chain))/b.Elapsed().Seconds(), "events/s")
}
