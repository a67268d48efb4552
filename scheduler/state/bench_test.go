package state

import (
	"fmt"
	"testing"

	"github.com/hashicorp/go-hclog"
	"google.golang.org/protobuf/proto"

	"github.com/weirbuild/weir/fsm"
	"github.com/weirbuild/weir/proto/pb"
)

// BenchmarkApply is a job's three commands as a follower sees them, a hundred
// commands an entry.
func BenchmarkApply(b *testing.B) {
	m := newMachine(hclog.NewNullLogger())
	key := make([]byte, 32)
	encode := func(c *pb.Command) []byte {
		c.IssuedAtMs = 1_700_000_000_000
		data, err := proto.Marshal(c)
		if err != nil {
			b.Fatal(err)
		}
		return data
	}
	apply := func(commands ...[]byte) {
		for _, r := range m.Apply(1, commands) {
			if r := r.(*fsm.Result); r.Refusal != nil {
				b.Fatal(r.Refusal)
			}
		}
	}
	apply(
		encode(&pb.Command{Op: &pb.Command_CreatePool{CreatePool: &pb.CreatePool{Name: "linux"}}}),
		encode(&pb.Command{Op: &pb.Command_AddClient{AddClient: &pb.AddClient{Name: "ci", Rate: 10}}}),
		encode(&pb.Command{Op: &pb.Command_RegisterWorker{RegisterWorker: &pb.RegisterWorker{Pool: "linux", Name: "w1", KeySha256: key, Slots: 512}}}),
	)
	spec, err := proto.Marshal(&pb.JobSpec{Kind: &pb.JobSpec_Command{Command: &pb.CommandJob{Argv: []string{"make", "-C", "some/where", "test"}}}, TimeLimitMs: 600_000})
	if err != nil {
		b.Fatal(err)
	}
	holder := &pb.Holder{Pool: "linux", Worker: "w1", KeySha256: key}
	digest := make([]byte, 32)
	const jobs = 100
	var submits, finishes, seals [][]byte
	prepare := func(round int) {
		submits, finishes, seals = nil, nil, nil
		for i := range jobs {
			n := uint64(round*jobs + i + 1)
			submits = append(submits, encode(&pb.Command{Op: &pb.Command_SubmitJob{SubmitJob: &pb.SubmitJob{
				Client: "ci", Pool: "linux", Key: &pb.RequestKey{Id: fmt.Sprintf("0123456789abcdef%d", n), CreatedMs: 1_700_000_000_000},
				Spec: spec, SpecSha256: digest, Slots: 1, GrantTo: "w1",
			}}}))
			finishes = append(finishes, encode(&pb.Command{Op: &pb.Command_FinishAttempt{FinishAttempt: &pb.FinishAttempt{
				Lease: n, Holder: holder, Outcome: &pb.Outcome{Kind: pb.OutcomeKind_OUTCOME_SUCCEEDED},
			}}}))
			seals = append(seals, encode(&pb.Command{Op: &pb.Command_SealLog{SealLog: &pb.SealLog{
				Lease: n, Holder: holder, Bytes: 1024, Sha256: digest,
				Holders: []string{"5e1b7a6e-0000-4000-8000-000000000001", "5e1b7a6e-0000-4000-8000-000000000002"},
			}}}))
		}
	}
	b.ReportAllocs()
	for round := 0; b.Loop(); round++ {
		b.StopTimer()
		prepare(round)
		b.StartTimer()
		apply(submits...)
		apply(finishes...)
		apply(seals...)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/jobs, "ns/job")
}
