package cgroup

import (
	"fmt"
	"path/filepath"
)

// version2 has one tree of groups.
type version2 struct{ Files }

func (v version2) file(group, name string) string { return filepath.Join(root, group, name) }

func (v version2) Limit(group string, l Limits) error {
	// What is enabled already stays, and what cannot be is missed below where it limits.
	_ = v.WriteFile(root+"/cgroup.subtree_control", []byte("+cpu +memory +pids"))
	if err := v.MkdirAll(filepath.Join(root, group)); err != nil {
		return fmt.Errorf("make cgroup %s: %w", group, err)
	}
	return set(v, []setting{
		{v.file(group, "memory.max"), number(l.Memory, "max"), l.Memory > 0},
		{v.file(group, "pids.max"), number(l.PIDs, "max"), l.PIDs > 0},
		{v.file(group, "cpu.max"), fmt.Sprintf("%s %d", number(int64(l.CPUs*period), "max"), period), l.CPUs > 0},
	})
}

func (v version2) Kills(group string) (int64, error) {
	return counter(v, v.file(group, "memory.events"), "oom_kill")
}

func (v version2) Shortages(group string) (int64, error) {
	return counter(v, v.file(group, "memory.events"), "max")
}

func (v version2) Processes(group string) ([]int, error) { return processes(v, v.file(group, "")) }
