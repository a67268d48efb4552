package disk

import (
	"context"
	"crypto/sha256"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"

	"github.com/weirbuild/weir/scheduler/logstore"
	"github.com/weirbuild/weir/scheduler/logstore/logstoretest"
)

func TestFullDiskLosesNothingAndWorksAgain(t *testing.T) {
	disk, o := noFaults(), testOptions(t.TempDir())
	o.open = disk.open
	s := openStore(t, o)
	text := logstoretest.Text(logstoretest.Key(1), 10_000)
	fill(t, s, disk, text)
	if _, err := s.Append(logstoretest.Key(2), 0, text); !errors.Is(err, logstore.ErrFull) || !errors.Is(err, unix.ENOSPC) {
		t.Errorf("append to a full disk: %v", err)
	}
	if _, ok := s.Stat(logstoretest.Key(2)); ok {
		t.Error("a failed append left a log")
	}
	logstoretest.Sync(t, s)
	before, _ := s.Stat(logstoretest.Key(1))
	logstoretest.Want(t, s, logstoretest.Key(1), text[:before.Size])
	disk.set(func(d *faults) { d.room = -1 })
	if end, err := s.Append(logstoretest.Key(1), before.Size, text[before.Size:]); err != nil || end != 10_000 {
		t.Fatalf("append when there is room: %d, %v", end, err)
	}
	if err := s.Seal(logstoretest.Key(1), 10_000, sha256.Sum256(text)); err != nil {
		t.Error(err)
	}
	closeStore(t, s)
	s = openStore(t, testOptions(o.Dir))
	logstoretest.Want(t, s, logstoretest.Key(1), text)
	closeStore(t, s)
}

// fill appends text in small parts until the disk is full, at some odd byte.
func fill(t *testing.T, s *Store, disk *faults, text []byte) {
	t.Helper()
	disk.set(func(d *faults) { d.room = 5003 })
	for end := int64(0); ; {
		var err error
		if end, err = s.Append(logstoretest.Key(1), end, text[end:end+100]); errors.Is(err, logstore.ErrFull) {
			return
		} else if err != nil {
			t.Fatal(err)
		}
	}
}

// A small real file system that is really full.
func TestFullFileSystem(t *testing.T) {
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=256k"); err != nil {
		t.Skipf("mount: %v", err)
	}
	defer func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	}()
	ballast := filepath.Join(dir, "ballast")
	if err := os.WriteFile(ballast, make([]byte, 128<<10), 0o600); err != nil {
		t.Fatal(err)
	}
	o := testOptions(filepath.Join(dir, "logs"))
	s := openStore(t, o)
	kept := map[logstore.Key][]byte{}
	var full error
	for job := uint64(0); full == nil; job++ {
		k, text := logstoretest.Key(job), logstoretest.Text(logstoretest.Key(job), 3000)
		if _, full = s.Append(k, 0, text); full == nil {
			kept[k] = text
		}
	}
	if !errors.Is(full, logstore.ErrFull) {
		t.Fatalf("full: %v", full)
	}
	logstoretest.Sync(t, s)
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	k := logstoretest.Key(999)
	logstoretest.Put(t, s, k, []byte("there is room"))
	kept[k] = []byte("there is room")
	closeStore(t, s)
	s = openStore(t, o)
	for k, text := range kept {
		logstoretest.Want(t, s, k, text)
	}
	closeStore(t, s)
}

func TestFailedSyncGoesBackToWhatIsDurable(t *testing.T) {
	for name, tail := range map[string]int{"in one segment": 500, "over several segments": 20_000} {
		t.Run(name, func(t *testing.T) { failedSync(t, tail) })
	}
}

func failedSync(t *testing.T, tail int) {
	disk, o := noFaults(), testOptions(t.TempDir())
	o.open = disk.open
	s := openStore(t, o)
	defer closeStore(t, s)
	k, text := logstoretest.Key(1), logstoretest.Text(logstoretest.Key(1), 1000+tail)
	appendAll(t, s, k, text[:1000])
	logstoretest.Put(t, s, logstoretest.Key(2), text[:300])
	logstoretest.Sync(t, s)

	broken := errors.New("the disk is broken")
	disk.set(func(d *faults) { d.syncErr = broken })
	appendAll(t, s, k, text)
	logstoretest.Put(t, s, logstoretest.Key(3), text[:300])
	if err := s.Drop(logstoretest.Key(2)); err != nil {
		t.Fatal(err)
	}
	if err := s.Sync(t.Context()); !errors.Is(err, broken) {
		t.Fatalf("sync: %v", err)
	}
	if _, err := s.Append(k, 0, text); err == nil {
		t.Error("append while the disk cannot sync succeeded")
	}
	disk.set(func(d *faults) { d.syncErr = nil })
	eventually(t, func() bool { return s.ready() == nil })

	if info, _ := s.Stat(k); info.Size != 1000 || info.Durable != 1000 {
		t.Errorf("after the failure: %+v", info)
	}
	if _, ok := s.Stat(logstoretest.Key(3)); ok {
		t.Error("a log that was never durable is still there")
	}
	logstoretest.Want(t, s, logstoretest.Key(2), text[:300])
	if end, err := s.Append(k, int64(len(text)), []byte("x")); end != 1000 || !errors.Is(err, logstore.ErrGap) {
		t.Errorf("go on where it was: %d, %v", end, err)
	}
	appendAll(t, s, k, text)
	if err := s.Seal(k, int64(len(text)), sha256.Sum256(text)); err != nil {
		t.Error(err)
	}
	logstoretest.Sync(t, s)
	logstoretest.Want(t, s, k, text)
}

func eventually(t *testing.T, ok func() bool) {
	t.Helper()
	end, tick := time.After(30*time.Second), time.NewTicker(20*time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-end:
			t.Fatal("did not happen in time")
		case <-tick.C:
		}
	}
}

func appendAll(t testing.TB, s *Store, k logstore.Key, text []byte) {
	t.Helper()
	info, _ := s.Stat(k)
	for end := info.Size; end < int64(len(text)); {
		var err error
		if end, err = s.Append(k, end, text[end:min(end+700, int64(len(text)))]); err != nil {
			t.Fatal(err)
		}
	}
}

func TestStalledSyncEndsWithItsContextAndIsShared(t *testing.T) {
	disk, o := noFaults(), testOptions(t.TempDir())
	o.open, o.SegmentBytes = disk.open, DefaultSegmentBytes
	s := openStore(t, o)
	logstoretest.Put(t, s, logstoretest.Key(0), []byte("x"))
	logstoretest.Sync(t, s)
	synctest.Test(t, func(t *testing.T) {
		gate := make(chan struct{})
		disk.set(func(d *faults) { d.gate, d.syncs = gate, 0 })
		appendAll(t, s, logstoretest.Key(1), []byte("first"))
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := s.Sync(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("sync on a stalled disk: %v", err)
		}
		var wg sync.WaitGroup
		for job := range uint64(50) {
			wg.Go(func() {
				appendAll(t, s, logstoretest.Key(10+job), []byte("more"))
				if err := s.Sync(t.Context()); err != nil {
					t.Error(err)
				}
			})
		}
		synctest.Wait()
		logstoretest.Want(t, s, logstoretest.Key(1), []byte("first")) // readers do not wait for the disk
		close(gate)
		wg.Wait()
		s.flushes.Wait()
		if disk.syncs != 2 {
			t.Errorf("%d syncs for 50 callers behind a first one, want 2", disk.syncs)
		}
	})
	closeStore(t, s)
}
