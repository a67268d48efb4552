package plan

import (
	"slices"

	"github.com/tidwall/btree"

	"github.com/weirbuild/weir/fsm"
)

// sweepFrom is how many classes there may be before those without jobs go.
const sweepFrom = 256

// class is all jobs of one need, and the idle workers for them. Jobs that no
// worker fits are in classes that no worker looks at.
type class struct {
	key    string
	kind   string
	slots  int
	labels []fsm.Label
	leash  bool
	avoid  []string // workers that its jobs avoid while there are others
	sealed string   // id of the key that a worker must hold; empty: none
	jobs   int      // in whatever place

	counted map[string]bool // the others, which take jobs
	others  int

	waiting  *btree.BTreeG[*job]
	raised   *btree.BTreeG[*job] // those of waiting that have a priority
	claiming *btree.BTreeG[*job]

	// Of the idle workers that fit: those with enough free slots, those with too
	// few; the one that has waited longest first.
	able    *btree.BTreeG[*worker]
	partial *btree.BTreeG[*worker]
	free    int // slots of the able ones
}

func newTree[T any](less func(a, b T) bool) *btree.BTreeG[T] {
	return btree.NewBTreeGOptions(less, btree.Options{NoLocks: true})
}

// classOf returns the class of a need, and makes it if it is new.
func (p *Pool) classOf(n Need) *class {
	key := n.key()
	if c, ok := p.classes[key]; ok {
		return c
	}
	if len(p.classes) >= p.sweepAt {
		p.sweep()
	}
	c := &class{
		key: key, kind: n.Kind, slots: n.slots(), labels: n.Labels, sealed: n.Key, leash: n.Leash, avoid: n.Avoid,
		waiting: newTree(before), raised: newTree(raisedLess), claiming: newTree(before),
		able: newTree(waitedLonger), partial: newTree(waitedLonger),
	}
	p.classes[key] = c
	p.shun(c)
	for _, w := range p.workers {
		if !c.fits(w) {
			continue
		}
		w.fits = append(w.fits, c)
		if w.idle {
			c.admit(w)
		}
	}
	return c
}

// sweep forgets classes that have no jobs.
func (p *Pool) sweep() {
	empty := func(c *class) bool { return c.jobs == 0 }
	for _, w := range p.workers {
		w.fits = slices.DeleteFunc(w.fits, empty)
	}
	p.shy = slices.DeleteFunc(p.shy, empty)
	for key, c := range p.classes {
		if empty(c) {
			delete(p.classes, key)
		}
	}
	p.sweepAt = max(sweepFrom, 2*len(p.classes))
}

// fits says whether the worker could run the class's jobs with all slots free.
func (c *class) fits(w *worker) bool {
	return w.connected && c.couldRun(w) && !c.avoids(w)
}

// couldRun is fits, whoever the worker is.
func (c *class) couldRun(w *worker) bool {
	return c.slots <= w.slots && c.isTaken(w) && c.canOpen(w) && c.hasLabels(w) && c.isLeashed(w)
}

// isTaken says whether the worker takes jobs of the class's kind.
func (c *class) isTaken(w *worker) bool {
	return c.kind == "" || len(w.kinds) == 0 || slices.Contains(w.kinds, c.kind)
}

// canOpen says whether the worker can open the secrets of the class's jobs.
func (c *class) canOpen(w *worker) bool {
	return c.sealed == "" || slices.Contains(w.keys, c.sealed)
}

// isLeashed says whether the worker kills jobs with a concurrency key in time.
func (c *class) isLeashed(w *worker) bool { return !c.leash || w.leashes }

// hasLabels says whether the worker has all of the class's labels.
func (c *class) hasLabels(w *worker) bool {
	for _, l := range c.labels {
		if !slices.Contains(w.labels, l) {
			return false
		}
	}
	return true
}

func (c *class) admit(w *worker) {
	if w.idleFree >= c.slots {
		c.able.Set(w)
		c.free += w.idleFree
	} else {
		c.partial.Set(w)
	}
}

func (c *class) dismiss(w *worker) {
	if w.idleFree >= c.slots {
		c.able.Delete(w)
		c.free -= w.idleFree
	} else {
		c.partial.Delete(w)
	}
}

// first is the head of a tree, or nil.
func first[T any](tree *btree.BTreeG[*T]) *T {
	head, _ := tree.Min()
	return head
}
