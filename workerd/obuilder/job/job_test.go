package job_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hashicorp/go-hclog"

	"github.com/weirbuild/weir/proto/pb"
	"github.com/weirbuild/weir/workerd/executor"
	"github.com/weirbuild/weir/workerd/obuilder"
	"github.com/weirbuild/weir/workerd/obuilder/job"
	"github.com/weirbuild/weir/workerd/supervise"
)

// builder plays the engine's part: how builds end is all that matters here.
type builder func(ctx context.Context, r obuilder.Request, out io.Writer) (string, error)

func (b builder) Healthcheck(context.Context) error { return nil }

func (b builder) Build(ctx context.Context, r obuilder.Request, out io.Writer) (string, error) {
	return b(ctx, r, out)
}

func TestOutcomes(t *testing.T) {
	broken := errors.New("disk on fire")
	for name, c := range map[string]struct {
		spec  string
		id    string
		err   error
		cause error // with which the attempt is stopped
		kind  pb.OutcomeKind
		says  string
		fails error
	}{
		"success":     {spec: "((from a))", id: "123", kind: pb.OutcomeKind_OUTCOME_SUCCEEDED},
		"bad spec":    {spec: "((from a)\n (rnu))", kind: pb.OutcomeKind_OUTCOME_FAILED, says: "line 2, column 2: unknown operation rnu"},
		"failure":     {spec: "((from a))", err: fmt.Errorf("x: %w", obuilder.Failed("no luck")), kind: pb.OutcomeKind_OUTCOME_FAILED, says: "no luck"},
		"our fault":   {spec: "((from a))", err: broken, fails: broken},
		"cancelled":   {spec: "((from a))", cause: executor.ErrCancelled, kind: pb.OutcomeKind_OUTCOME_CANCELLED},
		"fenced":      {spec: "((from a))", cause: executor.ErrFenced, fails: executor.ErrFenced},
		"out of time": {spec: "((from a))", cause: &executor.TimeLimitError{Limit: 1}, kind: pb.OutcomeKind_OUTCOME_TIMED_OUT},
	} {
		t.Run(name, func(t *testing.T) {
			t.Setenv("JOB_TEST_PASSED", "yes")
			ctx, cancel := context.WithCancelCause(t.Context())
			e, err := job.New(job.Config{WorkDir: filepath.Join(t.TempDir(), "work"), PassEnv: []string{"JOB_TEST_PASSED", "JOB_TEST_UNSET"}, Log: hclog.NewNullLogger(),
				Builder: builder(func(ctx context.Context, r obuilder.Request, _ io.Writer) (string, error) {
					if r.Context != "" || len(r.Passed) != 1 || r.Passed[0] != "JOB_TEST_PASSED=yes" || r.Spec.From != "a" {
						t.Errorf("the request is %+v", r)
					}
					if c.cause != nil {
						cancel(c.cause)
						return "", context.Cause(ctx)
					}
					return c.id, c.err
				})})
			if err != nil {
				t.Fatal(err)
			}
			task := executor.Task{Lease: 7, Spec: &pb.JobSpec{Kind: &pb.JobSpec_Obuilder{Obuilder: &pb.ObuilderJob{Spec: c.spec}}}}
			o, err := e.Run(ctx, task, io.Discard)
			if !errors.Is(err, c.fails) || (err == nil) != (c.fails == nil) {
				t.Fatalf("%v, %v", o, err)
			}
			if o.GetKind() != c.kind || !strings.Contains(o.GetMessage(), c.says) || o.GetOutput() != c.id {
				t.Errorf("%v", o)
			}
		})
	}
}

// What a killed worker left of checkouts goes at the next start.
func TestLeftCheckouts(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "work")
	if err := os.MkdirAll(filepath.Join(dir, "attempt-3", "checkout"), 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := job.New(job.Config{WorkDir: dir}); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(dir)
	left, listErr := os.ReadDir(dir)
	if err != nil || listErr != nil || len(left) != 0 || info.Mode().Perm() != 0o711 {
		t.Errorf("%v, %v, %v, %v", info.Mode(), left, err, listErr)
	}
}

func TestWorkDirOutOfReach(t *testing.T) {
	closed := filepath.Join(t.TempDir(), "closed")
	if err := os.Mkdir(closed, 0o700); err != nil {
		t.Fatal(err)
	}
	_, err := job.New(job.Config{WorkDir: filepath.Join(closed, "work"), JobUser: &supervise.User{Name: "nobody", UID: 65534, GID: 65534}})
	if err == nil || !strings.Contains(err.Error(), "may not pass "+closed) {
		t.Error(err)
	}
}
