package clustertest

import (
	"context"
	"fmt"
	"strings"
	"sync"

	"github.com/weirbuild/weir/fsm"
	"github.com/weirbuild/weir/proto/capability"
	"github.com/weirbuild/weir/proto/client"
	"github.com/weirbuild/weir/proto/pb"
)

// Ledger is what the outside world was promised: the jobs that were
// acknowledged, by request key. Verify holds the cluster to it.
type Ledger struct {
	cluster *Cluster
	builds  *Builds

	mu   sync.Mutex
	jobs map[string]uint64
}

// NewLedger returns an empty ledger over the builds that the workers run.
func (c *Cluster) NewLedger(b *Builds) *Ledger {
	return &Ledger{cluster: c, builds: b, jobs: map[string]uint64{}}
}

// Submit submits until the job is acknowledged, and notes it. The same key gives
// the same job, or the cluster has broken a promise.
func (l *Ledger) Submit(ctx context.Context, cl *client.Client, req *pb.SubmitRequest) (uint64, error) {
	reply, err := cl.Submit(ctx, req)
	if err != nil {
		return 0, err
	}
	return reply.Job, l.note(req.Key.Id, reply.Job)
}

func (l *Ledger) note(key string, job uint64) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if before, ok := l.jobs[key]; ok && before != job {
		return fmt.Errorf("request key %s was job %d and is job %d", key, before, job)
	}
	l.jobs[key] = job
	return nil
}

// Jobs returns the acknowledged jobs.
func (l *Ledger) Jobs() []uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	var all []uint64
	for _, job := range l.jobs {
		all = append(all, job)
	}
	return all
}

// Verify waits until every acknowledged job has settled and every log is sealed,
// then checks the promises: no job lost, none made twice, no lease started
// twice, every attempt's log complete on every node, all nodes' states equal and
// sound.
func (l *Ledger) Verify(with capability.Capability) {
	c := l.cluster
	c.t.Helper()
	jobs := l.await()
	l.checkJobs(jobs)
	for lease, n := range l.builds.Started() {
		if n != 1 {
			c.t.Errorf("lease %d was started %d times", lease, n)
		}
	}
	for _, n := range c.Nodes {
		if n.Runs() {
			l.checkLogs(n, c.Client(with, n), jobs)
		}
	}
	c.CheckStates()
}

// await returns the acknowledged jobs once all have settled and are sealed.
func (l *Ledger) await() []*fsm.Job {
	c := l.cluster
	var jobs []*fsm.Job
	c.Wait("every job settled and every log sealed", func() bool {
		jobs = jobs[:0]
		done := true
		c.Leader().Server.Store().View(func(st *fsm.State) {
			for _, id := range l.Jobs() {
				job, err := st.Job(fsm.JobID(id))
				if err != nil {
					c.t.Fatalf("job %d was acknowledged and is lost: %v", id, err)
				}
				jobs = append(jobs, job)
				done = done && job.State == pb.JobState_JOB_STATE_SETTLED && (job.Last() == nil || job.Last().Log != nil)
			}
		})
		return done
	})
	return jobs
}

func (l *Ledger) checkJobs(jobs []*fsm.Job) {
	t := l.cluster.t
	l.checkKeys()
	for _, job := range jobs {
		for _, a := range job.Attempts {
			if a.Outcome == nil {
				t.Errorf("job %v has settled while its attempt %d runs", job.ID, a.No)
			}
		}
		if last := job.Last(); last != nil && last.Outcome.GetKind() != job.Outcome.GetKind() && job.Outcome.GetKind() != pb.OutcomeKind_OUTCOME_LOST && job.Outcome.GetKind() != pb.OutcomeKind_OUTCOME_CANCELLED {
			t.Errorf("job %v settled as %v, its last attempt ended as %v", job.ID, job.Outcome.GetKind(), last.Outcome.GetKind())
		}
	}
}

// checkKeys looks at every job there is, those that nobody was told of too: a
// submit that came twice has made one.
func (l *Ledger) checkKeys() {
	l.cluster.Leader().Server.Store().View(func(st *fsm.State) {
		keys := map[string]fsm.JobID{}
		for job := range st.AllJobs() {
			key := job.Client + " " + job.RequestKey
			if other, ok := keys[key]; ok && job.RequestKey != "" {
				l.cluster.t.Errorf("jobs %v and %v of client %s have the same request key %s", other, job.ID, job.Client, job.RequestKey)
			}
			keys[key] = job.ID
		}
	})
}

// checkLogs reads every sealed log through one node and compares it with what
// the builds wrote.
func (l *Ledger) checkLogs(n *Node, cl *client.Client, jobs []*fsm.Job) {
	t := l.cluster.t
	for _, job := range jobs {
		for _, a := range job.Attempts {
			if a.Log == nil {
				continue
			}
			text, err := ReadLog(l.cluster.Context(), cl, job.ID, a.No)
			if err != nil {
				t.Errorf("read log of job %v attempt %d through %s: %v", job.ID, a.No, n.Name, err)
				continue
			}
			if !strings.Contains(text, l.builds.Payload(uint64(a.Lease))) {
				t.Errorf("log of job %v attempt %d through %s lacks something of its build; it is %q", job.ID, a.No, n.Name, text)
			}
			if int64(len(text)) != a.Log.Bytes {
				t.Errorf("log of job %v attempt %d through %s has %d bytes, sealed with %d", job.ID, a.No, n.Name, len(text), a.Log.Bytes)
			}
		}
	}
}

// ReadLog reads a complete log.
func ReadLog(ctx context.Context, cl *client.Client, job fsm.JobID, attempt fsm.AttemptNo) (string, error) {
	var text strings.Builder
	complete := false
	err := cl.Tail(ctx, &pb.ReadLogRequest{Job: uint64(job), Attempt: uint32(attempt)}, func(d *pb.LogData) error {
		text.Write(d.Data)
		complete = d.Complete
		return nil
	})
	if err == nil && !complete {
		err = fmt.Errorf("the log ended after %d bytes without being complete", text.Len())
	}
	return text.String(), err
}

// CheckStates waits until every running node has applied the same and their
// states are equal, then checks each. Raft counts an entry as applied when it
// hands it to the machine, so the first does not prove the second: states that
// do differ never become equal.
func (c *Cluster) CheckStates() {
	c.t.Helper()
	var hashes []string
	defer func() {
		if c.t.Failed() {
			c.t.Logf("the states that were seen last: %v", hashes)
		}
	}()
	c.Wait("all nodes to have the same state", func() bool {
		hashes = hashes[:0]
		same := true
		var first uint64
		for _, n := range c.Nodes {
			if !n.Runs() {
				continue
			}
			before := n.Server.Store().Node().Status()
			copied := n.Server.Store().Copy(nil)
			after := n.Server.Store().Node().Status()
			hashes = append(hashes, fmt.Sprintf("%x", copied.Hash()))
			if first == 0 {
				first = before.Applied
			}
			same = same && before.Applied == first && after.Applied == first && hashes[len(hashes)-1] == hashes[0]
		}
		return same
	})
	for _, n := range c.Nodes {
		if n.Runs() {
			if err := n.Server.Store().Copy(nil).Check(); err != nil {
				c.t.Errorf("the state of node %s is not sound: %v", n.Name, err)
			}
		}
	}
}
