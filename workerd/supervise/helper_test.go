package supervise

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// The test binary also plays the parts that need a process of their own.
const roleVar, markVar = "SUPERVISE_TEST_ROLE", "SUPERVISE_TEST_MARK"

const nobody = 65534

var roles = map[string]func(){
	"worker":   roleWorker,
	"storm":    roleStorm,
	"hop":      roleHop,
	"give-out": roleGiveOut,
}

func TestMain(m *testing.M) {
	Main()
	if role, ok := roles[os.Getenv(roleVar)]; ok {
		role()
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// modes are those that can work for this user.
func modes() []Mode {
	if os.Geteuid() == 0 {
		return []Mode{Namespace, Subreaper}
	}
	return []Mode{UserNamespace, Subreaper}
}

func eachMode(t *testing.T, test func(t *testing.T, r *Runner)) {
	t.Helper()
	for _, m := range modes() {
		t.Run(m.String(), func(t *testing.T) {
			r := &Runner{Mode: m}
			t.Cleanup(r.Close)
			if err := r.probe(t.Context()); err != nil {
				t.Skipf("does not work on this machine: %v", err)
			}
			test(t, r)
		})
	}
}

// shell is a command in /bin/sh whose processes carry a mark in their environment.
func shell(mark, script string) Command {
	return Command{Argv: []string{"/bin/sh", "-c", script}, Dir: "/", Env: []string{"PATH=/usr/bin:/bin", markVar + "=" + mark}}
}

func newMark(t *testing.T) string {
	return fmt.Sprintf("%s-%d-%d", strings.ReplaceAll(t.Name(), " ", "_"), os.Getpid(), time.Now().UnixNano())
}

// alive lists the processes that carry the mark, zombies aside.
func alive(mark string) (pids []int) {
	files, _ := filepath.Glob("/proc/[0-9]*/environ")
	for _, file := range files {
		env, err := os.ReadFile(file)
		if err == nil && bytes.Contains(append(env, 0), []byte(markVar+"="+mark+"\x00")) {
			pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(file)))
			pids = append(pids, pid)
		}
	}
	return pids
}

// lives reports whether a process is more than a zombie that waits for its parent.
func lives(pid int) bool {
	line, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	return err == nil && len(line) > 0
}

// eventually polls until cond holds and returns how long that took.
func eventually(t *testing.T, limit time.Duration, what string, cond func() bool) time.Duration {
	t.Helper()
	began := time.Now()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !cond() {
		if time.Since(began) > limit {
			t.Fatalf("not within %s: %s", limit, what)
		}
		<-tick.C
	}
	return time.Since(began)
}

// run runs c to its end and returns what it wrote.
func run(t *testing.T, r *Runner, c Command) (Exit, string) {
	t.Helper()
	var out bytes.Buffer
	exit, err := r.Run(t.Context(), c, &out)
	if err != nil {
		t.Fatalf("run %q: %v; output %q", c.Argv, err, out.String())
	}
	return exit, out.String()
}

// self starts this test binary again in one of its roles.
func self(role string, env ...string) *exec.Cmd {
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(env, roleVar+"="+role, "PATH=/usr/bin:/bin")
	return cmd
}

// TestAsNobody runs every other test without root, if this is root.
func TestAsNobody(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("this is not root")
	}
	cmd := exec.Command("/proc/self/exe", "-test.v", "-test.timeout=300s")
	cmd.Dir = "/"
	cmd.Env = []string{"PATH=/usr/bin:/bin", "TMPDIR=" + tempDirFor(t, nobody)}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	out, err := cmd.CombinedOutput()
	t.Logf("%s", out)
	if err != nil {
		t.Fatal(err)
	}
}

func tempDirFor(t *testing.T, uid int) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "supervise")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chown(dir, uid, uid); err != nil {
		t.Fatal(err)
	}
	return dir
}

// roleWorker runs the brood until somebody kills it.
func roleWorker() {
	mode, _ := strconv.Atoi(os.Getenv("MODE"))
	c := shell(os.Getenv("MARK"), brood)
	_, err := (&Runner{Mode: Mode(mode)}).Run(context.Background(), c, os.Stdout)
	fmt.Println("run ended:", err)
}

// brood is a command whose processes try to get away: in other sessions,
// without their parents, deaf to polite signals.
const brood = `trap "" TERM HUP INT
setsid sleep 1000 &
(sleep 1000 &)
(setsid sh -c 'trap "" TERM; (setsid sleep 1000 &) ; sleep 1000 & exec sleep 1000' &)
echo ready
sleep 1000`

// broodSize is how many sleeps and shells there are.
const broodSize = 7
