package fsm

import (
	"bytes"
	"slices"

	"github.com/weirbuild/weir/proto/pb"
)

// sealLog records that an attempt's log is complete and where it is. The lease's
// holder may seal it while the attempt is kept; the leader, who names no holder,
// only what is left once the attempt is over.
func (s *State) sealLog(c *pb.SealLog) Result {
	info, err := s.sealedLog(c)
	if err != nil {
		return refuse(Invalid, "seal log of lease %d: %v", c.GetLease(), err)
	}
	j, a, r := s.loggedAttempt(c)
	if r != nil {
		return Result{Refusal: r}
	}
	done := Result{Job: j.ID, Lease: a.Lease, Attempt: a.No, Worker: a.Worker}
	switch {
	case a.Log.GetExpired():
		return refuse(Expired, "log of job %d, attempt %d has been given up to keep a byte budget", j.ID, a.No)
	case a.Log == nil:
		s.setLog(j, a.No, info, LogSealed)
	case a.Log.GetBytes() != info.Bytes || !bytes.Equal(a.Log.GetSha256(), info.Sha256):
		return refuse(Conflict, "log of job %d, attempt %d is sealed with other contents (%d bytes)", j.ID, a.No, a.Log.GetBytes())
	default:
		done.Repeat = true
	}
	return done
}

func (s *State) sealedLog(c *pb.SealLog) (*pb.LogInfo, error) {
	sum, err := digestOf("digest", c.GetSha256())
	if err != nil {
		return nil, err
	}
	if err := validateHolders(c.GetHolders()); err != nil {
		return nil, err
	}
	if err := validateSize("log", int(c.GetBytes()), MaxLogBytes); err != nil {
		return nil, err
	}
	return &pb.LogInfo{Bytes: c.GetBytes(), Sha256: sum[:], Holders: s.internHolders(c.GetHolders())}, nil
}

// internHolders returns one list for all the logs in a row that the same nodes
// hold.
func (s *State) internHolders(ids []string) []string {
	if !slices.Equal(s.holders, ids) {
		s.holders = slices.Clone(ids)
	}
	return s.holders
}

func (s *State) loggedAttempt(c *pb.SealLog) (*Job, *Attempt, *Refusal) {
	id := LeaseID(c.GetLease())
	if c.GetHolder() != nil {
		return s.heldAttempt(id, c.GetHolder())
	}
	j, a, ok := s.Attempt(id)
	if !ok {
		return nil, nil, refusal(Fenced, "lease %d is not known: it never was, or its job is forgotten", id)
	}
	if a.Outcome == nil {
		return nil, nil, refusal(Refused, "lease %d is running: only its holder can say where its log ends", id)
	}
	return j, a, nil
}

// moveLog records other holders of a sealed log.
func (s *State) moveLog(c *pb.MoveLog) Result {
	if err := validateHolders(c.GetHolders()); err != nil {
		return refuse(Invalid, "move log of job %d: %v", c.GetJob(), err)
	}
	j, a, r := s.attemptOf(c.GetJob(), c.GetAttempt())
	if r != nil {
		return Result{Refusal: r}
	}
	switch {
	case a.Log == nil:
		return refuse(Refused, "log of job %d, attempt %d is not sealed", j.ID, a.No)
	case a.Log.GetExpired():
		return refuse(Expired, "log of job %d, attempt %d has been given up to keep a byte budget", j.ID, a.No)
	case slices.Equal(a.Log.GetHolders(), c.GetHolders()):
		return Result{Job: j.ID, Attempt: a.No, Repeat: true}
	}
	info := &pb.LogInfo{Bytes: a.Log.GetBytes(), Sha256: a.Log.GetSha256(), Holders: slices.Clone(c.GetHolders())}
	s.setLog(j, a.No, info, LogMoved)
	return Result{Job: j.ID, Attempt: a.No}
}

// expireLog records that nobody has the log any more, sealed or not.
func (s *State) expireLog(c *pb.ExpireLog) Result {
	j, a, r := s.attemptOf(c.GetJob(), c.GetAttempt())
	if r != nil {
		return Result{Refusal: r}
	}
	switch {
	case a.Outcome == nil:
		return refuse(Refused, "log of job %d, attempt %d can't expire: the attempt is running", j.ID, a.No)
	case a.Log.GetExpired():
		return Result{Job: j.ID, Attempt: a.No, Repeat: true}
	}
	info := &pb.LogInfo{Bytes: a.Log.GetBytes(), Sha256: a.Log.GetSha256(), Expired: true}
	s.setLog(j, a.No, info, LogExpired)
	return Result{Job: j.ID, Attempt: a.No}
}

func (s *State) attemptOf(job uint64, no uint32) (*Job, *Attempt, *Refusal) {
	j, r := s.job(JobID(job))
	if r != nil {
		return nil, nil, r
	}
	if no == 0 {
		return nil, nil, refusal(Invalid, "attempts of job %d are numbered from 1", job)
	}
	a, ok := j.Attempt(AttemptNo(no))
	if !ok {
		return nil, nil, refusal(NotFound, "job %d has no attempt %d", job, no)
	}
	return j, a, nil
}

func (s *State) setLog(j *Job, no AttemptNo, info *pb.LogInfo, kind EventKind) {
	next := clone(j)
	next.Attempts = slices.Clone(j.Attempts)
	a, _ := next.Attempt(no)
	a.Log = info
	s.store(j, next)
	s.emit(Event{Kind: kind, Job: j.ID, Attempt: a.No, Lease: a.Lease, Pool: j.Pool, Worker: a.Worker, Client: j.Client})
}
