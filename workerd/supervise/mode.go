package supervise

import (
	"context"
	"fmt"
	"io"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// Mode is how a supervisor holds on to the processes of its command.
type Mode int

const (
	// Namespace: the supervisor is process 1 of a PID namespace with mounts and a
	// /proc of its own. The kernel kills everything in it when the supervisor ends.
	Namespace Mode = iota + 1
	// UserNamespace is the same without root, inside a user namespace. Files of
	// other users show as nobody's.
	UserNamespace
	// Subreaper: orphans become the supervisor's children, and it kills its
	// descendants until none is left. A hostile command of the same user can kill
	// its supervisor; in the other modes it cannot.
	Subreaper
)

func (m Mode) String() string {
	switch m {
	case Namespace:
		return "pid namespace"
	case UserNamespace:
		return "user and pid namespace"
	case Subreaper:
		return "subreaper"
	default:
		return fmt.Sprintf("mode %d", int(m))
	}
}

// Hides reports whether commands see a /proc of their own, and whether
// Command.Hide works.
func (m Mode) Hides() bool { return m == Namespace || m == UserNamespace }

// Runner runs commands in one mode.
type Runner struct {
	Mode Mode
	// Lesser is why New had to settle for Subreaper; nil where it had not.
	Lesser error
}

// New returns a runner in the best mode that works here: a PID namespace as
// root, one within a user namespace otherwise, else a subreaper. It tries by
// running a supervisor.
func New(ctx context.Context) (*Runner, error) {
	best := Namespace
	if os.Geteuid() != 0 {
		best = UserNamespace
	}
	r := &Runner{Mode: best}
	lesser := r.probe(ctx)
	if lesser == nil {
		return r, nil
	}
	r = &Runner{Mode: Subreaper, Lesser: lesser}
	if err := r.probe(ctx); err != nil {
		return nil, fmt.Errorf("supervise commands: %w", err)
	}
	return r, nil
}

// probe runs a supervisor that makes its namespaces and mounts, and nothing else.
func (r *Runner) probe(ctx context.Context) error {
	c := Command{Argv: []string{"probe"}, Dir: "/", probe: true}
	if _, err := r.Run(ctx, c, io.Discard); err != nil {
		return fmt.Errorf("try a %s: %w", r.Mode, err)
	}
	return nil
}

// attributes are those of the supervisor process itself. Pdeathsig is its second
// means to notice our death, after the end of its control socket.
func (m Mode) attributes() *syscall.SysProcAttr {
	attr := &syscall.SysProcAttr{Setsid: true, Pdeathsig: syscall.SIGKILL}
	switch m {
	case Subreaper:
		attr.Pdeathsig = syscall.SIGTERM // it has to kill the others before it ends
	case Namespace:
		attr.Cloneflags = unix.CLONE_NEWPID | unix.CLONE_NEWNS
	case UserNamespace:
		attr.Cloneflags = unix.CLONE_NEWUSER | unix.CLONE_NEWPID | unix.CLONE_NEWNS
		attr.UidMappings = []syscall.SysProcIDMap{{ContainerID: os.Geteuid(), HostID: os.Geteuid(), Size: 1}}
		attr.GidMappings = []syscall.SysProcIDMap{{ContainerID: os.Getegid(), HostID: os.Getegid(), Size: 1}}
		attr.AmbientCaps = []uintptr{unix.CAP_SYS_ADMIN} // to mount; the command gets none
	}
	return attr
}
