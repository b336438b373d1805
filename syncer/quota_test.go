package syncer

import (
	"errors"
	"fmt"
	"testing"

	"github.com/cairn-p2p/cairn/types"
)

// Strangers take all streams and keep them: whoever has none gets in all the
// same, in the place of an idle one, and nobody with streams gets more.
func TestNobodyIsKeptOut(t *testing.T) {
	limits := Limits{StreamsPerPeer: 2, Streams: 8}.withDefaults()
	q := newQuota(limits)
	kicked := map[string]bool{}
	enter := func(peer, stream string) (*allowance, error) {
		return q.enter(types.PeerID(peer), func() { kicked[stream] = true })
	}
	var busy *allowance
	for i := range 8 {
		a, err := enter(fmt.Sprint("stranger ", i/2), fmt.Sprint(i))
		if err != nil {
			t.Fatal(err)
		}
		a.used.Store(int64(10 + i))
		if i == 0 {
			busy = a
		}
	}
	busy.used.Store(100)
	if _, err := enter("stranger 0", "more"); !errors.Is(err, errQuota) {
		t.Errorf("a third stream: %v", err)
	}
	honest, err := enter("honest", "honest")
	if err != nil {
		t.Fatalf("an honest peer is kept out: %v", err)
	}
	if len(kicked) != 1 || !kicked["1"] {
		t.Errorf("kicked %v, want the idlest", kicked)
	}
	if _, err := enter("honest", "second"); !errors.Is(err, errQuota) {
		t.Errorf("a second stream while all are taken: %v", err)
	}
	honest.leave()
	busy.leave()
	if q.total != 6 {
		t.Errorf("%d streams are counted, want 6", q.total)
	}
}
