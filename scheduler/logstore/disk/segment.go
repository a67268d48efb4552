package disk

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

const (
	segmentSuffix = ".seg"
	sidecarSuffix = ".idx"
	fileMode      = 0o600
	dirMode       = 0o700

	segmentMagic  = "weirlog\x01"
	preambleSize  = 32 // magic, salt, checksum, zeros
	preambleSumAt = 24
)

// file is what a segment needs of *os.File.
type file interface {
	ReadAt(p []byte, off int64) (int, error)
	WriteAt(p []byte, off int64) (int, error)
	Truncate(size int64) error
	Datasync() error
	Close() error
}

type osFile struct{ *os.File }

func (f osFile) Datasync() error {
	for {
		if err := unix.Fdatasync(int(f.Fd())); !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

func openFile(path string, flag int) (file, error) {
	f, err := os.OpenFile(path, flag, fileMode)
	if err != nil {
		return nil, err
	}
	return osFile{f}, nil
}

// segmentID numbers segments in the order of their making, from 1.
type segmentID uint32

// place is where a record is; the zero place is nowhere.
type place struct {
	seg segmentID
	pos uint32
}

// segment is one file of records. The active one grows under the writer's lock;
// a closed one only loses what it is needed for.
type segment struct {
	id   segmentID
	path string
	salt salt
	f    file

	refs  atomic.Int32 // readers; taken while the index is locked
	gone  atomic.Bool  // no longer in the index
	close sync.Once

	// Guarded by writer.mu.
	size    int64
	durable int64 // what the last sync that succeeded covers

	// Guarded by Store.mu.
	live    int64 // bytes of records that are needed, tombstones of drops not counted
	tombs   []tomb
	sidecar int64 // its size, 0: not written yet
	closed  bool
}

func segmentPath(dir string, id segmentID) string {
	return filepath.Join(dir, fmt.Sprintf("%08x%s", uint32(id), segmentSuffix))
}

func sidecarPath(segment string) string {
	return segment[:len(segment)-len(segmentSuffix)] + sidecarSuffix
}

// createSegment makes an empty segment. Its directory entry is not durable yet.
func createSegment(open opener, dir string, id segmentID) (*segment, error) {
	g := &segment{id: id, path: segmentPath(dir, id), size: preambleSize}
	rand.Read(g.salt[:]) // never fails
	f, err := open(g.path, os.O_RDWR|os.O_CREATE|os.O_EXCL)
	if err != nil {
		return nil, fmt.Errorf("create segment: %w", err)
	}
	g.f = f
	if _, err := f.WriteAt(g.preamble(), 0); err != nil {
		return nil, fmt.Errorf("create segment: %w", errors.Join(err, f.Close(), os.Remove(g.path)))
	}
	return g, nil
}

func (g *segment) preamble() []byte {
	b := make([]byte, preambleSize)
	copy(b, segmentMagic)
	copy(b[len(segmentMagic):], g.salt[:])
	binary.LittleEndian.PutUint32(b[preambleSumAt:], checksum(b[:preambleSumAt]))
	return b
}

// readPreamble returns the salt; false when the preamble is damaged.
func readPreamble(b []byte) (s salt, ok bool) {
	if len(b) < preambleSize || string(b[:len(segmentMagic)]) != segmentMagic ||
		binary.LittleEndian.Uint32(b[preambleSumAt:]) != checksum(b[:preambleSumAt]) {
		return s, false
	}
	return salt(b[len(segmentMagic):]), true
}

func (g *segment) String() string { return filepath.Base(g.path) }

// acquire keeps the file open until release, also when the segment is removed
// meanwhile. Call it while the index is locked.
func (g *segment) acquire() { g.refs.Add(1) }

func (g *segment) release() {
	if g.refs.Add(-1) == 0 && g.gone.Load() {
		g.closeFile()
	}
}

// retire closes the file once no reader uses it.
func (g *segment) retire() {
	g.gone.Store(true)
	if g.refs.Load() == 0 {
		g.closeFile()
	}
}

func (g *segment) closeFile() {
	g.close.Do(func() { _ = g.f.Close() }) // nothing is written after the last sync
}

// remove deletes the files for good.
func (g *segment) remove() error {
	if err := os.Remove(g.path); err != nil {
		return fmt.Errorf("remove segment: %w", err)
	}
	if err := os.Remove(sidecarPath(g.path)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("remove segment index: %w", err)
	}
	return syncDir(filepath.Dir(g.path))
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
