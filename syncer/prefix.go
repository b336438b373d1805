package syncer

import (
	"fmt"

	"github.com/cairn-p2p/cairn/syncer/pb"
	"github.com/cairn-p2p/cairn/types"
)

// commonPrefix returns a position in the peer's log before which it has the same
// events in the same order as this node's own log, the last of up to prefixParts
// that are asked about: a node that pulled from one server goes on from another
// that has the same log, or has pulled it too. It returns the start if there is
// none. A position names the log's id, so those asked about are made by hashing
// the own log under the id of the peer's: it reads all of the own log, up to the
// peer's end, and costs one round trip.
func (s *Syncer) commonPrefix(c *client, topic types.TopicID, own uint64, claim headsClaim) (position, error) {
	last := position{peer: c.peer.id}
	cursors, err := s.cursorsAs(claim.logID, topic, min(own, claim.end.Number))
	if err != nil {
		return last, err
	}
	for _, at := range cursors {
		q := pullRequest{topic: topic, logID: claim.logID, after: at, cids: true, limit: 1}
		if err := c.send(q.message()); err != nil {
			return last, err
		}
	}
	for _, at := range cursors {
		m, err := c.next()
		if isRemote(err, pb.Error_CODE_UNKNOWN_POSITION) {
			continue
		}
		if err != nil {
			return last, err
		}
		if m.GetPull() == nil || m.GetMore() || len(m.GetPull().GetCids()) > 1 {
			return last, offencef("answer to Pull of one CID is of another kind or length")
		}
		last.logID, last.after = claim.logID, at
	}
	return last, nil
}

// cursorsAs returns up to prefixParts evenly spaced cursors of the first events
// of this node's log of topic, as if the log had that id.
func (s *Syncer) cursorsAs(id types.LogID, topic types.TopicID, events uint64) ([]types.Cursor, error) {
	var cursors []types.Cursor
	hash, number := types.StartHash(id, topic), uint64(0)
	for entry, err := range s.local.Log(topic, types.Cursor{}) {
		if err == nil {
			err = s.ctx.Err()
		}
		if err != nil {
			return nil, fmt.Errorf("read own log: %w", err)
		}
		if number == events {
			break
		}
		number++
		hash = hash.Next(entry.CID())
		if part := uint64(len(cursors)) + 1; number >= (events*part+prefixParts-1)/prefixParts {
			cursors = append(cursors, hash.Cursor(number))
		}
	}
	return cursors, nil
}
