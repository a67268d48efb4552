package fsm_test

import (
	"bytes"
	"fmt"
	"io"
	"runtime"
	"syscall"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/weirbuild/weir/fsm"
	"github.com/weirbuild/weir/fsm/fsmtest"
	"github.com/weirbuild/weir/proto/pb"
)

// filled is a state with many queued jobs, of distinct small specs, request keys
// and a thousand hints, that came through the log. It also gives the heap that
// each takes.
func filled(t testing.TB, jobs int) (s *fsm.State, bytesPerJob float64) {
	t.Helper()
	s = fsmtest.State(t, fsmtest.CreatePool("linux-x86_64", &pb.PoolConfig{MaxQueued: fsm.MaxQueued}),
		fsmtest.RegisterWorker("linux-x86_64", "w1", 64))
	for n := range 8 {
		fsmtest.Apply(t, s, fsmtest.AddClient(fmt.Sprint("client", n), 1+float64(n)))
	}
	before := heap()
	for n := range jobs {
		// Through the wire format, as a node gets it, so that nothing is shared.
		data, err := proto.Marshal(fsmtest.At(int64(1000+n), smallJob(n)))
		if err != nil {
			t.Fatal(err)
		}
		c := new(pb.Command)
		if err := proto.Unmarshal(data, c); err != nil {
			t.Fatal(err)
		}
		fsmtest.Apply(t, s, c)
	}
	return s, float64(heap()-before) / float64(jobs)
}

func smallJob(n int) *pb.Command {
	spec, _ := proto.Marshal(&pb.JobSpec{
		Kind:      &pb.JobSpec_Command{Command: &pb.CommandJob{Argv: []string{"make", "test", fmt.Sprint("PKG=", n)}}},
		Git:       &pb.GitContext{Url: "https://git.example.org/project.git", Commits: []string{fmt.Sprintf("%040x", n)}},
		CacheHint: fmt.Sprint("project-", n%1000),
	})
	return fsmtest.Submit(fmt.Sprint("client", n%8), "linux-x86_64", fmt.Sprintf("%032x", n), func(c *pb.SubmitJob) {
		c.Key.CreatedMs = int64(1000 + n)
		c.Spec, c.SpecSha256 = spec, fsmtest.Sum(string(spec))
		c.CacheHint = fmt.Sprint("project-", n%1000)
	})
}

func heap() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// TestMemoryPerJob holds a queued job with a small spec to 1 KB of heap, also
// after a restore.
func TestMemoryPerJob(t *testing.T) {
	const jobs = 50_000
	s, live := filled(t, jobs)
	data := snapshot(t, s)
	before := heap()
	restored := restore(t, data)
	again := float64(heap()-before) / jobs
	runtime.KeepAlive(data)
	t.Logf("%.0f bytes a job, %.0f after a restore, %d in a snapshot", live, again, len(data)/jobs)
	if live > 1024 || again > 1024 {
		t.Errorf("a queued job takes %.0f bytes, %.0f after a restore; at most 1024", live, again)
	}
	if restored.Hash() != s.Hash() {
		t.Error("the restored state differs")
	}
}

// cpu is the processor time that this process has used: the machine may have
// other work.
func cpu() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkMillion reports what a million queued jobs cost: heap, snapshot,
// restore, and commands beside a clone. Seconds are of processor time, that of
// the garbage collector included.
func BenchmarkMillion(b *testing.B) {
	const jobs = 1_000_000
	for b.Loop() {
		s, bytesPerJob := filled(b, jobs)
		b.ReportMetric(bytesPerJob, "B/job")
		start := cpu()
		size, err := s.Clone().WriteTo(io.Discard)
		if err != nil {
			b.Fatal(err)
		}
		b.ReportMetric((cpu() - start).Seconds(), "write-cpu-s")
		b.ReportMetric(float64(size)/jobs, "snapshot-B/job")
		data := snapshot(b, s)
		start = cpu()
		if err := fsm.New().Restore(bytes.NewReader(data)); err != nil {
			b.Fatal(err)
		}
		b.ReportMetric((cpu() - start).Seconds(), "restore-cpu-s")
		b.ReportMetric(lifecycles(b, s, 20_000), "cpu-µs/lifecycle")
		clone := s.Clone()
		b.ReportMetric(lifecycles(b, s, 20_000), "cpu-µs/lifecycle-beside-clone")
		runtime.KeepAlive(clone)
	}
}

