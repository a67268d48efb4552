package gitsource

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

// gone marks a clone that is being removed, so that a crash leaves no half clone
// under a name that somebody would trust.
const gone = ".gone"

// prune removes the clones that were used longest ago until the rest keeps the
// limit. It leaves those in use and the one that was used last: a repository that
// is larger than the limit would otherwise be fetched whole for each of its jobs.
func (s *Source) prune(ctx context.Context) error {
	s.pruning.Lock()
	defer s.pruning.Unlock()
	clones, total, err := s.measure(ctx)
	if err != nil {
		return err
	}
	for _, c := range clones[:max(0, len(clones)-1)] {
		if s.limit == 0 || total <= s.limit {
			break
		}
		removed, err := s.evict(ctx, c.bare)
		if err != nil {
			return err
		}
		if removed {
			total -= c.bytes
			s.metrics.pruned.Inc()
			s.log.Info("pruned a git clone", "clone", filepath.Base(c.bare), "bytes", c.bytes, "last_used", c.used.UTC())
		}
	}
	s.metrics.bytes.Set(float64(total))
	if s.limit > 0 && total > s.limit {
		s.log.Warn("the git clones that are in use take more than their limit: raise --git-cache-limit", "bytes", total, "limit", s.limit)
	}
	return nil
}

// cached is a clone as prune sees it.
type cached struct {
	bare  string
	bytes int64
	used  time.Time
}

// measure lists the clones, the one used longest ago first, and what they take
// together.
func (s *Source) measure(ctx context.Context) (clones []cached, total int64, err error) {
	dirs, err := filepath.Glob(filepath.Join(s.dir, "*.git"))
	if err != nil {
		return nil, 0, fmt.Errorf("list clones: %w", err)
	}
	for _, bare := range dirs {
		bytes, err := diskUsage(ctx, bare)
		if err != nil {
			return nil, 0, fmt.Errorf("measure clone: %w", err)
		}
		c := cached{bare: bare, bytes: bytes}
		if info, err := os.Stat(lockFileOf(bare)); err == nil { // without one nobody has used it
			c.used = info.ModTime()
		}
		clones = append(clones, c)
		total += bytes
	}
	slices.SortFunc(clones, func(a, b cached) int {
		return cmp.Or(a.used.Compare(b.used), cmp.Compare(a.bare, b.bare))
	})
	return clones, total, nil
}

// diskUsage is what the files below dir take on the disk. Files come and go
// meanwhile: git writes there.
func diskUsage(ctx context.Context, dir string) (bytes int64, err error) {
	err = filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		var info fs.FileInfo
		if err == nil {
			info, err = d.Info()
		}
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return nil
		case err != nil:
			return err
		}
		bytes += info.Sys().(*syscall.Stat_t).Blocks * 512
		return context.Cause(ctx)
	})
	return bytes, err
}

// evict removes a clone that nobody uses, and its lock file with it.
func (s *Source) evict(ctx context.Context, bare string) (removed bool, err error) {
	unlock, err := lock(ctx, lockFileOf(bare), alone, func() error { return errBusy })
	if errors.Is(err, errBusy) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer unlock()
	err = os.Rename(bare, bare+gone)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err == nil {
		err = os.RemoveAll(bare + gone)
	}
	if err == nil {
		err = os.Remove(lockFileOf(bare))
	}
	if err != nil {
		return false, fmt.Errorf("prune clone: %w", err)
	}
	return true, nil
}

// clear removes what an earlier process left half made or half removed.
func (s *Source) clear() error {
	for _, suffix := range []string{half, gone} {
		left, err := filepath.Glob(filepath.Join(s.dir, "*.git"+suffix))
		if err != nil {
			return fmt.Errorf("list clones: %w", err)
		}
		for _, dir := range left {
			if err := os.RemoveAll(dir); err != nil {
				return fmt.Errorf("remove half a clone: %w", err)
			}
		}
	}
	return nil
}

func lockFileOf(bare string) string { return strings.TrimSuffix(bare, ".git") + ".lock" }
