package runc

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

const cgroupRoot = "/sys/fs/cgroup"

// outOfMemory says whether the kernel killed a process of the container at its
// memory limit. The container must not be deleted yet.
func (k *container) outOfMemory() (bool, error) {
	return outOfMemory(os.ReadFile, k.id)
}

// outOfMemory asks cgroups of version 2, else of version 1.
func outOfMemory(read func(string) ([]byte, error), cgroup string) (bool, error) {
	text, err := read(filepath.Join(cgroupRoot, cgroup, "memory.events"))
	if errors.Is(err, fs.ErrNotExist) {
		text, err = read(filepath.Join(cgroupRoot, "memory", cgroup, "memory.oom_control"))
	}
	if err != nil {
		return false, fmt.Errorf("read the container's memory events: %w", err)
	}
	for line := range strings.Lines(string(text)) {
		if key, value, ok := strings.Cut(strings.TrimSpace(line), " "); ok && key == "oom_kill" {
			n, err := strconv.ParseUint(value, 10, 64)
			return n > 0, err
		}
	}
	return false, nil
}
