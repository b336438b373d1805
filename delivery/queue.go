package delivery

import "container/heap"

// queue is a heap of items, each of which is in at most one queue. It
// implements heap.Interface for its own methods alone.
type queue struct {
	items []*item
	less  func(a, b *item) bool
}

func byNumber(a, b *item) bool   { return a.cursor.Number < b.cursor.Number }
func byDeadline(a, b *item) bool { return a.deadline < b.deadline }
func byBound(a, b *item) bool    { return a.needs.bound < b.needs.bound }

func (q *queue) Len() int           { return len(q.items) }
func (q *queue) Less(i, j int) bool { return q.less(q.items[i], q.items[j]) }

func (q *queue) Swap(i, j int) {
	q.items[i], q.items[j] = q.items[j], q.items[i]
	q.items[i].at, q.items[j].at = i, j
}

func (q *queue) Push(x any) {
	it := x.(*item)
	it.at = len(q.items)
	q.items = append(q.items, it)
}

func (q *queue) Pop() any {
	last := len(q.items) - 1
	it := q.items[last]
	q.items[last] = nil
	q.items = q.items[:last]
	return it
}

// first returns the item that comes first, nil when there is none.
func (q *queue) first() *item {
	if len(q.items) == 0 {
		return nil
	}
	return q.items[0]
}

func (q *queue) push(it *item)   { heap.Push(q, it) }
func (q *queue) pop() *item      { return heap.Pop(q).(*item) }
func (q *queue) remove(it *item) { heap.Remove(q, it.at) }
