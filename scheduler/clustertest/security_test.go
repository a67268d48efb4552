package clustertest

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	"github.com/weirbuild/weir/proto/capability"
	"github.com/weirbuild/weir/proto/client"
	"github.com/weirbuild/weir/proto/mtls"
	"github.com/weirbuild/weir/proto/pb"
	"github.com/weirbuild/weir/proto/reason"
)

// rawConn is a plain gRPC connection to one node, without the client's retries.
func rawConn(t *testing.T, c *Cluster, with capability.Capability, n *Node) *grpc.ClientConn {
	t.Helper()
	conn, err := grpc.NewClient("passthrough:///"+n.Address, grpc.WithTransportCredentials(mtls.DialingPinned(with.Pins())))
	c.must(err)
	t.Cleanup(func() { conn.Close() })
	return conn
}

func rawJobs(t *testing.T, c *Cluster, with capability.Capability, n *Node) pb.JobServiceClient {
	t.Helper()
	return pb.NewJobServiceClient(rawConn(t, c, with, n))
}

func bearer(ctx context.Context, with capability.Capability) context.Context {
	return metadata.AppendToOutgoingContext(ctx, reason.MetaAuthorization, "Bearer "+with.Token().Reveal())
}

// A capability is revoked while its holder reads a log that grows, watches a job
// and submits, through every node: all of it ends within a second.
func TestRevocationEndsStreamsEverywhere(t *testing.T) {
	c := Start(t, Options{})
	worker := c.NewPool("p", nil)
	builds := NewBuilds()
	c.StartWorker(worker, "p", "w1", 2, builds)
	c.NewClient("ci")
	cap, id := c.NewCapability(&pb.CreateCapabilityRequest{Kind: pb.CapabilityKind_CAPABILITY_SUBMIT, Client: "ci"})
	ctx := c.Context()
	job, err := c.Client(cap).Submit(ctx, submit("p", "k1", "hold", "for ever"))
	c.must(err)
	c.Wait("the job to run", func() bool { return len(builds.Started()) == 1 })

	type ending struct {
		what string
		err  error
		at   time.Time
	}
	ended := make(chan ending)
	streams := 0
	follow := func(what string, first, next func() error) {
		c.must(first())
		streams++
		go func() { // ends with its stream
			var err error
			for err == nil {
				err = next()
			}
			ended <- ending{what, err, time.Now()}
		}()
	}
	for _, n := range c.Nodes {
		jobs := rawJobs(t, c, cap, n)
		log, err := jobs.ReadLog(bearer(ctx, cap), &pb.ReadLogRequest{Job: job.Job, Follow: true})
		c.must(err)
		follow("log through "+n.Name, func() error { _, err := log.Recv(); return err }, func() error { _, err := log.Recv(); return err })
		watch, err := jobs.Watch(bearer(ctx, cap), &pb.WatchRequest{Id: job.Job})
		c.must(err)
		follow("watch through "+n.Name, func() error { _, err := watch.Recv(); return err }, func() error { _, err := watch.Recv(); return err })
		settled, err := jobs.WatchSettled(bearer(ctx, cap), &pb.WatchSettledRequest{})
		c.must(err)
		follow("settled through "+n.Name, func() error { _, err := settled.Header(); return err }, func() error { _, err := settled.Recv(); return err })
	}
	_, err = c.Client(c.Admin).Admin().RevokeCapability(ctx, &pb.RevokeCapabilityRequest{Id: id})
	c.must(err)
	begun := time.Now()
	for range streams {
		e := <-ended
		if client.Reason(e.err) != reason.Unauthenticated || !strings.Contains(e.err.Error(), "weir cap create") {
			t.Errorf("%s ended with %v", e.what, e.err)
		}
		if took := e.at.Sub(begun); took > time.Second {
			t.Errorf("%s ended after %v", e.what, took)
		}
	}
	if _, err := rawJobs(t, c, cap, c.Nodes[0]).ListJobs(bearer(ctx, cap), &pb.ListJobsRequest{}); client.Reason(err) != reason.Unauthenticated {
		t.Errorf("a revoked capability lists: %v", err)
	}
}

