package supervise

import (
	"encoding/gob"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// hooked tells Run that this program can be started as a supervisor.
var hooked atomic.Bool

// Main must be the first thing that main, and a test's TestMain, calls. In a
// process that was started as a supervisor it does that work and exits; in every
// other it returns at once.
func Main() {
	if len(os.Args) == 0 || os.Args[0] != title {
		hooked.Store(true)
		return
	}
	if err := supervisorMain(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// supervisor is the process between a caller and its command.
type supervisor struct {
	start  start
	pid    int // of the command's first process
	orders chan stop
	exits  chan syscall.WaitStatus // gets the first process's status
	none   chan struct{}           // closed when no child is left
	term   chan os.Signal
}

// supervisorMain does one command. Whoever started it learns of a fault by the
// report, or, where the socket is gone, does not live to hear of it.
func supervisorMain() error {
	runtime.LockOSThread() // no_new_privs and capabilities belong to a thread
	debug.SetGCPercent(-1) // too short-lived to need it
	term := make(chan os.Signal, 1)
	signal.Notify(make(chan os.Signal, 1)) // the command inherits no ignored signal
	signal.Notify(term, syscall.SIGTERM)   // Pdeathsig of the subreaper mode
	if err := closeOnExec(); err != nil {
		return fmt.Errorf("close inherited files: %w", err)
	}
	control := os.NewFile(fdControl, "control")
	dec := gob.NewDecoder(control)
	var first order
	if err := dec.Decode(&first); err != nil || first.Start == nil {
		return fmt.Errorf("read what to run: %w", errors.Join(err, os.ErrInvalid))
	}
	s := &supervisor{start: *first.Start, term: term, orders: make(chan stop),
		exits: make(chan syscall.WaitStatus, 1), none: make(chan struct{})}
	go s.readOrders(dec) // ends with the process
	return gob.NewEncoder(control).Encode(s.run())
}

func (s *supervisor) readOrders(dec *gob.Decoder) {
	for {
		var o order
		if err := dec.Decode(&o); err != nil {
			close(s.orders) // the caller is dead
			return
		}
		if o.Stop != nil {
			s.orders <- *o.Stop
		}
	}
}

// run starts the command, waits for its end, kills what is left, and reports.
func (s *supervisor) run() report {
	if err := s.prepare(); err != nil {
		return report{Broken: err.Error()}
	}
	if s.start.Probe {
		return report{}
	}
	pid, err := s.launch()
	var fault *StartError
	switch {
	case errors.As(err, &fault):
		return report{Start: fault}
	case err != nil:
		return report{Broken: err.Error()}
	}
	s.pid = pid
	go s.reap() // ends with the process
	status, stopped := s.await()
	s.killAll()
	exit := Exit{Code: status.ExitStatus(), Stopped: stopped}
	if status.Signaled() {
		exit.Code, exit.Signal = -1, status.Signal()
	}
	return report{Exit: exit}
}

// await returns when the first process has ended. A stop is SIGTERM to its
// process group, then, when the grace is over, SIGKILL to everything. The death
// of the caller has no grace.
func (s *supervisor) await() (status syscall.WaitStatus, stopped bool) {
	var graceOver <-chan time.Time
	orders := s.orders
	for {
		select {
		case status = <-s.exits:
			return status, stopped
		case o, alive := <-orders:
			stopped = true
			if alive && o.Grace > 0 {
				s.terminate()
				graceOver = time.After(o.Grace)
				continue
			}
			if !alive {
				orders = nil
			}
			s.signalAll()
		case <-s.term:
			stopped = true
			s.signalAll()
		case <-graceOver:
			s.signalAll()
		}
	}
}

// terminate asks the command's process group to end, a stopped one too.
func (s *supervisor) terminate() {
	_ = unix.Kill(-s.pid, unix.SIGTERM) // ESRCH: it has just ended by itself
	_ = unix.Kill(-s.pid, unix.SIGCONT)
}

// reap collects every child that ends: the first process and adopted orphans.
func (s *supervisor) reap() {
	defer close(s.none)
	for {
		var status syscall.WaitStatus
		pid, err := syscall.Wait4(-1, &status, 0, nil)
		switch {
		case err == syscall.EINTR:
		case err != nil:
			return // ECHILD: none is left
		case pid == s.pid:
			s.exits <- status
		}
	}
}
