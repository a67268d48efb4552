package supervise

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"
)

// ownMounts gives this namespace a /proc that shows only its own processes.
// Mounts of the host still arrive, none of ours leave.
func ownMounts() error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_SLAVE, ""); err != nil {
		return fmt.Errorf("separate mounts: %w", err)
	}
	if err := unix.Mount("proc", "/proc", "proc", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, ""); err != nil {
		return fmt.Errorf("mount a private /proc: %w", err)
	}
	return nil
}

// hideAll hides dirs until show is called, which must be, also after an error.
func hideAll(dirs, keep []string) (show func(), err error) {
	hidden := 0
	show = func() {
		for _, dir := range dirs[:hidden] {
			_ = unix.Unmount(dir, unix.MNT_DETACH) // at worst it stays hidden from the next one
		}
	}
	for _, dir := range dirs {
		if err := hide(dir, keep, &hidden); err != nil {
			return show, fmt.Errorf("hide %s: %w", dir, err)
		}
	}
	return show, nil
}

// hide covers dir with an empty read-only file system, in which only what of keep is
// directly below it shows.
func hide(dir string, keep []string, hidden *int) error {
	kept := map[string]int{}
	for _, k := range keep {
		if filepath.Dir(k) != filepath.Clean(dir) {
			continue
		}
		fd, err := unix.Open(k, unix.O_PATH|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
		if err != nil {
			return fmt.Errorf("open %s: %w", k, err)
		}
		defer unix.Close(fd)
		kept[k] = fd
	}
	const flags = unix.MS_NOSUID | unix.MS_NODEV
	if err := unix.Mount("tmpfs", dir, "tmpfs", flags, "mode=0711,size=64k"); err != nil {
		return err
	}
	*hidden++
	for k, fd := range kept {
		if err := os.Mkdir(k, 0o711); err != nil {
			return err
		}
		if err := unix.Mount("/proc/self/fd/"+strconv.Itoa(fd), k, "", unix.MS_BIND, ""); err != nil {
			return fmt.Errorf("show %s: %w", k, err)
		}
	}
	return unix.Mount("", dir, "", flags|unix.MS_REMOUNT|unix.MS_BIND|unix.MS_RDONLY, "")
}
