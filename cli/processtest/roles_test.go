package processtest

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/weirbuild/weir/cli/local"
	"github.com/weirbuild/weir/proto/client"
	"github.com/weirbuild/weir/proto/pb"
)

// TestEveryRoleDies kills the leader, each follower, a worker, a submitting
// command and the git server in turn, and starts them again, while clients go on
// submitting builds. Afterwards the ledger is held against the cluster.
func TestEveryRoleDies(t *testing.T) {
	t.Parallel()
	for _, store := range []string{"bolt", "wal"} {
		t.Run(store, func(t *testing.T) {
			t.Parallel()
			testEveryRoleDies(start(t, local.Config{LogStore: store}))
		})
	}
}

func testEveryRoleDies(w *world) {
	capFile := w.pool("p", &pb.PoolConfig{BackoffMs: 50, Attempts: 5})
	ci := w.client("ci")
	w.worker("p", "w1", capFile, 3)
	second := w.worker("p", "w2", capFile, 3)
	load := w.beginLoad(w.load(ci))

	leader, followers := w.leader()
	w.kill(leader)
	w.until("another leader", func() bool { n, _ := w.leader(); return n != leader })
	w.revive(leader)
	for _, n := range followers {
		w.kill(n)
		load.advance(5)
		w.revive(n)
	}
	running := w.running("w2")
	second.Kill()
	second = w.worker("p", "w2", capFile, 3)
	w.submitterDies(ci)
	w.gitServerDies(ci)
	load.end()

	extra := w.ledger.verify(pb.OutcomeKind_OUTCOME_WORKER_RESTARTED)
	w.t.Logf("%d builds, %d attempts more than one each; %d ran on the worker as it died", len(w.ledger.jobs), extra, running)
	if extra > 3 {
		w.t.Errorf("%d attempts were repeated, and only 3 could run on the worker that died", extra)
	}
	if second.Signal(syscall.Signal(0)) != nil {
		w.t.Error("the second worker did not live to the end")
	}
}

// running waits until a worker runs something, and says how much.
func (w *world) running(worker string) (n uint32) {
	w.t.Helper()
	w.until(worker+" to run builds", func() bool {
		list, err := w.admin.Admin().ListWorkers(w.ctx, &pb.ListWorkersRequest{})
		w.must(err)
		for _, k := range list.Workers {
			if k.Name == worker {
				n = k.Running
			}
		}
		return n > 0
	})
	return n
}

// load is clients that submit one build after another.
type load struct {
	w    *world
	stop chan struct{}
	work *errgroup.Group

	mu   sync.Mutex
	done int
}

const (
	submitters = 4
	atLeast    = 25 // builds of each
)

func (w *world) beginLoad(cl *client.Client) *load {
	l := &load{w: w, stop: make(chan struct{})}
	group, ctx := errgroup.WithContext(w.ctx)
	l.work = group
	for i := range submitters {
		group.Go(func() error { return l.submit(ctx, cl, fmt.Sprintf("caller-%d", i)) })
	}
	return l
}

// submit submits and follows builds until it was told to end and has made
// enough of them.
func (l *load) submit(ctx context.Context, cl *client.Client, name string) error {
	for i := 0; ; i++ {
		select {
		case <-l.stop:
			if i >= atLeast {
				return nil
			}
		default:
		}
		b := build{name: fmt.Sprintf("%s build-%d", name, i), lines: 40 * (1 + i%50), pause: "0.15"}
		id, err := l.w.ledger.submit(ctx, cl, "p", b)
		if err != nil {
			return err
		}
		var log strings.Builder
		j, err := cl.Follow(ctx, &pb.WatchRequest{Id: id}, follower{&log})
		if err != nil {
			return fmt.Errorf("follow job %d: %w", id, err)
		}
		want := b.log(j.Attempts[len(j.Attempts)-1].Worker)
		if saw := log.String(); len(j.Attempts) == 1 && saw != want || !strings.HasSuffix(saw, want) || !strings.HasPrefix(saw, "Building on ") {
			l.w.t.Errorf("whoever followed job %d (%d attempts) saw %d bytes that are not its log, or do not end with it", id, len(j.Attempts), log.Len())
		}
		l.mu.Lock()
		l.done++
		l.mu.Unlock()
	}
}

// follower keeps a log.
type follower struct{ log *strings.Builder }

func (follower) Event(*pb.JobEvent) error { return nil }
func (f follower) Log(d *pb.LogData) error {
	f.log.Write(d.Data)
	return nil
}

// advance waits until some more builds have been followed to their end.
func (l *load) advance(builds int) {
	l.w.t.Helper()
	first := l.count()
	l.w.until("builds to go on", func() bool { return l.count() >= first+builds })
}

func (l *load) count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.done
}

func (l *load) end() {
	l.w.t.Helper()
	close(l.stop)
	l.w.must(l.work.Wait())
}

// submitterDies kills a submitting command in the middle of its build, which
// goes on.
func (w *world) submitterDies(ci string) {
	w.t.Helper()
	b := build{name: "orphan", lines: 100, pause: "1"}
	c := w.begin(ci, "submit", "--pool", "p", "--", "sh", "-c", b.script(w.shared))
	w.until("the build's first lines", func() bool { return c.out.has("orphan line 50\n") })
	c.signal(syscall.SIGKILL)
	if a := c.wait(); strings.Contains(a.out, "orphan line 100") {
		w.t.Fatal("the build was over before its submitter died")
	}
	var id uint64
	_, err := fmt.Sscanf(c.err.String(), "weir: job %d", &id)
	w.must(err)
	w.ledger.note(id, b)
}

// gitServerDies submits a build of a repository whose server is down: that is
// the infrastructure's fault, and the build is tried again.
func (w *world) gitServerDies(ci string) {
	w.t.Helper()
	repo := newRepository(w)
	stop := repo.serve()
	args := []string{"submit", "--pool", "p", "--repo", repo.url(), "--commit", repo.commit, "--", "cat", "README"}
	if out := w.ok(ci, args...); !strings.Contains(out, "\nhello from git\n") {
		w.t.Errorf("a build of a repository: %q", out)
	}
	// Another commit, which no worker has a copy of yet.
	args[6] = repo.next()
	stop()
	c := w.begin(ci, args...)
	w.until("the first attempt to fail", func() bool { return c.err.has("attempt 1 on ") })
	if !c.err.has("worker error") {
		w.t.Errorf("while the git server was down: %s", c.err)
	}
	defer repo.serve()()
	if a := c.wait(); a.code != 0 || !strings.Contains(a.out, "\nhello again\n") {
		w.t.Errorf("after the git server came back: exit code %d, %s%s", a.code, a.out, a.err)
	}
	w.t.Logf("the git server was away for %v", c.took.Round(time.Millisecond))
}
