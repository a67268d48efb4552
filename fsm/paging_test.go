package fsm_test

import (
	"fmt"
	"testing"

	"github.com/weirbuild/weir/fsm"
	"github.com/weirbuild/weir/fsm/fsmtest"
	"github.com/weirbuild/weir/proto/pb"
)

// Pages of a listing have each job that was there when it began once, and no other,
// while jobs come, end and go between the pages.
func TestPagesAreStable(t *testing.T) {
	s := fsm.New()
	s.Apply(fsmtest.CreatePool("linux", &pb.PoolConfig{KeepJobs: 1}))
	s.Apply(fsmtest.AddClient("ci", 1))
	submit := func(n int) { s.Apply(fsmtest.At(1000, fsmtest.Submit("ci", "linux", fmt.Sprint("key-", n)))) }
	const jobs = 53
	for n := range jobs {
		submit(n)
	}
	for _, filter := range []fsm.Filter{{}, {Pool: "linux"}, {Client: "ci"}, {Client: "ci", Pool: "linux", Since: 1}} {
		newest := s.LastJob()
		filter.Limit = 7
		seen := map[fsm.JobID]bool{}
		for next := newest + 1; next != 0; {
			filter.Before = next
			var page []*fsm.Job
			page, next = s.Jobs(filter)
			for _, j := range page {
				if seen[j.ID] || j.ID > newest {
					t.Errorf("%+v: job %v is listed, again or too late", filter, j.ID)
				}
				seen[j.ID] = true
			}
			submit(int(s.LastJob()) + 1000)
			s.Apply(&pb.Command{Op: &pb.Command_CancelJob{CancelJob: &pb.CancelJob{Job: uint64(next) + 1}}})
		}
		if len(seen) != int(newest) {
			t.Errorf("%+v: %d of %d jobs are listed", filter, len(seen), newest)
		}
	}
}
