package dev

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/weirbuild/weir/cli/ui"
	"github.com/weirbuild/weir/proto/client"
	"github.com/weirbuild/weir/proto/pb"
)

// killAfter is how far into the build the leader dies: soon, since a machine of
// many cores compiles even the standard library in a few seconds.
const killAfter = 2 * time.Second

// buildScript compiles and tests a package with an empty cache, so that it
// takes a while; a dot every quarter of a second shows that it is alive.
const buildScript = `
( while :; do printf .; sleep 0.25; done ) & dots=$!
export GOCACHE="$TMPDIR/go-cache" GOFLAGS=-buildvcs=false GOTOOLCHAIN=local
go version && go build -v %[1]s && go test -v %[1]s
status=$?
kill $dots
echo
exit $status
`

// plainScript stands in where there is no Go: it reads every file there is.
const plainScript = `
for round in 1 2 3 4 5 6 7 8 9 10 11 12; do
	for f in $(git ls-files); do sha256sum "$f" || exit 1; done
	sleep 1
done
`

func (d *demo) script() (argv []string, what string) {
	if _, err := exec.LookPath("go"); err != nil {
		return []string{"sh", "-c", plainScript}, "checksums of every file, twelve times (there is no Go here to compile with)"
	}
	if d.repo.sample {
		return []string{"sh", "-c", fmt.Sprintf(buildScript, ".")}, "go build and go test of the sample module, with an empty cache"
	}
	return []string{"sh", "-c", fmt.Sprintf(buildScript, "./workerd/spool")}, "go build and go test of workerd/spool, with an empty cache"
}

// account is what the demo measured.
type account struct {
	before, after string
	killed        time.Time
	refused       time.Duration // from the kill to the first submit that was acknowledged
	tries         int
	extra         uint64 // the job of that submit
	pause         time.Duration
}

// story submits the build, kills the leader in the middle and checks the end.
func (d *demo) story(ctx context.Context) error {
	cl, err := d.cluster.Client(d.submitCap, client.Options{Patience: time.Minute})
	if err != nil {
		return err
	}
	defer cl.Close()
	argv, what := d.script()
	d.say("submitting a build of %s at %.12s: %s", d.repoURL, d.repo.commit, what)
	reply, err := cl.Submit(ctx, &pb.SubmitRequest{Pool: poolName, Spec: &pb.JobSpec{
		Kind: &pb.JobSpec_Command{Command: &pb.CommandJob{Argv: argv}},
		Git:  &pb.GitContext{Url: d.repoURL, Commits: []string{d.repo.commit}},
	}})
	if err != nil {
		return fmt.Errorf("submit the build: %w", err)
	}
	d.say("job %d acknowledged: it is on a majority of disks", reply.Job)
	view := newViewer(d)
	var told account
	group, groupCtx := errgroup.WithContext(ctx)
	group.Go(func() error {
		select {
		case <-view.running:
		case <-groupCtx.Done():
			return nil
		}
		told, err = d.killLeader(groupCtx, view)
		return err
	})
	var job *pb.Job
	group.Go(func() (err error) {
		job, err = cl.Follow(groupCtx, &pb.WatchRequest{Id: reply.Job}, view)
		return err
	})
	if err := group.Wait(); err != nil {
		return err
	}
	told.pause = view.pauseAfter(told.killed)
	return d.conclude(ctx, cl, job, view, told)
}

// killLeader waits until the build is well under way, kills the leader with
// SIGKILL and measures how long submits are refused.
func (d *demo) killLeader(ctx context.Context, view *viewer) (account, error) {
	var a account
	select {
	case <-time.After(killAfter):
	case <-view.ended:
		return a, errors.New("the build ended before the leader could be killed")
	case <-ctx.Done():
		return a, context.Cause(ctx)
	}
	admin, err := d.cluster.Client(d.cluster.Admin, client.Options{})
	if err != nil {
		return a, err
	}
	defer admin.Close()
	leader, err := d.cluster.Leader(ctx, admin)
	if err != nil {
		return a, err
	}
	a.before = leader.Name
	view.say("kill -9 %d: %s, the leader", leader.Process.Pid(), leader.Name)
	a.killed = time.Now()
	leader.Process.Kill()
	leader.Process = nil
	if err := d.measureRefusal(ctx, &a); err != nil {
		return a, err
	}
	view.say("a submit is acknowledged again, %v after the kill", a.refused.Round(time.Millisecond))
	next, err := d.cluster.Leader(ctx, admin)
	if err != nil {
		return a, err
	}
	a.after = next.Name
	return a, nil
}

// measureRefusal submits a second small job until it is acknowledged.
func (d *demo) measureRefusal(ctx context.Context, a *account) error {
	cl, err := d.cluster.Client(d.submitCap, client.Options{Patience: time.Minute, Notice: func(string) { a.tries++ }})
	if err != nil {
		return err
	}
	defer cl.Close()
	r, err := cl.Submit(ctx, &pb.SubmitRequest{Pool: poolName, Spec: &pb.JobSpec{
		Kind: &pb.JobSpec_Command{Command: &pb.CommandJob{Argv: []string{"true"}}},
	}})
	if err != nil {
		return fmt.Errorf("submit after the leader's death: %w", err)
	}
	a.extra, a.refused = r.Job, time.Since(a.killed)
	return nil
}

// conclude checks what was promised and tells the account.
func (d *demo) conclude(ctx context.Context, cl *client.Client, job *pb.Job, view *viewer, a account) error {
	same, bytes, err := view.compare()
	if err != nil {
		return err
	}
	extra, err := cl.Follow(ctx, &pb.WatchRequest{Id: a.extra}, silent{})
	if err != nil {
		return fmt.Errorf("follow the second job: %w", err)
	}
	verdict := "identical to the worker's own, byte for byte"
	if !same {
		verdict = "DIFFERENT from the worker's own"
	}
	fmt.Fprintln(d.Err)
	table := func(name, text string) { fmt.Fprintf(d.Err, "  %-16s %s\n", name, text) }
	table("build", fmt.Sprintf("job %d %s after %d attempt(s)", job.Id, ui.Outcome(job.Outcome), len(job.Attempts)))
	table("led before", a.before+" (killed with SIGKILL)")
	table("led after", a.after)
	table("submits refused", fmt.Sprintf("for %v; the one made then is job %d, %s", a.refused.Round(time.Millisecond), a.extra, ui.Outcome(extra.Outcome)))
	table("log paused", fmt.Sprintf("for %v at most, around the kill", a.pause.Round(time.Millisecond)))
	table("log", fmt.Sprintf("%d bytes, %s", bytes, verdict))
	fmt.Fprintln(d.Err)
	switch {
	case job.Outcome.GetKind() != pb.OutcomeKind_OUTCOME_SUCCEEDED:
		return fmt.Errorf("the build did not succeed: %s", ui.Outcome(job.Outcome))
	case len(job.Attempts) != 1:
		return fmt.Errorf("the build took %d attempts instead of one", len(job.Attempts))
	case !same:
		return errors.New("the log differs from the worker's own")
	}
	return nil
}

// silent follows without showing.
type silent struct{}

func (silent) Event(*pb.JobEvent) error { return nil }
func (silent) Log(*pb.LogData) error    { return nil }
