package syncer

import (
	"container/list"
	"crypto/rand"
)

// changeID names the change numbers of one process.
type changeID [16]byte

// change is a moment in the life of a node's digest.
type change struct {
	id     changeID
	number uint64
}

// changes numbers the changes of the topics replicated here, from 1 on, and
// remembers the last one of each, for the maxChanges topics that changed last.
// Syncer.mu guards it.
type changes struct {
	last  change
	floor uint64    // all changes with greater numbers are remembered
	order list.List // of *topic, by number
}

func newChanges() changes {
	var c changes
	rand.Read(c.last.id[:]) //nolint:errcheck // it never fails
	return c
}

// add gives the topic's change, its coming and going included, the next number.
func (c *changes) add(t *topic) {
	c.last.number++
	t.number = c.last.number
	if t.element != nil {
		c.order.MoveToBack(t.element)
		return
	}
	t.element = c.order.PushBack(t)
	if c.order.Len() > maxChanges {
		oldest := c.order.Front().Value.(*topic)
		c.order.Remove(oldest.element)
		oldest.element, c.floor = nil, oldest.number
	}
}

// since returns what changed after at, in that order; false if that is not
// known.
func (c *changes) since(at change) ([]leaf, bool) {
	if at.id != c.last.id || at.number > c.last.number || at.number < c.floor {
		return nil, false
	}
	e := c.order.Back()
	n := 0
	for ; e != nil && e.Value.(*topic).number > at.number; e = e.Prev() {
		n++
	}
	if e == nil {
		e = c.order.Front()
	} else {
		e = e.Next()
	}
	leaves := make([]leaf, 0, n)
	for ; e != nil; e = e.Next() {
		t := e.Value.(*topic)
		l := leaf{key: t.key}
		if !t.removed {
			l.heads = t.heads
		}
		leaves = append(leaves, l)
	}
	return leaves, true
}
