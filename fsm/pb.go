package fsm

import (
	"google.golang.org/protobuf/proto"

	"github.com/weirbuild/weir/proto/pb"
)

// JobPB shows a job as clients see it. The message shares parts with the state:
// read it, send it, don't change it. withSpec decodes the spec; one that does
// not decode is left out.
func JobPB(j *Job, withSpec bool) *pb.Job {
	m := new(pb.Job)
	fillJob(m, j)
	if withSpec {
		if spec := new(pb.JobSpec); proto.Unmarshal(j.Spec, spec) == nil {
			m.Spec = spec
		}
	}
	return m
}

// fillJob sets every field of m but the spec.
func fillJob(m *pb.Job, j *Job) {
	m.Id, m.Pool, m.Client = uint64(j.ID), j.Pool, j.Client
	m.State, m.Outcome = j.State, j.Outcome
	m.SubmittedMs, m.SettledMs, m.NotBeforeMs, m.FairStartMs = j.Submitted, j.Settled, j.NotBefore, j.FairStart
	m.CancelRequested = j.Cancel != nil
	m.CacheHint, m.Urgent, m.Slots = j.Hint, j.Urgent, j.Slots
	m.Concurrency, m.Priority = concurrencyPB(j), j.Priority
	m.Attempts = nil
	for i := range j.Attempts {
		m.Attempts = append(m.Attempts, attemptPB(&j.Attempts[i]))
	}
}

func attemptPB(a *Attempt) *pb.Attempt {
	return &pb.Attempt{
		Number: uint32(a.No), Lease: uint64(a.Lease), Worker: a.Worker, StartedMs: a.Started,
		EndedMs: a.Ended, Outcome: a.Outcome, Log: a.Log, Cached: a.Cached,
		LeashMs: a.Leash, Held: a.Held,
	}
}

// PoolPB shows a pool with the counts that the state knows.
func PoolPB(p *Pool) *pb.Pool {
	return &pb.Pool{
		Name: p.Name, Config: p.Config, CreatedMs: p.Created, Pause: pausePB(p.Pause), Queued: int64(p.Queued + p.Backoff),
		Running: int64(p.Running), Settled: int64(p.Settled), WorkersKnown: int32(p.Workers),
	}
}

// WorkerPB shows a worker with what the state knows of it.
func WorkerPB(w *Worker) *pb.Worker {
	return &pb.Worker{
		Pool: w.Pool, Name: w.Name, Slots: w.Slots, Labels: labelsPB(w.Labels), Version: w.Version,
		FirstSeenMs: w.FirstSeen, Pause: pausePB(w.Pause), Running: uint32(w.Leases),
	}
}

// ClientPB shows a client.
func ClientPB(c *Client) *pb.Client {
	return &pb.Client{Name: c.Name, Rate: c.Rate, CreatedMs: c.Created, MaxRunning: int64(c.MaxRunning)}
}

func concurrencyPB(j *Job) *pb.Concurrency {
	if j.Concurrency == "" {
		return nil
	}
	return &pb.Concurrency{Key: j.Concurrency, Most: j.AtMost}
}

// CapabilityPB shows a capability, without the hash of its secret.
func CapabilityPB(c *Capability) *pb.Capability {
	return &pb.Capability{
		Id: c.ID, Kind: c.Kind, Client: c.Client, Pools: c.Pools, CreatedMs: c.Created,
		RevokedMs: c.Revoked, Note: c.Note,
	}
}

func labelsPB(labels []Label) []*pb.Label {
	var out []*pb.Label
	for _, l := range labels {
		out = append(out, &pb.Label{Name: l.Name, Value: l.Value})
	}
	return out
}

func labelsOf(labels []*pb.Label) []Label {
	var out []Label
	for _, l := range labels {
		out = append(out, Label{l.GetName(), l.GetValue()})
	}
	return out
}
