package gitsource

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// The two ways to hold a lock.
const (
	shared = unix.LOCK_SH
	alone  = unix.LOCK_EX
)

// lockPoll is how often a lock that another holds is tried again.
const lockPoll = 20 * time.Millisecond

// lock takes a lock file, which also holds between processes and ends with ours.
// It calls waits once if it cannot have it at once. Whoever holds it alone may
// remove the file.
func lock(ctx context.Context, path string, how int, waits func() error) (unlock func(), err error) {
	for {
		f, err := lockOnce(ctx, path, how, waits)
		if err != nil {
			return nil, err
		}
		if isAt(f, path) {
			return func() { f.Close() }, nil
		}
		f.Close() // removed while we waited: the lock is in the next file
	}
}

func isAt(f *os.File, path string) bool {
	held, err1 := f.Stat()
	named, err2 := os.Stat(path)
	return err1 == nil && err2 == nil && os.SameFile(held, named)
}

func lockOnce(ctx context.Context, path string, how int, waits func() error) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open lock: %w", err)
	}
	tick := time.NewTicker(lockPoll)
	defer tick.Stop()
	for {
		err := unix.Flock(int(f.Fd()), how|unix.LOCK_NB)
		switch {
		case err == nil:
			return f, nil
		case errors.Is(err, unix.EINTR):
			continue
		case !errors.Is(err, unix.EWOULDBLOCK):
			f.Close()
			return nil, fmt.Errorf("lock %s: %w", path, err)
		}
		if waits != nil {
			if err := waits(); err != nil {
				f.Close()
				return nil, err
			}
			waits = nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			f.Close()
			return nil, fmt.Errorf("wait for lock %s: %w", path, context.Cause(ctx))
		}
	}
}
