package syncer_test

import (
	"crypto/ed25519"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cairn-p2p/cairn/syncer"
	"github.com/cairn-p2p/cairn/types"
)

// More heads than an answer lists are compared by their digest. All but the very
// last are here: a replica that looked at some alone would take itself for synced,
// and stay different for ever.
func TestLastOfManyHeadsIsMissing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, _ := cluster(t, 2)
		heads := unlinked(t, c.Topic, 4096+1)
		give(t, c, 0, heads[:4096])
		give(t, c, 1, heads)
		c.Connect(0, 1)
		time.Sleep(5 * time.Second)
		synctest.Wait()
		if st, err := c.Syncers()[0].Status(c.Topic); err != nil || c.Hash(0) != c.Hash(1) {
			t.Errorf("the replicas differ, and say %s (%s), %v", st.State, st.Reason, err)
		}
	})
}

// A storm of heads costs its difference: two replicas have 20,000 heads in common,
// and each three more. Listed they would be 800 KB each way.
func TestStormOfHeadsCostsItsDifference(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, _ := cluster(t, 2)
		heads := unlinked(t, c.Topic, 20_006)
		give(t, c, 0, heads[:20_003])
		give(t, c, 1, slices.Concat(heads[:20_000], heads[20_003:]))
		c.Connect(0, 1)
		time.Sleep(10 * time.Second)
		synctest.Wait()
		if st, err := c.Syncers()[0].Status(c.Topic); err != nil || c.Hash(0) != c.Hash(1) {
			t.Errorf("the replicas differ, and say %s (%s), %v", st.State, st.Reason, err)
		}
		if n := c.Syncers()[0].(*syncer.Syncer).Stats().BytesIn; n > 150_000 {
			t.Errorf("%d bytes were read for a difference of 3 heads", n)
		}
	})
}

// unlinked returns n signed events without links, sorted by their CIDs.
func unlinked(t *testing.T, topic types.TopicID, n int) []*types.Event {
	t.Helper()
	key := ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize))
	events := make([]*types.Event, 0, n)
	for seq := range uint64(n) {
		e, err := types.NewEvent(types.Body{Topic: topic, Publisher: types.PublisherOf(key), Seq: seq + 1, Height: 1})
		if err != nil {
			t.Fatal(err)
		}
		events = append(events, e)
	}
	types.SignEvents(key, events)
	slices.SortFunc(events, func(a, b *types.Event) int { return types.CompareCIDs(a.CID, b.CID) })
	return events
}
