package api

import (
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/weirbuild/weir/fsm"
	"github.com/weirbuild/weir/proto/pb"
)

func TestJobsAreFoundBySourceAndOutcome(t *testing.T) {
	spec, err := proto.Marshal(&pb.JobSpec{
		Kind: &pb.JobSpec_Command{Command: &pb.CommandJob{Argv: []string{"make"}}}, CacheHint: "h", Slots: 2,
		Git: &pb.GitContext{Url: "https://git.example.org/app", Commits: []string{"aaaa", "bbbb"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	built := &fsm.Job{Spec: spec, Outcome: &pb.Outcome{Kind: pb.OutcomeKind_OUTCOME_FAILED}}
	plain := &fsm.Job{Spec: []byte{}}
	if alsoOf(&pb.ListJobsRequest{Pool: "p"}) != nil {
		t.Error("a listing that asks for no source looks at it")
	}
	for _, c := range []struct {
		req  *pb.ListJobsRequest
		want bool
	}{
		{&pb.ListJobsRequest{Repository: "https://git.example.org/app"}, true},
		{&pb.ListJobsRequest{Repository: "https://git.example.org/ap"}, false},
		{&pb.ListJobsRequest{Commit: "bb"}, true},
		{&pb.ListJobsRequest{Commit: "cc"}, false},
		{&pb.ListJobsRequest{Repository: "https://git.example.org/app", Commit: "aaaa"}, true},
		{&pb.ListJobsRequest{Repository: "other", Commit: "aaaa"}, false},
		{&pb.ListJobsRequest{Outcomes: []pb.OutcomeKind{pb.OutcomeKind_OUTCOME_FAILED}}, true},
		{&pb.ListJobsRequest{Outcomes: []pb.OutcomeKind{pb.OutcomeKind_OUTCOME_LOST}, Commit: "aa"}, false},
	} {
		also := alsoOf(c.req)
		if also(built) != c.want || also(plain) {
			t.Errorf("%v: finds the build: %v, and a job without a source: %v", c.req, also(built), also(plain))
		}
	}
	for n := range spec { // a damaged spec is no source, and no crash
		sourceOf(spec[:n])
	}
}
