package e2e

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"runtime/metrics"
	"slices"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p"

	"github.com/cairn-p2p/cairn/e2e/hostile"
	"github.com/cairn-p2p/cairn/node"
	"github.com/cairn-p2p/cairn/types"
)

// What a hostile peer may cost. The heap is that of the whole process, which
// the hostile peers are part of.
const (
	// maxAdopted is the number of topics that nobody asked for that a node of a
	// scenario takes up, where they are what it is about.
	maxAdopted = 20
	// maxHeapGrowth is what the process may hold more than before an attack, for
	// each node: what waits for links (8 MiB of bytes, and as much again decoded
	// and indexed), an inbox of 8 MiB, five batches of 1 MiB in a pipeline, 8
	// streams with a frame of 1 MiB each way, and what gossip remembers of events
	// and announcers, 12 MiB.
	maxHeapGrowth = 64 << 20
	// maxHeapPerEvent comes on top for each event of an attack that is as it
	// should be, on each node: the hostile peer has it in memory, and so do the
	// nodes those that are heads.
	maxHeapPerEvent = 4 << 10
	// maxStored is what a log may take up of an attack whose events are not as
	// they should be: some lies need a few good ones, of less than 1 KiB each.
	maxStored = 8 << 10
	// maxStoredPerEvent is what each of the others may take.
	maxStoredPerEvent = 1 << 10
	// maxDisk is what a node's data may take in an attack beside the events that
	// it must hold: an empty database and a cache of peers, 250 KiB, and what the
	// attack makes it write.
	maxDisk = 2 << 20
	// maxDiskPerTopic comes on top for each topic that the node was told to join.
	maxDiskPerTopic = 4 << 10
	// maxDiskPerEvent comes on top of an event's payload: its head and witness,
	// the indexes, and what a compaction has twice for a while.
	maxDiskPerEvent = 2 << 10
)

// assault is a byzantine fault.
type assault struct {
	number    int // of the fault
	attack    *hostile.Attack
	victims   []int
	lives     []*life              // of the victims, when it began
	connected map[[2]int]bool      // honest nodes, when it began
	opened    map[types.PeerID]int // their ids
	begun     time.Time

	// Of one that ended before the scenario did:
	over     bool
	lasted   time.Duration
	accusals []accusal // of the victims, at its end
}

// accusal is what a node says of the peers of an attack.
type accusal struct {
	named bool // what can be proved, in status
	low   bool // the score of one is below that of who did nothing
}

// meets reports whether it is all that a proof allows.
func (a accusal) meets(proof hostile.Proof) bool {
	return proof == hostile.Nothing || a.named && (a.low || proof != hostile.Offence)
}

// AttackResult is what a byzantine fault showed.
type AttackResult struct {
	Behaviour string `json:"behaviour"`
	Peers     int    `json:"peers"`   // identities that took part
	Victims   int    `json:"victims"` // nodes that they were connected to
	Proof     string `json:"proof"`   // what a node can hold against it
	Named     int    `json:"named"`   // victims whose status names one of them
	Done      int    `json:"done"`    // events or messages sent, streams opened, requests answered
	Streams   int    `json:"streams"` // that one victim served to one peer at a time, at most; node.MaxPeerStreams is the cap
}

// needs returns what the scenario's attacks need of the nodes.
func (s *Scenario) needs() (dht, adopts bool) {
	for _, f := range s.Faults {
		if b, ok := hostile.Named(f.Behaviour); ok {
			dht, adopts = dht || b.DHT, adopts || b.Adopts
		}
	}
	return dht, adopts
}

