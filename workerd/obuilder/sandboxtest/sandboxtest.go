// Package sandboxtest tests implementations of obuilder.Sandbox. It needs root
// and busybox.
package sandboxtest

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/weirbuild/weir/workerd/obuilder"
	"github.com/weirbuild/weir/workerd/obuilder/enginetest"
	"github.com/weirbuild/weir/workerd/obuilder/spec"
)

// Run tests what a sandbox promises.
func Run(t *testing.T, s obuilder.Sandbox) {
	for name, test := range map[string]func(*suite){
		"process": process, "confined": confined, "user": user, "network": network, "secrets": secrets, "binds": binds,
		"failures": failures, "background": background, "cancel": cancel, "limits": limits, "big line": bigLine, "together": together,
	} {
		t.Run(name, func(t *testing.T) { test(&suite{T: t, sandbox: s, root: enginetest.BusyboxTree(t)}) })
	}
}

type suite struct {
	*testing.T
	sandbox obuilder.Sandbox
	root    string
}

func shell(text string) obuilder.Command {
	return obuilder.Command{Argv: []string{"/bin/sh", "-c", text}, Env: []string{"PATH=/bin", "A=b c"}, Dir: "/src/dir"}
}

// run runs a command that must end by itself.
func (s *suite) run(c obuilder.Command) (string, obuilder.Exit) {
	s.Helper()
	var out bytes.Buffer
	exit, err := s.sandbox.Run(s.Context(), s.root, c, &out)
	if err != nil {
		s.Fatalf("%v, output %q", err, out.String())
	}
	return out.String(), exit
}

func (s *suite) want(c obuilder.Command, want string) {
	s.Helper()
	if out, exit := s.run(c); out != want || exit.Code != 0 {
		s.Errorf("%s: exit code %d, output %q, want %q", c.Argv[2], exit.Code, out, want)
	}
}

// process: arguments, environment, directory, input, outputs, exit code.
func process(s *suite) {
	c := shell(`pwd; echo "$A,$0,$1"; cat; echo err >&2; hostname; echo out > file; exit 3`)
	c.Argv = append(c.Argv, "zero", "one two")
	out, exit := s.run(c)
	all := strings.Replace(out, "err\n", "", 1) // its place among the rest is open
	if want := "/src/dir\nb c,zero,one two\nbuilder\n"; all != want || all == out || exit != (obuilder.Exit{Code: 3}) {
		s.Errorf("%+v, output %q, want %q", exit, out, want)
	}
	if text, err := os.ReadFile(filepath.Join(s.root, "src/dir/file")); err != nil || string(text) != "out\n" {
		s.Errorf("what it wrote: %q, %v", text, err)
	}
	s.want(shell("env | sort | grep -v -e ^PWD= -e ^SHLVL= -e ^HOME="), "A=b c\nPATH=/bin\n")
}

// confined: it sees its own processes and tree, and cannot change the machine.
func confined(s *suite) {
	s.want(shell("echo $$; set -- /proc/[0-9]*; [ $# -lt 5 ] && echo few"), "1\nfew\n")
	s.want(shell("ls / | grep -e lost+found -e boot -e usr; cat /etc/hosts | head -n 1"), "127.0.0.1 localhost builder\n")
	for _, forbidden := range []string{
		"mount -t tmpfs none /tmp", "echo 1 > /proc/sys/kernel/panic", "echo x > /etc/hosts", "echo x > /sys/kernel/profiling",
		"dd if=/proc/kcore bs=1 count=1 | grep -q .", "hostname other", "mkdir /sys/fs/cgroup/pids/x /sys/fs/cgroup/x/y",
	} {
		if out, exit := s.run(shell(forbidden)); exit.Code == 0 {
			s.Errorf("%s worked: %s", forbidden, out)
		}
	}
	s.want(shell("grep CapBnd /proc/self/status | tr -d '\t'"), "CapBnd:00000000a80401fb\n")
}

