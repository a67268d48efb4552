package sim

import "container/heap"

// agenda is what will happen, by time and then in the order of its making.
type agenda struct {
	heap entries
	made uint64
}

type entry struct {
	at   int64 // ms of state time
	no   uint64
	what func() error
}

func (a *agenda) add(at int64, what func() error) {
	a.made++
	heap.Push(&a.heap, entry{at, a.made, what})
}

// next takes what is due by the time; ok is false when there is nothing.
func (a *agenda) next(by int64) (e entry, ok bool) {
	if len(a.heap) == 0 || a.heap[0].at > by {
		return entry{}, false
	}
	return heap.Pop(&a.heap).(entry), true
}

type entries []entry

func (h entries) Len() int { return len(h) }
func (h entries) Less(i, j int) bool {
	if h[i].at != h[j].at {
		return h[i].at < h[j].at
	}
	return h[i].no < h[j].no
}
func (h entries) Swap(i, j int) { h[i], h[j] = h[j], h[i] }
func (h *entries) Push(x any)   { *h = append(*h, x.(entry)) }
func (h *entries) Pop() any {
	old := *h
	last := old[len(old)-1]
	old[len(old)-1] = entry{}
	*h = old[:len(old)-1]
	return last
}
