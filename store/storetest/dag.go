package storetest

import (
	"crypto/ed25519"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/ipfs/go-cid"

	"github.com/cairn-p2p/cairn/types"
)

// DAG is a model of one topic: it makes random valid batches and remembers
// those that were committed.
type DAG struct {
	Genesis *types.Genesis
	Events  []*types.Event // in log order

	t     testing.TB
	rng   *rand.Rand
	keys  []ed25519.PrivateKey
	seqs  []uint64 // of keys, in Events
	heads map[cid.Cid]types.Head
}

// NewDAG returns the model of the empty open topic called name with some
// publishers. It takes a seed from rng and does not keep it.
func NewDAG(t testing.TB, rng *rand.Rand, name string, publishers int) *DAG {
	t.Helper()
	g, err := types.NewOpen(name)
	must(t, err)
	d := &DAG{Genesis: g, t: t, rng: rand.New(rand.NewPCG(rng.Uint64(), rng.Uint64())), heads: map[cid.Cid]types.Head{}}
	for range publishers {
		seed := make([]byte, ed25519.SeedSize)
		binary.BigEndian.PutUint64(seed, rng.Uint64())
		d.keys = append(d.keys, ed25519.NewKeyFromSeed(seed))
	}
	d.seqs = make([]uint64, publishers)
	return d
}

// Topic is the topic's id.
func (d *DAG) Topic() types.TopicID { return d.Genesis.ID() }

// Publisher is the i-th publisher.
func (d *DAG) Publisher(i int) types.Publisher { return types.PublisherOf(d.keys[i]) }

// Batch returns a batch of n random events that continues the topic. It is not
// part of the model until Add.
func (d *DAG) Batch(n int) *types.Batch {
	return d.batch(n, func(i int, b *types.Body) {
		b.Payload = fmt.Appendf(nil, "%d %x", i, d.rng.Uint64())
		b.Time = d.rng.Int64N(1000) // few values: times are equal often
		for _, tag := range []string{"a", "ab", "b\x00", "ünï"} {
			if d.rng.IntN(4) == 0 {
				b.Tags = append(b.Tags, tag)
			}
		}
	})
}

// PayloadBatch returns a batch of n events with random payloads of size bytes
// and these tags.
func (d *DAG) PayloadBatch(n, size int, tags ...string) *types.Batch {
	return d.batch(n, func(_ int, b *types.Body) {
		b.Payload = make([]byte, size)
		for i := 0; i+8 <= size; i += 8 {
			binary.BigEndian.PutUint64(b.Payload[i:], d.rng.Uint64())
		}
		b.Tags = tags
		b.Time = d.rng.Int64N(1000)
	})
}

// Chain returns a batch of n events of the i-th publisher, signed together, each
// behind the one before and the first behind that publisher's latest event: so the
// chains of several publishers lie side by side. Times are a millisecond apart.
func (d *DAG) Chain(i, n int) *types.Batch {
	b := &types.Batch{Topic: d.Topic(), First: uint64(len(d.Events)) + 1}
	heads := d.sortedHeads()
	body := types.Body{Topic: d.Topic(), Publisher: d.Publisher(i), Seq: d.seqs[i]}
	for _, e := range slices.Backward(d.Events) {
		if e.Publisher == body.Publisher {
			body.Links, body.Height = []cid.Cid{e.CID}, e.Height
			break
		}
	}
	for range n {
		body.Seq++
		body.Height++
		body.Time = 1_700_000_000_000_000_000 + int64(body.Height)*1_000_000
		e, err := types.NewEvent(body)
		must(d.t, err)
		b.Events = append(b.Events, e)
		heads = slices.DeleteFunc(heads, func(h types.Head) bool { return slices.Contains(body.Links, h.CID) })
		heads = append(heads, types.Head{CID: e.CID, Height: e.Height})
		body.Links = []cid.Cid{e.CID}
	}
	types.SignEvents(d.keys[i], b.Events)
	d.setHeads(b, heads)
	return b
}

