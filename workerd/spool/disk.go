package spool

import (
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"

	"github.com/weirbuild/weir/workerd/room"
)

// directory holds one file a log. Its name carries all there is to know: while
// it grows LEASE-JOB-ATTEMPT.open, then LEASE-JOB-ATTEMPT-BYTES-SHA256.log. The
// rename that finishes a log is atomic, so there is no sidecar to disagree.
type directory struct{ path string }

func (d directory) String() string { return strconv.Quote(d.path) }

func (d directory) create(id ID) (backing, error) {
	name := openName(id)
	f, err := os.OpenFile(filepath.Join(d.path, name), os.O_RDWR|os.O_CREATE|os.O_EXCL|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	created := &file{dir: d.path, id: id, name: name, f: f}
	if err := created.secure(0); err != nil {
		return nil, errors.Join(err, created.remove())
	}
	return created, nil
}

func (d directory) settle() error { return syncPath(d.path) }

func openName(id ID) string { return fmt.Sprintf("%d-%d-%d.open", id.Lease, id.Job, id.Attempt) }

func finishedName(id ID, end End) string {
	return fmt.Sprintf("%d-%d-%d-%d-%x.log", id.Lease, id.Job, id.Attempt, end.Bytes, end.SHA256)
}

// parseName is the inverse of openName and finishedName; ok is false for a file
// that is none of ours.
func parseName(name string) (id ID, end End, finished, ok bool) {
	stem, finished := strings.CutSuffix(name, ".log")
	if !finished {
		if stem, ok = strings.CutSuffix(name, ".open"); !ok {
			return ID{}, End{}, false, false
		}
	}
	parts := strings.Split(stem, "-")
	if (finished && len(parts) != 5) || (!finished && len(parts) != 3) {
		return ID{}, End{}, false, false
	}
	lease, err1 := strconv.ParseUint(parts[0], 10, 64)
	job, err2 := strconv.ParseUint(parts[1], 10, 64)
	attempt, err3 := strconv.ParseUint(parts[2], 10, 32)
	id = ID{Lease: lease, Job: job, Attempt: uint32(attempt)}
	if finished {
		var err4, err5 error
		end.Bytes, err4 = strconv.ParseInt(parts[3], 10, 64)
		_, err5 = hex.Decode(end.SHA256[:], []byte(parts[4][:min(len(parts[4]), 2*len(end.SHA256))]))
		err3 = errors.Join(err3, err4, err5)
	}
	want := openName(id)
	if finished {
		want = finishedName(id, end)
	}
	return id, end, finished, errors.Join(err1, err2, err3) == nil && want == name
}

// file is a log on disk. It is open for as long as the log grows; a finished
// one is opened for each read, so that many waiting logs cost no descriptors.
type file struct {
	dir string
	id  ID

	mu   sync.Mutex // name only: sync runs beside the rest
	name string
	f    *os.File

	size int64 // while f is open
	kept int64 // f has its blocks up to here
}

func (f *file) path() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return filepath.Join(f.dir, f.name)
}

func (f *file) append(p []byte, last bool) (int, error) {
	if f.f == nil { // begun before a restart
		if err := f.open(); err != nil {
			return 0, err
		}
	}
	if !last {
		if err := f.secure(int64(len(p))); err != nil {
			return 0, err
		}
	}
	n, err := f.f.Write(p)
	f.size += int64(n)
	return n, err
}

func (f *file) open() error {
	opened, err := os.OpenFile(f.path(), os.O_RDWR|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	info, err := opened.Stat()
	if err != nil {
		return errors.Join(err, opened.Close())
	}
	f.f, f.size, f.kept = opened, info.Size(), 0
	return nil
}

// secure keeps room on the disk for n bytes and a tail, in steps that grow with
// the log.
func (f *file) secure(n int64) error {
	need := f.size + n + tailRoom
	if need <= f.kept {
		return nil
	}
	kept, err := room.Keep(f.f, need+min(f.size, maxAhead))
	if room.IsFull(err) {
		kept, err = room.Keep(f.f, need)
	}
	if err != nil {
		return err
	}
	f.kept = kept
	return nil
}

// maxAhead bounds the room that is kept beyond what a log needs now.
const maxAhead = 1 << 20

func (f *file) readAt(p []byte, off int64) (int, error) {
	if f.f != nil {
		return f.f.ReadAt(p, off)
	}
	r, err := os.Open(f.path())
	if err != nil {
		return 0, err
	}
	n, err := r.ReadAt(p, off)
	return n, errors.Join(err, r.Close())
}

func (f *file) finish(end End) error {
	if err := f.trim(end); err != nil {
		return err
	}
	from, name := f.path(), finishedName(f.id, end)
	if err := os.Rename(from, filepath.Join(f.dir, name)); err != nil {
		return err
	}
	f.mu.Lock()
	f.name = name
	f.mu.Unlock()
	return f.close()
}

// trim gives back the room that the log did not need, which may be all that it takes.
func (f *file) trim(end End) error {
	if f.f == nil || f.kept == 0 {
		return nil
	}
	f.kept = 0
	return f.f.Truncate(end.Bytes)
}

func (f *file) remove() error {
	err := f.close()
	if e := os.Remove(f.path()); e != nil && !errors.Is(e, fs.ErrNotExist) {
		err = errors.Join(err, e)
	}
	return err
}

func (f *file) close() error {
	if f.f == nil {
		return nil
	}
	opened := f.f
	f.f = nil
	return opened.Close()
}

// sync flushes through a descriptor of its own. A file that was renamed or
// removed meanwhile is not an error: its next sync, or nobody, cares.
func (f *file) sync() error {
	err := syncPath(f.path())
	if errors.Is(err, fs.ErrNotExist) {
		err = syncPath(f.path())
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

func syncPath(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

var _ io.WriteCloser = (*Log)(nil)
