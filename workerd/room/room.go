// Package room keeps space on a disk for what must be written when it is full.
//
// It promises that bytes written within what Keep kept need no new block, where
// the file system can promise that (ext4, xfs, btrfs, tmpfs). It deletes nothing
// and decides nothing: its users say what they do without room.
package room

import (
	"errors"
	"fmt"
	"math"
	"os"

	"golang.org/x/sys/unix"
)

// Keep makes sure that a file has its blocks up to an offset, without changing its
// size. It returns how far it has them now; the largest offset where the file
// system cannot keep room, so that nobody asks again.
func Keep(f *os.File, upTo int64) (kept int64, err error) {
	for {
		err := unix.Fallocate(int(f.Fd()), unix.FALLOC_FL_KEEP_SIZE, 0, upTo)
		switch {
		case err == nil:
			return upTo, nil
		case errors.Is(err, unix.EINTR):
		case errors.Is(err, unix.EOPNOTSUPP), errors.Is(err, unix.ENOSYS):
			return math.MaxInt64, nil
		default:
			return 0, fmt.Errorf("keep room in %s: %w", f.Name(), err)
		}
	}
}

// IsFull reports whether an error says that a disk, or the user's share of it, is
// full.
func IsFull(err error) bool {
	return errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT)
}

// Short says what is wrong where the disk of a directory has fewer than min bytes
// for users other than root, or no inodes; "" when nothing is.
func Short(dir string, min int64) string {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); errors.Is(err, unix.ENOENT) {
		return "" // whoever needs it makes it, or tells
	} else if err != nil {
		return fmt.Sprintf("its disk does not answer: statfs %s: %v", dir, err)
	}
	free := int64(st.Bavail) * st.Bsize
	switch {
	case free < min:
		return fmt.Sprintf("the disk of %s is nearly full: %d MiB free, at least %d are wanted", dir, free>>20, min>>20)
	case min > 0 && st.Files > 0 && st.Ffree == 0:
		return fmt.Sprintf("the disk of %s has no free inodes: remove files", dir)
	}
	return ""
}
