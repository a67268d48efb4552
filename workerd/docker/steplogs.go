package docker

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"
)

// stepLogs keeps the last log of steps, in one file for each, as BuildKit does not:
// the ones used longest ago go first. What it loses is not missed.
type stepLogs struct {
	dir   string
	limit int64 // bytes of all

	mu   sync.Mutex
	size int64
}

// keepStepLogs is how much of all step logs is kept, in bytes.
const keepStepLogs = 256 << 20

func openStepLogs(dir string, limit int64) (*stepLogs, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("open step logs: %w", err)
	}
	l := &stepLogs{dir: dir, limit: limit}
	return l, l.prune()
}

// save keeps a log, with what it depends on beside its key: that is on its first
// line, as a hash.
func (l *stepLogs) save(key, sources string, log []byte) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	file := l.file(key)
	content := append([]byte(digestOf(sources)+"\n"), log...)
	err := os.WriteFile(file+".new", content, 0o600)
	if err == nil {
		err = os.Rename(file+".new", file)
	}
	if err != nil {
		return fmt.Errorf("keep a step's log: %w", err)
	}
	if l.size += int64(len(content)); l.size > l.limit {
		return l.prune()
	}
	return nil
}

// load gives a step's last log, if there is one, and whether it had the same
// sources.
func (l *stepLogs) load(key, sources string) (log []byte, same bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	file := l.file(key)
	content, err := os.ReadFile(file)
	if err != nil {
		return nil, false
	}
	now := time.Now()
	_ = os.Chtimes(file, now, now) // else it goes a little earlier
	first, log, _ := bytes.Cut(content, []byte("\n"))
	return log, string(first) == digestOf(sources)
}

func (l *stepLogs) file(key string) string { return filepath.Join(l.dir, digestOf(key)) }

func digestOf(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:])
}

// prune removes the logs used longest ago until nine tenths of the limit are left,
// and counts what is there.
func (l *stepLogs) prune() error {
	entries, err := os.ReadDir(l.dir)
	if err != nil {
		return fmt.Errorf("prune step logs: %w", err)
	}
	var files []fs.FileInfo
	l.size = 0
	for _, e := range entries {
		if info, err := e.Info(); err == nil {
			files = append(files, info)
			l.size += info.Size()
		}
	}
	slices.SortFunc(files, func(a, b fs.FileInfo) int {
		return cmp.Or(a.ModTime().Compare(b.ModTime()), cmp.Compare(a.Name(), b.Name()))
	})
	for _, f := range files {
		if l.size <= l.limit*9/10 {
			return nil
		}
		if err := os.Remove(filepath.Join(l.dir, f.Name())); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("prune step logs: %w", err)
		}
		l.size -= f.Size()
	}
	return nil
}
