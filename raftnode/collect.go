package raftnode

import (
	"context"
	"runtime"
	gometrics "runtime/metrics"
	"time"
)

const (
	// largeHeap is from where on a garbage collection takes long enough to matter.
	largeHeap = 256 << 20
	// lookAtHeap is how often its size is looked at: less than a heap that fills
	// slowly needs for the last eighth.
	lookAtHeap = 3 * time.Second
)

// collectEarly has garbage collected before the heap has grown as far as it may,
// until ctx ends. With a large heap that fills slowly the runtime itself begins
// only 4 MB before that. On a busy machine the heap gets there before the
// collection is done, and whoever allocates must do the rest of it: commits to a
// state of a million jobs stood still for more than a second.
func collectEarly(ctx context.Context) {
	ticker := time.NewTicker(lookAtHeap)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
		if heap := readHeap(); heap.late() {
			runtime.GC() // the process goes on meanwhile, only this goroutine waits
		}
	}
}

// heap is how large the heap is, and how large the runtime lets it grow.
type heap struct{ used, goal uint64 }

func readHeap() heap {
	s := []gometrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}, {Name: "/gc/heap/goal:bytes"}}
	gometrics.Read(s)
	return heap{s[0].Value.Uint64(), s[1].Value.Uint64()}
}

// late says that the runtime should begin now.
func (h heap) late() bool { return h.goal > largeHeap && h.used > h.goal/8*7 }
