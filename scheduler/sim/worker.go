package sim

import (
	"crypto/sha256"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/weirbuild/weir/fsm"
	"github.com/weirbuild/weir/proto/pb"
	"github.com/weirbuild/weir/scheduler/plan"
)

// worker is a worker as the leader and the builds on it see it.
type worker struct {
	name      string
	connected bool
	left      int // how often its connection has ended
	stored    []result
}

// result is a build's end that its worker could not report yet.
type result struct {
	lease fsm.LeaseID
	kind  pb.OutcomeKind
}

func (c *Cluster) find(name string) *worker {
	i := slices.IndexFunc(c.workers, func(w *worker) bool { return w.name == name })
	if i < 0 {
		return nil
	}
	return c.workers[i]
}

func (c *Cluster) known(name string) (*worker, error) {
	if w := c.find(name); w != nil {
		return w, nil
	}
	return nil, fmt.Errorf("there is no worker %s", name)
}

func instanceKey(name string) []byte {
	key := sha256.Sum256([]byte(name))
	return key[:]
}

// Connect connects a worker, or connects it again: it reports what ended while
// it was away, stops what it should not run any more, and is ready for jobs.
func (c *Cluster) Connect(name string, slots uint32, labels []*pb.Label) error {
	register := &pb.RegisterWorker{Pool: Pool, Name: name, KeySha256: instanceKey(name), Slots: slots, Labels: labels, Version: "sim"}
	if _, err := c.do(&pb.Command{Op: &pb.Command_RegisterWorker{RegisterWorker: register}}); err != nil {
		return err
	}
	w := c.find(name)
	if w == nil {
		w = &worker{name: name}
		c.workers = append(c.workers, w)
	}
	w.connected = true
	c.join(w)
	for j := range c.state.WorkerLeases(Pool, name) {
		if j.Cancel != nil {
			c.stops = append(c.stops, j.Lease)
		}
	}
	stored := w.stored
	w.stored = nil
	for _, r := range stored {
		if err := c.report(r.lease, r.kind); err != nil {
			return err
		}
	}
	return c.digest()
}

// join tells the planner of a connected worker.
func (c *Cluster) join(w *worker) {
	registered, _ := c.state.Worker(Pool, w.name)
	c.plan.Join(plan.Worker{Name: w.name, Slots: registered.Slots, Labels: registered.Labels, Leashes: true, Inactive: inactive(registered)})
}

func inactive(w *fsm.Worker) string {
	if w.Pause != nil {
		return w.Pause.Words()
	}
	return ""
}

// Leave ends a worker's connection. Its builds go on; their leases are over if
// it is not back within the time to live.
func (c *Cluster) Leave(name string) error {
	w, err := c.known(name)
	if err != nil {
		return err
	}
	if !w.connected {
		return fmt.Errorf("worker %s is not connected", name)
	}
	c.disconnect(w)
	return c.digest()
}

func (c *Cluster) disconnect(w *worker) {
	if w == nil || !w.connected {
		return
	}
	w.connected = false
	w.left++
	c.plan.Leave(w.name)
	c.doom(w)
}

// doom gives up a worker's leases once it has been away for the time to live.
func (c *Cluster) doom(w *worker) {
	left := w.left
	c.agenda.add(c.now+c.leaseTTL().Milliseconds(), func() error {
		if w.connected || w.left != left {
			return nil
		}
		for _, j := range slices.Collect(c.state.WorkerLeases(Pool, w.name)) {
			expire := &pb.ExpireLease{
				Lease: uint64(j.Lease), Why: pb.OutcomeKind_OUTCOME_WORKER_LOST,
				Message: fmt.Sprintf("worker %s was not heard for %v", w.name, c.leaseTTL()),
			}
			if _, err := c.do(&pb.Command{Op: &pb.Command_ExpireLease{ExpireLease: expire}}); err != nil {
				return err
			}
		}
		return c.digest()
	})
}

