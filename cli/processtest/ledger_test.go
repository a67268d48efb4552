package processtest

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/weirbuild/weir/proto/client"
	"github.com/weirbuild/weir/proto/pb"
)

// build is a job whose log is known beforehand.
type build struct {
	name  string
	lines int    // of its log
	pause string // seconds in the middle
}

// script notes its start and its end in a shared file, and writes its lines.
func (b build) script(shared string) string {
	ran := filepath.Join(shared, "ran")
	return fmt.Sprintf(`echo "$WEIR_JOB_ID $WEIR_ATTEMPT begins" >>%[1]s
seq -f '%[2]s line %%.0f' 1 %[3]d
sleep %[4]s
seq -f '%[2]s line %%.0f' %[5]d %[6]d
echo "$WEIR_JOB_ID $WEIR_ATTEMPT ends" >>%[1]s
`, ran, b.name, b.lines/2, b.pause, b.lines/2+1, b.lines)
}

// log is all that the build's attempt must have left.
func (b build) log(worker string) string {
	var text strings.Builder
	fmt.Fprintf(&text, "Building on %s\n", worker)
	for i := range b.lines {
		fmt.Fprintf(&text, "%s line %d\n", b.name, i+1)
	}
	text.WriteString("Job succeeded\n")
	return text.String()
}

// ledger remembers what was acknowledged, and holds the cluster to it.
type ledger struct {
	w *world

	mu   sync.Mutex
	jobs map[uint64]build
}

// submit makes a job of a build.
func (l *ledger) submit(ctx context.Context, cl *client.Client, pool string, b build) (uint64, error) {
	r, err := cl.Submit(ctx, submit(pool, "sh", "-c", b.script(l.w.shared)))
	if err != nil {
		return 0, fmt.Errorf("submit %s: %w", b.name, err)
	}
	l.note(r.Job, b)
	return r.Job, nil
}

func (l *ledger) note(id uint64, b build) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if old, ok := l.jobs[id]; ok {
		l.w.t.Errorf("job %d was given to %s and to %s", id, old.name, b.name)
	}
	l.jobs[id] = b
}

func submit(pool string, argv ...string) *pb.SubmitRequest {
	return &pb.SubmitRequest{Pool: pool, Spec: &pb.JobSpec{Kind: &pb.JobSpec_Command{Command: &pb.CommandJob{Argv: argv}}}}
}

// verify holds every acknowledged job against what was promised: it is there, it
// succeeded in its last attempt, the earlier ones ended as allowed, no lease ran
// twice, and every node has its whole log. It returns how many attempts there
// were beyond the first ones.
func (l *ledger) verify(allowed ...pb.OutcomeKind) (extra int) {
	l.w.t.Helper()
	for id := range l.jobs {
		l.w.settled(id)
	}
	leases, ran := map[uint64]uint64{}, l.ran()
	for id, b := range l.jobs {
		j := l.w.job(id)
		if j.Outcome.Kind != pb.OutcomeKind_OUTCOME_SUCCEEDED {
			l.w.t.Errorf("job %d (%s) ended: %v", id, b.name, j.Outcome)
			continue
		}
		extra += len(j.Attempts) - 1
		for i, a := range j.Attempts {
			if other, held := leases[a.Lease]; held {
				l.w.t.Errorf("lease %d belongs to jobs %d and %d", a.Lease, id, other)
			}
			leases[a.Lease] = id
			l.checkAttempt(j, i, allowed)
		}
		last := j.Attempts[len(j.Attempts)-1]
		if n := ran[fmt.Sprintf("%d %d ends", id, last.Number)]; n != 1 {
			l.w.t.Errorf("attempt %d of job %d, which succeeded, came to its end %d times", last.Number, id, n)
		}
		l.checkLog(j, last, b.log(last.Worker))
	}
	for line, n := range ran {
		if n != 1 {
			l.w.t.Errorf("%q happened %d times", line, n)
		}
		var id uint64
		if _, err := fmt.Sscan(line, &id); err != nil || l.jobs[id].name == "" {
			l.w.t.Errorf("%q is of a job that nobody was told of", line)
		}
	}
	return extra
}

// ran counts what the builds noted.
func (l *ledger) ran() map[string]int {
	text, err := os.ReadFile(filepath.Join(l.w.shared, "ran"))
	l.w.must(err)
	count := map[string]int{}
	for line := range strings.Lines(string(text)) {
		count[strings.TrimSpace(line)]++
	}
	return count
}

func (l *ledger) checkAttempt(j *pb.Job, i int, allowed []pb.OutcomeKind) {
	l.w.t.Helper()
	a, last := j.Attempts[i], i == len(j.Attempts)-1
	if int(a.Number) != i+1 {
		l.w.t.Errorf("job %d: attempt %d is number %d", j.Id, i+1, a.Number)
	}
	switch kind := a.Outcome.GetKind(); {
	case last && kind != pb.OutcomeKind_OUTCOME_SUCCEEDED:
		l.w.t.Errorf("job %d succeeded, its last attempt ended: %v", j.Id, a.Outcome)
	case !last && !slices.Contains(allowed, kind):
		l.w.t.Errorf("attempt %d of job %d on %s ended: %v", a.Number, j.Id, a.Worker, a.Outcome)
	}
}

// checkLog reads an attempt's log from every node.
func (l *ledger) checkLog(j *pb.Job, a *pb.Attempt, want string) {
	l.w.t.Helper()
	for _, n := range l.w.cluster.Nodes {
		got, err := l.w.readLog(l.w.only(n), j.Id, a.Number)
		if err != nil {
			l.w.t.Errorf("log of job %d from %s: %v", j.Id, n.Name, err)
		} else if got != want {
			l.w.t.Errorf("log of job %d from %s has %d bytes, not the %d that were written: %.300q", j.Id, n.Name, len(got), len(want), got)
		}
	}
}

// readLog reads a whole log, and waits until it is complete.
func (w *world) readLog(cl *client.Client, job uint64, attempt uint32) (string, error) {
	var text strings.Builder
	var last *pb.LogData
	err := cl.Tail(w.ctx, &pb.ReadLogRequest{Job: job, Attempt: attempt, Follow: true}, func(d *pb.LogData) error {
		last = d
		text.Write(d.Data)
		return nil
	})
	if err == nil && !last.GetComplete() {
		err = fmt.Errorf("it is not complete: %s", last.GetIncompleteWhy())
	}
	return text.String(), err
}
