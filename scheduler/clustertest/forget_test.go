package clustertest

import (
	"bytes"
	"strings"
	"testing"

	"github.com/weirbuild/weir/proto/client"
	"github.com/weirbuild/weir/proto/pb"
	"github.com/weirbuild/weir/proto/reason"
	"github.com/weirbuild/weir/scheduler/lead"
)

// A worker that works is not forgotten behind its back; one that has stopped is.
func TestAConnectedWorkerIsNotForgotten(t *testing.T) {
	c := Start(t, Options{})
	with := c.NewPool("p", nil)
	w := c.StartWorker(with, "p", "w1", 1, NewBuilds())
	admin := c.Client(c.Admin).Admin()
	state := func() string {
		for _, w := range c.workers(admin, "p") {
			return w.State
		}
		return ""
	}
	c.Wait("the worker to be ready", func() bool { return state() == "ready" })
	forget := &pb.ForgetWorkerRequest{Pool: "p", Name: "w1"}
	_, err := admin.ForgetWorker(c.Context(), forget)
	if client.Reason(err) != reason.Refused || !strings.Contains(err.Error(), "worker w1 of pool p is connected and would register again: stop it first") {
		t.Errorf("a worker that is connected: %v", err)
	}
	if got := state(); got != "ready" {
		t.Errorf("after the refusal it is %q", got)
	}
	c.must(w.Stop())
	c.Wait("the worker to be gone", func() bool { return state() == "disconnected" })
	_, err = admin.ForgetWorker(c.Context(), forget)
	c.must(err)
	if left := c.workers(admin, "p"); len(left) != 0 {
		t.Errorf("forgotten, and still there: %v", left)
	}
}

// A machine that died without a word leaves its session open: its name can be
// freed before the session's time is over.
func TestASilentWorkerCanBeForgotten(t *testing.T) {
	c := Start(t, Options{Nodes: 1})
	with := c.NewPool("p", &pb.PoolConfig{LeaseTtlMs: 10_000}) // it is silent after 5 s, and its session over after 10 s
	session, err := pb.NewWorkerServiceClient(rawConn(t, c, with, c.Nodes[0])).Session(bearer(c.Context(), with))
	c.must(err)
	c.must(session.Send(&pb.WorkerMessage{Hello: &pb.WorkerHello{Pool: "p", Name: "w1", InstanceKey: bytes.Repeat([]byte("k"), 32), Slots: 1, BootId: "b"}}))
	admin := c.Client(c.Admin).Admin()
	c.Wait("its silence", func() bool { all := c.workers(admin, "p"); return len(all) == 1 && all[0].State == lead.Silent })
	_, err = admin.ForgetWorker(c.Context(), &pb.ForgetWorkerRequest{Pool: "p", Name: "w1"})
	c.must(err)
	for err = nil; err == nil; {
		_, err = session.Recv()
	}
	if client.Reason(err) != reason.Refused || !strings.Contains(err.Error(), "forgotten by an operator") {
		t.Errorf("its session ended with %v", err)
	}
}

// workers lists the workers of a pool as the leader knows them.
func (c *Cluster) workers(admin pb.AdminServiceClient, pool string) []*pb.Worker {
	c.t.Helper()
	list, err := admin.ListWorkers(c.Context(), &pb.ListWorkersRequest{Pool: pool})
	c.must(err)
	return list.Workers
}
