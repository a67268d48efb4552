// Package model is the replicated state again, as plainly as it can be said: one
// list of jobs, no indexes, every question answered by looking at everything. It
// promises to be easy to read and to agree with package fsm on every answer,
// event and view; it is slow, and keeps none of the limits that take a million
// records to reach.
package model

import (
	"slices"

	"github.com/weirbuild/weir/fsm"
	"github.com/weirbuild/weir/proto/pb"
)

// Model is the whole state.
type Model struct {
	now       int64
	epoch     uint64
	lastLease uint64
	adminMade bool
	lastJob   fsm.JobID

	jobs       []*fsm.Job // by id; nil once trimmed
	pools      map[string]*pool
	clients    map[string]float64 // rates
	next       map[[2]string]int64
	urgents    map[[2]string]*urgents // by pool and client
	maxRunning map[string]int         // by client, of those that have their own
	workers    map[[2]string]*fsm.Worker
	hints      map[[3]string]int64 // pool, hint, worker
	keys       map[[2]string]*key
	costs      map[[3]string]*averages // pool, client, hint; a client's without a hint has the hint plain
	caps       []*fsm.Capability

	events []fsm.Event
}

type pool struct {
	config  *pb.PoolConfig
	created int64
	deleted bool
	pause   *fsm.Pause
}

type key struct {
	job  fsm.JobID
	pool string
	spec string
	made int64
}

// New makes an empty model.
func New() *Model {
	return &Model{
		pools: map[string]*pool{}, clients: map[string]float64{}, next: map[[2]string]int64{}, urgents: map[[2]string]*urgents{}, maxRunning: map[string]int{},
		workers: map[[2]string]*fsm.Worker{}, hints: map[[3]string]int64{}, keys: map[[2]string]*key{}, costs: map[[3]string]*averages{},
	}
}

// Apply does what fsm.State.Apply does. Of refusals it gives the kind alone.
func (m *Model) Apply(c *pb.Command) fsm.Result {
	m.events = nil
	m.now = max(m.now, c.GetIssuedAtMs())
	m.endBackoffs()
	m.endWaits()
	for id, k := range m.keys {
		if m.now-k.made > fsm.KeyWindow {
			delete(m.keys, id)
		}
	}
	r := m.apply(c)
	r.Events = m.events
	return r
}

func (m *Model) apply(c *pb.Command) fsm.Result {
	switch op := c.GetOp().(type) {
	case *pb.Command_SubmitJob:
		return m.submit(op.SubmitJob)
	case *pb.Command_GrantLease:
		return m.grantLease(op.GrantLease)
	case *pb.Command_FinishAttempt:
		return m.finish(op.FinishAttempt)
	case *pb.Command_SealLog:
		return m.seal(op.SealLog)
	case *pb.Command_ExpireLease:
		return m.expire(op.ExpireLease)
	case *pb.Command_CancelJob:
		return m.cancel(op.CancelJob)
	case *pb.Command_Trim:
		return m.trim(op.Trim)
	case *pb.Command_MoveLog:
		return m.moveLog(op.MoveLog)
	case *pb.Command_ExpireLog:
		return m.expireLog(op.ExpireLog)
	case *pb.Command_Tick:
		return fsm.Result{}
	case *pb.Command_BumpEpoch:
		m.epoch, m.lastLease = m.epoch+1, 0
		return fsm.Result{}
	case *pb.Command_SetFeatureLevel:
		return fsm.Result{Repeat: true} // there is one level yet
	default:
		return m.applyAdmin(c)
	}
}

func refuse(kind fsm.Kind) fsm.Result { return fsm.Result{Refusal: &fsm.Refusal{Kind: kind}} }

func (m *Model) emit(e fsm.Event) { m.events = append(m.events, e) }

// job finds a job, or says why not.
func (m *Model) job(id uint64) (*fsm.Job, fsm.Kind) {
	switch {
	case id == 0 || id > uint64(len(m.jobs)):
		return nil, fsm.NotFound
	case m.jobs[id-1] == nil:
		return nil, fsm.Expired
	}
	return m.jobs[id-1], ""
}

// those are the jobs for which a condition holds, by id.
func (m *Model) those(hold func(*fsm.Job) bool) []*fsm.Job {
	var found []*fsm.Job
	for _, j := range m.jobs {
		if j != nil && hold(j) {
			found = append(found, j)
		}
	}
	return found
}

func (m *Model) count(pool, client string, states ...pb.JobState) int {
	return len(m.those(func(j *fsm.Job) bool {
		return j.Pool == pool && (client == "" || j.Client == client) && slices.Contains(states, j.State)
	}))
}

const (
	queued  = pb.JobState_JOB_STATE_QUEUED
	backoff = pb.JobState_JOB_STATE_BACKOFF
	running = pb.JobState_JOB_STATE_RUNNING
	settled = pb.JobState_JOB_STATE_SETTLED
)

func (m *Model) livePool(name string) (*pool, bool) {
	p, ok := m.pools[name]
	return p, ok && !p.deleted
}

// limits resolves a configuration's defaults; only that is shared with fsm.
func (m *Model) limits(name string) fsm.Limits {
	return (&fsm.Pool{Config: m.pools[name].config}).Limits()
}

// attempt finds the attempt of a lease.
func (m *Model) attempt(lease uint64) (*fsm.Job, *fsm.Attempt) {
	for _, j := range m.jobs {
		if j == nil {
			continue
		}
		for i := range j.Attempts {
			if j.Attempts[i].Lease == fsm.LeaseID(lease) {
				return j, &j.Attempts[i]
			}
		}
	}
	return nil, nil
}
