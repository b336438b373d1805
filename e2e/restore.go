package e2e

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/ipfs/go-cid"

	"github.com/cairn-p2p/cairn/node"
	"github.com/cairn-p2p/cairn/types"
)

// copyKey is a RestoreOld, by its number, and one of its nodes.
type copyKey struct{ fault, node int }

// backUp copies a node's data for a RestoreOld to come. The node is closed for
// it: a copy of files that change is no copy of any moment.
func (r *run) backUp(ctx context.Context, number int, h *host) error {
	up := h.living() != nil
	if err := h.close(); err != nil {
		return err
	}
	to := r.newDir(h)
	err := copyTree(to, h.dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // it was not there yet; restore says so
	}
	if err != nil {
		return fmt.Errorf("copy data directory: %w", err)
	}
	r.copies[copyKey{number, h.index}] = to
	if !up {
		return nil
	}
	return r.open(ctx, h)
}

// restore replaces a node's data by the copy that was made for a RestoreOld, and
// opens it.
func (r *run) restore(ctx context.Context, number int, h *host) error {
	old, ok := r.copies[copyKey{number, h.index}]
	if !ok {
		return errors.New("it was not there when the copy was to be made")
	}
	if err := h.close(); err != nil {
		return err
	}
	if err := os.RemoveAll(h.dir); err != nil {
		return err
	}
	h.dir, h.restored = old, true
	if err := r.open(ctx, h); err != nil {
		return err
	}
	return r.excuse()
}

// excuse takes note of the acknowledged events that no node has which is up:
// after a restore of an old copy they may be gone for ever, and no rule says
// that they are not. They are counted as lost if they are.
func (r *run) excuse() error {
	for k := range r.s.Topics {
		var topic types.TopicID
		missing := map[cid.Cid]bool{}
		for _, h := range r.hosts {
			l := h.living()
			if l == nil {
				continue
			}
			if t := l.topics[k]; !topic.Defined() {
				topic = t.ID()
				r.mu.Lock()
				for _, id := range r.acked[topic] {
					missing[id] = true
				}
				r.mu.Unlock()
			}
			if err := l.has(k, missing); err != nil {
				return fmt.Errorf("%s: %w", h.name, err)
			}
		}
		r.mu.Lock()
		var kept []cid.Cid
		for _, id := range r.acked[topic] {
			if missing[id] {
				r.excused[topic] = append(r.excused[topic], id)
			} else {
				kept = append(kept, id)
			}
		}
		r.acked[topic] = kept
		r.mu.Unlock()
	}
	return nil
}

// has takes out of missing what the node has of a topic.
func (l *life) has(topic int, missing map[cid.Cid]bool) error {
	ids := make([]cid.Cid, 0, len(missing))
	for id := range missing {
		ids = append(ids, id)
	}
	events, err := l.topics[topic].(*node.Topic).Get(ids...) // processes are not restored
	if err != nil {
		return err
	}
	for i, e := range events {
		if e != nil {
			delete(missing, ids[i])
		}
	}
	return nil
}
