package e2e

import (
	"fmt"
	"slices"

	"github.com/ipfs/go-cid"

	"github.com/cairn-p2p/cairn/crdt"
	"github.com/cairn-p2p/cairn/types"
)

// Replica is what one node holds of one topic.
type Replica struct {
	Node      string          // its name, for the errors
	Publisher types.Publisher // its key; zero: it writes nothing
	Log       []*types.Event  // the delivery log
	Events    uint64          // how many the node says there are in it
	Heads     []types.Head
	HeadsHash types.Hash
	Pending   int // events that wait for their links
}

// Check holds the replicas of one topic, of correct nodes that nothing keeps
// apart any more, to what must be true in the end:
//
//   - each has every event that was acknowledged;
//   - its delivery log has each event once, after its links, and as many as it
//     says;
//   - no node has given one seq to two events;
//   - its heads are the sinks of the DAG in the log, and the heads hash is theirs;
//   - nothing is pending;
//   - all heads hashes are equal.
//
// It returns what is wrong, one sentence each, at most 10 for a replica.
func Check(replicas []Replica, acknowledged []cid.Cid) []string {
	var wrong []string
	nodes := map[types.Publisher]string{}
	for _, r := range replicas {
		nodes[r.Publisher] = r.Node
	}
	delete(nodes, types.Publisher{})
	for _, r := range replicas {
		of := append(r.check(acknowledged), r.checkForks(nodes)...)
		for _, w := range of[:min(len(of), maxWrong)] {
			wrong = append(wrong, r.Node+": "+w)
		}
		if first := replicas[0]; r.HeadsHash != first.HeadsHash {
			wrong = append(wrong, fmt.Sprintf("%s: heads hash %x of %d events, but %x of %d on %s",
				r.Node, r.HeadsHash[:4], len(r.Log), first.HeadsHash[:4], len(first.Log), first.Node))
		}
	}
	return wrong
}

// maxWrong keeps a log in the wrong order from filling the screen.
const maxWrong = 10

func (r *Replica) check(acknowledged []cid.Cid) []string {
	var wrong []string
	seen := make(map[cid.Cid]bool, len(r.Log))
	sinks := map[cid.Cid]bool{}
	for n, e := range r.Log {
		if seen[e.CID] {
			wrong = append(wrong, fmt.Sprintf("event %s was delivered twice, at last as number %d", e.CID, n+1))
			continue
		}
		for _, l := range e.Links {
			if !seen[l] {
				wrong = append(wrong, fmt.Sprintf("event %s was delivered as number %d, before its link %s", e.CID, n+1, l))
			}
			delete(sinks, l)
		}
		seen[e.CID], sinks[e.CID] = true, true
	}
	if uint64(len(r.Log)) != r.Events {
		wrong = append(wrong, fmt.Sprintf("%d events were delivered of %d", len(r.Log), r.Events))
	}
	missing := slices.DeleteFunc(slices.Clone(acknowledged), func(id cid.Cid) bool { return seen[id] })
	if len(missing) > 0 {
		wrong = append(wrong, fmt.Sprintf("%d of %d acknowledged events are missing, one is %s", len(missing), len(acknowledged), missing[0]))
	}
	if err := checkHeads(r.Heads, sinks); err != nil {
		wrong = append(wrong, err.Error())
	}
	if want := crdt.HeadsHash(r.Heads); want != r.HeadsHash {
		wrong = append(wrong, fmt.Sprintf("heads hash is %x, that of its heads %x", r.HeadsHash[:4], want[:4]))
	}
	if r.Pending != 0 {
		wrong = append(wrong, fmt.Sprintf("%d events are pending", r.Pending))
	}
	return wrong
}

// checkForks looks for a seq that one of the nodes used for two events.
func (r *Replica) checkForks(nodes map[types.Publisher]string) []string {
	type place struct {
		publisher types.Publisher
		seq       uint64
	}
	var wrong []string
	used := map[place]cid.Cid{}
	for _, e := range r.Log {
		name, ok := nodes[e.Publisher]
		if !ok {
			continue
		}
		at := place{e.Publisher, e.Seq}
		if other, ok := used[at]; ok && other != e.CID {
			wrong = append(wrong, fmt.Sprintf("%s gave seq %d to two events, %s and %s", name, e.Seq, other, e.CID))
		}
		used[at] = e.CID
	}
	return wrong
}

// checkHeads holds heads to be the sinks, each once.
func checkHeads(heads []types.Head, sinks map[cid.Cid]bool) error {
	for _, h := range heads {
		if !sinks[h.CID] {
			return fmt.Errorf("head %s is no sink of the log, or a head twice", h.CID)
		}
		delete(sinks, h.CID)
	}
	for id := range sinks {
		return fmt.Errorf("%d sinks of the log are no heads, one is %s", len(sinks), id)
	}
	return nil
}