// lifecycles runs jobs through their whole life and returns microseconds of processor time each.
func lifecycles(t testing.TB, s *fsm.State, n int) float64 {
	t.Helper()
	holder := fsmtest.Holder("linux-x86_64", "w1")
	start := cpu()
	for range n {
		c := smallJob(int(s.LastJob()) + 1)
		c.GetSubmitJob().GrantTo, c.GetSubmitJob().Key.CreatedMs = "w1", s.Now()
		r := fsmtest.Apply(t, s, fsmtest.At(s.Now(), c))
		fsmtest.Apply(t, s, fsmtest.Finish(r.Lease, holder, pb.OutcomeKind_OUTCOME_SUCCEEDED))
		fsmtest.Apply(t, s, fsmtest.Seal(r.Lease, holder, 1024))
	}
	return float64((cpu() - start).Microseconds()) / float64(n)
}

// BenchmarkTrim trims a million finished jobs, 1,000 a command, and reports the
// processor time that one of those took.
func BenchmarkTrim(b *testing.B) {
	for b.Loop() {
		b.StopTimer()
		s := fsmtest.State(b, fsmtest.CreatePool("linux", nil), fsmtest.AddClient("alice", 0),
			fsmtest.RegisterWorker("linux", "w1", 1))
		for range 1_000_000 {
			r := fsmtest.Apply(b, s, fsmtest.Submit("alice", "linux", "", func(c *pb.SubmitJob) { c.GrantTo = "w1" }))
			fsmtest.Apply(b, s, fsmtest.Finish(r.Lease, fsmtest.Holder("linux", "w1"), pb.OutcomeKind_OUTCOME_SUCCEEDED))
		}
		set := &pb.UpdatePool{Name: "linux", Config: &pb.PoolConfig{KeepJobs: 100}}
		fsmtest.Apply(b, s, &pb.Command{Op: &pb.Command_UpdatePool{UpdatePool: set}})
		b.StartTimer()
		var longest, all time.Duration
		trims := 0
		now := int64(fsm.MinKeep)
		for ids := s.Trimmable(now, "linux", fsm.MaxTrim); len(ids) > 0; ids = s.Trimmable(now, "linux", fsm.MaxTrim) {
			start := cpu()
			fsmtest.Apply(b, s, fsmtest.At(now, fsmtest.Trim(ids...)))
			took := cpu() - start
			longest, all, trims = max(longest, took), all+took, trims+1
		}
		b.ReportMetric(float64(longest.Microseconds())/1000, "longest-cpu-ms")
		b.ReportMetric(float64(all.Microseconds())/1000/float64(trims), "mean-cpu-ms")
		if p, _ := s.Pool("linux"); p.Settled != 100 {
			b.Fatalf("%d jobs are left", p.Settled)
		}
	}
}

// BenchmarkLifecycle is a submit with its grant, a finish and a seal, on a pool
// with a thousand jobs waiting.
func BenchmarkLifecycle(b *testing.B) {
	s, _ := filled(b, 1000)
	b.ReportAllocs()
	b.ResetTimer()
	b.ReportMetric(lifecycles(b, s, b.N), "cpu-µs/lifecycle")
}

// BenchmarkRestore restores a hundred thousand queued jobs.
func BenchmarkRestore(b *testing.B) {
	s, _ := filled(b, 100_000)
	data := snapshot(b, s)
	b.ReportAllocs()
	for b.Loop() {
		if err := fsm.New().Restore(bytes.NewReader(data)); err != nil {
			b.Fatal(err)
		}
	}
}