// attack lets hostile peers join.
func (r *run) attack(ctx context.Context, number int, f Fault, nodes []int) error {
	a := &assault{number: number, victims: nodes, opened: map[types.PeerID]int{}, begun: time.Now()}
	cfg := hostile.Config{
		Behaviour: f.Behaviour, Count: f.Count, Network: simNetwork, Seed: r.s.Seed + uint64(number),
		Host: r.nextHost,
	}
	for k := range r.s.Topics {
		g, err := types.NewOpen(simTopic(k))
		if err != nil {
			return err
		}
		cfg.Topics = append(cfg.Topics, g)
	}
	for _, i := range nodes {
		l := r.hosts[i].living()
		a.lives = append(a.lives, l)
		if addr := r.hosts[i].addr; addr != "" { // one that is down is dialled until it is back
			cfg.Victims = append(cfg.Victims, addr)
		}
	}
	for _, h := range r.hosts {
		if l := h.living(); l != nil {
			a.opened[l.here().ID()] = h.index
		}
	}
	a.connected = r.connections(a.opened)
	var err error
	a.attack, err = hostile.Start(ctx, cfg)
	if err != nil {
		return err
	}
	r.assaults = append(r.assaults, a)
	return nil
}

// nextHost returns where the next hostile peer listens.
func (r *run) nextHost(int) (string, []libp2p.Option) {
	r.strangers++
	return r.net.place(len(r.hosts) + r.strangers - 1)
}

// here is the node of a life in this process: hostile peers meet no others.
func (l *life) here() *node.Node { return l.node.(local).Node }

// connections returns which of the nodes with these ids are connected, the lower
// index first.
func (r *run) connections(ids map[types.PeerID]int) map[[2]int]bool {
	connected := map[[2]int]bool{}
	for _, h := range r.hosts {
		l := h.living()
		if l == nil {
			continue
		}
		for _, p := range l.here().Peers() {
			if other, ok := ids[p.ID]; ok {
				connected[[2]int{min(h.index, other), max(h.index, other)}] = true
			}
		}
	}
	return connected
}

// endAttack ends the attack of a fault, and takes note of what its victims say
// of it: they need not remember a peer that has gone.
func (r *run) endAttack(ctx context.Context, number int) error {
	for _, a := range r.assaults {
		if a.number != number {
			continue
		}
		for k, i := range a.victims {
			var of accusal
			if l := r.hosts[i].living(); l != nil && l == a.lives[k] {
				var err error
				if of, err = accuses(ctx, l, a.attack.Behaviour().Proof, a.attack.IDs()); err != nil {
					return fmt.Errorf("node %d: %w", i, err)
				}
			}
			a.accusals = append(a.accusals, of)
		}
		a.over, a.lasted = true, time.Since(a.begun)
		if err := a.attack.Close(); err != nil {
			return err
		}
	}
	return nil
}

// endAttacks ends all attacks.
func (r *run) endAttacks() error {
	var err error
	for _, a := range r.assaults {
		err = errors.Join(err, a.attack.Close())
	}
	return err
}

// endure judges the attacks, and ends them.
func (r *run) endure(ctx context.Context, result *Result, growth func() uint64) error {
	if len(r.assaults) == 0 {
		return nil
	}
	for _, a := range r.assaults {
		of, err := r.judge(ctx, a, result)
		if err != nil {
			return err
		}
		result.Attacks = append(result.Attacks, of)
	}
	result.Growth, result.GrowthCap = growth(), r.heapCap()
	result.DiskCap = r.diskCap()
	return r.endAttacks()
}

// judge holds what an attack led to to what it may, while it still goes on or
// after it ended.
func (r *run) judge(ctx context.Context, a *assault, result *Result) (AttackResult, error) {
	how, ids := a.attack.Behaviour(), a.attack.IDs()
	of := AttackResult{Behaviour: how.Name, Peers: len(ids), Victims: len(a.victims), Proof: how.Proof.String()}
	wrong := func(format string, args ...any) {
		result.Wrong = append(result.Wrong, how.Name+": "+fmt.Sprintf(format, args...))
	}
	stayed := false
	for k, i := range a.victims {
		l := r.hosts[i].living()
		if l == nil || l != a.lives[k] {
			continue // it forgets with its life
		}
		stayed = true
		var says accusal
		var err error
		if a.over {
			says = a.accusals[k]
		} else if says, err = awaitAccusal(ctx, l, how.Proof, ids); err != nil {
			return of, fmt.Errorf("node %d: %w", i, err)
		}
		if says.named {
			of.Named++
		}
		if says.meets(how.Proof) || a.over && a.lasted < patience {
			continue
		}
		if says.named {
			wrong("node %d names the peer, and its score is not below 0", i)
		} else {
			wrong("node %d does not name the peer", i)
		}
	}
	of.Done = a.attack.Done()
	for _, v := range a.victims {
		of.Streams = max(of.Streams, r.hosts[v].stats().PeerStreams)
	}
	if stayed && !a.over && of.Done == 0 {
		wrong("it did nothing")
	}
	r.judgeHonest(ctx, a, wrong)
	if n, most := r.adopted(); n > most {
		wrong("a node holds %d topics, at most %d may be", n, most)
	}
	return of, nil
}

