package raftnode

import "testing"

func TestHeapIsLate(t *testing.T) {
	const mb = 1 << 20
	for _, c := range []struct {
		heap
		late bool
	}{
		{heap{used: 90 * mb, goal: 100 * mb}, false}, // small
		{heap{used: 500 * mb, goal: 1000 * mb}, false},
		{heap{used: 870 * mb, goal: 1000 * mb}, false},
		{heap{used: 880 * mb, goal: 1000 * mb}, true},
	} {
		if got := c.heap.late(); got != c.late {
			t.Errorf("%+v: %v", c.heap, got)
		}
	}
	if h := readHeap(); h.used == 0 || h.goal == 0 {
		t.Errorf("the runtime says %+v", h)
	}
}