func (c *Cluster) leaseTTL() time.Duration {
	pool, _ := c.state.Pool(Pool)
	if ttl := pool.Limits().LeaseTTL; ttl != 0 {
		return time.Duration(ttl) * time.Millisecond
	}
	return LeaseTTL
}

// SetPaused pauses a worker for an operator, or ends that.
func (c *Cluster) SetPaused(name string, paused bool) error {
	return c.command(&pb.Command{Op: &pb.Command_PauseWorkers{PauseWorkers: &pb.PauseWorkers{
		Pool: Pool, Names: []string{name}, Resume: !paused,
	}}})
}

// Forget forgets a worker and what it has cached. If it is connected, that ends.
func (c *Cluster) Forget(name string) error {
	if err := c.command(&pb.Command{Op: &pb.Command_ForgetWorker{ForgetWorker: &pb.ForgetWorker{Pool: Pool, Name: name}}}); err != nil {
		return err
	}
	c.workers = slices.DeleteFunc(c.workers, func(w *worker) bool { return w.name == name })
	return nil
}

// begin starts a build on its worker.
func (c *Cluster) begin(j *fsm.Job, a *fsm.Attempt) {
	if c.observer.Started != nil {
		c.observer.Started(j, a)
	}
	takes, ok := c.takes[j.ID]
	if !ok {
		return
	}
	key, until := cached{a.Worker, j.Hint}, c.now+takes.Uncached.Milliseconds()
	switch {
	case a.Cached:
		until = c.now + takes.Cached.Milliseconds()
		if first, ok := c.making[key]; ok && takes.Joins {
			until += max(first-c.now, 0)
		}
	case j.Hint != "" && takes.Joins:
		c.making[key] = until
		c.agenda.add(until, func() error { delete(c.making, key); return nil })
	}
	lease, name := a.Lease, a.Worker
	c.agenda.add(until, func() error { return c.end(name, lease, pb.OutcomeKind_OUTCOME_SUCCEEDED) })
}

// cached is what one worker has built with one hint.
type cached struct{ worker, hint string }

// end ends a build on its worker, which reports it now or when it is back.
func (c *Cluster) end(name string, lease fsm.LeaseID, kind pb.OutcomeKind) error {
	w := c.find(name)
	switch {
	case w == nil:
		return nil // forgotten, and so was the lease
	case !w.connected:
		w.stored = append(w.stored, result{lease, kind})
		return nil
	}
	if err := c.report(lease, kind); err != nil {
		return err
	}
	return c.digest()
}

// report delivers a build's end. One whose lease is over is fenced: the build was
// killed, or its result comes too late.
func (c *Cluster) report(lease fsm.LeaseID, kind pb.OutcomeKind) error {
	j, running := c.state.Lease(lease)
	if !running {
		return nil
	}
	holder := &pb.Holder{Pool: Pool, Worker: j.Worker(), KeySha256: instanceKey(j.Worker())}
	_, err := c.do(&pb.Command{Op: &pb.Command_FinishAttempt{FinishAttempt: &pb.FinishAttempt{
		Lease: uint64(lease), Holder: holder, Outcome: &pb.Outcome{Kind: kind},
	}}})
	return err
}

// Finish ends the running build of a job.
func (c *Cluster) Finish(id fsm.JobID, kind pb.OutcomeKind) error {
	j, err := c.state.Job(id)
	if err != nil {
		return err
	}
	if !j.Running() {
		return fmt.Errorf("it does not run: it is %s", fsm.StateName(j.State))
	}
	return c.end(j.Worker(), j.Lease, kind)
}

func labelsOf(labels []*pb.Label) []fsm.Label {
	var out []fsm.Label
	for _, l := range labels {
		out = append(out, fsm.Label{Name: l.GetName(), Value: l.GetValue()})
	}
	return out
}

func sortLabels(labels []*pb.Label) {
	slices.SortFunc(labels, func(a, b *pb.Label) int { return strings.Compare(a.GetName(), b.GetName()) })
}
