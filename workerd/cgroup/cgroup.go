// Package cgroup limits processes by control groups, of version 2 and of version 1, and
// asks these who is in them and whether the kernel killed somebody at a limit.
//
// It promises the same answers from both versions. It refuses to move processes: runc
// and the engines put them where they belong.
package cgroup

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// Limits bound what is in a group, all of it together. Zero is no limit.
type Limits struct {
	CPUs   float64
	Memory int64 // bytes
	PIDs   int64
}

// Groups are a machine's control groups. A group is known by its path from the root.
type Groups interface {
	// Limit makes a group, where it is missing, and sets its limits.
	Limit(group string, l Limits) error
	// Kills tells how often the kernel has killed in a group for want of memory.
	Kills(group string) (int64, error)
	// Shortages tells how often a group, or one in it, has come up against its
	// memory limit. It grows with each kill, and also where memory was found at last.
	Shortages(group string) (int64, error)
	// Processes are those of a group, without those of groups in it.
	Processes(group string) ([]int, error)
}

// Files are the files of control groups: the machine's, or recorded ones.
type Files interface {
	ReadFile(path string) ([]byte, error)
	WriteFile(path string, text []byte) error
	MkdirAll(path string) error
}

const root = "/sys/fs/cgroup"

// Here are this machine's groups.
func Here() Groups { return In(machine{}) }

// In are the groups of a machine that has these files.
func In(f Files) Groups {
	if _, err := f.ReadFile(root + "/cgroup.controllers"); err == nil {
		return version2{f}
	}
	return version1{f}
}

// machine is this one.
type machine struct{}

func (machine) ReadFile(path string) ([]byte, error) { return os.ReadFile(path) }
func (machine) MkdirAll(path string) error           { return os.MkdirAll(path, 0o755) }

func (machine) WriteFile(path string, text []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY, 0) // the kernel makes these files, never we
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	return errors.Join(err, f.Close())
}

// period is that of the processors' quota, in microseconds.
const period = 100_000

// number is a limit as the kernel reads it.
func number(n int64, none string) string {
	if n == 0 {
		return none
	}
	return strconv.FormatInt(n, 10)
}

// setting is a file of a group, and what to write to it.
type setting struct {
	file, value string
	limits      bool // it does limit: without its controller that is an error
}

// set writes settings. A controller that the machine lacks matters only to a limit.
func set(f Files, settings []setting) error {
	for _, s := range settings {
		err := f.WriteFile(s.file, []byte(s.value))
		if errors.Is(err, fs.ErrNotExist) && !s.limits {
			continue
		}
		if err != nil {
			return fmt.Errorf("limit processes: %w: is this controller of cgroups enabled? (weir worker check)", err)
		}
	}
	return nil
}

// counter is a line "key value" of a file.
func counter(f Files, file, key string) (int64, error) {
	text, err := f.ReadFile(file)
	if err != nil {
		return 0, fmt.Errorf("read what happened in a cgroup: %w", err)
	}
	for line := range strings.Lines(string(text)) {
		if k, value, ok := strings.Cut(strings.TrimSpace(line), " "); ok && k == key {
			return strconv.ParseInt(value, 10, 64)
		}
	}
	return 0, fmt.Errorf("read what happened in a cgroup: %s has no %s", file, key)
}

// processes reads a file of process ids.
func processes(f Files, file string) ([]int, error) {
	text, err := f.ReadFile(filepath.Join(file, "cgroup.procs"))
	if err != nil {
		return nil, fmt.Errorf("list the processes of a cgroup: %w", err)
	}
	var pids []int
	for field := range strings.FieldsSeq(string(text)) {
		if pid, err := strconv.Atoi(field); err == nil && pid > 0 {
			pids = append(pids, pid)
		}
	}
	return pids, nil
}
