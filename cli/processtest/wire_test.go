package processtest

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"github.com/weirbuild/weir/workerd/obuilder/enginetest"
)

// wire is a network namespace that one pair of interfaces joins to the test's
// own. Nothing is left of it, rules included, once its last process has ended.
type wire struct {
	t     *testing.T
	outer string // the address of the test's end
	proc  string // of the namespace's own process, below /proc
}

// newWire needs root.
func newWire(t *testing.T) *wire {
	t.Helper()
	if os.Geteuid() != 0 {
		enginetest.Missing(t, "needs root: network namespaces and iptables")
	}
	for _, program := range []string{"ip", "iptables", "nsenter"} {
		if _, err := exec.LookPath(program); err != nil {
			enginetest.Missing(t, fmt.Sprintf("needs iproute2, iptables and util-linux: %v", err))
		}
	}
	// It holds the namespace, and ends with the test, however that ends.
	keeper := exec.Command("cat")
	keeper.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET}
	stdin, err := keeper.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := keeper.Start(); err != nil {
		enginetest.Missing(t, fmt.Sprintf("needs the right to make network namespaces: %v", err))
	}
	t.Cleanup(func() {
		stdin.Close()
		if err := keeper.Wait(); err != nil {
			t.Errorf("the process that held the network namespace: %v", err)
		}
	})
	pid := keeper.Process.Pid
	v := &wire{t: t, proc: fmt.Sprint("/proc/", pid)}
	// A subnet of the range for benchmarks, which nobody routes.
	subnet := fmt.Sprintf("198.18.%d.%%d", pid>>6&0xff)
	ours, theirs := fmt.Sprint("weir", pid, "a"), fmt.Sprint("weir", pid, "b")
	v.outer = fmt.Sprintf(subnet, pid&63<<2+1)
	inner := fmt.Sprintf(subnet, pid&63<<2+2)
	v.run("ip", "link", "add", ours, "type", "veth", "peer", "name", theirs, "netns", fmt.Sprint(pid))
	v.run("ip", "address", "add", v.outer+"/30", "dev", ours)
	v.run("ip", "link", "set", ours, "up")
	v.within("ip", "address", "add", inner+"/30", "dev", theirs)
	v.within("ip", "link", "set", theirs, "up")
	v.within("ip", "link", "set", "lo", "up")
	return v
}

// enter is the beginning of a command line that runs the rest in the namespace.
func (v *wire) enter() []string { return []string{"nsenter", "--net=" + v.proc + "/ns/net", "--"} }

func (v *wire) within(argv ...string) {
	v.t.Helper()
	v.run(append(v.enter(), argv...)...)
}

func (v *wire) run(argv ...string) {
	v.t.Helper()
	if out, err := exec.Command(argv[0], argv[1:]...).CombinedOutput(); err != nil {
		v.t.Fatalf("%v: %v: %s", argv, err, out)
	}
}

// cut has every packet dropped, without a word to either side, until the wire is
// mended.
func (v *wire) cut() {
	v.t.Helper()
	v.within("iptables", "-w", "-A", "INPUT", "!", "-i", "lo", "-j", "DROP")
	v.within("iptables", "-w", "-A", "OUTPUT", "!", "-o", "lo", "-j", "DROP")
}

// cutTo has only packets to one port dropped.
func (v *wire) cutTo(port string) {
	v.t.Helper()
	v.within("iptables", "-w", "-A", "OUTPUT", "-p", "tcp", "--dport", port, "-j", "DROP")
}

func (v *wire) mend() {
	v.t.Helper()
	v.within("iptables", "-w", "-F")
}

// dropped is how many packets the rules have dropped.
func (v *wire) dropped() (packets int) {
	v.t.Helper()
	argv := append(v.enter(), "iptables", "-w", "-L", "-v", "-x", "-n")
	cmd := exec.Command(argv[0], argv[1:]...)
	out, err := cmd.Output()
	if err != nil {
		v.t.Fatalf("%v: %v", argv, err)
	}
	for line := range strings.Lines(string(out)) {
		var n, bytes int
		var target string
		if _, err := fmt.Sscan(line, &n, &bytes, &target); err == nil && target == "DROP" {
			packets += n
		}
	}
	return packets
}
