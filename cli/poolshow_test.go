package cli

import (
	"fmt"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/weirbuild/weir/cli/ui"
	"github.com/weirbuild/weir/proto/pb"
)

// crowded is a pool with the longest of everything.
func crowded() *pb.PoolView {
	long := strings.Repeat("x", 63)
	v := &pb.PoolView{Pool: &pb.Pool{
		Name: long, Queued: 100_000, Running: 4096, Pause: &pb.Pause{SinceMs: 1, Reason: strings.Repeat("because ", 128)}, Effective: &pb.PoolConfig{},
	}}
	for n := range 20 {
		v.Queue = append(v.Queue, &pb.JobView{
			Job: 10_000_000 + uint64(n), Client: long, Urgent: n == 0, Slots: 4096, SubmittedMs: 1,
			Why: "no connected worker of the pool has label " + long + "=" + long,
		})
	}
	v.Workers = []*pb.WorkerView{
		{
			Worker:  &pb.Worker{Pool: long, Name: long, State: "disconnected", Pause: &pb.Pause{SinceMs: 1}, Running: 4096, Slots: 4096},
			Running: v.Queue, ReservedJobs: 10_000, WorkloadMs: 1e9,
		},
		{Worker: &pb.Worker{Pool: long, Name: "w2", State: "ready", Slots: 4}},
	}
	v.Shares = []*pb.ShareView{{Client: long, Rate: 1e6 / 3, Waiting: 1e7, Running: 4096, AheadMs: 1e9}}
	return v
}

func TestAPoolIsShownIn80Columns(t *testing.T) {
	var out strings.Builder
	print := func(text func(*ui.Table)) string {
		out.Reset()
		if err := (ui.Text{W: &out, Now: time.UnixMilli(1e12)}).Print(nil, text); err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(out.String()) {
			if n := utf8.RuneCountInString(strings.TrimSuffix(line, "\n")); n > 80 {
				t.Errorf("a line of %d columns: %s", n, line)
			}
		}
		return out.String()
	}
	v := crowded()
	text := print(func(t *ui.Table) { showPoolView(t, v) })
	for _, part := range []string{"paused", "urgent; no connected", "and 99980 jobs more", "10000019", "and 4076 more", "disconnected, paused"} {
		if !strings.Contains(text, part) {
			t.Errorf("%q is not in\n%s", part, text)
		}
	}
	v.Workers[0].Worker.Labels = []*pb.Label{{Name: strings.Repeat("l", 63), Value: strings.Repeat("v", 64)}}
	v.Workers[0].Running[0].CacheHint = strings.Repeat("h", 256)
	v.Workers[0].Reserved = v.Queue
	if text := print(func(t *ui.Table) { showWorker(t, v.Workers[0]) }); !strings.Contains(text, "and 9980 jobs more") {
		t.Errorf("the worker is shown as\n%s", text)
	}
}

func TestTheWholeReasonIsShown(t *testing.T) {
	var out strings.Builder
	v := &pb.PoolView{Pool: &pb.Pool{Queued: 1, Effective: &pb.PoolConfig{}}, Queue: []*pb.JobView{{Job: 1, Why: "it needs 8 slots of one worker, and the largest that fits has 4"}}}
	if err := (ui.Text{W: &out}).Print(nil, func(t *ui.Table) { showPoolView(t, v) }); err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(strings.Fields(out.String()), " "); !strings.HasSuffix(got, v.Queue[0].Why) {
		t.Errorf("shown as %s", fmt.Sprintf("%q", got))
	}
}
