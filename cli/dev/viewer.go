package dev

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/weirbuild/weir/proto/pb"
)

// viewer shows the build, keeps its log and the moments its bytes came, and
// holds on to the worker's own copy.
type viewer struct {
	demo    *demo
	running chan struct{} // closed when the build runs
	ended   chan struct{} // closed when it has settled

	mu      sync.Mutex
	log     bytes.Buffer
	arrived []time.Time
	inLine  bool
	once    sync.Once
	over    sync.Once
	kept    string // a hard link to the worker's spool file
	keepErr error
}

func newViewer(d *demo) *viewer {
	return &viewer{demo: d, running: make(chan struct{}), ended: make(chan struct{})}
}

// say tells something between the lines of the log.
func (v *viewer) say(format string, args ...any) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.inLine {
		v.inLine = false
		fmt.Fprintln(v.demo.Err)
	}
	v.demo.say(format, args...)
}

// Event implements client.Follower.
func (v *viewer) Event(e *pb.JobEvent) error {
	switch e.Job.State {
	case pb.JobState_JOB_STATE_SETTLED:
		v.over.Do(func() { close(v.ended) })
	case pb.JobState_JOB_STATE_RUNNING:
		v.once.Do(func() {
			v.say("job %d runs on %s", e.Job.Id, e.Job.Attempts[0].Worker)
			close(v.running)
		})
	default:
		v.say("job %d waits: %s", e.Job.Id, e.Why)
	}
	return nil
}

// Log implements client.Follower.
func (v *viewer) Log(d *pb.LogData) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.kept == "" && v.keepErr == nil && len(d.Data) > 0 {
		v.kept, v.keepErr = v.demo.keepSpool()
	}
	if len(d.Data) > 0 {
		v.arrived = append(v.arrived, time.Now())
		v.inLine = d.Data[len(d.Data)-1] != '\n'
	}
	v.log.Write(d.Data)
	_, err := v.demo.Out.Write(d.Data)
	return err
}

// pauseAfter is the longest silence that ends after a moment and began no later
// than the next byte.
func (v *viewer) pauseAfter(moment time.Time) time.Duration {
	v.mu.Lock()
	defer v.mu.Unlock()
	longest := time.Duration(0)
	for i := 1; i < len(v.arrived); i++ {
		if v.arrived[i].After(moment) && v.arrived[i-1].Before(moment.Add(5*time.Second)) {
			longest = max(longest, v.arrived[i].Sub(v.arrived[i-1]))
		}
	}
	return longest
}

// keepSpool links the one growing spool file, so that the worker's own copy can
// be compared after the worker has dropped it.
func (d *demo) keepSpool() (string, error) {
	found, err := filepath.Glob(filepath.Join(d.Dir, "w[12]", "state", "spool", "*.open"))
	if err != nil || len(found) != 1 {
		return "", fmt.Errorf("find the worker's own log: %d files, %v", len(found), err)
	}
	kept := filepath.Join(d.Dir, "worker-copy.log")
	return kept, os.Link(found[0], kept)
}

// compare holds the log that came through the cluster against the worker's.
func (v *viewer) compare() (same bool, size int, err error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.keepErr != nil {
		return false, v.log.Len(), v.keepErr
	}
	own, err := os.ReadFile(v.kept)
	if err != nil {
		return false, v.log.Len(), fmt.Errorf("read the worker's own log: %w", err)
	}
	return bytes.Equal(own, v.log.Bytes()), v.log.Len(), nil
}
