package fsm

import (
	"github.com/weirbuild/weir/proto/pb"
)

// Pause is an operator's order that nothing more starts on a worker, or in a pool.
// It holds until it is taken back: over reconnects, restarts and changes of leader.
type Pause struct {
	Since  int64
	Reason string
}

// pauseWorkers pauses workers of a pool, or resumes them: all that are named, or
// none when one is not there.
func (s *State) pauseWorkers(c *pb.PauseWorkers) Result {
	p, ok := s.Pool(c.GetPool())
	if !ok {
		return Result{Refusal: noPool(c.GetPool())}
	}
	names := sortedUnique(c.GetNames())
	if len(names) == 0 {
		return refuse(Invalid, "pause workers of pool %s: none is named", p.Name)
	}
	create, r := s.unknownWorkers(p, names, c.GetCreate())
	if r != nil {
		return Result{Refusal: r}
	}
	for _, name := range create {
		p, _ := s.Pool(c.GetPool())
		s.addWorker(p, &Worker{Pool: p.Name, Name: name, Slots: 1})
	}
	repeat := len(create) == 0
	for _, name := range names {
		w, _ := s.worker(p.Name, name)
		next := *w
		if next.Pause = s.paused(w.Pause, c.GetResume(), c.GetReason()); next.Pause == w.Pause {
			continue
		}
		repeat = false
		s.workers.set(&next)
		s.emit(Event{Kind: WorkerPaused, Pool: p.Name, Worker: name})
	}
	return Result{Repeat: repeat}
}

// unknownWorkers lists the names that no worker has, where those may be created:
// an entry without an instance key, which the first worker that comes takes over.
func (s *State) unknownWorkers(p *Pool, names []string, create bool) (unknown []string, r *Refusal) {
	for _, name := range names {
		if _, ok := s.worker(p.Name, name); ok {
			continue
		}
		if !create {
			return nil, noWorker(p.Name, name)
		}
		if err := ValidateName("worker", name); err != nil {
			return nil, refusal(Invalid, "pause workers of pool %s: %v", p.Name, err)
		}
		unknown = append(unknown, name)
	}
	if len(unknown) > 0 && p.Workers+len(unknown) > MaxWorkers {
		return nil, refusal(Full, "pool %s has %d workers, and %d more would be over the limit of %d; forget those that are gone (weir worker forget)", p.Name, p.Workers, len(unknown), MaxWorkers)
	}
	return unknown, nil
}

// pausePool keeps every job of a pool from starting, or ends that.
func (s *State) pausePool(c *pb.PausePool) Result {
	old, ok := s.Pool(c.GetName())
	if !ok {
		return Result{Refusal: noPool(c.GetName())}
	}
	p := *old
	if p.Pause = s.paused(old.Pause, c.GetResume(), c.GetReason()); p.Pause == old.Pause {
		return Result{Repeat: true}
	}
	s.setPool(&p)
	return Result{}
}

// paused is what an order makes of a pause: the same one if it changes nothing.
func (s *State) paused(old *Pause, resume bool, reason string) *Pause {
	reason = clip(reason, MaxReasonLen)
	switch {
	case resume:
		return nil
	case old == nil:
		return &Pause{Since: s.now, Reason: reason}
	case old.Reason == reason:
		return old
	}
	return &Pause{Since: old.Since, Reason: reason}
}

// Words say that, and why, something is paused, as in "is paused by an operator:
// new disk".
func (p *Pause) Words() string {
	if p.Reason == "" {
		return "is paused by an operator"
	}
	return "is paused by an operator: " + p.Reason
}

func (p *Pause) validate(what string) error {
	if p == nil {
		return nil
	}
	if err := validateSize("reason of the pause of "+what, len(p.Reason), MaxReasonLen); err != nil {
		return err
	}
	return validTimes("pause of "+what, p.Since)
}

func pausePB(p *Pause) *pb.Pause {
	if p == nil {
		return nil
	}
	return &pb.Pause{SinceMs: p.Since, Reason: p.Reason}
}

func pauseOf(m *pb.Pause) *Pause {
	if m == nil {
		return nil
	}
	return &Pause{Since: m.GetSinceMs(), Reason: m.GetReason()}
}

// startable says why no job of the pool starts on the worker; nil: they do.
func (s *State) startable(w *Worker) *Refusal {
	if p, _ := s.pools.get(w.Pool); p.Pause != nil {
		return refusal(Refused, "pool %s %s", p.Name, p.Pause.Words())
	}
	if w.Pause != nil {
		return refusal(Refused, "worker %s of pool %s %s", w.Name, w.Pool, w.Pause.Words())
	}
	return nil
}

func noWorker(pool, name string) *Refusal {
	return refusal(NotFound, "there is no worker %s in pool %s", quote(name), quote(pool))
}
