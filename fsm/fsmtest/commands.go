// Package fsmtest makes commands and states for tests of fsm and of the packages
// above it: a constructor for each command, a line language for scripts, and a
// generator of random commands. It promises that what it makes is deterministic;
// it judges nothing: that is for the tests and for the naive model beside it.
package fsmtest

import (
	"crypto/sha256"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/weirbuild/weir/fsm"
	"github.com/weirbuild/weir/proto/pb"
)

// Sum is the SHA-256 of a string: a token's, an instance key's.
func Sum(s string) []byte {
	sum := sha256.Sum256([]byte(s))
	return sum[:]
}

// Spec is the marshalled spec of a small command job.
func Spec(argv ...string) []byte {
	spec := &pb.JobSpec{Kind: &pb.JobSpec_Command{Command: &pb.CommandJob{Argv: argv}}}
	data, err := proto.MarshalOptions{Deterministic: true}.Marshal(spec)
	if err != nil {
		panic("fsmtest: marshal a spec: " + err.Error())
	}
	return data
}

// At stamps a command with the leader's time in milliseconds.
func At(ms int64, c *pb.Command) *pb.Command {
	c.IssuedAtMs = ms
	return c
}

// CreatePool makes a pool; config may be nil.
func CreatePool(name string, config *pb.PoolConfig) *pb.Command {
	return &pb.Command{Op: &pb.Command_CreatePool{CreatePool: &pb.CreatePool{Name: name, Config: config}}}
}

// AddClient adds a client; rate 0 means 1.
func AddClient(name string, rate float64) *pb.Command {
	return &pb.Command{Op: &pb.Command_AddClient{AddClient: &pb.AddClient{Name: name, Rate: rate}}}
}

// RegisterWorker registers a worker whose instance key is the one of Key.
func RegisterWorker(pool, name string, slots uint32, labels ...*pb.Label) *pb.Command {
	return &pb.Command{Op: &pb.Command_RegisterWorker{RegisterWorker: &pb.RegisterWorker{
		Pool: pool, Name: name, KeySha256: Key(pool, name), Slots: slots, Labels: labels, Version: "1.0",
	}}}
}

// Key is the hash of the instance key that RegisterWorker and Holder use.
func Key(pool, worker string) []byte { return Sum("key of " + pool + "/" + worker) }

// Holder is the holder that RegisterWorker made.
func Holder(pool, worker string) *pb.Holder {
	return &pb.Holder{Pool: pool, Worker: worker, KeySha256: Key(pool, worker)}
}

// Submit submits a small job; key may be empty. change, if given, may set more.
func Submit(client, pool, key string, change ...func(*pb.SubmitJob)) *pb.Command {
	spec := Spec("build", key)
	c := &pb.SubmitJob{Client: client, Pool: pool, Spec: spec, SpecSha256: Sum(string(spec))}
	if key != "" {
		c.Key = &pb.RequestKey{Id: key, CreatedMs: 1}
	}
	for _, f := range change {
		f(c)
	}
	return &pb.Command{Op: &pb.Command_SubmitJob{SubmitJob: c}}
}

// Grant gives a job to a worker.
func Grant(job fsm.JobID, worker string) *pb.Command {
	return &pb.Command{Op: &pb.Command_GrantLease{GrantLease: &pb.GrantLease{Job: uint64(job), Worker: worker}}}
}

// Finish reports the end of an attempt.
func Finish(lease fsm.LeaseID, holder *pb.Holder, kind pb.OutcomeKind) *pb.Command {
	return &pb.Command{Op: &pb.Command_FinishAttempt{FinishAttempt: &pb.FinishAttempt{
		Lease: uint64(lease), Holder: holder, Outcome: &pb.Outcome{Kind: kind},
	}}}
}

// Seal seals a log on the nodes n1 and n2.
func Seal(lease fsm.LeaseID, holder *pb.Holder, bytes int64) *pb.Command {
	return &pb.Command{Op: &pb.Command_SealLog{SealLog: &pb.SealLog{
		Lease: uint64(lease), Holder: holder, Bytes: bytes, Sha256: Sum("log"), Holders: []string{"n1", "n2"},
	}}}
}

// Expire ends a lease for the leader.
func Expire(lease fsm.LeaseID, why pb.OutcomeKind, message string) *pb.Command {
	return &pb.Command{Op: &pb.Command_ExpireLease{ExpireLease: &pb.ExpireLease{Lease: uint64(lease), Why: why, Message: message}}}
}

// Cancel cancels a job.
func Cancel(job fsm.JobID, reason string) *pb.Command {
	return &pb.Command{Op: &pb.Command_CancelJob{CancelJob: &pb.CancelJob{Job: uint64(job), Reason: reason}}}
}

// Trim forgets jobs.
func Trim(jobs ...fsm.JobID) *pb.Command {
	c := &pb.Trim{}
	for _, id := range jobs {
		c.Jobs = append(c.Jobs, uint64(id))
	}
	return &pb.Command{Op: &pb.Command_Trim{Trim: c}}
}

// Tick moves time.
func Tick() *pb.Command {
	return &pb.Command{Op: &pb.Command_Tick{Tick: &pb.Tick{}}}
}

// State applies commands to a new state; a refusal fails the test.
func State(t testing.TB, commands ...*pb.Command) *fsm.State {
	t.Helper()
	s := fsm.New()
	for _, c := range commands {
		Apply(t, s, c)
	}
	return s
}

// Apply applies a command; a refusal fails the test.
func Apply(t testing.TB, s *fsm.State, c *pb.Command) fsm.Result {
	t.Helper()
	r := s.Apply(c)
	if r.Refusal != nil {
		t.Fatalf("%v is refused: %s: %s", c, r.Refusal.Kind, r.Refusal.Message)
	}
	return r
}
