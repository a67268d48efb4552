package disk

import (
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

// faults is a disk that fails when told to.
type faults struct {
	mu      sync.Mutex
	room    int64 // bytes that may still be written, below 0: no limit
	syncErr error
	gate    chan struct{} // syncs wait until it is closed, nil: they do not
	syncs   int
	durable image // what was synced of each file, nil: not asked for
}

func noFaults() *faults { return &faults{room: -1} }

func (d *faults) set(change func(*faults)) {
	d.mu.Lock()
	defer d.mu.Unlock()
	change(d)
}

func (d *faults) open(path string, flag int) (file, error) {
	f, err := openFile(path, flag)
	if err != nil {
		return nil, err
	}
	return faultyFile{f, path, d}, nil
}

type faultyFile struct {
	file
	path string
	disk *faults
}

// WriteAt writes what there is room for, as a real disk does.
func (f faultyFile) WriteAt(p []byte, off int64) (int, error) {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	if f.disk.room < 0 {
		return f.file.WriteAt(p, off)
	}
	fits := min(int64(len(p)), f.disk.room)
	n, err := f.file.WriteAt(p[:fits], off)
	f.disk.room -= int64(n)
	if err == nil && n < len(p) {
		err = unix.ENOSPC
	}
	return n, err
}

func (f faultyFile) Datasync() error {
	f.disk.mu.Lock()
	f.disk.syncs++
	gate, err := f.disk.gate, f.disk.syncErr
	if f.disk.durable != nil {
		f.disk.durable[f.path], err = os.ReadFile(f.path)
	}
	f.disk.mu.Unlock()
	if gate != nil {
		<-gate
	}
	if err != nil {
		return err
	}
	return f.file.Datasync()
}
