package fsm

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/weirbuild/weir/proto/pb"
)

// registerWorker binds a name of a pool to an instance key, or updates what the
// worker of that key offers. Another key takes the name only with replace, and
// only while the old holder has no leases.
func (s *State) registerWorker(c *pb.RegisterWorker) Result {
	w, err := newWorker(c)
	if err != nil {
		return refuse(Invalid, "register worker: %v", err)
	}
	p, ok := s.Pool(w.Pool)
	if !ok {
		return Result{Refusal: noPool(w.Pool)}
	}
	old, known := s.worker(w.Pool, w.Name)
	switch {
	case !known && p.Workers >= MaxWorkers:
		return refuse(Full, "pool %s has %d workers, the limit; forget those that are gone (weir worker forget)", p.Name, p.Workers)
	case !known:
		s.addWorker(p, w)
	case old.Key == w.Key:
		return s.updateWorker(old, w)
	case old.Key == Digest{}: // made by an operator, before any worker came
		w.Pause = old.Pause
		s.setWorker(w)
	case !c.GetReplace():
		return refuse(Conflict, "worker %s of pool %s is bound to another instance key; give this worker another name, or free the name (weir worker forget)", w.Name, w.Pool)
	case old.Leases > 0:
		return refuse(Conflict, "worker %s of pool %s is bound to another instance key and holds %d leases; wait until they are over", w.Name, w.Pool, old.Leases)
	default: // another machine, or a lost state directory: its caches are not there
		s.dropHints(w.Pool, w.Name)
		w.Pause = old.Pause
		s.setWorker(w)
	}
	return Result{Worker: w.Name}
}

func newWorker(c *pb.RegisterWorker) (*Worker, error) {
	key, err := digestOf("instance key digest", c.GetKeySha256())
	if err != nil {
		return nil, err
	}
	if err := ValidateName("pool", c.GetPool()); err != nil {
		return nil, err
	}
	w := &Worker{
		Pool: c.GetPool(), Name: c.GetName(), Key: key, Slots: max(c.GetSlots(), 1),
		Labels: labelsOf(c.GetLabels()), Version: c.GetVersion(), Capability: c.GetCapability(),
	}
	return w, w.validate()
}

func (w *Worker) validate() error {
	if w.Slots < 1 || w.Slots > MaxSlots {
		return fmt.Errorf("%d slots are out of range: 1 to %d", w.Slots, MaxSlots)
	}
	return cmp.Or(
		ValidateName("worker", w.Name),
		ValidateLabels(labelsPB(w.Labels)),
		validateValue("version", w.Version),
		validateValue("capability", w.Capability),
		w.Pause.validate("the worker"),
	)
}

func (s *State) addWorker(p *Pool, w *Worker) {
	next := *p
	next.Workers++
	s.pools.set(p.Name, &next)
	w.Pool = p.Name
	s.setWorker(w)
}

// setWorker stores a worker that is new under its name.
func (s *State) setWorker(w *Worker) {
	w.FirstSeen = s.now
	s.workers.set(w)
	s.emit(Event{Kind: WorkerRegistered, Pool: w.Pool, Worker: w.Name})
}

func (s *State) updateWorker(old, w *Worker) Result {
	r := Result{Worker: w.Name}
	if old.offers(w) {
		r.Repeat = true
		return r
	}
	next := *old
	next.Slots, next.Labels, next.Version, next.Capability = w.Slots, w.Labels, w.Version, w.Capability
	s.workers.set(&next)
	s.emit(Event{Kind: WorkerRegistered, Pool: w.Pool, Worker: w.Name})
	return r
}

// offers says whether nothing would change if the same worker registered as w.
func (old *Worker) offers(w *Worker) bool {
	return old.Slots == w.Slots && old.Version == w.Version && old.Capability == w.Capability && slices.Equal(old.Labels, w.Labels)
}

// forgetWorker frees a name, and forgets what the worker had cached.
func (s *State) forgetWorker(c *pb.ForgetWorker) Result {
	w, ok := s.worker(c.GetPool(), c.GetName())
	if !ok {
		return Result{Refusal: noWorker(c.GetPool(), c.GetName())}
	}
	if w.Leases > 0 {
		return refuse(Refused, "worker %s of pool %s holds %d leases; stop it, or cancel them, and try again when they are over", w.Name, w.Pool, w.Leases)
	}
	s.dropWorker(w)
	return Result{Worker: w.Name}
}

func (s *State) dropWorker(w *Worker) {
	s.dropHints(w.Pool, w.Name)
	s.workers.del(w)
	s.changePool(w.Pool).Workers--
	s.emit(Event{Kind: WorkerForgotten, Pool: w.Pool, Worker: w.Name})
}

// occupy counts one lease more (+1) or less (-1), and its slots, at a worker.
func (s *State) occupy(pool, name string, slots uint32, delta int) {
	w := s.changeWorker(pool, name)
	w.Leases += delta
	if delta > 0 {
		w.Used += slots
	} else {
		w.Used -= slots
	}
}
