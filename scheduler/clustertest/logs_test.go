package clustertest

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/weirbuild/weir/fsm"
	"github.com/weirbuild/weir/proto/pb"
)

// A log is followed while the leader dies, twice: not a byte is lost or comes
// twice, and what comes after a failover is what the build writes then.
func TestLogSurvivesLeaders(t *testing.T) {
	c := Start(t, Options{})
	worker := c.NewPool("p", nil)
	builds := NewBuilds()
	c.StartWorker(worker, "p", "w1", 1, builds)
	ci := c.NewClient("ci")
	ledger := c.NewLedger(builds)
	ctx := c.Context()
	job, err := ledger.Submit(ctx, c.Client(ci), submit("p", "k", "stream", "end"))
	c.must(err)

	pieces := make(chan string, 1024)
	followed := make(chan error, 1)
	reader := c.Client(ci)
	go func() { // ends with the log
		followed <- reader.Tail(ctx, &pb.ReadLogRequest{Job: job, Follow: true}, func(d *pb.LogData) error {
			pieces <- string(d.Data)
			return nil
		})
		close(pieces)
	}()
	var text strings.Builder
	grow := func() {
		before := text.Len()
		for text.Len() < before+200 {
			piece, ok := <-pieces
			if !ok {
				t.Fatalf("the log ended after %d bytes: %v", text.Len(), <-followed)
			}
			text.WriteString(piece)
		}
	}
	grow()
	for range 2 {
		leader := c.Leader()
		leader.Crash()
		c.Leader()
		grow()
		leader.Start()
		grow()
	}
	builds.Release("end")
	for piece := range pieces {
		text.WriteString(piece)
	}
	c.must(<-followed)
	ledger.Verify(c.Admin)
	ledger.onlyAttempts()
	want := builds.Payload(uint64(jobAt(c, job).Last().Lease))
	if !strings.Contains(text.String(), want) || strings.Count(text.String(), "line 17\n") != 1 {
		t.Errorf("followed %d bytes, the build wrote %d", text.Len(), len(want))
	}
}

// The leader's machine loses its power: no connection is closed, nothing comes
// any more. Who reads through a follower goes on with the next leader, long
// before a keepalive would tell.
func TestLogSurvivesASilentLeader(t *testing.T) {
	c := Start(t, Options{})
	builds := NewBuilds()
	c.StartWorker(c.NewPool("p", nil), "p", "w1", 1, builds)
	ci := c.NewClient("ci")
	ctx := c.Context()
	reply, err := c.Client(ci).Submit(ctx, submit("p", "k", "stream", "end"))
	c.must(err)

	reader := c.Client(ci, c.Followers()...)
	pieces := make(chan int, 1024)
	followed := make(chan error, 1)
	go func() { // ends with the log
		followed <- reader.Tail(ctx, &pb.ReadLogRequest{Job: reply.Job, Follow: true}, func(d *pb.LogData) error {
			pieces <- len(d.Data)
			return nil
		})
		close(pieces)
	}()
	for read := 0; read < 200; {
		read += <-pieces
	}
	leader := c.Leader()
	others := []string{Outside}
	for _, n := range c.Followers() {
		others = append(others, n.Name)
	}
	cut := time.Now()
	c.Net.Split([]string{leader.Name}, others)
	c.Wait("another leader", func() bool {
		return slices.ContainsFunc(c.Nodes, func(n *Node) bool { return n != leader && n.Leads() })
	})
	for len(pieces) > 0 { // from before the cut
		<-pieces
	}
	<-pieces
	pause := time.Since(cut)
	t.Logf("the reader saw nothing for %v", pause.Round(time.Millisecond))
	if pause > 8*time.Second { // a keepalive takes 13 s
		t.Errorf("the reader saw nothing for %v", pause)
	}
	c.Net.Heal()
	builds.Release("end")
	for range pieces {
	}
	c.must(<-followed)
}

// Two nodes are replaced, one after the other: every log still reads, on every
// node.
func TestReplacedNodesGetTheLogs(t *testing.T) {
	c := Start(t, Options{})
	ledger := workload(t, c, 40, func() {})
	for _, n := range c.Followers() {
		n.Stop()
		n.Wipe()
		n.Start()
		c.Wait(n.Name+" to vote again", func() bool { return voters(c) == 3 && n.Server.Store().Node().Status().Ready })
		c.Wait("every log to be on a majority of the members", func() bool { return allHeld(c, ledger) })
	}
	ledger.Verify(c.Admin)
}

// allHeld says whether each log has two holders that are members now.
func allHeld(c *Cluster, l *Ledger) bool {
	var members []string
	for _, m := range c.Leader().Server.Store().Node().Members() {
		members = append(members, string(m.ID))
	}
	held := true
	c.Leader().Server.Store().View(func(st *fsm.State) {
		for _, id := range l.Jobs() {
			job, err := st.Job(fsm.JobID(id))
			if err != nil || job.Last() == nil || job.Last().Log == nil {
				held = false
				return
			}
			live := 0
			for _, h := range job.Last().Log.Holders {
				if slices.Contains(members, h) {
					live++
				}
			}
			held = held && live >= 2
		}
	})
	return held
}
