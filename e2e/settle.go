package e2e

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/ipfs/go-cid"

	"github.com/cairn-p2p/cairn/node"
	"github.com/cairn-p2p/cairn/types"
)

// lookAgain is how often replicas of one size that differ are compared.
const lookAgain = 50 * time.Millisecond

// aftermath is how long something may wait for links that never come, those of
// an attack or of events that were lost with a disk: a minute, and as much again.
const aftermath = 2 * time.Minute

// converge waits until all replicas of each topic are equal. The error says which
// are not within so long. What waits for its links then, waits for what nobody
// has: see settle.
func (r *run) converge(ctx context.Context, within time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	for k := range r.s.Topics {
		topics := r.replicas(k)
		for {
			equal, err := r.compare(ctx, topics)
			if err == nil {
				err = ctx.Err() // late is late
			}
			if err == nil && equal {
				break
			}
			if err == nil && !sleep(ctx, lookAgain) {
				err = ctx.Err()
			}
			if err != nil {
				return fmt.Errorf("not equal within %v: %w", within, err)
			}
		}
	}
	return nil
}

// replicas returns the k-th topic of every node.
func (r *run) replicas(k int) []topic {
	topics := make([]topic, len(r.hosts))
	for i, h := range r.hosts {
		topics[i] = h.living().topics[k]
	}
	return topics
}

// settle waits until nothing is pending any more, and replicas are equal still.
// The error says which are not.
func (r *run) settle(ctx context.Context) error {
	within, cancel := context.WithTimeout(ctx, aftermath)
	defer cancel()
	for k := range r.s.Topics {
		for i, t := range r.replicas(k) {
			s, err := t.Wait(within, func(s node.Status) bool { return s.Pending == 0 })
			if err != nil {
				return fmt.Errorf("node %d has %d events of %q pending %v after all were equal: %w", i, s.Pending, t.Name(), aftermath, err)
			}
		}
	}
	return r.converge(ctx, aftermath)
}

// compare waits until all replicas have as many events as were acknowledged and
// as the largest has now, and reports whether they are equal then.
func (r *run) compare(ctx context.Context, topics []topic) (bool, error) {
	r.mu.Lock()
	most := uint64(len(r.acked[topics[0].ID()]) + r.expected(topics[0].ID()))
	r.mu.Unlock()
	for _, t := range topics {
		s, err := t.State(ctx)
		if err != nil {
			return false, err
		}
		most = max(most, s.Events)
	}
	equal := true
	var first types.Hash
	for i, t := range topics {
		s, err := t.Wait(ctx, func(s node.Status) bool { return s.Events >= most })
		if err != nil {
			return false, fmt.Errorf("node %d has %d events of %q, %d pending, of %d: %s, %s: %w",
				i, s.Events, t.Name(), s.Pending, most, s.State, s.Reason, err)
		}
		if i == 0 {
			first = s.HeadsHash
		}
		equal = equal && s.HeadsHash == first
	}
	return equal, nil
}

// inspect makes all nodes ones of this process, which can be looked into: those
// of others end, and what they left on their disks is opened on a network that
// loses everything.
func (r *run) inspect(ctx context.Context) error {
	if r.o.Medium != Processes {
		return nil
	}
	if err := r.close(); err != nil {
		return err
	}
	r.net = newSimulated(Link{Loss: 1, Bandwidth: defaultBandwidth}, r.s.Seed)
	return r.mend(ctx)
}

// check holds all replicas to the invariants, and notes the result.
func (r *run) check(ctx context.Context, result *Result) error {
	for k := range r.s.Topics {
		var replicas []Replica
		var topic types.TopicID
		for _, h := range r.hosts {
			t := h.living().topics[k].(*node.Topic) // see inspect
			topic = t.ID()
			replica, err := readReplica(ctx, h.name, t)
			if err != nil {
				return fmt.Errorf("%s: %w", h.name, err)
			}
			replica.Publisher = h.living().here().Publisher()
			replicas = append(replicas, replica)
		}
		if k == 0 && r.o.Trace {
			result.Log = replicas[0].Log
		}
		result.Events += len(replicas[0].Log)
		result.Heads += len(replicas[0].Heads)
		result.Lost += lost(replicas, slices.Concat(r.acked[topic], r.excused[topic]))
		result.Wrong = append(result.Wrong, r.checkLogs(replicas)...)
		result.Wrong = append(result.Wrong, checkWitnesses(replicas)...)
		for _, w := range Check(replicas, r.acked[topic]) {
			result.Wrong = append(result.Wrong, fmt.Sprintf("topic %d: %s", k, w))
		}
	}
	return nil
}

// verifiedRoots is how many roots of batches checkWitnesses remembers.
const verifiedRoots = 1 << 12

// checkWitnesses finds the first event of each replica whose witness does not
// verify. Witnesses of one event may differ.
func checkWitnesses(replicas []Replica) []string {
	type witnessed struct {
		id      cid.Cid
		witness string
	}
	var wrong []string
	verifier, good := types.NewVerifier(verifiedRoots), map[witnessed]bool{}
	for _, r := range replicas {
		for n, e := range r.Log {
			w := witnessed{e.CID, string(e.Witness)}
			if good[w] {
				continue
			}
			if err := verifier.Verify(e); err != nil {
				wrong = append(wrong, fmt.Sprintf("%s: event %s was delivered as number %d: %v", r.Node, e.CID, n+1, err))
				break
			}
			good[w] = true
		}
	}
	return wrong
}

// lost counts the acknowledged events that not every replica has.
func lost(replicas []Replica, acknowledged []cid.Cid) int {
	has := make(map[cid.Cid]int, len(acknowledged))
	for _, r := range replicas {
		for _, e := range r.Log {
			has[e.CID]++
		}
	}
	n := 0
	for _, id := range acknowledged {
		if has[id] < len(replicas) {
			n++
		}
	}
	return n
}

// readPatience bounds the reading of one delivery log: one that is shorter than
// its node says would be waited for without end.
const readPatience = time.Minute

// readReplica reads what a node holds of a topic that does not grow any more.
func readReplica(ctx context.Context, name string, t *node.Topic) (Replica, error) {
	ctx, cancel := context.WithTimeout(ctx, readPatience)
	defer cancel()
	r := Replica{Node: name}
	s, err := t.State(ctx)
	if err != nil {
		return r, err
	}
	r.Events, r.Heads, r.HeadsHash, r.Pending = s.Events, s.Heads, s.HeadsHash, s.PendingEvents
	if s.Events == 0 {
		return r, nil
	}
	for d, err := range t.Subscribe(ctx, types.Cursor{}) {
		if err != nil {
			return r, err
		}
		r.Log = append(r.Log, d.Event)
		if uint64(len(r.Log)) == s.Events {
			break
		}
	}
	return r, nil
}
