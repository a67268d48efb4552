package supervise

import (
	"encoding/gob"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"strconv"
	"sync/atomic"
	"syscall"
)

// hooked tells Run that this program can be started as a supervisor.
var hooked atomic.Bool

// Main must be the first thing that main, and a test's TestMain, calls. In a
// process that was started as a supervisor it does that work and exits; in every
// other it returns at once.
func Main() {
	if len(os.Args) != 2 || os.Args[0] != title {
		hooked.Store(true)
		return
	}
	if err := supervisorMain(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// supervisor is the process between a caller and its commands, which it runs one
// after the other.
type supervisor struct {
	mode   Mode
	orders chan order // closed when the caller is gone
	term   chan os.Signal
}

func supervisorMain(mode string) error {
	runtime.LockOSThread() // no_new_privs and capabilities belong to a thread
	heedSignals()
	number, err := strconv.Atoi(mode)
	if err != nil {
		return fmt.Errorf("read mode: %w", err)
	}
	s := &supervisor{mode: Mode(number), orders: make(chan order), term: make(chan os.Signal, 1)}
	signal.Notify(s.term, syscall.SIGTERM) // Pdeathsig of the subreaper mode
	unfit := s.prepare()
	go s.readOrders() // ends with this process
	reports := gob.NewEncoder(os.NewFile(fdControl, "control"))
	for o := range s.orders {
		if o.Start == nil {
			continue // a stop for a command that has just ended
		}
		rep := report{}
		if unfit != nil {
			rep.Broken = unfit.Error()
		} else if !o.Start.Probe {
			rep = s.run(*o.Start, o.files)
		}
		closeAll(o.files)
		if err := reports.Encode(rep); err != nil {
			return nil // the caller is gone, and so is what it ran
		}
	}
	return nil
}

func (s *supervisor) readOrders() {
	defer close(s.orders)
	receiver := newOrderReceiver()
	for {
		o, err := receiver.next()
		if err != nil {
			return
		}
		s.orders <- o
	}
}
