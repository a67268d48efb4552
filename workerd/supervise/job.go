package supervise

import (
	"errors"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// job is one command in its supervisor.
type job struct {
	*supervisor
	pid   int                     // of its first process
	exits chan syscall.WaitStatus // gets the first process's status
	none  chan struct{}           // closed when no process is left
}

// run starts a command, waits for its end, kills what is left, and reports.
func (s *supervisor) run(c start, files []int) report {
	if s.mode.Hides() {
		show, err := hideAll(c.Hide, c.Keep)
		defer show()
		if err != nil {
			return report{Broken: err.Error()}
		}
	}
	pid, err := launch(c, files)
	closeAll(files) // the output ends with the command
	var fault *StartError
	switch {
	case errors.As(err, &fault):
		return report{Start: fault}
	case err != nil:
		return report{Broken: err.Error()}
	}
	j := &job{supervisor: s, pid: pid, exits: make(chan syscall.WaitStatus, 1), none: make(chan struct{})}
	go j.reap() // ends when no process is left
	status, stopped := j.await()
	j.killAll()
	exit := Exit{Code: status.ExitStatus(), Stopped: stopped}
	if status.Signaled() {
		exit.Code, exit.Signal = -1, status.Signal()
	}
	return report{Exit: exit}
}

func closeAll(files []int) {
	for i, fd := range files {
		if fd >= 0 {
			unix.Close(fd)
			files[i] = -1
		}
	}
}

// await returns when the first process has ended. A stop is SIGTERM to its
// process group, then, when the grace is over, SIGKILL to everything. The death
// of the caller has no grace.
func (j *job) await() (status syscall.WaitStatus, stopped bool) {
	var graceOver <-chan time.Time
	orders := j.orders
	for {
		select {
		case status = <-j.exits:
			return status, stopped
		case o, alive := <-orders:
			stopped = true
			if alive && o.Stop != nil && o.Stop.Grace > 0 {
				j.terminate()
				graceOver = time.After(o.Stop.Grace)
				continue
			}
			if !alive {
				orders = nil
			}
			j.signalAll()
		case <-j.term:
			stopped = true
			j.signalAll()
		case <-graceOver:
			j.signalAll()
		}
	}
}

// terminate asks the command's process group to end, a stopped one too.
func (j *job) terminate() {
	_ = unix.Kill(-j.pid, unix.SIGTERM) // ESRCH: it has just ended by itself
	_ = unix.Kill(-j.pid, unix.SIGCONT)
}

// reap collects every child that ends: the first process and adopted orphans.
// Whoever loses its parent becomes our child before that parent can be reaped,
// so when we have no child no process is left.
func (j *job) reap() {
	defer close(j.none)
	for {
		var status syscall.WaitStatus
		pid, err := syscall.Wait4(-1, &status, 0, nil)
		switch {
		case err == syscall.EINTR:
		case err != nil:
			return // ECHILD
		case pid == j.pid:
			j.exits <- status
		}
	}
}
