package types

import (
	"crypto/ed25519"
	"fmt"
	"strings"
	"testing"

	"github.com/ipfs/go-cid"
)

// benchBody is the event that the project's figures are about: 256 bytes of
// payload, one link, no tag.
func benchBody() Body {
	return Body{
		Topic:     SumCID([]byte("topic")),
		Publisher: PublisherOf(testKey(1)),
		Seq:       70_000,
		Links:     []cid.Cid{SumCID([]byte("parent"))},
		Height:    70_000,
		Time:      1_790_000_000_000_000_000,
		Payload:   []byte(strings.Repeat("payload!", 32)),
	}
}

func BenchmarkNewEvent(b *testing.B) {
	body := benchBody()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := NewEvent(body); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkDecodeEvent(b *testing.B) {
	e := mustEvent(b, benchBody())
	b.SetBytes(int64(len(e.Bytes())))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := DecodeEvent(e.Bytes(), nil); err != nil {
			b.Fatal(err)
		}
	}
}

var benchBatches = []int{1, 8, 64, 256, 1024}

// benchEvents returns n events of one publisher, not yet signed.
func benchEvents(b *testing.B, n int) (ed25519.PrivateKey, []*Event) {
	events := make([]*Event, n)
	for i := range events {
		body := benchBody()
		body.Seq = uint64(i + 1)
		events[i] = mustEvent(b, body)
	}
	return testKey(1), events
}

func BenchmarkSignEvents(b *testing.B) {
	for _, n := range benchBatches {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			key, events := benchEvents(b, n)
			b.ReportAllocs()
			for b.Loop() {
				SignEvents(key, events)
			}
			perEvent(b, n)
		})
	}
}

// BenchmarkVerify checks each event of a batch once, by a verifier that knows
// the key but not the root: the cost of a batch that arrives.
func BenchmarkVerify(b *testing.B) {
	for _, n := range benchBatches {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			key, events := benchEvents(b, n)
			SignEvents(key, events)
			v := NewVerifier(16)
			b.ReportAllocs()
			for b.Loop() {
				v.roots.Purge()
				for _, e := range events {
					if err := v.Verify(e); err != nil {
						b.Fatal(err)
					}
				}
			}
			perEvent(b, n)
		})
	}
}

func perEvent(b *testing.B, n int) {
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(n), "ns/event")
}