func user(s *suite) {
	c := shell("id -u; id -g; touch /root-only 2>/dev/null || echo no; grep CapEff /proc/self/status | tr -d '\t'")
	c.User = spec.User{UID: 1234, GID: 5678}
	s.want(c, "1234\n5678\nno\nCapEff:0000000000000000\n")
}

func network(s *suite) {
	const links = "ls /sys/class/net | tr '\n' ' '; ping -c 1 -w 1 127.0.0.1 >/dev/null 2>&1; ip link show lo | grep -c 'state UNKNOWN\\|,UP'"
	s.want(shell(links), "lo 1\n")
	host, err := os.Readlink("/proc/self/ns/net")
	if err != nil {
		s.Fatal(err)
	}
	c := shell("readlink /proc/self/ns/net")
	if out, _ := s.run(c); out == host+"\n" {
		s.Error("without a network it has the machine's")
	}
	c.Network = spec.HostNetwork
	s.want(c, host+"\n")
	c = shell("cat /etc/resolv.conf")
	c.Network = spec.HostNetwork
	if text, err := os.ReadFile("/etc/resolv.conf"); err == nil {
		s.want(c, string(text))
	}
}

func secrets(s *suite) {
	c := shell("cat /run/secrets/a /b; (echo x > /b) 2>/dev/null || echo kept; ls -ln /b | cut -c 1-10")
	c.User = spec.User{UID: 7, GID: 8}
	c.Secrets = []obuilder.Secret{{Target: "/run/secrets/a", Value: []byte("1\n")}, {Target: "/b", Value: []byte("2\n")}}
	out, exit := s.run(c)
	if !strings.HasPrefix(out, "1\n2\n") || !strings.Contains(out, "kept\n-r--------\n") || exit.Code != 0 {
		s.Errorf("%+v, %q", exit, out)
	}
	for _, path := range []string{"run/secrets/a", "b"} {
		if text, err := os.ReadFile(filepath.Join(s.root, path)); err != nil || len(text) != 0 {
			s.Errorf("the tree has %q in %s, %v", text, path, err)
		}
	}
}

func binds(s *suite) {
	dir := s.TempDir()
	c := shell("echo 1 > /var/cache/x/f; cp /bin/busybox /var/cache/x/sh; chmod u+s /var/cache/x/sh; grep ' /var/cache/x ' /proc/mounts | grep nosuid | grep -c nodev")
	c.Binds = []obuilder.Bind{{Source: dir, Target: "/var/cache/x"}}
	s.want(c, "1\n")
	if text, err := os.ReadFile(filepath.Join(dir, "f")); err != nil || string(text) != "1\n" {
		s.Errorf("%q, %v", text, err)
	}
}

// failures: what the spec got wrong is a Failure that says so.
func failures(s *suite) {
	for name, c := range map[string]obuilder.Command{
		"no program":     {Argv: []string{"/bin/nosuch"}, Dir: "/"},
		"not in PATH":    {Argv: []string{"nosuch"}, Dir: "/", Env: []string{"PATH=/bin"}},
		"not executable": {Argv: []string{"/etc/passwd"}, Dir: "/"},
	} {
		var out bytes.Buffer
		_, err := s.sandbox.Run(s.Context(), s.root, c, &out)
		var failure *obuilder.Failure
		if !errors.As(err, &failure) || !strings.Contains(failure.Text, "the program cannot be started") {
			s.Errorf("%s: %v, output %q", name, err, out.String())
		}
	}
	if _, exit := s.run(shell("sh -c 'kill -SEGV $$'; exit $?")); exit.Code != 128+11 {
		s.Errorf("killed by SIGSEGV: %+v", exit)
	}
}

// background: what a command leaves behind ends with it.
func background(s *suite) {
	marker := "sleep 1" + s.marker()
	s.want(shell("("+marker+" &) ; setsid "+marker+" & echo done"), "done\n")
	s.nothingRuns(marker)
}

// marker is a number that no other process of the machine sleeps for.
func (s *suite) marker() string { return time.Now().Format("150405000000000")[:11] }

func (s *suite) nothingRuns(what string) {
	s.Helper()
	if s.runs(what) {
		s.Errorf("%q still runs", what)
	}
}

