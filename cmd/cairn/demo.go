package main

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"strconv"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/cairn-p2p/cairn/node"
	"github.com/cairn-p2p/cairn/types"
)

const (
	// demoTopic is the topic of a demo; kept nodes that hold it already get
	// demo-2, and so on.
	demoTopic = "demo"
	// minDemoWriters and maxDemoWriters are how many callers publish at once on
	// each node: one for every demoShare events. More of them are faster, as
	// they share commits; few leave a DAG that is worth a look.
	minDemoWriters, maxDemoWriters = 2, 8
	demoShare                      = 16
	// demoPatience bounds each wait of a demo: what takes longer has failed.
	demoPatience = 2 * time.Minute
)

// errNotEqual and errNothingMissed are how a demo fails.
var (
	errNotEqual      = errors.New("the nodes are not equal")
	errNothingMissed = errors.New("the node that was cut off missed nothing, so nothing was shown")
)

// demoRow is what became of a node in a demo.
type demoRow struct {
	Node      string  `json:"node"`
	Events    uint64  `json:"events"`
	Missed    uint64  `json:"missed"` // what it lacked when the cut healed
	Heads     int     `json:"heads"`
	HeadsHash string  `json:"heads_hash"`
	Seconds   float64 `json:"seconds"` // from healing until it had all
}

var demoTable = table[demoRow]{
	{"NODE", 0, func(r *demoRow) string { return r.Node }},
	{"EVENTS", 0, func(r *demoRow) string { return strconv.FormatUint(r.Events, 10) }},
	{"MISSED WHILE CUT", 0, func(r *demoRow) string { return strconv.FormatUint(r.Missed, 10) }},
	{"HEADS", 0, func(r *demoRow) string { return strconv.Itoa(r.Heads) }},
	{"HEADS HASH", 0, func(r *demoRow) string { return r.HeadsHash[:min(len(r.HeadsHash), shortHash)] }},
	{"SECONDS TO EQUAL", 0, func(r *demoRow) string { return strconv.FormatFloat(r.Seconds, 'f', 3, 64) }},
}

// demo publishes on the nodes of a cluster, of which the last one is cut off
// for a while.
type demo struct {
	cluster  *cluster
	topics   []*node.Topic // the cluster's nodes' copies
	progress progress
	written  []uint64 // by node
	rows     []demoRow
}

// demo carries out a demo with n events and prints what came of it.
func (a *app) demo(ctx context.Context, c *cluster, n int) error {
	d := &demo{cluster: c, progress: a.newProgress(n), written: make([]uint64, len(c.daemons))}
	for i := range c.daemons {
		d.rows = append(d.rows, demoRow{Node: nodeName(i)})
	}
	err := d.run(ctx, n)
	d.progress.end()
	if err != nil && !errors.Is(err, errNotEqual) {
		return err
	}
	if err := d.finish(ctx); err != nil {
		return err
	}
	if err := printList(a, d.rows, demoTable); err != nil { // whatever became of it
		return err
	}
	if err == nil {
		err = verdict(d.rows, n)
	}
	if err != nil {
		return err
	}
	last := d.rows[len(d.rows)-1]
	fmt.Fprintf(a.stderr, "%s was cut off for %d of %d events and missed %d of them; all nodes have the same DAG.\n", last.Node, whileCut(n), n, last.Missed)
	if !c.temp {
		cairn := command(os.Args[0])
		fmt.Fprintf(a.stderr, "To look at it: %s dev --keep %s, then: %s topic graph %s > demo.svg\n", cairn, c.dir, cairn, d.topics[0].Name())
	}
	return nil
}

// whileCut is how many of n events are published while the last node is cut
// off: half of them, and one at least.
func whileCut(n int) int { return (n + 1) / 2 }

