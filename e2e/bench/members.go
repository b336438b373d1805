package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"syscall"

	"github.com/ipfs/go-cid"
	"golang.org/x/sync/errgroup"

	"github.com/cairn-p2p/cairn/crdt"
	"github.com/cairn-p2p/cairn/node"
	"github.com/cairn-p2p/cairn/types"
)

const (
	topicName   = "bench"
	payloadSize = 256
)

// member is a node on disk and the topic that it replicates.
type member struct {
	*node.Topic
	node *node.Node
	dir  string
}

// open starts a node in dir and joins the topic.
func open(ctx context.Context, dir string) (member, error) {
	m, err := openBare(ctx, dir)
	if err != nil {
		return member{}, err
	}
	if m.Topic, err = m.node.Topic(ctx, topicName); err != nil {
		return member{}, errors.Join(err, m.node.Close())
	}
	return m, nil
}

// openBare starts a node in dir.
func openBare(ctx context.Context, dir string) (member, error) {
	n, err := node.Open(ctx, node.Config{Dir: dir, Listen: []string{"/ip4/127.0.0.1/tcp/0"}, MinFree: -1})
	return member{node: n, dir: dir}, err
}

// bare starts a node in a directory of its own, without the topic.
func (b *bench) bare(ctx context.Context) (member, error) {
	dir, err := b.temp()
	if err != nil {
		return member{}, err
	}
	return openBare(ctx, dir)
}

// fresh starts a node in a directory of its own.
func (b *bench) fresh(ctx context.Context) (member, error) {
	dir, err := b.temp()
	if err != nil {
		return member{}, err
	}
	return open(ctx, dir)
}

// cluster opens n nodes, all connected, through taps unless they are nil, and
// has each append one event and all receive them: then gossip flows.
func (b *bench) cluster(ctx context.Context, n int, taps *taps) (members []member, err error) {
	defer func() {
		if err != nil {
			err = errors.Join(err, closeAll(members))
		}
	}()
	for range n {
		m, err := b.fresh(ctx)
		if err != nil {
			return members, err
		}
		members = append(members, m)
		for _, other := range members[:len(members)-1] {
			if err := connect(ctx, m, other, taps); err != nil {
				return members, err
			}
		}
	}
	if err := write(ctx, members, n, 1); err != nil {
		return members, err
	}
	return members, equal(ctx, members, n)
}

func connect(ctx context.Context, a, b member, taps *taps) error {
	addr, err := taps.via(b.node.Addrs()[0])
	if err != nil {
		return err
	}
	return a.node.Connect(ctx, addr)
}

func closeAll(members []member) error {
	var err error
	for _, m := range members {
		err = errors.Join(err, m.node.Close())
	}
	return err
}

// write appends events in all, one a call, by so many concurrent writers on
// each member at once.
func write(ctx context.Context, members []member, events, writers int) error {
	group, ctx := errgroup.WithContext(ctx)
	for i, m := range members {
		n := share(events, len(members), i)
		for w := range writers {
			group.Go(func() error {
				for k := range share(n, writers, w) {
					if _, err := m.Append(ctx, payload(i, w, k)); err != nil {
						return fmt.Errorf("append on node %d: %w", i, err)
					}
				}
				return nil
			})
		}
	}
	return group.Wait()
}

// share is the i-th of n about equal parts of total.
func share(total, n, i int) int { return (total + n - 1 - i) / n }

// payload is unlike all others.
func payload(member, writer, k int) []byte {
	p := make([]byte, payloadSize)
	copy(p, fmt.Sprintf("node %d, writer %d, event %d", member, writer, k))
	return p
}

// await waits until every member has want events: all that were written, so
// that the heads hashes are equal too, which check holds them to.
func await(ctx context.Context, members []member, want int) error {
	for i, m := range members {
		enough := func(s node.Status) bool { return s.Events >= uint64(want) }
		if s, err := m.Wait(ctx, enough); err != nil {
			return fmt.Errorf("node %d has %d of %d events, %s: %s: %w", i, s.Events, want, s.State, s.Reason, err)
		}
	}
	return nil
}

// equal waits like await, and then holds the members to exactly want events,
// equal heads hashes, nothing pending, and delivery logs in which each event
// comes once and after its links.
func equal(ctx context.Context, members []member, want int) error {
	if err := await(ctx, members, want); err != nil {
		return err
	}
	return check(ctx, members, want)
}

func check(ctx context.Context, members []member, want int) error {
	var first crdt.State
	for i, m := range members {
		s, err := m.State(ctx)
		if err != nil {
			return err
		}
		if i == 0 {
			first = s
		}
		if s.Events != uint64(want) || s.HeadsHash != first.HeadsHash || s.PendingEvents != 0 {
			return fmt.Errorf("node %d: %d events, %d pending, heads hash %x; want %d, 0, %x",
				i, s.Events, s.PendingEvents, s.HeadsHash, want, first.HeadsHash)
		}
		if err := checkLog(ctx, m, want); err != nil {
			return fmt.Errorf("node %d: %w", i, err)
		}
	}
	return nil
}

func checkLog(ctx context.Context, m member, want int) error {
	seen := make(map[cid.Cid]bool, want)
	for d, err := range m.Subscribe(ctx, types.Cursor{}) {
		if err != nil {
			return err
		}
		for _, l := range d.Links {
			if !seen[l] {
				return fmt.Errorf("event %s was delivered before its link %s", d.CID, l)
			}
		}
		if seen[d.CID] {
			return fmt.Errorf("event %s was delivered twice", d.CID)
		}
		seen[d.CID] = true
		if len(seen) == want {
			return nil
		}
	}
	return fmt.Errorf("delivery log ended after %d of %d events: %w", len(seen), want, ctx.Err())
}

// bodySize is the mean size of the events' bodies, in bytes.
func bodySize(m member) (float64, error) {
	total, n := 0, 0
	for e, err := range m.Query(types.Query{}) {
		if err != nil {
			return 0, err
		}
		total += len(e.Bytes())
		n++
	}
	return float64(total) / float64(max(1, n)), nil
}

// diskUsage is the space that dir takes on disk, in bytes.
func diskUsage(dir string) (int64, error) {
	var total int64
	err := filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		if s, ok := info.Sys().(*syscall.Stat_t); ok {
			total += s.Blocks * 512
		}
		return nil
	})
	return total, err
}

// finish closes members and notes what the first one's data takes on disk.
func (r *row) finish(ctx context.Context, members []member, events int) error {
	s, err := members[0].State(ctx)
	if err != nil {
		return err
	}
	r.heads = len(s.Heads)
	if r.body, err = bodySize(members[0]); err != nil {
		return err
	}
	if err := closeAll(members); err != nil {
		return err
	}
	size, err := diskUsage(members[0].dir)
	r.disk = float64(size) / float64(events)
	return err
}
