package syncer_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/cairn-p2p/cairn/syncer/pb"
)

// slowly delays each frame of events by d, within what a frame may take.
func slowly(d time.Duration) func(*pb.Response) []*pb.Response {
	return func(m *pb.Response) []*pb.Response {
		if page := m.GetPull(); page != nil && len(page.Events) > 0 {
			time.Sleep(d)
		}
		return same(m)
	}
}

// A peer that makes just the minimum rate holds up nobody for long who has an
// honest one beside it.
func TestSlowPeerGivesWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := newVictim(t, 10, slowly(15*time.Second))
		after(100 * time.Millisecond)
		v.Connect(0, 2)
		after(25 * time.Second)
		if v.Hash(0) != v.Hash(2) {
			t.Errorf("%d events after 25 s beside an honest peer that has %d", v.Events(0), v.Events(2))
		}
		after(5 * time.Minute) // what sleeps wakes up
	})
}

// Leaving a topic ends its transfer: joining it again does not begin one beside
// it.
func TestRemovedTopicEndsItsTransfer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := newVictim(t, 10, slowly(18*time.Second))
		s := v.net.list[0]
		after(time.Second)
		for range 3 {
			own, err := v.Locals[0].Heads(v.Topic, 1<<20)
			if err != nil {
				t.Fatal(err)
			}
			s.Remove(v.Topic)
			s.Add(v.Topic, own.Hash)
			after(time.Second)
		}
		if n := s.Lanes(v.Locals[1].ID()); n > 2 {
			t.Errorf("%d streams are open: one transfer, and one for the rest, are enough", n)
		}
		after(5 * time.Minute) // what sleeps wakes up
	})
}