// minScore is the score of a node with another below which gossip begins to
// withhold things from it. Overload alone can bring it a little below 0.
const minScore = -100

// judgeHonest finds what an attack made nodes do to each other: accuse, starve,
// cut off.
func (r *run) judgeHonest(ctx context.Context, a *assault, wrong func(format string, args ...any)) {
	for _, h := range r.hosts {
		l := h.living()
		if l == nil {
			continue
		}
		for _, o := range offenders(ctx, l) {
			if other, ok := a.opened[o.Peer]; ok {
				wrong("%s accuses node %d: %s", h.name, other, o.Reason)
			}
		}
		for _, p := range l.here().Peers() {
			other, ok := a.opened[p.ID]
			if ok && p.Offence.Count > 0 {
				wrong("%s accuses node %d: %s", h.name, other, p.Offence.Reason)
			}
			if ok && p.Score < minScore {
				wrong("%s has node %d at a score of %.1f, and tells it little", h.name, other, p.Score)
			}
		}
	}
	now := r.connections(a.opened)
	for pair := range a.connected {
		if !now[pair] && r.onlyAttacks() {
			wrong("nodes %d and %d are not connected any more", pair[0], pair[1])
		}
	}
}

// patience is how long a node may take to accuse a hostile peer: it may not have
// met the peer again until the next exchange about all topics.
const patience = 45 * time.Second

// awaitAccusal is what accuses returns once the node accuses one of the ids as it
// must, or after patience.
func awaitAccusal(ctx context.Context, l *life, proof hostile.Proof, ids []types.PeerID) (accusal, error) {
	for begun := time.Now(); ; {
		says, err := accuses(ctx, l, proof, ids)
		if err != nil || says.meets(proof) || time.Since(begun) > patience || !sleep(ctx, lookAgain) {
			return says, err
		}
	}
}

// accuses returns what a node says of the peers now.
func accuses(ctx context.Context, l *life, proof hostile.Proof, ids []types.PeerID) (says accusal, err error) {
	for _, t := range l.topics {
		s, err := t.(*node.Topic).Status(ctx)
		if err != nil {
			return says, err
		}
		says.named = says.named || slices.ContainsFunc(s.Offenders, func(o node.Offender) bool { return slices.Contains(ids, o.Peer) })
		if proof != hostile.Unproven {
			continue
		}
		says.named = slices.ContainsFunc(s.Missing, func(m node.Missing) bool {
			return slices.ContainsFunc(m.Asked, func(a node.Answer) bool { return slices.Contains(ids, a.Peer) })
		})
		if says.named {
			break
		}
	}
	for _, p := range l.here().Peers() {
		says.low = says.low || slices.Contains(ids, p.ID) && p.Score < 0
	}
	return says, nil
}

func offenders(ctx context.Context, l *life) []node.Offender {
	var all []node.Offender
	for _, t := range l.topics {
		if s, err := t.(*node.Topic).Status(ctx); err == nil {
			all = append(all, s.Offenders...)
		}
	}
	return all
}

// onlyAttacks reports whether nothing else than hostile peers can have parted
// nodes.
func (r *run) onlyAttacks() bool {
	return !slices.ContainsFunc(r.s.Faults, func(f Fault) bool {
		switch f.Kind {
		case Byzantine, Join, ClockSkew, DiskFull:
			return false
		}
		return true
	})
}

// adopted returns how many topics the node with most holds, and how many it may.
func (r *run) adopted() (most, limit int) {
	for _, h := range r.hosts {
		if l := h.living(); l != nil {
			most = max(most, len(l.here().Topics()))
		}
	}
	limit = r.s.Topics
	if _, adopts := r.s.needs(); adopts {
		limit += maxAdopted
	}
	return most, limit
}

