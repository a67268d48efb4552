package api

import (
	"context"
	"crypto/sha256"

	"google.golang.org/protobuf/proto"

	"github.com/weirbuild/weir/fsm"
	"github.com/weirbuild/weir/proto/pb"
	"github.com/weirbuild/weir/proto/seal"
	"github.com/weirbuild/weir/scheduler/auth"
)

// marshal gives equal bytes for equal specs, so that a repeat is recognised.
var marshal = proto.MarshalOptions{Deterministic: true}

// submission is a checked submit, with the grant that rides along.
type submission struct {
	command *pb.Command
	release func(granted bool)
}

// Submit makes one job.
func (s *Server) Submit(ctx context.Context, req *pb.SubmitRequest) (*pb.SubmitReply, error) {
	sub, err := s.prepare(auth.From(ctx), req)
	if err != nil {
		return nil, err
	}
	result, err := s.Store.Propose(ctx, sub.command)
	sub.settle(result, err)
	if err != nil {
		return nil, err
	}
	return submitReply(req.Seq, result), nil
}

// prepare checks a request and makes the command of it.
func (s *Server) prepare(id auth.Identity, req *pb.SubmitRequest) (submission, error) {
	client, err := id.SubmitsFor(req.Client)
	if err != nil {
		return submission{}, err
	}
	if err := checkSubmit(req); err != nil {
		return submission{}, err
	}
	if err := id.MayUsePool(req.Pool); err != nil {
		return submission{}, err
	}
	spec, err := marshal.Marshal(seal.WithoutBox(req.Spec))
	if err != nil {
		return submission{}, invalid("the job's description cannot be stored: %v", err)
	}
	if len(spec) > fsm.MaxSpecBytes {
		return submission{}, invalid("the job's description is %d bytes, at most %d are allowed", len(spec), fsm.MaxSpecBytes)
	}
	digest, err := digestOf(req.Spec, spec)
	if err != nil {
		return submission{}, err
	}
	slots := max(req.Spec.Slots, 1)
	worker, leash, release := s.Leader.Suggest(req.Pool, client, req.Spec)
	return submission{
		release: release,
		command: &pb.Command{MinLevel: submitLevel(req.Spec), Actor: onBehalf(id), Op: &pb.Command_SubmitJob{SubmitJob: &pb.SubmitJob{
			Client: client, Pool: req.Pool, Key: req.Key, Spec: spec, SpecSha256: digest[:],
			CacheHint: req.Spec.CacheHint, Urgent: req.Spec.Urgent, Slots: slots, Labels: req.Spec.Labels,
			GrantTo: worker, Sealed: req.Spec.Sealed.GetBox(), WaitLimitMs: req.Spec.WaitLimitMs,
			Concurrency: req.Spec.Concurrency, Priority: req.Spec.Priority, RetryExitCodes: req.Spec.RetryExitCodes,
			LeashMs: leash, SlidingHour: req.Spec.Urgent,
		}}},
	}, nil
}

// sealedLevel is the feature level from which the state keeps sealed secrets apart
// from a job's description, and a pool's recipient.
const sealedLevel = 3

func submitLevel(spec *pb.JobSpec) uint32 {
	switch {
	case spec.Concurrency != nil, spec.Priority != 0, len(spec.RetryExitCodes) > 0, spec.Urgent:
		return permitLevel
	case spec.WaitLimitMs != 0:
		return patienceLevel
	case spec.Sealed != nil:
		return sealedLevel
	}
	return 0
}

// permitLevel is the feature level from which jobs have concurrency keys, priorities
// and exit codes to retry after, pools and clients limits on running jobs, and urgent
// jobs are counted in any hour.
const permitLevel = 4

// patienceLevel is the feature level from which waiting, and urgent jobs, can be
// limited.
const patienceLevel = 3

// digestOf is what tells a repeated submit from another one. Neither the box of its
// secrets counts, which is another one each time, nor the key, which may have been
// rotated meanwhile.
func digestOf(spec *pb.JobSpec, marshalled []byte) (sum [sha256.Size]byte, err error) {
	if spec.Sealed != nil {
		bare := proto.CloneOf(spec)
		bare.Sealed = &pb.SealedSecrets{Ids: spec.Sealed.Ids}
		if marshalled, err = marshal.Marshal(bare); err != nil {
			return sum, invalid("the job's description cannot be stored: %v", err)
		}
	}
	return sha256.Sum256(marshalled), nil
}

// onBehalf is who submits in a client's place, for the audit; nil: the client itself.
func onBehalf(id auth.Identity) *pb.Actor {
	if id.Kind == auth.Submit {
		return nil
	}
	return id.Actor()
}

func checkSubmit(req *pb.SubmitRequest) error {
	if err := fsm.ValidateName("pool", req.Pool); err != nil {
		return invalid("%v", err)
	}
	if req.Key != nil {
		if err := fsm.ValidateRequestKey(req.Key.Id); err != nil {
			return invalid("%v", err)
		}
	}
	return validateSpec(req.Spec)
}

// settle tells the planner what became of the grant.
func (p submission) settle(result fsm.Result, err error) {
	if p.release != nil {
		p.release(err == nil && result.Lease != 0)
	}
}

func submitReply(seq uint64, r fsm.Result) *pb.SubmitReply {
	return &pb.SubmitReply{Seq: seq, Job: uint64(r.Job), Repeat: r.Repeat, Lease: uint64(r.Lease), Worker: r.Worker}
}
