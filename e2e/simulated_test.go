package e2e

import (
	"errors"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/marcopolo/simnet"
)

// A packet takes the link's and the faults' time, and gets through unless it is
// cut off or lost.
func TestSimulatedNetwork(t *testing.T) {
	const packets = 1000
	ms := time.Millisecond
	lossy := Fault{Kind: Lose, Loss: 0.5}
	slow := Fault{Kind: Slow, Bandwidth: 80_000}
	slower := Fault{Kind: Slow, Bandwidth: 40_000}
	for _, test := range []struct {
		name          string
		link          Link
		now           conditions
		there, back   [2]int // at least and at most so many of the packets from 0 to 1, and from 1 to 0
		soonest, last time.Duration
	}{
		{"plain", Link{Latency: 20 * ms}, conditions{}, [2]int{packets, packets}, [2]int{packets, packets}, 20 * ms, 20 * ms},
		{"jitter", Link{Latency: 20 * ms, Jitter: 10 * ms}, conditions{}, [2]int{packets, packets}, [2]int{packets, packets}, 20 * ms, 30 * ms},
		{"loss", Link{Loss: 0.1}, conditions{}, [2]int{850, 950}, [2]int{850, 950}, 0, 0},
		{"lose", Link{}, conditions{}.with(0, newShape(lossy, []int{1})), [2]int{430, 570}, [2]int{430, 570}, 0, 0},
		{"lose of others", Link{}, conditions{}.with(0, newShape(lossy, []int{2})), [2]int{packets, packets}, [2]int{packets, packets}, 0, 0},
		{"lose twice", Link{Loss: 0.5}, conditions{}.with(0, newShape(lossy, []int{1})), [2]int{190, 310}, [2]int{190, 310}, 0, 0},
		{"delay", Link{Latency: 20 * ms}, conditions{}.with(0, newShape(Fault{Kind: Delay, Delay: time.Second}, []int{0})), [2]int{packets, packets}, [2]int{packets, packets}, 1020 * ms, 1020 * ms},
		{"partition", Link{}, conditions{}.with(0, newShape(Fault{Kind: Partition}, []int{0})), [2]int{}, [2]int{}, 0, 0},
		{"one way", Link{}, conditions{}.with(0, newShape(Fault{Kind: Partition, Asymmetric: true}, []int{0})), [2]int{}, [2]int{packets, packets}, 0, 0},
		{"same side", Link{}, conditions{}.with(0, newShape(Fault{Kind: Partition}, []int{0, 1})), [2]int{packets, packets}, [2]int{packets, packets}, 0, 0},
		{"mended", Link{}, conditions{}.with(0, newShape(Fault{Kind: Partition}, []int{0})).without(0), [2]int{packets, packets}, [2]int{packets, packets}, 0, 0},
		{"another is mended", Link{}, conditions{}.with(0, newShape(Fault{Kind: Partition}, []int{0})).with(1, newShape(lossy, []int{0})).without(1), [2]int{}, [2]int{}, 0, 0},
		{"healed", Link{}, conditions{}.with(0, newShape(Fault{Kind: Partition}, []int{0})).healed(), [2]int{packets, packets}, [2]int{packets, packets}, 0, 0},
		{"slow", Link{Latency: 20 * ms}, conditions{}.with(0, newShape(slow, []int{0})), [2]int{packets, packets}, [2]int{packets, packets}, 20 * ms, 120 * ms},
		{"two are slow", Link{}, conditions{}.with(0, newShape(slow, []int{0})).with(1, newShape(slower, []int{1})), [2]int{packets, packets}, [2]int{packets, packets}, 0, 300 * ms},
		{"slow healed", Link{}, conditions{}.with(0, newShape(slow, []int{0})).healed(), [2]int{packets, packets}, [2]int{packets, packets}, 0, 0},
		{"down", Link{}, conditions{}.reach(1, false), [2]int{}, [2]int{}, 0, 0},
		{"healed but down", Link{}, conditions{}.reach(1, false).healed(), [2]int{}, [2]int{}, 0, 0},
		{"up again", Link{}, conditions{}.reach(1, false).reach(1, true), [2]int{packets, packets}, [2]int{packets, packets}, 0, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				link := test.link
				link.Bandwidth = defaultBandwidth
				s := newSimulated(link, 1)
				defer s.close()
				s.set(test.now)
				a, b := s.endpoint(0, addrOf(0)), s.endpoint(1, addrOf(1))
				for _, way := range []struct {
					from, to *endpoint
					want     [2]int
				}{{a, b, test.there}, {b, a, test.back}} {
					got, soonest, last := exchange(t, way.from, way.to, packets)
					if got < way.want[0] || got > way.want[1] {
						t.Errorf("%d of %d packets from %d to %d arrived, want %v", got, packets, way.from.index, way.to.index, way.want)
					}
					const queue = 2 * time.Millisecond // of the sender's link
					if got > 0 && (soonest < test.soonest || last > test.last+queue) {
						t.Errorf("they took %v to %v, want %v to %v", soonest, last, test.soonest, test.last)
					}
				}
				if bytes, sent := s.traffic(); bytes != 2*packets || sent != 2*packets {
					t.Errorf("counted %d bytes in %d packets, want %d of one byte", bytes, sent, 2*packets)
				}
			})
		})
	}
}

// What does not fit into a slow node's socket is lost, and there is room again
// when some of it has got through.
func TestSlowSocketIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const size, fit = 1 << 10, socketBuffer >> 10
		var q queue
		for i := range fit {
			wait, ok := q.enter(size, 8*size) // one a second
			if want := time.Duration(i+1) * time.Second; !ok || wait != want {
				t.Fatalf("packet %d: %v, %v, want %v", i, wait, ok, want)
			}
		}
		if _, ok := q.enter(size, 8*size); ok {
			t.Error("a packet found room in a full buffer")
		}
		time.Sleep(time.Second)
		if wait, ok := q.enter(size, 8*size); !ok || wait != fit*time.Second {
			t.Errorf("after a second: %v, %v", wait, ok)
		}
		if wait, ok := q.enter(size, 0); !ok || wait != 0 {
			t.Errorf("not slow any more: %v, %v", wait, ok)
		}
	})
}

// addrOf is the address of the node with that index.
func addrOf(index int) *net.UDPAddr {
	return &net.UDPAddr{IP: simnet.IntToPublicIPv4(index), Port: simPort}
}

// exchange sends n packets of one byte at once, and returns how many arrived,
// and how long the quickest and the slowest took.
func exchange(t *testing.T, from, to *endpoint, n int) (got int, soonest, last time.Duration) {
	t.Helper()
	begin := time.Now()
	done := make(chan struct{})
	if err := to.SetReadDeadline(begin.Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(done)
		for b := make([]byte, 1); ; got++ {
			if _, _, err := to.ReadFrom(b); err != nil {
				if !errors.Is(err, simnet.ErrDeadlineExceeded) {
					t.Error(err)
				}
				return
			}
			last = time.Since(begin)
			if got == 0 {
				soonest = last
			}
		}
	}()
	for range n {
		if _, err := from.WriteTo([]byte{0}, addrOf(to.index)); err != nil {
			t.Fatal(err)
		}
	}
	<-done
	return got, soonest, last
}
