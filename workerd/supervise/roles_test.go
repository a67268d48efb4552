package supervise

import (
	"net"
	"os"
	"os/exec"
	"syscall"
	"time"
)

// roleStorm forks as fast as it can: each process starts two more, in sessions
// of their own, until the process table or the patience of a limit is full.
func roleStorm() {
	for range 2 {
		cmd := self("storm", markVar+"="+os.Getenv(markVar), "DEPTH="+os.Getenv("DEPTH")+"x")
		cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
		if len(os.Getenv("DEPTH")) < 6 {
			_ = cmd.Start()
		}
	}
	<-time.After(time.Hour)
}

// roleHop is a chain: each process starts the next one and ends, for ever.
func roleHop() {
	cmd := self("hop", markVar+"="+os.Getenv(markVar))
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	cmd.Stdout = os.Stdout
	_ = cmd.Start()
}

// roleGiveOut hands its output pipe to a stranger outside and ends.
func roleGiveOut() {
	conn, err := net.Dial("unix", os.Getenv("SOCKET"))
	if err != nil {
		panic(err)
	}
	rights := syscall.UnixRights(1)
	if _, _, err := conn.(*net.UnixConn).WriteMsgUnix([]byte("x"), rights, nil); err != nil {
		panic(err)
	}
	if _, err := conn.Read(make([]byte, 1)); err != nil { // it has arrived
		panic(err)
	}
	out, _ := exec.Command("echo", "given").Output()
	os.Stdout.Write(out)
}
