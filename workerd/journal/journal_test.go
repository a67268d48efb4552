package journal

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"golang.org/x/sys/unix"
	"google.golang.org/protobuf/proto"

	"github.com/weirbuild/weir/proto/pb"
)

func open(t *testing.T, dir string) *Journal {
	t.Helper()
	j, err := Open(dir, Options{Logger: hclog.NewNullLogger()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = j.Close() })
	return j
}

// numbered is a lease with a job and an attempt that can be told from the number.
func numbered(n uint64) Lease { return Lease{Number: n, Job: 10 * n, Attempt: uint32(n % 3)} }

func begin(t *testing.T, j *Journal, lease uint64) {
	t.Helper()
	ticket, fresh := j.Begin(numbered(lease))
	if !fresh {
		t.Fatalf("lease %d counts as seen", lease)
	}
	if err := ticket.Wait(); err != nil {
		t.Fatal(err)
	}
}

func finish(t *testing.T, j *Journal, lease uint64, message string) {
	t.Helper()
	if err := j.Finish(lease, failed(message)); err != nil {
		t.Fatal(err)
	}
}

func failed(message string) *pb.Outcome {
	return &pb.Outcome{Kind: pb.OutcomeKind_OUTCOME_FAILED, ExitCode: 2, Message: message}
}

func leases(results []Result) (all []uint64) {
	for _, r := range results {
		all = append(all, r.Lease)
	}
	return all
}

func TestALeaseLivesThroughRestarts(t *testing.T) {
	dir := t.TempDir()
	j := open(t, dir)
	begin(t, j, 5)
	begin(t, j, 7)
	begin(t, j, 9)
	finish(t, j, 5, "five")
	finish(t, j, 7, "seven")
	j.Settle(5)
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}

	j = open(t, dir)
	if got := j.Unfinished(); !slices.Equal(got, []Lease{numbered(9)}) {
		t.Errorf("unfinished after restart: %v, want [9]", got)
	}
	if got := leases(j.Results()); !slices.Equal(got, []uint64{7}) {
		t.Errorf("results after restart: %v, want [7]", got)
	}
	if !proto.Equal(j.Result(7), failed("seven")) {
		t.Errorf("result of 7: %v", j.Result(7))
	}
	if j.Highest() != 9 {
		t.Errorf("highest: %d, want 9", j.Highest())
	}
	for _, lease := range []uint64{5, 7, 9} {
		if _, fresh := j.Begin(numbered(lease)); fresh {
			t.Errorf("lease %d would start a second time", lease)
		}
	}
	begin(t, j, 6) // a lower number that never arrived before
}

func TestTheFirstResultStays(t *testing.T) {
	j := open(t, t.TempDir())
	begin(t, j, 1)
	finish(t, j, 1, "first")
	finish(t, j, 1, "second")
	if got := j.Result(1).GetMessage(); got != "first" {
		t.Errorf("stored %q, want the first result", got)
	}
	j.Settle(1)
	if err := j.Finish(1, failed("late")); !errors.Is(err, ErrOver) {
		t.Errorf("finish of a settled lease: %v, want ErrOver", err)
	}
	if err := j.Finish(2, failed("unknown")); !errors.Is(err, ErrOver) {
		t.Errorf("finish of a lease that was not begun: %v, want ErrOver", err)
	}
}

func TestAnOutcomeThatCannotBeStoredChangesNothing(t *testing.T) {
	j := open(t, t.TempDir())
	begin(t, j, 1)
	for _, bad := range []*pb.Outcome{{Message: "\xff"}, {Output: string(make([]byte, maxRecord))}} {
		if err := j.Finish(1, bad); err == nil {
			t.Fatal("stored")
		}
	}
	if got := j.Unfinished(); !slices.Equal(got, []Lease{numbered(1)}) {
		t.Errorf("unfinished: %v, want [1]", got)
	}
	finish(t, j, 1, "good")
}

func TestConcurrentCallersShareFlushes(t *testing.T) {
	j := open(t, t.TempDir())
	var flushes atomic.Int64
	j.sync = func(f *os.File) error {
		flushes.Add(1)
		<-time.After(time.Millisecond) // a disk that takes its time
		return Fdatasync(f)
	}
	const n = 500
	var all sync.WaitGroup
	for lease := range uint64(n) {
		all.Go(func() {
			ticket, _ := j.Begin(numbered(lease + 1))
			if err := ticket.Wait(); err != nil {
				t.Error(err)
			}
			if err := j.Finish(lease+1, failed("x")); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if got := flushes.Load(); got > n {
		t.Errorf("%d flushes for %d records", got, 2*n)
	}
	if got := len(open(t, j.dir).Results()); got != n {
		t.Errorf("%d results on disk, want %d", got, n)
	}
}

func TestADiskThatFailsAndRecovers(t *testing.T) {
	dir := t.TempDir()
	j := open(t, dir)
	begin(t, j, 1)
	j.sync = func(*os.File) error { return unix.ENOSPC }
	ticket, _ := j.Begin(numbered(2))
	if err := ticket.Wait(); !errors.Is(err, unix.ENOSPC) {
		t.Fatalf("begin on a full disk: %v", err)
	}
	if err := j.Finish(1, failed("one")); !errors.Is(err, unix.ENOSPC) {
		t.Fatalf("finish on a full disk: %v", err)
	}
	if j.Err() == nil || j.Result(1) == nil {
		t.Fatalf("err %v, result %v: want both", j.Err(), j.Result(1))
	}
	j.sync = Fdatasync
	if err := j.Sync(); err != nil {
		t.Fatal(err)
	}
	if err := j.Err(); err != nil {
		t.Errorf("still failing: %v", err)
	}
	again := open(t, dir)
	if got := leases(again.Results()); !slices.Equal(got, []uint64{1}) {
		t.Errorf("results on disk: %v, want [1]", got)
	}
	if _, fresh := again.Begin(numbered(2)); fresh {
		t.Error("lease 2 was forgotten")
	}
}

func TestTheFileStaysSmall(t *testing.T) {
	dir := t.TempDir()
	j := open(t, dir)
	j.sync = func(*os.File) error { return nil }
	const n = 60_000
	for lease := range uint64(n) {
		begin(t, j, lease+1)
		if lease+1 == 17 {
			continue // one build that runs all the while
		}
		finish(t, j, lease+1, "some message of the usual length")
		j.Settle(lease + 1)
	}
	info, err := os.Stat(filepath.Join(dir, fileName))
	if err != nil {
		t.Fatal(err)
	}
	if info.Size() > 2*compactAbove {
		t.Errorf("%d bytes after %d leases", info.Size(), n)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	j = open(t, dir)
	for _, lease := range []uint64{1, 17, 2000, n - 1, n} {
		if _, fresh := j.Begin(numbered(lease)); fresh {
			t.Errorf("lease %d was forgotten", lease)
		}
	}
	if got := j.Unfinished(); !slices.Equal(got, []Lease{numbered(17)}) {
		t.Errorf("unfinished: %v, want [17]", got)
	}
}

func TestAfterClose(t *testing.T) {
	j := open(t, t.TempDir())
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	ticket, _ := j.Begin(numbered(1))
	if err := ticket.Wait(); !errors.Is(err, ErrClosed) {
		t.Errorf("begin after close: %v, want ErrClosed", err)
	}
}
