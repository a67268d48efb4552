package processtest

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/weirbuild/weir/cli/local"
	"github.com/weirbuild/weir/proto/capability"
	"github.com/weirbuild/weir/proto/client"
	"github.com/weirbuild/weir/proto/pb"
)

// patience is how long anything that must happen may take on a slow machine.
const patience = 60 * time.Second

// world is a cluster of processes and those who use it.
type world struct {
	t       *testing.T
	ctx     context.Context
	cluster *local.Cluster
	admin   *client.Client
	shared  string // a directory that tests and builds may both write to
	adminAt string // the admin capability's file
	ledger  *ledger
	nodes   map[string]*client.Client // by name: an administrator who knows one node only
}

// start starts a cluster; the test's end stops it.
func start(t *testing.T, c local.Config) *world {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	w := &world{t: t, ctx: ctx}
	c.Binary = binary
	if c.Dir == "" {
		c.Dir = publicDir(t)
	}
	begun := time.Now()
	cluster, err := local.Start(ctx, c)
	w.must(err)
	w.cluster, w.adminAt = cluster, filepath.Join(c.Dir, "admin.cap")
	t.Logf("the nodes were ready after %v", time.Since(begun).Round(time.Millisecond))
	t.Cleanup(func() {
		w.tellLogs()
		w.wake()
		if err := cluster.Close(); err != nil {
			t.Error(err)
		}
		cancel()
	})
	w.admin = w.dial(cluster.Admin)
	w.nodes = map[string]*client.Client{}
	for _, n := range cluster.Nodes {
		w.nodes[n.Name] = w.dial(cluster.Admin, n)
	}
	return w.in(t)
}

// in is the same cluster for one test of several, with a ledger and a shared
// directory of its own.
func (w *world) in(t *testing.T) *world {
	own := *w
	own.t, own.shared = t, filepath.Join(w.cluster.Dir, "shared-"+path.Base(t.Name()))
	own.must(os.Mkdir(own.shared, 0o777))
	own.must(os.Chmod(own.shared, 0o777))
	own.ledger = &ledger{w: &own, jobs: map[uint64]build{}}
	return &own
}

// publicDir is a temporary directory that other users may pass through.
func publicDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "weir-processtest-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

// tellLogs shows the end of every process's log when the test has failed.
func (w *world) tellLogs() {
	if !w.t.Failed() {
		return
	}
	logs, _ := filepath.Glob(filepath.Join(w.cluster.Dir, "*", "log"))
	for _, file := range logs {
		text, err := os.ReadFile(file)
		if err != nil {
			continue
		}
		lines := strings.Split(strings.TrimSpace(string(text)), "\n")
		w.t.Logf("the end of %s:\n%s", file, strings.Join(lines[max(0, len(lines)-60):], "\n"))
	}
}