// run publishes a quarter of n events on connected nodes, half while the last
// node is cut off, and the rest once it is healed. It fills in what the rows
// say of the cut.
func (d *demo) run(ctx context.Context, n int) error {
	if err := d.join(ctx); err != nil {
		return err
	}
	before := n / 4
	last := d.cluster.daemons[len(d.cluster.daemons)-1].node
	for _, step := range []func() error{
		func() error { return d.publish(ctx, before, "all connected") },
		func() error { return d.await(ctx, d.total(), len(d.topics)) },
		func() error {
			last.Refuse(func(types.PeerID) bool { return true })
			return d.publish(ctx, whileCut(n), d.rows[len(d.rows)-1].Node+" cut off")
		},
		// The others have all of their own, so that what they lack is the last
		// node's.
		func() error { return d.await(ctx, d.connectedTotal(before), len(d.topics)-1) },
		func() error { return d.heal(ctx, last) },
		func() error { return d.publish(ctx, n-before-whileCut(n), "healed") },
		func() error { return d.await(ctx, d.total(), len(d.topics)) },
	} {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

// join joins a topic that none of the nodes holds.
func (d *demo) join(ctx context.Context) error {
	name := demoTopic
	for k := 2; d.holds(name); k++ {
		name = demoTopic + "-" + strconv.Itoa(k)
	}
	for _, m := range d.cluster.daemons {
		t, err := m.node.Topic(ctx, name)
		if err != nil {
			return fmt.Errorf("join the demo's topic: %w", err)
		}
		d.topics = append(d.topics, t)
	}
	return nil
}

func (d *demo) holds(name string) bool {
	for _, m := range d.cluster.daemons {
		if _, err := m.node.Find(name); err == nil {
			return true
		}
	}
	return false
}

// publish publishes n events, the same share on each node, the first nodes
// first if it is not a whole number.
func (d *demo) publish(ctx context.Context, n int, when string) error {
	d.progress.phase(when)
	group, ctx := errgroup.WithContext(ctx)
	for i, topic := range d.topics {
		share := (n + len(d.topics) - 1 - i) / len(d.topics)
		var next atomic.Int64
		for range min(share, max(minDemoWriters, min(maxDemoWriters, share/demoShare))) {
			group.Go(func() error {
				for k := next.Add(1); k <= int64(share); k = next.Add(1) {
					payload := fmt.Sprintf("%s, %s: %d of %d", nodeName(i), when, k, share)
					if _, err := topic.Append(ctx, []byte(payload)); err != nil {
						return fmt.Errorf("publish on %s: %w", nodeName(i), err)
					}
					d.progress.add(1)
				}
				return nil
			})
		}
		d.written[i] += uint64(share)
	}
	return group.Wait()
}

func (d *demo) total() uint64 {
	var sum uint64
	for _, n := range d.written {
		sum += n
	}
	return sum
}

// connectedTotal is what the nodes that were not cut off know of: before, all
// were connected.
func (d *demo) connectedTotal(before int) uint64 {
	last := len(d.written) - 1
	sharedByLast := (before + len(d.topics) - 1 - last) / len(d.topics)
	return d.total() - d.written[last] + uint64(sharedByLast)
}

// await waits until the first few nodes have so many events.
func (d *demo) await(ctx context.Context, events uint64, nodes int) error {
	group, ctx := errgroup.WithContext(ctx)
	for i := range nodes {
		group.Go(func() error { return d.awaitNode(ctx, i, events) })
	}
	return group.Wait()
}

// awaitNode waits until a node has so many events. The error is errNotEqual
// when it takes too long.
func (d *demo) awaitNode(ctx context.Context, i int, events uint64) error {
	patient, cancel := context.WithTimeout(ctx, demoPatience)
	defer cancel()
	s, err := d.topics[i].Wait(patient, func(s node.Status) bool { return s.Events >= events })
	switch {
	case err == nil:
		return nil
	case ctx.Err() == nil && patient.Err() != nil:
		return fmt.Errorf("%w: %s has %d of %d events after %s and is %s (%s)", errNotEqual, nodeName(i), s.Events, events, demoPatience, s.State, s.Reason)
	}
	return fmt.Errorf("wait for %s: %w", nodeName(i), err)
}

// heal counts what each node lacks, connects the last one again, and measures
// how long each takes to have all.
func (d *demo) heal(ctx context.Context, last *node.Node) error {
	total := d.total()
	for i, topic := range d.topics {
		s, err := topic.State(ctx)
		if err != nil {
			return fmt.Errorf("count what %s missed: %w", nodeName(i), err)
		}
		d.rows[i].Missed = total - s.Events
	}
	d.progress.phase("healing")
	begin := time.Now()
	last.Refuse(nil)
	others := d.cluster.daemons[:len(d.cluster.daemons)-1]
	if err := connect(ctx, d.cluster.daemons[len(others)], others[max(0, len(others)-clusterDials):]); err != nil {
		return fmt.Errorf("heal: %w", err)
	}
	group, ctx := errgroup.WithContext(ctx)
	for i := range d.topics {
		group.Go(func() error {
			err := d.awaitNode(ctx, i, total)
			d.rows[i].Seconds = seconds(time.Since(begin))
			return err
		})
	}
	return group.Wait()
}

// finish fills in how the nodes end.
func (d *demo) finish(ctx context.Context) error {
	for i, topic := range d.topics {
		s, err := topic.State(ctx)
		if err != nil {
			return fmt.Errorf("state of %s: %w", nodeName(i), err)
		}
		r := &d.rows[i]
		r.Events, r.Heads, r.HeadsHash = s.Events, len(s.Heads), hex.EncodeToString(s.HeadsHash[:])
	}
	return nil
}

// verdict reports why rows, of which the last is that of the node that was cut
// off, do not show how n events heal.
func verdict(rows []demoRow, n int) error {
	for _, r := range rows {
		if r.Events != uint64(n) || r.HeadsHash != rows[0].HeadsHash {
			return errNotEqual
		}
	}
	if rows[len(rows)-1].Missed == 0 {
		return errNothingMissed
	}
	return nil
}
