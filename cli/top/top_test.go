package top

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"

	"github.com/weirbuild/weir/proto/pb"
)

// full is a sample with more of everything than a small terminal has lines.
func full() Sample {
	at := time.UnixMilli(1_700_000_000_000)
	s := Sample{At: at, Members: []*pb.Member{{Name: "n1", Leader: true, Health: "ok"}, {Name: "n2", Health: "silent"}}, Queue: map[string]*pb.PoolView{}, Rates: map[string]Rate{}}
	for i := range 9 {
		name := fmt.Sprintf("a-pool-with-a-rather-long-name-%d", i)
		s.Pools = append(s.Pools, &pb.Pool{Name: name, Queued: 123456, Running: 99999, FreeSlots: 3, Pause: &pb.Pause{}})
		s.Rates[name] = Rate{Started: 1234.5, Ended: 1233.2, Failed: 12.1}
		view := &pb.PoolView{}
		for j := range 20 {
			view.Queue = append(view.Queue, &pb.JobView{Job: uint64(1_000_000 + j), Client: strings.Repeat("client", 9), Why: strings.Repeat("why ", 40), Urgent: true, Slots: 8, SubmittedMs: 1})
		}
		s.Queue[name] = view
		for j := range 9 {
			s.Workers = append(s.Workers, &pb.Worker{Pool: name, Name: fmt.Sprintf("%s-%d", strings.Repeat("worker", 9), j), Slots: 4096, Running: uint32(j), State: "not ready", Connected: true, Version: strings.Repeat("v", 60), Pause: &pb.Pause{}})
		}
	}
	return s
}

// A frame fits: nothing is wider than the terminal, and every list has lines.
func TestFrameFits(t *testing.T) {
	for _, size := range [][2]int{{80, 24}, {80, 40}, {132, 50}, {20, 24}} {
		lines := Frame(full(), size[0], size[1])
		if len(lines) > size[1] {
			t.Errorf("%v: %d lines", size, len(lines))
		}
		text := strings.Join(lines, "\n")
		for _, line := range lines {
			if n := len([]rune(line)); n > max(size[0], minWidth) {
				t.Errorf("%v: %d columns: %s", size, n, line)
			}
		}
		for _, want := range []string{"leader n1, 1 of 2 nodes well", "POOL", "WORKER", "QUEUED", "FAIL/m", "12.1", "and "} {
			if !strings.Contains(text, want) {
				t.Errorf("%v: no %q in\n%s", size, want, text)
			}
		}
	}
	if lines := Frame(full(), 80, 0); len(lines) < 200 {
		t.Errorf("as text there are %d lines", len(lines))
	}
	if text := strings.Join(Frame(Sample{}, 80, 24), "\n"); !strings.Contains(text, "nothing waits") || !strings.Contains(text, "leader none") {
		t.Errorf("of nothing:\n%s", text)
	}
}

func TestRates(t *testing.T) {
	begun := time.Unix(1_700_000_000, 0)
	c := newCounts(begun)
	at := func(s int) time.Time { return begun.Add(time.Duration(s) * time.Second) }
	for s := range 30 {
		c.add(at(s), &pb.Event{Pool: "linux", Kind: "job-started"})
	}
	c.add(at(29), &pb.Event{Pool: "linux", Kind: "job-ended", Outcome: pb.OutcomeKind_OUTCOME_FAILED})
	c.add(at(29), &pb.Event{Pool: "linux", Kind: "job-ended", Outcome: pb.OutcomeKind_OUTCOME_SUCCEEDED})
	if r := c.perMinute(at(30))["linux"]; r.Started != 60 || r.Ended != 4 || r.Failed != 2 {
		t.Errorf("after half a minute: %+v", r)
	}
	if r := c.perMinute(at(75))["linux"]; r.Started != 14 {
		t.Errorf("the last minute has %v starts, want 14", r.Started)
	}
	if r := c.perMinute(at(200))["linux"]; r != (Rate{}) {
		t.Errorf("long after: %+v", r)
	}
}

// down is a cluster that answers nothing.
type down struct{ Cluster }

func (down) Admin() pb.AdminServiceClient { return downAdmin{} }
func (down) Members() pb.MembershipClient { return downMembers{} }

type downAdmin struct{ pb.AdminServiceClient }

var errDown = errors.New("no node answers")

func (downAdmin) ListWorkers(context.Context, *pb.ListWorkersRequest, ...grpc.CallOption) (*pb.ListWorkersReply, error) {
	return nil, errDown
}

func (downAdmin) ListPools(context.Context, *pb.ListPoolsRequest, ...grpc.CallOption) (*pb.ListPoolsReply, error) {
	return nil, errDown
}

type downMembers struct{ pb.MembershipClient }

func (downMembers) ListMembers(context.Context, *pb.ListMembersRequest, ...grpc.CallOption) (*pb.ListMembersReply, error) {
	return nil, errDown
}

// What was known stays on the screen, with why it is old; as text, one look fails.
func TestOutOfReach(t *testing.T) {
	s := &source{cluster: down{}, last: full()}
	got := s.take(context.Background())
	if text := strings.Join(Frame(got, 80, 24), "\n"); !strings.Contains(text, "NOT NEW") || !strings.Contains(text, "no node answers") || !strings.Contains(text, "a-pool") {
		t.Errorf("\n%s", text)
	}
	var out bytes.Buffer
	if err := Text(context.Background(), down{}, Options{}, &out); !errors.Is(err, errDown) || out.Len() > 0 {
		t.Errorf("as text: %v, %q", err, out.String())
	}
}
