// Package dockertest runs the engines that build Dockerfiles, for tests. It needs
// root.
package dockertest

import (
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"
)

// patience is how long an engine may take to begin or to end.
const patience = time.Minute

// end tells a daemon to end, and waits for that.
func end(t testing.TB, cmd *exec.Cmd, log func() string) {
	t.Helper()
	_ = cmd.Process.Signal(syscall.SIGTERM) // it may have ended
	ended := make(chan struct{})
	go func() { // ends with the process
		defer close(ended)
		_ = cmd.Wait() // it was told to end: how does not matter
	}()
	select {
	case <-ended:
	case <-time.After(patience):
		t.Errorf("%s does not end\n%s", cmd.Path, log())
		_ = cmd.Process.Kill() // it may have ended now
		<-ended
	}
}

// lastLines is the end of what a daemon has said.
func lastLines(file string) string {
	text, _ := os.ReadFile(file) // else there is none
	lines := strings.Split(string(text), "\n")
	return strings.Join(lines[max(0, len(lines)-40):], "\n")
}

// until waits for a condition.
func until(t testing.TB, what string, holds func() bool, log func() string) {
	t.Helper()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for began := time.Now(); !holds(); <-tick.C {
		if time.Since(began) > patience {
			t.Fatalf("waited %v for %s\n%s", patience, what, log())
		}
	}
}
