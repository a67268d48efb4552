package workerd

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"golang.org/x/sys/unix"

	"github.com/weirbuild/weir/proto/pb"
	"github.com/weirbuild/weir/workerd/journal"
)

// disk is a journal's disk that can be held up, and can fail. What is durable is
// what the file had when a sync ended well.
type disk struct {
	syncing chan struct{} // one for each sync that begins while the disk is held

	mu      sync.Mutex
	held    chan struct{} // closed: go on
	fault   error
	durable []byte
}

func newDisk() *disk { return &disk{syncing: make(chan struct{}, 100), held: closedChannel()} }

func closedChannel() chan struct{} {
	c := make(chan struct{})
	close(c)
	return c
}

func (d *disk) sync(f *os.File) error {
	d.mu.Lock()
	held := d.held
	d.mu.Unlock()
	if !isClosed(held) {
		d.syncing <- struct{}{}
		<-held
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.fault != nil {
		return d.fault
	}
	if err := journal.Fdatasync(f); err != nil {
		return err
	}
	b, err := io.ReadAll(io.NewSectionReader(f, 0, 1<<30))
	d.durable = b
	return err
}

func (d *disk) hold() (release func()) {
	d.mu.Lock()
	defer d.mu.Unlock()
	held := make(chan struct{})
	d.held = held
	return sync.OnceFunc(func() { close(held) })
}

func (d *disk) breaks(err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.fault = err
}

// knows says whether a machine that loses its power now would remember a lease.
func (d *disk) knows(t *testing.T, lease uint64) bool {
	t.Helper()
	d.mu.Lock()
	b := d.durable
	d.mu.Unlock()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "journal"), b, 0o600); err != nil {
		t.Fatal(err)
	}
	j, err := journal.Open(dir, journal.Options{Logger: hclog.NewNullLogger()})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = j.Close() }()
	_, fresh := j.Begin(journal.Lease{Number: lease, Job: 1, Attempt: 1})
	return !fresh
}

// While the disk holds a lease's number back nothing of its job has begun, and
// when the job begins the number is durable.
func TestALeaseIsDurableBeforeItsJobBegins(t *testing.T) {
	b, d := newBench(t), newDisk()
	b.start(func(c *Config) { c.syncJournal = d.sync })
	for lease := uint64(1); lease <= 3; lease++ {
		release := d.hold()
		t.Cleanup(release)
		b.grant(lease, "ok")
		<-d.syncing
		b.heard()
		if d.knows(t, lease) {
			t.Fatalf("lease %d is durable while its sync is held up: this test proves nothing", lease)
		}
		select {
		case <-b.script.started:
			t.Fatalf("lease %d: its job began before its number was on the disk", lease)
		case <-time.After(200 * time.Millisecond): // for one that does not wait to show
		}
		release()
		b.runs(lease)
		if !d.knows(t, lease) {
			t.Fatalf("lease %d: its job began, and its number is not on the disk", lease)
		}
		b.result(lease)
		b.ack(lease)
	}
}

// A lease whose number the disk refuses is given back, and its job never begins.
func TestALeaseThatTheDiskRefusesIsNotStarted(t *testing.T) {
	b, d := newBench(t), newDisk()
	b.start(func(c *Config) { c.syncJournal = d.sync })
	d.breaks(unix.EIO)
	b.grant(1, "ok")
	o := b.result(1)
	if o.Kind != pb.OutcomeKind_OUTCOME_WORKER_ERROR || !strings.Contains(o.Message, "write journal") || !strings.Contains(o.Message, unix.EIO.Error()) {
		t.Errorf("outcome %v", o)
	}
	if why := b.worker.why(); !strings.Contains(why, unix.EIO.Error()) {
		t.Errorf("the worker takes new jobs, or says only %q", why)
	}
	d.breaks(nil)
	b.until("the journal to be sound", func() bool { return b.worker.journal.Err() == nil })
	b.grant(2, "ok")
	b.runs(2) // fails if lease 1 was started
	b.result(2)
}