// A revoked worker loses its leases at once: its jobs run elsewhere, without a
// failed attempt.
func TestRevokedWorker(t *testing.T) {
	c := Start(t, Options{})
	good := c.NewPool("p", &pb.PoolConfig{Attempts: 1})
	bad, id := c.NewCapability(&pb.CreateCapabilityRequest{Kind: pb.CapabilityKind_CAPABILITY_WORKER, Pools: []string{"p"}})
	builds := NewBuilds()
	first := c.StartWorker(bad, "p", "bad", 1, builds)
	ci := c.Client(c.NewClient("ci"))
	ctx := c.Context()
	job, err := ci.Submit(ctx, submit("p", "k1", "hold", "gate"))
	c.must(err)
	c.Wait("the job to run", func() bool { return len(builds.Started()) == 1 })
	c.StartWorker(good, "p", "good", 1, builds)
	_, err = c.Client(c.Admin).Admin().RevokeCapability(ctx, &pb.RevokeCapabilityRequest{Id: id})
	c.must(err)
	begun := time.Now()
	c.Wait("the job to run elsewhere", func() bool { return len(builds.Started()) == 2 })
	if took := time.Since(begun); took > 2*time.Second {
		t.Errorf("it took %v", took)
	}
	builds.Release("gate")
	done, err := settled(ctx, ci, job.Job)
	c.must(err)
	if done.Outcome.Kind != pb.OutcomeKind_OUTCOME_SUCCEEDED || len(done.Attempts) != 2 ||
		done.Attempts[0].Outcome.Kind != pb.OutcomeKind_OUTCOME_WORKER_REVOKED || done.Attempts[1].Worker != "good" {
		t.Errorf("the job is %v", done)
	}
	if err := first.Wait(); err == nil {
		t.Error("the revoked worker ended without an error")
	}
}

// What one client does, another does not see; operators make no capabilities.
func TestWhoSeesWhat(t *testing.T) {
	c := Start(t, Options{Nodes: 1})
	c.NewPool("p", nil)
	c.NewPool("q", nil)
	mine, other := c.Client(c.NewClient("mine", "p")), c.Client(c.NewClient("other"))
	readCap, _ := c.NewCapability(&pb.CreateCapabilityRequest{Kind: pb.CapabilityKind_CAPABILITY_READ})
	operatorCap, _ := c.NewCapability(&pb.CreateCapabilityRequest{Kind: pb.CapabilityKind_CAPABILITY_OPERATOR})
	read, operator := c.Client(readCap), c.Client(operatorCap)
	ctx := c.Context()
	a, err := mine.Submit(ctx, submit("p", "k1", "ok", "1"))
	c.must(err)
	b, err := other.Submit(ctx, submit("q", "k1", "ok", "1"))
	c.must(err)
	if a.Job == b.Job {
		t.Error("two clients share a request key")
	}
	denied := func(what string, err error) {
		t.Helper()
		if client.Reason(err) != reason.Denied {
			t.Errorf("%s: %v, want denied", what, err)
		}
	}
	get := func(cl *client.Client, job uint64) error {
		_, err := cl.Jobs().GetJob(ctx, &pb.GetJobRequest{Id: job})
		return err
	}
	c.must(get(mine, a.Job))
	denied("another client's job", get(mine, b.Job))
	_, err = mine.Jobs().Cancel(ctx, &pb.CancelRequest{Id: b.Job})
	denied("cancel another client's job", err)
	_, err = mine.Jobs().Explain(ctx, &pb.ExplainRequest{Id: b.Job})
	denied("explain another client's job", err)
	log, err := mine.Jobs().ReadLog(ctx, &pb.ReadLogRequest{Job: b.Job})
	if err == nil {
		_, err = log.Recv()
	}
	denied("another client's log", err)
	_, err = mine.Submit(ctx, submit("q", "k2", "ok", "1"))
	denied("submit to another pool", err)
	_, err = mine.Submit(ctx, &pb.SubmitRequest{Pool: "p", Spec: Job("ok", "1"), Client: "other"})
	denied("submit for another client", err)
	list, err := mine.Jobs().ListJobs(ctx, &pb.ListJobsRequest{})
	c.must(err)
	if len(list.Jobs) != 1 || list.Jobs[0].Id != a.Job {
		t.Errorf("it lists %v", list.Jobs)
	}
	c.must(get(read, a.Job))
	c.must(get(read, b.Job))
	_, err = read.Submit(ctx, submit("p", "k3", "ok", "1"))
	denied("a read-only capability submits", err)
	_, err = operator.Admin().CreatePool(ctx, &pb.CreatePoolRequest{Name: "r"})
	c.must(err)
	_, hash := newToken()
	_, err = operator.Admin().CreatePool(ctx, &pb.CreatePoolRequest{Name: "s", WorkerTokenSha256: hash})
	denied("an operator makes a worker's capability", err)
	_, err = operator.Admin().AddClient(ctx, &pb.AddClientRequest{Name: "x", TokenSha256: hash})
	denied("an operator makes a client's capability", err)
	_, err = operator.Submit(ctx, &pb.SubmitRequest{Pool: "p", Spec: Job("ok", "1"), Client: "mine"})
	c.must(err)
	_, err = operator.Submit(ctx, submit("p", "k4", "ok", "1"))
	if client.Reason(err) != reason.Invalid || !strings.Contains(err.Error(), "--client") {
		t.Errorf("an operator submits for nobody: %v", err)
	}
}