// wake lets stopped processes go on, so that they can be told to end.
func (w *world) wake() {
	for _, n := range w.cluster.Nodes {
		if n.Process != nil {
			_ = n.Process.Signal(syscall.SIGCONT) // it may have ended
		}
	}
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// until waits for a condition.
func (w *world) until(what string, holds func() bool) time.Duration {
	w.t.Helper()
	begun := time.Now()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !holds() {
		if time.Since(begun) > patience {
			w.t.Fatalf("waited %v for %s", patience, what)
		}
		<-tick.C
	}
	return time.Since(begun)
}

// dial makes a client; at are the only nodes that it knows, all when not given.
func (w *world) dial(with capability.Capability, at ...*local.Node) *client.Client {
	w.t.Helper()
	var addresses []string
	for _, n := range at {
		addresses = append(addresses, n.Address)
	}
	if addresses != nil {
		var err error
		with, err = capability.New(with.Token(), addresses, with.Pins())
		w.must(err)
	}
	cl, err := w.cluster.Client(with, client.Options{Patience: 30 * time.Second})
	w.must(err)
	w.t.Cleanup(func() { cl.Close() })
	return cl
}

// only is an administrator who knows one node only.
func (w *world) only(n *local.Node) *client.Client { return w.nodes[n.Name] }

// through is a file with the capability in another, for some nodes only.
func (w *world) through(file string, at ...*local.Node) string {
	w.t.Helper()
	c, err := capability.Load(file)
	w.must(err)
	name := filepath.Base(file)
	var addresses []string
	for _, n := range at {
		name, addresses = name+"-"+n.Name, append(addresses, n.Address)
	}
	c, err = capability.New(c.Token(), addresses, c.Pins())
	w.must(err)
	narrow := filepath.Join(w.cluster.Dir, name)
	w.must(c.Save(narrow))
	return narrow
}

// pool makes a pool and returns the file of its worker capability.
func (w *world) pool(name string, config *pb.PoolConfig) string {
	w.t.Helper()
	token := capability.NewToken()
	made, err := w.admin.Admin().CreatePool(w.ctx, &pb.CreatePoolRequest{Name: name, Config: config, WorkerTokenSha256: client.TokenHash(token)})
	w.must(err)
	return w.save(made.Worker, token, name+"-worker.cap")
}

// client makes a client and returns the file of its capability.
func (w *world) client(name string) string {
	w.t.Helper()
	token := capability.NewToken()
	made, err := w.admin.Admin().AddClient(w.ctx, &pb.AddClientRequest{Name: name, Rate: proto.Float64(10), TokenSha256: client.TokenHash(token)})
	w.must(err)
	return w.save(made, token, name+".cap")
}

// capability makes another capability and returns its file and its id.
func (w *world) capability(name string, req *pb.CreateCapabilityRequest) (file, id string) {
	w.t.Helper()
	token := capability.NewToken()
	req.TokenSha256 = client.TokenHash(token)
	made, err := w.admin.Admin().CreateCapability(w.ctx, req)
	w.must(err)
	return w.save(made, token, name+".cap"), made.Capability.Id
}

func (w *world) save(made *pb.NewCapability, token capability.Token, name string) string {
	w.t.Helper()
	c, err := client.Assemble(made, token)
	w.must(err)
	file := filepath.Join(w.cluster.Dir, name)
	w.must(c.Save(file))
	return file
}

// load is the client of a capability in a file.
func (w *world) load(file string) *client.Client {
	w.t.Helper()
	c, err := capability.Load(file)
	w.must(err)
	return w.dial(c)
}

// worker starts a worker and waits until it is connected.
func (w *world) worker(pool, name, capFile string, slots int, more ...string) *local.Process {
	w.t.Helper()
	p := w.startWorker(nil, pool, name, capFile, slots, more...)
	w.until("worker "+name+" to be ready", func() bool { return w.workerState(pool, name) == "ready" })
	return p
}

// startWorker starts a worker and waits for nothing.
func (w *world) startWorker(by []string, pool, name, capFile string, slots int, more ...string) *local.Process {
	w.t.Helper()
	flags := []string{"--pool", pool, "--slots", fmt.Sprint(slots), "--allow-command", "--log-level", "debug"}
	if os.Geteuid() == 0 {
		flags = append(flags, "--job-user", "nobody")
	}
	p, err := w.cluster.StartWorkerBy(by, name, capFile, append(flags, more...)...)
	w.must(err)
	return p
}

// ends waits for a process to end by itself, and returns its exit code.
func (w *world) ends(p *local.Process) int {
	w.t.Helper()
	select {
	case <-p.Done():
	case <-time.After(patience):
		w.t.Fatalf("%s did not end within %v", p.Name, patience)
	}
	return p.ExitCode()
}

func (w *world) workerState(pool, name string) string {
	k, err := w.findWorker(pool, name)
	switch {
	case err != nil:
		return err.Error()
	case k == nil:
		return "unknown"
	}
	return k.State
}

// findWorker returns nil for a worker that the cluster does not know.
func (w *world) findWorker(pool, name string) (*pb.Worker, error) {
	list, err := w.admin.Admin().ListWorkers(w.ctx, &pb.ListWorkersRequest{Pool: pool})
	if err != nil {
		return nil, err
	}
	for _, k := range list.Workers {
		if k.Name == name {
			return k, nil
		}
	}
	return nil, nil
}

// leader is the node that leads, and the others.
func (w *world) leader() (*local.Node, []*local.Node) {
	w.t.Helper()
	n, err := w.cluster.Leader(w.ctx, w.admin)
	w.must(err)
	return n, slices.DeleteFunc(slices.Clone(w.cluster.Nodes), func(o *local.Node) bool { return o == n })
}

// kill ends a node with SIGKILL.
func (w *world) kill(n *local.Node) {
	n.Process.Kill()
	n.Process = nil
}

// revive starts a node that is down, and waits until it serves as a voter.
func (w *world) revive(n *local.Node) {
	w.t.Helper()
	w.must(w.cluster.StartNode(slices.Index(w.cluster.Nodes, n)))
	w.until("node "+n.Name+" to be ready", func() bool { return w.status(n).GetReady() })
}

func (w *world) status(n *local.Node) *pb.NodeStatus {
	for _, r := range w.admin.Survey(w.ctx) {
		if r.Address == n.Address {
			return r.Status
		}
	}
	return nil
}

func (w *world) job(id uint64) *pb.Job {
	w.t.Helper()
	j, err := w.admin.Jobs().GetJob(w.ctx, &pb.GetJobRequest{Id: id})
	w.must(err)
	return j
}

// attempt waits until a job's attempt is running.
func (w *world) attempt(id uint64, number int) *pb.Attempt {
	w.t.Helper()
	var a *pb.Attempt
	w.until(fmt.Sprintf("attempt %d of job %d", number, id), func() bool {
		j := w.job(id)
		if len(j.Attempts) < number {
			return false
		}
		a = j.Attempts[number-1]
		return true
	})
	return a
}

// settled waits for a job's end.
func (w *world) settled(id uint64) *pb.Job {
	w.t.Helper()
	var j *pb.Job
	w.until(fmt.Sprintf("the end of job %d", id), func() bool {
		j = w.job(id)
		return j.State == pb.JobState_JOB_STATE_SETTLED
	})
	return j
}

// touch makes a file in the shared directory, for which a build waits.
func (w *world) touch(name string) {
	w.t.Helper()
	w.must(os.WriteFile(filepath.Join(w.shared, name), nil, 0o666))
}

func (w *world) exists(name string) bool {
	_, err := os.Stat(filepath.Join(w.shared, name))
	return err == nil
}

// processes are the host's processes whose command line holds a text.
func processes(text string) []int {
	var pids []int
	lines, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, file := range lines {
		if line, err := os.ReadFile(file); err == nil && bytes.Contains(line, []byte(text)) {
			var pid int
			fmt.Sscanf(file, "/proc/%d/", &pid)
			pids = append(pids, pid)
		}
	}
	return pids
}
