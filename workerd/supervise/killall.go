package supervise

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// killAll returns when no process of the command is left. One that forks while
// we look is found in a later pass.
func (j *job) killAll() {
	for pause := time.Millisecond; ; pause = min(2*pause, 20*time.Millisecond) {
		select {
		case <-j.none:
			return
		default:
			j.signalAll()
		}
		select {
		case <-j.none:
			return
		case <-time.After(pause):
		}
	}
}

// signalAll sends SIGKILL to every process of the command that it can find.
func (j *job) signalAll() {
	if j.mode.Hides() {
		_ = unix.Kill(-1, unix.SIGKILL) // everything in the namespace but us
		return
	}
	found := children(os.Getpid())
	for i := 0; i < len(found); i++ {
		pid := found[i]
		found = append(found, children(pid)...)
		// The group goes in one stroke, so that a chain of short-lived processes
		// cannot outrun us. Every group below us was made below us.
		if group, err := unix.Getpgid(pid); err == nil && group > 1 && group != unix.Getpgrp() {
			_ = unix.Kill(-group, unix.SIGKILL)
		}
		_ = unix.Kill(pid, unix.SIGKILL)
	}
}

// children lists the children of a process, those of its other threads too.
func children(pid int) []int {
	files, _ := filepath.Glob("/proc/" + strconv.Itoa(pid) + "/task/*/children")
	if len(files) == 0 {
		return childrenByScan(pid)
	}
	var found []int
	for _, file := range files {
		text, _ := os.ReadFile(file) // gone: it has no children any more
		for field := range strings.FieldsSeq(string(text)) {
			if child, err := strconv.Atoi(field); err == nil {
				found = append(found, child)
			}
		}
	}
	return found
}

// childrenByScan is for kernels without CONFIG_PROC_CHILDREN.
func childrenByScan(pid int) []int {
	dirs, _ := filepath.Glob("/proc/[0-9]*")
	var found []int
	for _, dir := range dirs {
		stat, err := os.ReadFile(dir + "/stat")
		if err != nil {
			continue
		}
		// "PID (NAME) STATE PPID": the name may hold anything, also ")".
		rest := string(stat[strings.LastIndexByte(string(stat), ')')+1:])
		if fields := strings.Fields(rest); len(fields) > 1 && fields[1] == strconv.Itoa(pid) {
			child, _ := strconv.Atoi(filepath.Base(dir))
			found = append(found, child)
		}
	}
	return found
}
