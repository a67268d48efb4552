package model

import (
	"cmp"
	"slices"

	"github.com/weirbuild/weir/fsm"
	"github.com/weirbuild/weir/proto/pb"
)

func (m *Model) submit(c *pb.SubmitJob) fsm.Result {
	if fsm.ValidateName("client", c.GetClient()) != nil || fsm.ValidateName("pool", c.GetPool()) != nil ||
		fsm.ValidateHint(c.GetCacheHint()) != nil || fsm.ValidateLabels(c.GetLabels()) != nil || c.GetSlots() > fsm.MaxSlots {
		return refuse(fsm.Invalid)
	}
	id := [2]string{c.GetClient(), c.GetKey().GetId()}
	if made := c.GetKey().GetCreatedMs(); id[1] != "" {
		switch k := m.keys[id]; {
		case made <= 0 || made > m.now+fsm.MaxKeySkew:
			return refuse(fsm.Invalid)
		case made < m.now-fsm.KeyWindow:
			return refuse(fsm.TooOld)
		case k != nil && (k.pool != c.GetPool() || k.spec != string(c.GetSpecSha256())):
			return refuse(fsm.Conflict)
		case k != nil:
			return fsm.Result{Job: k.job, Repeat: true}
		}
	}
	if _, ok := m.livePool(c.GetPool()); !ok {
		return refuse(fsm.NotFound)
	}
	if _, ok := m.clients[c.GetClient()]; !ok {
		return refuse(fsm.NotFound)
	}
	limits := m.limits(c.GetPool())
	if m.count(c.GetPool(), "", queued, backoff) >= limits.MaxQueued ||
		m.count(c.GetPool(), c.GetClient(), queued, backoff) >= limits.MaxQueuedPerClient {
		return refuse(fsm.Full)
	}
	limited := c.GetUrgent() && limits.MaxUrgentPerHour > 0
	if limited && len(m.hourOf(c.GetPool(), c.GetClient(), c.GetSlidingHour())) >= int(limits.MaxUrgentPerHour) {
		return refuse(fsm.Full)
	}
	most, waiting, runs, held := m.permits(c.GetPool(), c.GetConcurrency().GetKey())
	if c.Concurrency != nil && waiting+runs+held > 0 && most != c.Concurrency.Most {
		return refuse(fsm.Conflict)
	}
	if limited {
		m.countUrgent(c.GetPool(), c.GetClient(), c.GetSlidingHour())
	}
	j := m.accept(c, limits)
	if id[1] != "" {
		m.keys[id] = &key{j.ID, j.Pool, string(c.GetSpecSha256()), max(m.now, c.GetKey().GetCreatedMs())}
	}
	if w := m.grantable(j, c.GetGrantTo(), c.GetLeashMs()); w != nil {
		return m.grant(j, w, c.GetLeashMs())
	}
	return fsm.Result{Job: j.ID}
}

func (m *Model) accept(c *pb.SubmitJob, limits fsm.Limits) *fsm.Job {
	m.lastJob++
	j := &fsm.Job{
		ID: m.lastJob, Pool: c.GetPool(), Client: c.GetClient(), Spec: c.GetSpec(), Sealed: c.GetSealed(),
		RequestKey: c.GetKey().GetId(), Hint: c.GetCacheHint(), Slots: max(c.GetSlots(), 1),
		Urgent: c.GetUrgent(), State: queued, Submitted: m.now,
		WaitLimit: c.GetWaitLimitMs(), Concurrency: c.GetConcurrency().GetKey(), AtMost: c.GetConcurrency().GetMost(),
		Priority: c.GetPriority(), RetryExits: c.GetRetryExitCodes(),
	}
	if j.WaitLimit == 0 {
		j.WaitLimit = limits.WaitLimit
	}
	for _, l := range c.GetLabels() {
		j.Labels = append(j.Labels, fsm.Label{Name: l.GetName(), Value: l.GetValue()})
	}
	cached, cost := m.estimate(j, limits)
	if j.Hint != "" && (m.known(j.Pool, j.Hint) || len(m.those(func(o *fsm.Job) bool {
		return o.Pool == j.Pool && o.Hint == j.Hint && o.Waiting()
	})) > 0) {
		cost = cached
	}
	share := [2]string{j.Pool, j.Client}
	j.FairStart = max(m.now, m.next[share])
	j.Charge = int64(float64(cost) / m.clients[j.Client])
	m.next[share] = j.FairStart + j.Charge
	m.jobs = append(m.jobs, j)
	m.emit(fsm.Event{Kind: fsm.JobQueued, Job: j.ID, Pool: j.Pool, Client: j.Client})
	return j
}

func (m *Model) known(pool, hint string) bool {
	for pair := range m.hints {
		if pair[0] == pool && pair[1] == hint {
			return true
		}
	}
	return false
}

func (m *Model) grantLease(c *pb.GrantLease) fsm.Result {
	j, kind := m.job(c.GetJob())
	if kind != "" {
		return refuse(kind)
	}
	w := m.grantable(j, c.GetWorker(), c.GetLeashMs())
	if w == nil {
		return refuse(fsm.Refused)
	}
	m.trade(j, c.GetInPlaceOf())
	return m.grant(j, w, c.GetLeashMs())
}

func (m *Model) grantable(j *fsm.Job, worker string, leash int64) *fsm.Worker {
	w := m.workers[[2]string{j.Pool, worker}]
	if j.State != queued || w == nil || w.Pause != nil || m.pools[j.Pool].pause != nil {
		return nil
	}
	used := j.Slots
	for _, o := range m.held(w) {
		used += o.Slots
	}
	lacks := func(l fsm.Label) bool { return !slices.Contains(w.Labels, l) }
	if used > w.Slots || slices.ContainsFunc(j.Labels, lacks) || !m.mayStart(j, leash) {
		return nil
	}
	return w
}

