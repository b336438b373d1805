package syncer_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/cairn-p2p/cairn/syncer"
	"github.com/cairn-p2p/cairn/syncer/pb"
	"github.com/cairn-p2p/cairn/types"
)

// TestSurveyAgreesWithStatus: of a topic with heads that nobody serves, and of
// one that nobody else has.
func TestSurveyAgreesWithStatus(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := newVictim(t, 10, onHeads(func(a *pb.HeadsAnswer) {
			if len(a.HeadsHash) == 0 { // of the topic that it does not hold
				return
			}
			a.Heads = []*pb.Head{{Cid: types.CIDOf(types.Hash{1}).Bytes(), Height: 1 << 40}}
			a.HeadsHash = append([]byte{1, 2}, a.HeadsHash[2:]...)
		}))
		after(time.Minute)
		s := v.Syncers()[0].(*syncer.Syncer)
		alone, err := types.NewOpen("alone")
		if err != nil {
			t.Fatal(err)
		}
		s.Add(alone.ID(), v.Locals[0].Join(alone))
		briefs := s.Survey()
		if len(briefs) != 2 {
			t.Fatalf("%d briefs of 2 topics", len(briefs))
		}
		for _, b := range briefs {
			st, err := s.Status(b.Topic)
			if err != nil {
				t.Fatal(err)
			}
			if b.State != st.State || b.Missing != len(st.Missing) || b.Missing > 0 && !b.Since.Equal(st.Missing[0].Since) || b.Missing == 0 && !b.Since.IsZero() {
				t.Errorf("brief %+v of %+v", b, st)
			}
			if b.Topic == v.Topic && b.Missing != 1 {
				t.Errorf("%d missing, want 1", b.Missing)
			}
		}
		if st := s.Stats(); st.Failed == 0 || st.BytesIn == 0 || st.FramesOut == 0 || st.BytesOut < st.FramesOut {
			t.Errorf("stats %+v", st)
		}
	})
}
