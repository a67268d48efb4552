package runc

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// stop ends the container: politely, where it is given the time.
func (k *container) stop(cause error, ended <-chan struct{}) {
	if k.Grace != nil {
		if grace := k.Grace(cause); grace > 0 {
			k.terminate(grace, ended)
		}
	}
	k.kill(ended)
}

// lookEvery is how often a terminated container is looked at.
const lookEvery = 50 * time.Millisecond

// terminate sends SIGTERM to all processes, and waits while one is left that
// heeds it, at most for the grace.
func (k *container) terminate(grace time.Duration, ended <-chan struct{}) {
	told := map[int]bool{}
	over := time.After(grace)
	for {
		pids, err := k.groups.Processes(k.id)
		if err != nil {
			return // it is only half made, or over
		}
		heeded := false
		for _, pid := range pids {
			if !heeds(pid) {
				continue
			}
			heeded = true
			if !told[pid] {
				told[pid] = true
				_ = unix.Kill(pid, unix.SIGTERM) // it may have ended just now
			}
		}
		if !heeded {
			return
		}
		select {
		case <-ended:
			return
		case <-k.Kill:
			return
		case <-over:
			return
		case <-time.After(lookEvery):
		}
	}
}

// heeds says whether a process has a handler for SIGTERM, which alone lets it end
// in an order of its own.
func heeds(pid int) bool {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	return err == nil && catches(string(text), unix.SIGTERM)
}

// catches reads the signals that a process catches from its status.
func catches(status string, s unix.Signal) bool {
	for line := range strings.Lines(status) {
		if mask, ok := strings.CutPrefix(line, "SigCgt:"); ok {
			set, err := strconv.ParseUint(strings.TrimSpace(mask), 16, 64)
			return err == nil && set&(1<<(uint(s)-1)) != 0
		}
	}
	return false
}

// kill kills the container until it has ended: it may be only half made yet.
func (k *container) kill(ended <-chan struct{}) {
	pause := 10 * time.Millisecond
	for {
		_ = k.call(context.Background(), "kill", k.id, "KILL") // tried again
		select {
		case <-ended:
			return
		case <-time.After(pause):
			pause = min(2*pause, time.Second)
		}
	}
}
