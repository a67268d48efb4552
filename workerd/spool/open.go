package spool

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

const (
	bootIDFile   = "boot-id"
	kernelBootID = "/proc/sys/kernel/random/boot_id"
)

// Damage is the line that ends a log whose tail a machine crash took.
const Damage = "\n[weir: the rest of this log was lost when the worker's machine crashed]\n"

// Open opens the spool in dir, made with mode 0700 if it is not there, and finds
// the logs of earlier processes. Files that are no logs are left alone. budget is
// the most bytes all logs may have together.
func Open(dir string, budget int64) (*Spool, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("open spool: %w", err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("open spool: %w", err)
	}
	s := newSpool(directory{dir}, budget)
	for _, e := range entries {
		if err := s.adopt(dir, e.Name()); err != nil {
			return nil, fmt.Errorf("open spool: %w", err)
		}
	}
	if err := s.checkBoot(dir); err != nil {
		return nil, fmt.Errorf("open spool: %w", err)
	}
	for _, l := range s.Pending() {
		s.touch(l)
	}
	return s, nil
}

// adopt takes in a log of an earlier process.
func (s *Spool) adopt(dir, name string) error {
	id, end, finished, ok := parseName(name)
	if !ok {
		return nil
	}
	info, err := os.Stat(filepath.Join(dir, name))
	if err != nil {
		return err
	}
	if other, ok := s.logs[id.Lease]; ok {
		return fmt.Errorf("two logs of lease %d: %q and %q; remove the wrong one", id.Lease, openName(other.id), name)
	}
	f := &file{dir: dir, id: id, name: name}
	s.logs[id.Lease] = &Log{id: id, spool: s, file: f, size: info.Size(), end: end, ended: finished, dirty: true}
	s.used += info.Size()
	return nil
}

// checkBoot verifies finished logs when the machine has restarted since the
// spool was last opened: only then can they differ from what was written.
func (s *Spool) checkBoot(dir string) error {
	path := filepath.Join(dir, bootIDFile)
	now, err := os.ReadFile(kernelBootID)
	if err != nil {
		now = []byte("unknown\n") // no such file on this kernel: verify each time
	}
	last, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if bytes.Equal(now, last) && !strings.HasPrefix(string(now), "unknown") {
		return nil
	}
	for _, l := range s.logs {
		if err := l.verify(); err != nil {
			return err
		}
	}
	return os.WriteFile(path, now, 0o600)
}

// verify compares a finished log with its name, and gives a damaged one the end
// that it now has.
func (l *Log) verify() error {
	if !l.ended {
		return nil
	}
	h := sha256.New()
	if _, err := io.Copy(h, io.NewSectionReader(readerAt(l.file.readAt), 0, l.size)); err != nil {
		return fmt.Errorf("verify log of lease %d: %w", l.id.Lease, err)
	}
	if l.size == l.end.Bytes && bytes.Equal(h.Sum(nil), l.end.SHA256[:]) {
		return nil
	}
	l.ended, l.hash = false, h
	n, err := l.add([]byte(Damage), true)
	l.spool.used += int64(n)
	if err != nil {
		return fmt.Errorf("mark damaged log of lease %d: %w", l.id.Lease, err)
	}
	_, err = l.finish()
	return err
}