// held are the jobs that a worker runs.
func (m *Model) held(w *fsm.Worker) []*fsm.Job {
	return m.those(func(j *fsm.Job) bool { return j.State == running && j.Pool == w.Pool && j.Worker() == w.Name })
}

func (m *Model) grant(j *fsm.Job, w *fsm.Worker, leash int64) fsm.Result {
	m.lastLease++
	a := fsm.Attempt{No: 1, Lease: fsm.LeaseID(m.epoch<<44 | m.lastLease), Worker: w.Name, Key: w.Key, Started: m.now}
	if last := j.Last(); last != nil {
		a.No = last.No + 1
	}
	if j.Concurrency != "" {
		a.Leash = leash
	}
	if j.Hint != "" {
		pair := [3]string{j.Pool, j.Hint, w.Name}
		_, a.Cached = m.hints[pair]
		m.hints[pair] = m.now
	}
	j.Attempts = append(j.Attempts, a)
	if over := len(j.Attempts) - fsm.MaxAttempts; over > 0 {
		j.Attempts = j.Attempts[over:]
	}
	j.State, j.Lease = running, a.Lease
	m.emit(fsm.Event{Kind: fsm.LeaseGranted, Job: j.ID, Attempt: a.No, Lease: a.Lease, Pool: j.Pool, Worker: w.Name, Client: j.Client})
	return fsm.Result{Job: j.ID, Lease: a.Lease, Attempt: a.No, Worker: w.Name}
}

func (m *Model) cancel(c *pb.CancelJob) fsm.Result {
	j, kind := m.job(c.GetJob())
	if kind != "" {
		return refuse(kind)
	}
	switch {
	case j.Waiting():
		m.giveBack(j)
		m.settle(j, &pb.Outcome{Kind: pb.OutcomeKind_OUTCOME_CANCELLED, Message: c.GetReason()})
		return fsm.Result{Job: j.ID, Outcome: j.Outcome}
	case j.State == running:
		repeat := j.Cancel != nil
		if !repeat {
			j.Cancel = &fsm.Cancellation{Reason: c.GetReason()}
			m.emit(fsm.Event{
				Kind: fsm.CancelRequested, Job: j.ID, Attempt: j.Last().No, Lease: j.Lease, Pool: j.Pool,
				Worker: j.Worker(), Client: j.Client, Message: c.GetReason(),
			})
		}
		return fsm.Result{Job: j.ID, Lease: j.Lease, Worker: j.Worker(), Repeat: repeat}
	case j.Outcome.GetKind() == pb.OutcomeKind_OUTCOME_CANCELLED:
		return fsm.Result{Job: j.ID, Outcome: j.Outcome, Repeat: true}
	}
	return refuse(fsm.Refused)
}

func (m *Model) settle(j *fsm.Job, out *pb.Outcome) {
	j.State, j.Lease, j.NotBefore, j.Outcome, j.Settled, j.Sealed = settled, 0, 0, out, m.now, nil
	m.emit(fsm.Event{Kind: fsm.JobSettled, Job: j.ID, Pool: j.Pool, Worker: j.Worker(), Client: j.Client, Outcome: out.GetKind()})
	m.dropShares()
}

// dropShares forgets the shares of removed clients that have no more jobs.
func (m *Model) dropShares() {
	for share := range m.next {
		if _, ok := m.clients[share[1]]; !ok && m.count(share[0], share[1], queued, backoff, running) == 0 {
			delete(m.next, share)
			delete(m.urgents, share)
		}
	}
}

func (m *Model) trim(c *pb.Trim) fsm.Result {
	for _, id := range c.GetJobs() {
		j, kind := m.job(id)
		if kind != "" || j.State != settled || holds(j) || !m.mayGo(j, m.now, m.count(j.Pool, "", settled)) {
			continue
		}
		m.jobs[id-1] = nil
		if p := m.pools[j.Pool]; p.deleted && m.count(j.Pool, "", settled) == 0 {
			delete(m.pools, j.Pool)
		}
		m.emit(fsm.Event{Kind: fsm.JobTrimmed, Job: j.ID, Pool: j.Pool, Client: j.Client})
	}
	return fsm.Result{}
}

// mayGo is the rule of retention, for a pool with so many settled jobs.
func (m *Model) mayGo(j *fsm.Job, now int64, have int) bool {
	keep, keepFor := 0, int64(0)
	if !m.pools[j.Pool].deleted {
		limits := m.limits(j.Pool)
		keep, keepFor = limits.KeepJobs, limits.KeepFor
	}
	old, over := now-j.Settled >= keepFor, have > keep
	return (old || over) && (now-j.Settled >= fsm.MinKeep || have > keep+fsm.HardKeepMargin)
}

func (m *Model) trimmable(now int64, pool string, most int) []fsm.JobID {
	var ids []fsm.JobID
	jobs := m.those(func(j *fsm.Job) bool { return j.Pool == pool && j.State == settled })
	slices.SortStableFunc(jobs, func(a, b *fsm.Job) int { return cmp.Compare(a.Settled, b.Settled) })
	for _, j := range jobs {
		if len(ids) >= most || !m.mayGo(j, now, len(jobs)-len(ids)) {
			break
		}
		if !holds(j) {
			ids = append(ids, j.ID)
		}
	}
	return ids
}

func holds(j *fsm.Job) bool {
	return slices.ContainsFunc(j.Attempts, func(a fsm.Attempt) bool { return a.Held })
}
