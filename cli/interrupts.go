package cli

import (
	"os"
	"os/signal"
	"syscall"
	"time"
)

// sameInterrupt is how long after a signal another one is the same come twice:
// timeout(1) and some CI runners signal a process and then its group.
const sameInterrupt = 500 * time.Millisecond

// interrupts are the signals that ask a command to end.
type interrupts struct {
	signals chan os.Signal
	last    time.Time
}

func listen() *interrupts {
	i := &interrupts{signals: make(chan os.Signal, 2)}
	signal.Notify(i.signals, syscall.SIGINT, syscall.SIGTERM)
	return i
}

func (i *interrupts) stop() { signal.Stop(i.signals) }

// next waits for the next signal; false: it was over before.
func (i *interrupts) next(over <-chan struct{}) bool {
	for {
		select {
		case <-over:
			return false
		case <-i.signals:
		}
		if now := time.Now(); now.Sub(i.last) > sameInterrupt {
			i.last = now
			return true
		}
	}
}