// expected returns how many events of a topic hostile peers serve that must be
// integrated: those who have gone may not have served all that they had.
func (r *run) expected(topic types.TopicID) int {
	n := 0
	for _, a := range r.assaults {
		if !a.over {
			n += a.attack.Events(topic)
		}
	}
	return n
}

// allowed returns how many events of a topic hostile peers have, or had, that may
// be integrated.
func (r *run) allowed(topic types.TopicID) int {
	n := 0
	for _, a := range r.assaults {
		n += a.attack.Events(topic)
	}
	return n
}

// checkLogs holds delivery logs to be without what was forged, and not to have
// grown by more than they may.
func (r *run) checkLogs(replicas []Replica) []string {
	if len(r.assaults) == 0 {
		return nil
	}
	var wrong []string
	for _, replica := range replicas {
		size, limit := 0, maxStored
		for _, e := range replica.Log {
			if !r.correct(e.Publisher.PeerID()) {
				size += e.Size()
			}
		}
		if len(replica.Log) > 0 {
			limit += r.allowed(replica.Log[0].Topic) * maxStoredPerEvent
		}
		if size > limit {
			wrong = append(wrong, fmt.Sprintf("%s stored %d bytes of hostile peers, at most %d may be", replica.Node, size, limit))
		}
	}
	for _, a := range r.assaults {
		for _, replica := range replicas {
			for n, e := range replica.Log {
				if a.attack.Banned(e) {
					wrong = append(wrong, fmt.Sprintf("%s: %s: event %s was integrated as number %d", replica.Node, a.attack.Behaviour().Name, e.CID, n+1))
					break
				}
			}
		}
	}
	return wrong
}

// correct reports whether one of the scenario's own nodes, as they are now, has
// that id.
func (r *run) correct(id types.PeerID) bool {
	return slices.ContainsFunc(r.hosts, func(h *host) bool {
		l := h.living()
		return l != nil && l.here().ID() == id
	})
}

// heapEvery is how often the heap is looked at while attacks are due.
const heapEvery = 50 * time.Millisecond

// watchHeap notes by how much the heap grows until stop is called, which returns
// that, and may be called again. Without an attack it looks at nothing.
func (r *run) watchHeap(ctx context.Context) (stop func() uint64) {
	if !slices.ContainsFunc(r.s.Faults, func(f Fault) bool { return f.Kind == Byzantine }) {
		return func() uint64 { return 0 }
	}
	runtime.GC()
	before := liveHeap()
	ctx, cancel := context.WithCancel(ctx)
	var peak uint64
	var watching sync.WaitGroup
	watching.Go(func() {
		for sleep(ctx, heapEvery) {
			peak = max(peak, liveHeap())
		}
		runtime.GC()
		peak = max(peak, liveHeap())
	})
	return func() uint64 {
		cancel()
		watching.Wait()
		return max(peak, before) - before
	}
}

// liveHeap returns the bytes that the last collection found in use.
func liveHeap() uint64 {
	sample := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	metrics.Read(sample)
	return sample[0].Value.Uint64()
}

// heapCap is by how much the heap may grow.
func (r *run) heapCap() uint64 {
	return uint64(r.s.Nodes) * (maxHeapGrowth + uint64(r.allowedEvents())*maxHeapPerEvent)
}

// diskCap is what the data of all nodes may take; 0: copies of it were made,
// which count as well.
func (r *run) diskCap() uint64 {
	if slices.ContainsFunc(r.s.Faults, func(f Fault) bool { return f.Kind == Crash || f.Kind == RestoreOld }) {
		return 0
	}
	events := uint64(r.s.Events + r.allowedEvents())
	return uint64(r.s.Nodes) * (maxDisk + uint64(r.s.Topics)*maxDiskPerTopic + events*uint64(r.s.Size+maxDiskPerEvent))
}

// allowedEvents is allowed of all topics.
func (r *run) allowedEvents() int {
	events := 0
	for k := range r.s.Topics {
		if g, err := types.NewOpen(simTopic(k)); err == nil {
			events += r.allowed(g.ID())
		}
	}
	return events
}
