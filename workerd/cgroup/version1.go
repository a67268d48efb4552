package cgroup

import (
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
)

// version1 has a tree of groups for each controller.
type version1 struct{ Files }

func (v version1) file(controller, group, name string) string {
	return filepath.Join(root, controller, group, name)
}

func (v version1) Limit(group string, l Limits) error {
	for _, controller := range []string{"memory", "pids", "cpu"} {
		if err := v.MkdirAll(filepath.Join(root, controller, group)); err != nil {
			return fmt.Errorf("make cgroup %s: %w", group, err)
		}
	}
	return set(v, []setting{
		{v.file("memory", group, "memory.limit_in_bytes"), number(l.Memory, "-1"), l.Memory > 0},
		{v.file("pids", group, "pids.max"), number(l.PIDs, "max"), l.PIDs > 0},
		{v.file("cpu", group, "cpu.cfs_period_us"), strconv.Itoa(period), l.CPUs > 0},
		{v.file("cpu", group, "cpu.cfs_quota_us"), number(int64(l.CPUs*period), "-1"), l.CPUs > 0},
	})
}

func (v version1) Kills(group string) (int64, error) {
	return counter(v, v.file("memory", group, "memory.oom_control"), "oom_kill")
}

// Shortages: kills in groups within are not counted by this version, and failures to
// get memory are.
func (v version1) Shortages(group string) (int64, error) {
	text, err := v.ReadFile(v.file("memory", group, "memory.failcnt"))
	if err != nil {
		return 0, fmt.Errorf("read what happened in a cgroup: %w", err)
	}
	return strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64)
}

func (v version1) Processes(group string) ([]int, error) {
	return processes(v, filepath.Join(root, "pids", group))
}
