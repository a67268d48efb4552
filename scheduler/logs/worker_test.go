package logs

import (
	"context"
	"crypto/sha256"
	"errors"
	"sync"
	"testing"

	"github.com/hashicorp/go-hclog"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/proto"

	"github.com/weirbuild/weir/fsm"
	"github.com/weirbuild/weir/proto/pb"
	"github.com/weirbuild/weir/scheduler/logstore"
	"github.com/weirbuild/weir/workerd/logship"
	"github.com/weirbuild/weir/workerd/spool"
)

const instanceKey = "a worker's secret"

// worker is a registered worker that ships its logs to whoever leads.
type worker struct {
	c     *cluster
	spool *spool.Spool
	stop  func()
}

// propose has a command applied.
func (c *cluster) propose(cmd *pb.Command) fsm.Result {
	c.t.Helper()
	r, err := c.store.Propose(c.t.Context(), cmd)
	if err != nil {
		c.t.Fatalf("propose: %v", err)
	}
	return r
}

// prepare makes a pool and its worker.
func (c *cluster) prepare(pool *pb.PoolConfig) {
	key := sha256.Sum256([]byte(instanceKey))
	c.propose(&pb.Command{Op: &pb.Command_CreatePool{CreatePool: &pb.CreatePool{Name: "p", Config: pool}}})
	c.propose(&pb.Command{Op: &pb.Command_AddClient{AddClient: &pb.AddClient{Name: "c", Rate: 1}}})
	c.propose(&pb.Command{Op: &pb.Command_RegisterWorker{RegisterWorker: &pb.RegisterWorker{
		Pool: "p", Name: "w", KeySha256: key[:], Slots: 1000,
	}}})
}

// job submits a job that worker w runs at once.
func (c *cluster) job() (id spool.ID) {
	c.t.Helper()
	spec, err := proto.Marshal(&pb.JobSpec{Kind: &pb.JobSpec_Command{Command: &pb.CommandJob{Argv: []string{"true"}}}})
	if err != nil {
		c.t.Fatal(err)
	}
	sum := sha256.Sum256(spec)
	r := c.propose(&pb.Command{Op: &pb.Command_SubmitJob{SubmitJob: &pb.SubmitJob{
		Client: "c", Pool: "p", Spec: spec, SpecSha256: sum[:], Slots: 1, GrantTo: "w",
	}}})
	if r.Lease == 0 {
		c.t.Fatalf("the job was not granted: %+v", r)
	}
	return spool.ID{Lease: uint64(r.Lease), Job: uint64(r.Job), Attempt: uint32(r.Attempt)}
}

// finish settles an attempt.
func (c *cluster) finish(id spool.ID, kind pb.OutcomeKind) {
	c.t.Helper()
	key := sha256.Sum256([]byte(instanceKey))
	c.propose(&pb.Command{Op: &pb.Command_FinishAttempt{FinishAttempt: &pb.FinishAttempt{
		Lease: id.Lease, Holder: &pb.Holder{Pool: "p", Worker: "w", KeySha256: key[:]}, Outcome: &pb.Outcome{Kind: kind},
	}}})
}

// work starts the worker's log shipping over a spool.
func (c *cluster) work(s *spool.Spool) *worker {
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		err := logship.Run(ctx, logship.Config{
			Dial: c.dial, Spool: s,
			Logger: hclog.New(&hclog.LoggerOptions{Name: "worker", Output: testWriter{c.t}, Level: hclog.Debug}),
		})
		if !errors.Is(err, context.Canceled) {
			c.t.Errorf("ship: %v", err)
		}
	})
	w := &worker{c: c, spool: s, stop: sync.OnceFunc(func() { cancel(); wg.Wait() })}
	c.t.Cleanup(w.stop)
	return w
}

func (c *cluster) dial(ctx context.Context) (logship.Stream, *pb.LogHello, error) {
	leader, ok := c.currentLeader()
	if !ok {
		return nil, nil, errors.New("no leader")
	}
	conn, err := grpc.NewClient("passthrough:///"+leader.Address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return nil, nil, err
	}
	context.AfterFunc(ctx, func() { conn.Close() })
	stream, err := pb.NewWorkerServiceClient(conn).ShipLogs(ctx)
	return stream, &pb.LogHello{Pool: "p", Name: "w", InstanceKey: []byte(instanceKey)}, err
}

// log begins the log of a new job.
func (w *worker) log() (*spool.Log, spool.ID) {
	w.c.t.Helper()
	id := w.c.job()
	l, err := w.spool.Create(id)
	if err != nil {
		w.c.t.Fatal(err)
	}
	return l, id
}

func write(t testing.TB, l *spool.Log, text string) {
	t.Helper()
	if _, err := l.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
}

func end(t testing.TB, l *spool.Log) {
	t.Helper()
	if _, err := l.Finish(); err != nil {
		t.Fatal(err)
	}
}

// sealed waits until an attempt's log is sealed.
func (c *cluster) sealed(id spool.ID) *pb.LogInfo {
	c.t.Helper()
	var log *pb.LogInfo
	eventually(c.t, "the log is sealed", func() bool {
		log = c.logInfo(id)
		return log != nil
	})
	return log
}

func (c *cluster) logInfo(id spool.ID) (log *pb.LogInfo) {
	c.store.View(func(st *fsm.State) {
		if j, err := st.Job(fsm.JobID(id.Job)); err == nil {
			if a, ok := j.Attempt(fsm.AttemptNo(id.Attempt)); ok {
				log = a.Log
			}
		}
	})
	return log
}

func keyFor(id spool.ID) logstore.Key { return logstore.Key{Job: id.Job, Attempt: id.Attempt} }

// waiting submits a job that is not granted.
func (c *cluster) waiting() (job uint64) {
	c.t.Helper()
	spec := []byte(nil)
	sum := sha256.Sum256(spec)
	r := c.propose(&pb.Command{Op: &pb.Command_SubmitJob{SubmitJob: &pb.SubmitJob{Client: "c", Pool: "p", SpecSha256: sum[:], Slots: 1}}})
	return uint64(r.Job)
}