func (s *suite) runs(what string) bool {
	all, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		s.Fatal(err)
	}
	for _, file := range all {
		text, err := os.ReadFile(file)
		if err == nil && strings.Contains(strings.ReplaceAll(string(text), "\x00", " "), what) {
			return true
		}
	}
	return false
}

// signal tells when a command has printed something.
type signal struct{ first chan struct{} }

func (w *signal) Write(p []byte) (int, error) {
	select {
	case w.first <- struct{}{}:
	default:
	}
	return len(p), nil
}

func cancel(s *suite) {
	stopped := errors.New("stopped")
	marker := "sleep 1" + s.marker()
	ctx, stop := context.WithCancelCause(s.Context())
	out := &signal{make(chan struct{}, 1)}
	go func() {
		<-out.first
		stop(stopped)
	}()
	began := time.Now()
	_, err := s.sandbox.Run(ctx, s.root, shell("trap '' TERM INT; (setsid "+marker+" &); echo x; while :; do "+marker+"; done"), out)
	if !errors.Is(err, stopped) || time.Since(began) > 20*time.Second {
		s.Errorf("%v after %s", err, time.Since(began))
	}
	s.nothingRuns(marker)
	if _, err := s.sandbox.Run(ctx, s.root, shell("touch /ran"), out); !errors.Is(err, stopped) {
		s.Errorf("run after the end: %v", err)
	}
	if _, err := os.Stat(filepath.Join(s.root, "ran")); err == nil {
		s.Error("a command ran after its context had ended")
	}
	for delay := range 5 { // also while the container is only being made
		ctx, stop := context.WithTimeout(s.Context(), time.Duration(delay*20)*time.Millisecond)
		if _, err := s.sandbox.Run(ctx, s.root, shell(marker), &bytes.Buffer{}); !errors.Is(err, context.DeadlineExceeded) {
			s.Errorf("stopped after %d ms: %v", delay*20, err)
		}
		stop()
	}
	s.nothingRuns(marker)
}

// limits: a fork bomb and a memory hog end at their limits, and it is said so.
func limits(s *suite) {
	c := shell("i=0; while [ $i -lt 50 ]; do sleep 5 & i=$((i+1)); done; echo all")
	c.Limits = obuilder.Limits{PIDs: 20}
	if out, exit := s.run(c); exit.Code == 0 || exit.OutOfMemory || !strings.Contains(out, "fork") {
		s.Errorf("50 processes of 20: %+v, %q", exit, out)
	}
	c = shell("x=xxxxxxxxxxxxxxxx; while :; do x=$x$x; done")
	c.Limits = obuilder.Limits{Memory: 32 << 20, CPUs: 1}
	if out, exit := s.run(c); exit.Code != 137 || !exit.OutOfMemory {
		s.Errorf("all memory: %+v, %q", exit, out)
	}
	c = shell("false")
	c.Limits = obuilder.Limits{Memory: 32 << 20}
	if out, exit := s.run(c); exit != (obuilder.Exit{Code: 1}) {
		s.Errorf("enough memory: %+v, %q", exit, out)
	}
}

// counter counts bytes.
type counter int64

func (c *counter) Write(p []byte) (int, error) {
	*c += counter(len(p))
	return len(p), nil
}

// bigLine: output has no lines that are too long.
func bigLine(s *suite) {
	var n counter
	exit, err := s.sandbox.Run(s.Context(), s.root, shell("dd if=/dev/zero bs=1048576 count=1024 2>/dev/null"), &n)
	if err != nil || exit.Code != 0 || n != 1<<30 {
		s.Errorf("%+v, %v, %d bytes", exit, err, n)
	}
}

func together(s *suite) {
	ended := make(chan string)
	for range 4 {
		go func() {
			var out bytes.Buffer
			if _, err := s.sandbox.Run(s.Context(), s.root, shell("echo ok"), &out); err != nil {
				out.WriteString(err.Error())
			}
			ended <- out.String()
		}()
	}
	for range 4 {
		if out := <-ended; out != "ok\n" {
			s.Error(out)
		}
	}
}
