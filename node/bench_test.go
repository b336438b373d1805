package node

import (
	"fmt"
	"testing"
)

// BenchmarkScrape gathers the metrics of a node with so many topics that nobody
// uses.
func BenchmarkScrape(b *testing.B) {
	for _, topics := range []int{1, 10_000} {
		b.Run(fmt.Sprintf("topics=%d", topics), func(b *testing.B) {
			n, err := Open(b.Context(), loopback(""))
			if err != nil {
				b.Fatal(err)
			}
			defer n.Close() //nolint:errcheck // nothing is read after it
			for i := range topics {
				if _, err := n.Topic(b.Context(), fmt.Sprint(i)); err != nil {
					b.Fatal(err)
				}
			}
			for b.Loop() {
				if _, err := n.Gatherer().Gather(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