func TestAdminInitWorksOnce(t *testing.T) {
	c := Start(t, Options{Nodes: 1})
	cl, err := client.NewWithCredentials(c.addresses(), c.Nodes[0].identity().Dialing(), client.Options{})
	c.must(err)
	defer cl.Close()
	_, hash := newToken()
	if _, err := cl.Admin().AdminInit(c.Context(), &pb.AdminInitRequest{TokenSha256: hash}); client.Reason(err) != reason.Refused {
		t.Errorf("the second admin init: %v", err)
	}
	if _, err := c.Client(c.Admin).Admin().AdminInit(c.Context(), &pb.AdminInitRequest{TokenSha256: hash}); client.Reason(err) != reason.Denied {
		t.Errorf("admin init with a capability: %v", err)
	}
}

func TestMonitoringPages(t *testing.T) {
	c := Start(t, Options{Nodes: 1})
	c.NewPool("p", nil)
	for path, want := range map[string][]string{
		"/healthz": {"ok"}, "/readyz": {"ready"},
		"/metrics": {"go_goroutines", "weir_api_calls_total{code=\"OK\",method=\"/weir.v1.AdminService/CreatePool\"} 1", "weir_clock_skew_seconds 0", "weir_certificate_expiry_seconds "},
	} {
		code, body := c.page(c.Nodes[0], path)
		for _, w := range want {
			if code != http.StatusOK || !strings.Contains(body, w) {
				t.Errorf("%s: %d, it lacks %q", path, code, w)
			}
		}
	}
	status, err := pb.NewMembershipClient(rawConn(t, c, c.Admin, c.Nodes[0])).Status(bearer(c.Context(), c.Admin), &pb.StatusRequest{})
	c.must(err)
	if end := c.Nodes[0].identity().Certificate().NotAfter; status.CertificateExpiresMs != end.UnixMilli() || status.Warning != "" {
		t.Errorf("the certificate ends at %v, and the node says %v, %q", end, time.UnixMilli(status.CertificateExpiresMs), status.Warning)
	}
}

// An operator of some pools operates these, and not the cluster.
func TestAnOperatorOfOnePool(t *testing.T) {
	c := Start(t, Options{})
	c.NewPool("mine", nil)
	c.NewPool("other", nil)
	with, _ := c.NewCapability(&pb.CreateCapabilityRequest{Kind: pb.CapabilityKind_CAPABILITY_OPERATOR, Pools: []string{"mine"}})
	cl, ctx := c.Client(with), c.Context()
	if _, err := cl.Admin().UpdatePool(ctx, &pb.UpdatePoolRequest{Name: "mine", Config: &pb.PoolConfig{Attempts: 2}}); err != nil {
		t.Errorf("its own pool: %v", err)
	}
	for what, err := range map[string]error{
		"another pool": second(cl.Admin().UpdatePool(ctx, &pb.UpdatePoolRequest{Name: "other", Config: &pb.PoolConfig{Attempts: 2}})),
		"a client":     second(cl.Admin().AddClient(ctx, &pb.AddClientRequest{Name: "x"})),
		"a new member": second(cl.Members().AddMember(ctx, &pb.AddMemberRequest{NodeId: "x", Name: "n9", Address: "127.0.0.1:1"})),
		"a member":     second(cl.Members().RemoveMember(ctx, &pb.RemoveMemberRequest{Member: "n1"})),
		"the office":   second(cl.Members().TransferLeadership(ctx, &pb.TransferLeadershipRequest{})),
	} {
		if client.Reason(err) != reason.Denied {
			t.Errorf("%s: %v; want a refusal", what, err)
		}
	}
}