// batch makes n events that fill completes.
func (d *DAG) batch(n int, fill func(i int, b *types.Body)) *types.Batch {
	b := &types.Batch{Topic: d.Topic(), First: uint64(len(d.Events)) + 1}
	seqs := slices.Clone(d.seqs)
	heads := d.sortedHeads()
	known := slices.Clone(d.Events)
	signed := make([][]*types.Event, len(d.keys))
	for i := range n {
		who := d.rng.IntN(len(d.keys))
		seqs[who]++
		body := types.Body{Topic: d.Topic(), Publisher: d.Publisher(who), Seq: seqs[who]}
		d.link(&body, heads, known)
		fill(i, &body)
		e, err := types.NewEvent(body)
		must(d.t, err)
		known = append(known, e)
		b.Events = append(b.Events, e)
		signed[who] = append(signed[who], e)
		heads = slices.DeleteFunc(heads, func(h types.Head) bool { return slices.Contains(body.Links, h.CID) })
		heads = append(heads, types.Head{CID: e.CID, Height: e.Height})
	}
	for i, events := range signed {
		if len(events) > 0 {
			types.SignEvents(d.keys[i], events)
		}
	}
	d.setHeads(b, heads)
	return b
}

// link sets links and height: some heads, now and then an older event, rarely
// none.
func (d *DAG) link(b *types.Body, heads []types.Head, known []*types.Event) {
	links := map[cid.Cid]uint64{}
	if len(heads) > 0 && d.rng.IntN(20) > 0 {
		for range 1 + d.rng.IntN(3) {
			h := heads[d.rng.IntN(len(heads))]
			links[h.CID] = h.Height
		}
		if d.rng.IntN(8) == 0 {
			e := known[d.rng.IntN(len(known))]
			links[e.CID] = e.Height
		}
	}
	b.Height = 1
	for c, height := range links {
		b.Links = append(b.Links, c)
		b.Height = max(b.Height, height+1)
	}
	types.SortCIDs(b.Links)
}

func (d *DAG) sortedHeads() []types.Head {
	var heads []types.Head
	for _, h := range d.heads {
		heads = append(heads, h)
	}
	sortHeads(heads)
	return heads
}

// setHeads sets how b changes the model's heads into heads.
func (d *DAG) setHeads(b *types.Batch, heads []types.Head) {
	after := map[cid.Cid]bool{}
	for _, h := range heads {
		after[h.CID] = true
		if _, had := d.heads[h.CID]; !had {
			b.AddHeads = append(b.AddHeads, h)
		}
	}
	for _, h := range d.sortedHeads() {
		if !after[h.CID] {
			b.DropHeads = append(b.DropHeads, h.CID)
		}
	}
}

// Add makes a batch part of the model.
func (d *DAG) Add(b *types.Batch) {
	d.Events = append(d.Events, b.Events...)
	for _, e := range b.Events {
		for i := range d.keys {
			if d.Publisher(i) == e.Publisher {
				d.seqs[i] = max(d.seqs[i], e.Seq)
			}
		}
	}
	for _, c := range b.DropHeads {
		delete(d.heads, c)
	}
	for _, h := range b.AddHeads {
		d.heads[h.CID] = h
	}
}

// Commit commits n random events to s and makes them part of the model.
func (d *DAG) Commit(s Store, n int) {
	d.t.Helper()
	b := d.Batch(n)
	must(d.t, s.Commit(b))
	d.Add(b)
}

// Grow commits n random events in batches of random size.
func (d *DAG) Grow(s Store, n int) {
	d.t.Helper()
	for n > 0 {
		k := min(n, 1+d.rng.IntN(40))
		d.Commit(s, k)
		n -= k
	}
}

func sortHeads(heads []types.Head) {
	slices.SortFunc(heads, func(a, b types.Head) int { return types.CompareCIDs(a.CID, b.CID) })
}
