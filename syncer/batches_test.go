package syncer

import (
	"bytes"
	"crypto/ed25519"
	"math/rand/v2"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/cairn-p2p/cairn/syncer/pb"
	"github.com/cairn-p2p/cairn/types"
)

// signedBatches returns batches of so many events of one topic. A batch of one
// has a single witness.
func signedBatches(t interface{ Fatal(...any) }, sizes []int) (topic types.TopicID, batches [][]*types.Event) {
	g, err := types.NewOpen("batches")
	if err != nil {
		t.Fatal(err)
	}
	seq := uint64(0)
	for i, size := range sizes {
		key := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{byte(i)}, ed25519.SeedSize))
		var batch []*types.Event
		for range size {
			seq++
			e, err := types.NewEvent(types.Body{Topic: g.ID(), Publisher: types.PublisherOf(key), Seq: seq, Height: 1})
			if err != nil {
				t.Fatal(err)
			}
			batch = append(batch, e)
		}
		types.SignEvents(key, batch)
		batches = append(batches, batch)
	}
	return g.ID(), batches
}

// Whatever batches lie in a frame, whole or not, in order or mixed, every event
// comes out of it with the witness that it went in with; and of those in whole
// batches in order none is sent.
func TestSharedWitnesses(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		topic, batches := signedBatches(t, rapid.SliceOfN(rapid.IntRange(1, 20), 1, 5).Draw(t, "sizes"))
		random := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 0))
		whole := 0
		var queues [][]*types.Event
		for _, batch := range batches {
			switch rapid.SampledFrom([]string{"whole", "part", "shuffled"}).Draw(t, "kind") {
			case "whole":
				if len(batch) > 1 {
					whole += len(batch)
				}
			case "part":
				batch = slices.Delete(slices.Clone(batch), 0, 1)
			case "shuffled":
				batch = slices.Clone(batch)
				slices.Reverse(batch)
			}
			queues = append(queues, batch)
		}
		var sent []*types.Event
		var list []*pb.Event
		for len(queues) > 0 {
			i := random.IntN(len(queues))
			if len(queues[i]) == 0 {
				queues = slices.Delete(queues, i, i+1)
				continue
			}
			sent = append(sent, queues[i][0])
			list = append(list, eventMessage(queues[i][0].Bytes(), queues[i][0].Witness))
			queues[i] = queues[i][1:]
		}
		signatures := share(list)
		shared := 0
		for _, m := range list {
			if m.Batch > 0 {
				shared++
			}
		}
		if shared != whole {
			t.Fatalf("%d events share a signature, want %d", shared, whole)
		}
		events, err := parseEvents(list, signatures, topic)
		if err != nil {
			t.Fatal(err)
		}
		for i, e := range events {
			if e.CID != sent[i].CID || !bytes.Equal(e.Witness, sent[i].Witness) {
				t.Fatalf("event %d of %d came with another witness", i, len(events))
			}
		}
	})
}
