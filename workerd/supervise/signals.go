package supervise

import (
	"os"
	"os/signal"
	"syscall"
	"unsafe"
)

// The signals that Go and the C library keep for themselves: signal.Notify does
// not reach them.
const (
	firstReserved = 32
	lastReserved  = 34
	sigIgn        = 1
)

// kernelAction is the kernel's struct sigaction. The zero one is the default
// action.
type kernelAction struct {
	handler, flags, restorer uintptr
	mask                     uint64
}

// heedSignals makes this process ignore no signal, whatever its caller ignored: a
// command inherits what is ignored, and what is caught is reset as it starts.
func heedSignals() {
	signal.Notify(make(chan os.Signal, 1))
	for s := firstReserved; s <= lastReserved; s++ {
		var now kernelAction
		if errno := setAction(s, nil, &now); errno == 0 && now.handler == sigIgn {
			_ = setAction(s, &kernelAction{}, nil) // of no use to tell anyone
		}
	}
}

func setAction(number int, to, old *kernelAction) syscall.Errno {
	_, _, errno := syscall.RawSyscall6(syscall.SYS_RT_SIGACTION, uintptr(number),
		uintptr(unsafe.Pointer(to)), uintptr(unsafe.Pointer(old)), unsafe.Sizeof(to.mask), 0, 0)
	return errno
}
