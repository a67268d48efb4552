package workerd

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/weirbuild/weir/proto/pb"
	"github.com/weirbuild/weir/workerd/room/roomtest"
)

// A job that fills the worker's disk with its output goes on and succeeds, its log
// says what is missing, and the worker takes no other job until there is room.
func TestAFullDiskCutsTheLogAndNotTheJob(t *testing.T) {
	roomtest.Disk(t, 4<<20, func(t *testing.T, dir string) {
		b := newBench(t)
		b.start(func(c *Config) {
			c.StateDir, c.WorkDir, c.MinFree = filepath.Join(dir, "state"), dir, 64<<10
		})
		b.until("a ready worker", func() bool { return b.worker.why() == "" })
		b.grant(1, "chatty")
		b.runs(1)
		b.until("the disk to be full", func() bool { return strings.Contains(b.worker.why(), "nearly full") })
		close(b.script.release)
		if o := b.result(1); o.Kind != pb.OutcomeKind_OUTCOME_SUCCEEDED {
			t.Errorf("outcome %v", o)
		}
		text := b.sealed(1)
		end := "xxx\n\n[weir: the rest of this job's output was dropped: the disk of its worker is full]\nJob succeeded\n"
		if !strings.HasPrefix(text, "Building on w\n") || !strings.HasSuffix(text, end) {
			t.Errorf("the log ends with %q", text[max(0, len(text)-200):])
		}
		b.until("room for new jobs", func() bool { return b.worker.why() == "" })
		b.grant(2, "ok")
		if o := b.result(2); o.Kind != pb.OutcomeKind_OUTCOME_SUCCEEDED {
			t.Errorf("outcome %v of the job after it", o)
		}
	})
}
