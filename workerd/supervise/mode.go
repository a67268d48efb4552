package supervise

import (
	"fmt"
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
