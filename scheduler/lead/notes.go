package lead

import (
	"sync"

	"github.com/weirbuild/weir/fsm"
	"github.com/weirbuild/weir/scheduler/plan"
)

// note tells the loop what became of a proposal: a grant, a submit with its
// suggestion, or a Tick.
type note struct {
	pool       *pool
	job        fsm.JobID
	worker     string
	err        error
	suggestion *plan.Suggestion
	ticked     bool
}

// notes is a queue into the loop from the goroutine that commits.
type notes struct {
	wake chan struct{}

	mu   sync.Mutex
	list []note
}

func newNotes() notes { return notes{wake: make(chan struct{}, 1)} }

func (n *notes) add(one note) {
	n.mu.Lock()
	n.list = append(n.list, one)
	n.mu.Unlock()
	n.poke()
}

func (n *notes) poke() {
	select {
	case n.wake <- struct{}{}:
	default:
	}
}

// take swaps the queue with an empty slice.
func (n *notes) take(empty []note) []note {
	clear(empty)
	n.mu.Lock()
	defer n.mu.Unlock()
	list := n.list
	n.list = empty[:0]
	return list
}
