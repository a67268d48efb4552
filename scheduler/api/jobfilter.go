package api

import (
	"slices"
	"strings"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/weirbuild/weir/fsm"
	"github.com/weirbuild/weir/proto/pb"
)

// alsoOf is what a listing asks for of a job's outcome and source; nil: nothing.
func alsoOf(req *pb.ListJobsRequest) func(*fsm.Job) bool {
	if len(req.Outcomes) == 0 && req.Repository == "" && req.Commit == "" {
		return nil
	}
	return func(j *fsm.Job) bool {
		if len(req.Outcomes) > 0 && (j.Outcome == nil || !slices.Contains(req.Outcomes, j.Outcome.Kind)) {
			return false
		}
		return req.Repository == "" && req.Commit == "" || fromSource(sourceOf(j.Spec), req)
	}
}

func fromSource(git *pb.GitContext, req *pb.ListJobsRequest) bool {
	if git == nil || req.Repository != "" && git.Url != req.Repository {
		return false
	}
	return req.Commit == "" || slices.ContainsFunc(git.Commits, func(c string) bool { return strings.HasPrefix(c, req.Commit) })
}

// specGit is the number of JobSpec's field git.
const specGit = protowire.Number(10)

// sourceOf decodes where a stored spec's source comes from, and nothing else of it;
// nil: it has none.
func sourceOf(spec []byte) *pb.GitContext {
	for len(spec) > 0 {
		number, kind, n := protowire.ConsumeTag(spec)
		if n < 0 {
			return nil
		}
		spec = spec[n:]
		if n = protowire.ConsumeFieldValue(number, kind, spec); n < 0 {
			return nil
		}
		if number == specGit {
			data, _ := protowire.ConsumeBytes(spec)
			git := &pb.GitContext{}
			if proto.Unmarshal(data, git) != nil {
				return nil
			}
			return git
		}
		spec = spec[n:]
	}
	return nil
}
